//! From a request to its route: the first one whose every condition holds.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use http::{HeaderMap, Method};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::traffic::policy::{HostPattern, Match};

/// What is known of a request when its route is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The host without port, in lower case; empty if there is none.
    pub host: &'a str,
    /// The path as received, or `*`.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// A match: which route, and how much of the path its prefix covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Position among the listener's routes.
    pub route: usize,
    /// Length of the matched prefix in bytes; 0 unless a `path_prefix` matched.
    pub prefix: usize,
}

/// The routes of one listener.
///
/// A route stands in the tables under every host that it names, and there under every path; a request is looked up under
/// what it has. So the work grows with the length of its host and path, and not with the number of routes.
#[derive(Debug, Default)]
pub struct RouteTable {
    matches: Vec<Match>,
    /// Those with this very host.
    hosts: Names<PathTable>,
    /// Those with a host below this one; the key begins with a dot.
    suffixes: Names<PathTable>,
    /// Those that look at no host.
    everywhere: PathTable,
}

impl RouteTable {
    /// A table in the order of the configuration.
    #[must_use]
    pub fn new(matches: Vec<Match>) -> Self {
        let mut table = Self { matches, ..Self::default() };
        for (route, conditions) in (0_u32..).zip(&table.matches) {
            if conditions.hosts.is_empty() {
                table.everywhere.add(route, conditions);
            }
            for pattern in &conditions.hosts {
                match pattern {
                    HostPattern::Exact(name) => table.hosts.entry(name).add(route, conditions),
                    HostPattern::Suffix(suffix) => table.suffixes.entry(suffix).add(route, conditions),
                }
            }
        }
        table
    }

    /// The first route that matches. `OPTIONS *` has no path, so only a route without path conditions takes it.
    #[must_use]
    pub fn find(&self, target: Target<'_>) -> Option<Found> {
        self.find_from(0, target)
    }

    /// The same among the routes from this position on.
    #[must_use]
    pub fn find_from(&self, from: usize, target: Target<'_>) -> Option<Found> {
        let mut search = Search { matches: &self.matches, from, target, best: None };
        if let Some(paths) = self.hosts.get(target.host) {
            search.look_in(paths);
        }
        if !self.suffixes.is_empty() {
            let dots = target.host.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'.');
            for (dot, _) in dots.take(MAX_LABELS) {
                if let Some(paths) = self.suffixes.get(&target.host[dot..]) {
                    search.look_in(paths);
                }
            }
        }
        search.look_in(&self.everywhere);
        search.best
    }
}

/// Dots of a host that are looked at: a name has at most 127 labels (RFC 1035, section 2.3.4).
const MAX_LABELS: usize = 127;

/// Routes by path. Each list is in the order of the configuration.
#[derive(Debug, Default)]
struct PathTable {
    whole: Names<Vec<u32>>,
    /// By the prefix without a slash at its end.
    prefixes: Names<Vec<Prefixed>>,
    /// Those that look at no path.
    any: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Prefixed {
    route: u32,
    /// Whether the prefix was written with a slash at its end, and so does not match itself without one.
    below: bool,
}

impl PathTable {
    fn add(&mut self, route: u32, conditions: &Match) {
        if conditions.paths.is_empty() && conditions.path_prefixes.is_empty() {
            self.any.push(route);
        }
        for path in &conditions.paths {
            self.whole.entry(path).push(route);
        }
        for prefix in &conditions.path_prefixes {
            let bare = prefix.strip_suffix('/').unwrap_or(prefix);
            self.prefixes.entry(bare).push(Prefixed { route, below: prefix.ends_with('/') });
        }
    }
}

/// The best match so far of one request.
struct Search<'a> {
    matches: &'a [Match],
    from: usize,
    target: Target<'a>,
    best: Option<Found>,
}

impl Search<'_> {
    /// Looks at whole paths first and then from the longest prefix to the shortest: the first way in which a route is met
    /// is the one that counts for it.
    fn look_in(&mut self, table: &PathTable) {
        let path = self.target.path;
        if let Some(routes) = table.whole.get(path) {
            self.consider(routes.iter().copied(), 0);
        }
        if !table.prefixes.is_empty() {
            let longest = table.prefixes.longest();
            if path.len() <= longest
                && let Some(list) = table.prefixes.get(path)
            {
                self.consider(list.iter().filter(|prefixed| !prefixed.below).map(|prefixed| prefixed.route), path.len());
            }
            let borders = path.as_bytes().iter().take(longest + 1).enumerate().rev();
            for (border, _) in borders.filter(|(_, byte)| **byte == b'/') {
                if let Some(list) = table.prefixes.get(&path[..border]) {
                    self.consider(list.iter().map(|prefixed| prefixed.route), border);
                }
            }
        }
        self.consider(table.any.iter().copied(), 0);
    }

    fn consider(&mut self, routes: impl Iterator<Item = u32>, prefix: usize) {
        for route in routes {
            let route = usize::try_from(route).unwrap_or(usize::MAX);
            if self.best.is_some_and(|best| best.route <= route) {
                return;
            }
            if route >= self.from && self.matches[route].accepts_rest(self.target) {
                self.best = Some(Found { route, prefix });
                return;
            }
        }
    }
}

/// Values by names that come from the configuration. Requests only look up, so a hash that an attacker could foresee does
/// no harm: he cannot add names.
#[derive(Debug)]
struct Names<T> {
    all: HashMap<Box<str>, T, BuildHasherDefault<NameHasher>>,
    longest: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { all: HashMap::default(), longest: 0 }
    }
}

impl<T: Default> Names<T> {
    fn entry(&mut self, name: &str) -> &mut T {
        self.longest = self.longest.max(name.len());
        self.all.entry(name.into()).or_default()
    }

    fn get(&self, name: &str) -> Option<&T> {
        if name.len() > self.longest || self.all.is_empty() { None } else { self.all.get(name) }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Length of the longest name in bytes.
    const fn longest(&self) -> usize {
        self.longest
    }
}

/// A hash of one name.
#[derive(Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// The end of a text, which tells nothing where texts come alone.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Match {
    /// Whether method and headers are as they must be.
    fn accepts_rest(&self, target: Target<'_>) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(target.method);
        let header =
            |(name, value): &(http::HeaderName, http::HeaderValue)| target.headers.get_all(name).iter().any(|v| v == value);
        method && self.headers.iter().all(header)
    }
}

#[cfg(test)]
mod tests;

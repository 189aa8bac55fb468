//! From a request to its route: the first one whose every condition holds.

use http::{HeaderMap, Method};

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
#[derive(Debug, Default)]
pub struct RouteTable {
    matches: Vec<Match>,
}

impl RouteTable {
    /// A table in the order of the configuration.
    #[must_use]
    pub fn new(matches: Vec<Match>) -> Self {
        Self { matches }
    }

    /// The first route that matches. `OPTIONS *` has no path, so only a route without path conditions takes it.
    #[must_use]
    pub fn find(&self, target: Target<'_>) -> Option<Found> {
        self.matches.iter().enumerate().find_map(|(route, conditions)| {
            let prefix = conditions.accepts(target)?;
            Some(Found { route, prefix })
        })
    }
}

impl Match {
    /// The length of the matched prefix, if everything holds.
    fn accepts(&self, target: Target<'_>) -> Option<usize> {
        let host = self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.accepts(target.host));
        let method = self.methods.is_empty() || self.methods.contains(target.method);
        let header =
            |(name, value): &(http::HeaderName, http::HeaderValue)| target.headers.get_all(name).iter().any(|v| v == value);
        if !host || !method || !self.headers.iter().all(header) {
            return None;
        }
        self.accepts_path(target.path)
    }

    fn accepts_path(&self, path: &str) -> Option<usize> {
        if self.paths.is_empty() && self.path_prefixes.is_empty() {
            return Some(0);
        }
        if self.paths.iter().any(|whole| &**whole == path) {
            return Some(0);
        }
        self.path_prefixes.iter().filter_map(|prefix| prefix_length(prefix, path)).max()
    }
}

/// How much of `path` the prefix covers, if it ends on a border of segments.
fn prefix_length(prefix: &str, path: &str) -> Option<usize> {
    let bare = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(bare)?;
    let border = rest.starts_with('/') || (rest.is_empty() && !prefix.ends_with('/'));
    border.then_some(bare.len())
}

impl HostPattern {
    fn accepts(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => &**name == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> Target<'a> {
        Target { host, path, method: &Method::GET, headers }
    }

    fn prefix(text: &str) -> Match {
        Match { path_prefixes: vec![text.into()], ..Match::default() }
    }

    #[test]
    fn a_prefix_ends_on_a_segment_border() {
        let check = |text: &str, path: &str, wanted: Option<usize>| {
            assert_eq!(prefix(text).accepts_path(path), wanted, "{text} {path}");
        };
        check("/orders", "/orders", Some(7));
        check("/orders", "/orders/1", Some(7));
        check("/orders", "/ordersx", None);
        check("/orders/", "/orders/1", Some(7));
        check("/orders/", "/orders", None);
        check("/", "/anything", Some(0));
        check("/", "/", Some(0));
        check("/orders", "*", None);
    }

    #[test]
    fn a_wildcard_takes_names_below_it_only() {
        let pattern = HostPattern::Suffix(".example.com".into());
        assert!(pattern.accepts("a.example.com"));
        assert!(pattern.accepts("a.b.example.com"));
        assert!(!pattern.accepts("example.com"));
        assert!(!pattern.accepts(".example.com"));
        assert!(!pattern.accepts("badexample.com"));
    }

    #[test]
    fn the_first_match_wins() {
        let table = RouteTable::new(vec![prefix("/a"), Match::default()]);
        let headers = HeaderMap::new();
        assert_eq!(table.find(target("h", "/a/b", &headers)), Some(Found { route: 0, prefix: 2 }));
        assert_eq!(table.find(target("h", "/b", &headers)), Some(Found { route: 1, prefix: 0 }));
        assert_eq!(table.find(target("h", "*", &headers)), Some(Found { route: 1, prefix: 0 }));
    }

    #[test]
    fn every_condition_must_hold() {
        let conditions = Match {
            hosts: vec![HostPattern::Exact("shop".into())],
            methods: vec![Method::GET],
            headers: vec![(http::HeaderName::from_static("x-canary"), http::HeaderValue::from_static("1"))],
            ..Match::default()
        };
        let mut headers = HeaderMap::new();
        assert_eq!(conditions.accepts(target("shop", "/", &headers)), None);
        headers.append("x-canary", http::HeaderValue::from_static("0"));
        headers.append("x-canary", http::HeaderValue::from_static("1"));
        assert_eq!(conditions.accepts(target("shop", "/", &headers)), Some(0));
        assert_eq!(conditions.accepts(target("other", "/", &headers)), None);
        assert_eq!(conditions.accepts(Target { method: &Method::PUT, ..target("shop", "/", &headers) }), None);
    }
}

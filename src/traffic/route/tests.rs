//! The tables against a plain look at one route after the other, and what a match means.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::{Found, RouteTable, Target};
use crate::traffic::policy::{HostPattern, Match};

/// The first route whose every condition holds, found by looking at each in turn.
fn in_turn(matches: &[Match], target: Target<'_>) -> Option<Found> {
    matches.iter().enumerate().find_map(|(route, conditions)| {
        let host = conditions.hosts.is_empty() || conditions.hosts.iter().any(|pattern| host_fits(pattern, target.host));
        let prefix = path_fits(conditions, target.path)?;
        (host && conditions.accepts_rest(target)).then_some(Found { route, prefix })
    })
}

fn host_fits(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => &**name == host,
        HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
    }
}

fn path_fits(conditions: &Match, path: &str) -> Option<usize> {
    if conditions.paths.is_empty() && conditions.path_prefixes.is_empty() {
        return Some(0);
    }
    if conditions.paths.iter().any(|whole| &**whole == path) {
        return Some(0);
    }
    conditions.path_prefixes.iter().filter_map(|prefix| prefix_length(prefix, path)).max()
}

/// How much of `path` the prefix covers, if it ends on a border of segments.
fn prefix_length(prefix: &str, path: &str) -> Option<usize> {
    let bare = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(bare)?;
    let border = rest.starts_with('/') || (rest.is_empty() && !prefix.ends_with('/'));
    border.then_some(bare.len())
}

fn target<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> Target<'a> {
    Target { host, path, method: &Method::GET, headers }
}

fn prefix(text: &str) -> Match {
    Match { path_prefixes: vec![text.into()], ..Match::default() }
}

/// What one route makes of a request.
fn alone(conditions: &Match, target: Target<'_>) -> Option<usize> {
    RouteTable::new(vec![conditions.clone()]).find(target).map(|found| found.prefix)
}

#[test]
fn a_prefix_ends_on_a_segment_border() {
    let headers = HeaderMap::new();
    let check = |text: &str, path: &str, wanted: Option<usize>| {
        assert_eq!(alone(&prefix(text), target("h", path, &headers)), wanted, "{text} {path}");
        assert_eq!(prefix_length(text, path), wanted, "{text} {path}");
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
    let below = Match { hosts: vec![HostPattern::Suffix(".example.com".into())], ..Match::default() };
    let headers = HeaderMap::new();
    for (host, wanted) in [
        ("a.example.com", true),
        ("a.b.example.com", true),
        ("example.com", false),
        (".example.com", false),
        ("badexample.com", false),
        ("", false),
    ] {
        assert_eq!(alone(&below, target(host, "/", &headers)).is_some(), wanted, "{host}");
    }
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
fn an_earlier_route_wins_however_exact_a_later_one_is() {
    let exact = Match { hosts: vec![HostPattern::Exact("a.b".into())], paths: vec!["/x/y".into()], ..Match::default() };
    let below = Match { hosts: vec![HostPattern::Suffix(".b".into())], path_prefixes: vec!["/x".into()], ..Match::default() };
    let headers = HeaderMap::new();
    let asked = target("a.b", "/x/y", &headers);
    let first = |matches: Vec<Match>| RouteTable::new(matches).find(asked).unwrap();
    assert_eq!(first(vec![prefix("/"), below.clone(), exact.clone()]), Found { route: 0, prefix: 0 });
    assert_eq!(first(vec![below.clone(), exact.clone()]), Found { route: 0, prefix: 2 });
    assert_eq!(first(vec![exact, below]), Found { route: 0, prefix: 0 });
}

#[test]
fn every_condition_must_hold() {
    let conditions = Match {
        hosts: vec![HostPattern::Exact("shop".into())],
        methods: vec![Method::GET],
        headers: vec![(HeaderName::from_static("x-canary"), HeaderValue::from_static("1"))],
        ..Match::default()
    };
    let mut headers = HeaderMap::new();
    assert_eq!(alone(&conditions, target("shop", "/", &headers)), None);
    headers.append("x-canary", HeaderValue::from_static("0"));
    headers.append("x-canary", HeaderValue::from_static("1"));
    assert_eq!(alone(&conditions, target("shop", "/", &headers)), Some(0));
    assert_eq!(alone(&conditions, target("other", "/", &headers)), None);
    assert_eq!(alone(&conditions, Target { method: &Method::PUT, ..target("shop", "/", &headers) }), None);
}

#[test]
fn a_path_of_nothing_but_slashes_is_looked_up_no_further_than_prefixes_are_long() {
    let headers = HeaderMap::new();
    let table = RouteTable::new(vec![prefix("/a/b"), prefix("/")]);
    let path = "/".repeat(60_000);
    assert_eq!(table.find(target("h", &path, &headers)), Some(Found { route: 1, prefix: 0 }));
}

/// Few words, so that routes and requests meet often.
fn hosts() -> impl Strategy<Value = Vec<HostPattern>> {
    let pattern = prop_oneof![
        prop::sample::select(vec!["a", "a.b", "c.a.b", "b"]).prop_map(|name| HostPattern::Exact(name.into())),
        prop::sample::select(vec![".b", ".a.b"]).prop_map(|name| HostPattern::Suffix(name.into())),
    ];
    prop::collection::vec(pattern, 0..3)
}

fn paths() -> impl Strategy<Value = Vec<std::sync::Arc<str>>> {
    let path = prop::sample::select(vec!["/", "//", "/x", "/x/", "/x/y", "/x/y/", "/x//y", "/xy"]);
    prop::collection::vec(path.prop_map(Into::into), 0..3)
}

fn conditions() -> impl Strategy<Value = Match> {
    (hosts(), paths(), paths(), any::<bool>(), any::<bool>()).prop_map(|(hosts, paths, path_prefixes, get, header)| Match {
        hosts,
        paths,
        path_prefixes,
        methods: if get { vec![Method::GET] } else { Vec::new() },
        headers: if header { vec![(HeaderName::from_static("x-h"), HeaderValue::from_static("1"))] } else { Vec::new() },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tables_find_what_looking_at_each_in_turn_finds(
        matches in prop::collection::vec(conditions(), 0..8),
        host in prop::sample::select(vec!["", "a", "b", ".b", "a.b", "c.a.b", "x.c.a.b", "ab", "xa.b"]),
        path in prop::sample::select(vec!["*", "/", "//", "/x", "/x/", "/x/y", "/x/y/", "/x/y/z", "/x//y", "/xy", "/x/y//", ""]),
        get: bool,
        header: bool,
    ) {
        let mut headers = HeaderMap::new();
        if header {
            headers.insert("x-h", HeaderValue::from_static("1"));
        }
        let method = if get { Method::GET } else { Method::POST };
        let asked = Target { host, path, method: &method, headers: &headers };
        let table = RouteTable::new(matches.clone());
        prop_assert_eq!(table.find(asked), in_turn(&matches, asked));
        for from in 0..=matches.len() {
            let later = in_turn(&matches[from..], asked).map(|found| Found { route: found.route + from, ..found });
            prop_assert_eq!(table.find_from(from, asked), later);
        }
    }
}

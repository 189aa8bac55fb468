//! Which cluster a request goes to, by everything that a route can look at.

use crate::curl::curl;
use crate::origin::{Origin, ok};
use crate::program::Proxy;

/// An endpoint that answers with its name and the target it saw.
fn named(name: &'static str) -> Origin {
    Origin::answering(move |request| ok(&format!("{name} {}", request.target())))
}

/// A proxy whose routes lead to clusters of these names, each with one endpoint.
fn proxy(routes: &str, names: &[&'static str]) -> Proxy {
    let clusters: String = names
        .iter()
        .map(|name| format!("  - {{ name: {name}, endpoints: [\"{}\"], health: off }}\n", named(name).address))
        .collect();
    Proxy::start(&format!("listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes:\n{routes}clusters:\n{clusters}"))
}

fn check(proxy: &Proxy, arguments: &[&str], path: &str, wanted: &str) {
    let url = proxy.url(path);
    let got = curl(&[arguments, &["--path-as-is", &url]].concat());
    let found = if got.status() == 404 { got.head().error().unwrap_or("404") } else { &got.body };
    assert_eq!(found, wanted, "{arguments:?} {path}: {got:?}");
}

#[test]
fn the_first_route_that_matches_wins() {
    let proxy = proxy(
        "      - { match: { host: [api.example.com, api.example.org] }, cluster: exact }
      - { match: { host: \"*.example.com\" }, cluster: wildcard }
      - { match: { path: [/whole, /other] }, cluster: whole }
      - { match: { path_prefix: /orders }, cluster: prefix }
      - { match: { methods: [POST, PUT], path_prefix: / }, cluster: method }
      - { match: { headers: { x-canary: \"1\", x-user: me } }, cluster: header }
",
        &["exact", "wildcard", "whole", "prefix", "method", "header"],
    );
    let host = |name: &str, path: &str, wanted: &str| check(&proxy, &["--header", &format!("Host: {name}")], path, wanted);
    host("api.example.com", "/orders", "exact /orders");
    host("API.Example.ORG:8080", "/x", "exact /x");
    host("www.example.com", "/whole", "wildcard /whole");
    host("a.b.example.com", "/", "wildcard /");
    host("example.com", "/", "destination_not_found");
    host("badexample.com", "/", "destination_not_found");
    check(&proxy, &[], "/whole", "whole /whole");
    check(&proxy, &[], "/other?x=1", "whole /other?x=1");
    check(&proxy, &[], "/whole/", "destination_not_found");
    check(&proxy, &[], "/Whole", "destination_not_found");
    check(&proxy, &[], "/orders", "prefix /orders");
    check(&proxy, &[], "/orders/1?x", "prefix /orders/1?x");
    check(&proxy, &[], "/ordersx", "destination_not_found");
    check(&proxy, &["--data", "x"], "/anything", "method /anything");
    check(&proxy, &["-X", "DELETE"], "/anything", "destination_not_found");
    let canary = ["--header", "x-canary: 1", "--header", "x-user: me"];
    check(&proxy, &canary, "/", "header /");
    check(&proxy, &canary[..2], "/", "destination_not_found");
    check(&proxy, &["--header", "x-canary: 10", "--header", "x-user: me"], "/", "destination_not_found");
}

#[test]
fn a_prefix_is_stripped_on_its_border_only() {
    let proxy = proxy(
        "      - { match: { path_prefix: /api/v1 }, cluster: api, strip_prefix: true }
      - { match: { path_prefix: [/a, /a/b] }, cluster: nested, strip_prefix: true }
      - { match: { path_prefix: / }, cluster: rest, strip_prefix: true }
",
        &["api", "nested", "rest"],
    );
    check(&proxy, &[], "/api/v1/users?x=/api/v1", "api /users?x=/api/v1");
    check(&proxy, &[], "/api/v1", "api /");
    check(&proxy, &[], "/api/v1?x", "api /?x");
    check(&proxy, &[], "/api/v1/", "api /");
    check(&proxy, &[], "/api/v1//evil.example/x", "api //evil.example/x");
    check(&proxy, &[], "/api/v12", "rest /api/v12");
    check(&proxy, &[], "/a/b/c", "nested /c");
    check(&proxy, &[], "/a/c", "nested /c");
}

#[test]
fn a_request_that_no_route_matches_is_404_and_nobody_hears_of_it() {
    let origin = Origin::echo();
    let proxy = Proxy::with_route(&origin, "match: { path_prefix: /here }");
    let got = curl(&[&proxy.url("/there"), "--header", "X-Request-Id: mine-1"]);
    assert_eq!((got.exit, got.status(), got.head().error()), (0, 404, Some("destination_not_found")), "{got:?}");
    assert_eq!(got.head().header("content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["title"].as_str()), (Some(404), Some("Not Found")));
    assert_eq!(problem["instance"], "mine-1");
    // Our own answers keep the client's connection.
    let got = curl(&[&proxy.url("/there"), &proxy.url("/here"), "--write-out", "connects %{num_connects}"]);
    assert!(got.body.ends_with("connects 0"), "{got:?}");
    assert_eq!(proxy.metric("pulsegate_requests_total", &["code=\"404\""]), 2);
    assert_eq!(proxy.metric("pulsegate_local_responses_total", &["error=\"destination_not_found\""]), 2);
    assert_eq!(origin.connections(), 1);
}

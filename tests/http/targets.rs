//! The targets of requests: those that pass as they came, and those that two servers could read differently.

use crate::curl::curl;
use crate::origin::{Origin, seen};
use crate::program::Proxy;
use crate::wire::Message;

fn ask(proxy: &Proxy, line: &str, host: &str) -> Message {
    proxy.connect().ask(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn paths_pass_as_they_came() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    for target in [
        "/",
        "/?",
        "/a//b///",
        "//a",
        "/a%20b%2Fc%00",
        "/a;b=c,d:e@f!$&'()*+~",
        "/%E2%9C%93",
        "/...",
        "/..a/.b/c..",
        "/a?b=../..&c=%2e%2e/d?e",
        "/?q=a|b",
        "/a?url=http://b/../c",
    ] {
        let answer = ask(&proxy, &format!("GET {target}"), "a");
        assert_eq!(answer.body.lines().next(), Some(format!("GET {target} HTTP/1.1").as_str()));
    }
    let got = curl(&["--path-as-is", &proxy.url("/a/b%20c?d=e#fragment")]);
    assert!(got.body.starts_with("GET /a/b%20c?d=e HTTP/1.1\n"), "{got:?}");
}

#[test]
fn dot_segments_are_refused_in_every_spelling() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    for path in ["/.", "/..", "/a/..", "/a/../b", "/./a", "/%2e", "/%2E%2e/a", "/a/.%2e/b", "/a/%2E./?b", "//..", "/..?a=b"] {
        let got = curl(&["--path-as-is", &proxy.url(path)]);
        assert_eq!((got.exit, got.status(), got.head().error()), (0, 400, Some("http_request_error")), "{path}: {got:?}");
        assert_eq!(ask(&proxy, &format!("GET http://a{path}"), "a").status(), 400, "{path}");
    }
    assert_eq!(origin.connections(), 0);
}

/// curl writes such a target when it is told that the proxy is a proxy.
#[test]
fn an_absolute_target_decides_the_host() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let through = format!("http://{}", proxy.address());
    let got = curl(&["--noproxy", "", "--proxy", &through, "http://Shop.example:8080/a?b=c"]);
    assert_eq!((got.exit, got.status()), (0, 200), "{got:?}");
    assert!(got.body.starts_with("GET /a?b=c HTTP/1.1\n"), "{got:?}");
    assert_eq!(seen(&got.body, "host"), Some("Shop.example:8080"));
    let check = |target: &str, host: &str, wanted: Option<(&str, &str)>| {
        let answer = ask(&proxy, &format!("GET {target}"), host);
        let found = (answer.status() == 200)
            .then(|| (answer.body.split(' ').nth(1).unwrap_or_default(), seen(&answer.body, "host").unwrap_or_default()));
        assert_eq!(found, wanted, "{target} with {host}: {answer:?}");
    };
    check("http://shop/a", "shop", Some(("/a", "shop")));
    check("http://SHOP:80/a", "shop", Some(("/a", "SHOP:80")));
    check("http://shop", "shop", Some(("/", "shop")));
    check("http://shop?x", "shop", Some(("/?x", "shop")));
    check("http://shop/a", "other", None);
    check("http://shop:81/a", "shop", None);
    check("http://me@shop/a", "shop", None);
    check("http://me:pw@shop/a", "me:pw@shop", None);
    check("http:///a", "shop", None);
    check("ftp://shop/a", "shop", None);
    check("shop/a", "shop", None);
    check("shop:80", "shop:80", None);
    check("*", "shop", None);
}

#[test]
fn options_of_everything_goes_to_a_route_without_a_path() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let got = curl(&["-X", "OPTIONS", "--request-target", "*", &proxy.url("/")]);
    assert_eq!((got.exit, got.status()), (0, 200), "{got:?}");
    assert!(got.body.starts_with("OPTIONS * HTTP/1.1\n"), "{got:?}");
    let narrow = Proxy::with_route(&origin, "match: { path_prefix: / }");
    let got = curl(&["-X", "OPTIONS", "--request-target", "*", &narrow.url("/")]);
    assert_eq!(got.status(), 404, "{got:?}");
}

#[test]
fn hosts_must_be_single_and_plain() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    for host in ["", "a", "a:80", "A.b-c_d", "127.0.0.1:8080", "[::1]:80", "xn--bcher-kva.example"] {
        assert_eq!(ask(&proxy, "GET /", host).status(), 200, "{host:?}");
    }
    for host in ["a b", "a,b", "me@a", "a/b", "a:b", "a:1:2", "[::1", "::1", "a\\b", "a#b", "a?b", "a\r\nHost: b", "a\r\nHost: a"]
    {
        let answer = ask(&proxy, "GET /", host);
        assert_eq!(answer.status(), 400, "{host:?}");
    }
    let mut client = proxy.connect();
    assert_eq!(client.ask("GET / HTTP/1.1\r\n\r\n").status(), 400);
}

#[test]
fn targets_and_heads_have_bounds() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let got = curl(&[&proxy.url(&format!("/{}", "a".repeat(60_000)))]);
    assert_eq!((got.exit, got.status()), (0, 200), "60 kB are within head_bytes");
    for length in [70_000, 100_000] {
        let got = curl(&[&proxy.url(&format!("/{}", "a".repeat(length)))]);
        assert!(matches!(got.status(), 414 | 431), "{:?}", got.heads);
    }
    let got = curl(&["--header", &format!("X: {}", "a".repeat(70_000)), &proxy.url("/")]);
    assert_eq!(got.status(), 431, "{:?}", got.heads);
    let many: Vec<String> = (0..120).map(|number| format!("X-{number}: 1")).collect();
    let mut arguments = vec![];
    for line in &many {
        arguments.extend(["--header", line]);
    }
    let url = proxy.url("/");
    arguments.push(&url);
    assert_eq!(curl(&arguments).status(), 431);
}

//! Connections that are kept, on both sides, and those that are not.

use crate::curl::curl;
use crate::origin::{Origin, ok};
use crate::program::Proxy;
use crate::wire::Role;

const CONNECTS: &str = "pulsegate_upstream_connects_total";

#[test]
fn many_exchanges_need_one_connection_on_each_side() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let got = curl(&[&proxy.url("/[1-50]"), "--write-out", "\nconnects %{num_connects}\n"]);
    assert_eq!((got.exit, got.heads.len()), (0, 50), "{got:?}");
    let connects: Vec<&str> = got.body.lines().filter_map(|line| line.strip_prefix("connects ")).collect();
    assert_eq!(connects.iter().filter(|count| **count == "1").count(), 1, "curl connected once");
    // Each client has its own connection, and yet the endpoint sees one.
    for number in 0..10 {
        let answer = proxy.connect().ask(&format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(answer.body.starts_with(&format!("GET /{number} ")), "{answer:?}");
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(proxy.metric(CONNECTS, &["result=\"ok\""]), 1);
    assert_eq!(proxy.metric("pulsegate_upstream_connections", &["state=\"idle\""]), 1);
}

#[test]
fn requests_that_cannot_be_repeated_share_connections_too() {
    let origin = Origin::answering(|request| ok(&request.body));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for number in 0..20 {
        let answer = client.ask(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{number:02}"));
        assert_eq!(answer.body, format!("{number:02}"));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_client_that_asks_for_it_is_closed_and_the_endpoint_is_not() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    for _ in 0..3 {
        let mut client = proxy.connect();
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.at_end());
        let got = curl(&["--header", "Connection: close", &proxy.url("/")]);
        assert_eq!((got.exit, got.head().header("connection")), (0, Some("close")), "{got:?}");
        assert!(!got.body.contains("connection:"), "{got:?}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_endpoint_that_asks_for_it_is_closed_and_the_client_is_not() {
    let origin = Origin::serving(|mut peer| {
        drop(peer.request());
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert!(peer.at_end());
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for _ in 0..3 {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.body.as_str(), answer.header("connection")), ("ok", None));
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn an_endpoint_that_closes_unannounced_fails_no_request_that_can_be_repeated() {
    let origin = Origin::serving(|mut peer| {
        if peer.request().is_ok() {
            peer.send(ok("one each"));
        }
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for number in 0..50 {
        // One that cannot be repeated may meet the close, which is on its way while we look.
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status(), answer.body.as_str()), (200, "one each"), "{number}");
    }
}

#[test]
fn a_client_of_http_1_0_is_kept_if_it_asks_for_it() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let mut kept = proxy.connect();
    for _ in 0..3 {
        let answer = kept.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(answer.status(), 200);
        assert!(answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")), "{answer:?}");
        assert!(answer.header("content-length").is_some(), "{answer:?}");
    }
    let mut closed = proxy.connect();
    assert_eq!(closed.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").status(), 200);
    assert!(closed.at_end());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::answering(|request| match request.method() {
        "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_owned(),
        _ => ok(&format!("{} {}", request.target(), request.body)),
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    let request = |number: usize| match number % 4 {
        0 => format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
        1 => format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour"),
        2 => format!("PUT /{number} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n"),
        _ => format!("\r\nHEAD /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
    };
    client.send((0..40).map(request).collect::<String>());
    for number in 0..40 {
        let answer = client.message(Role::Answer { to_head: number % 4 == 3 }).unwrap();
        let body = match number % 4 {
            0 => format!("/{number} "),
            3 => String::new(),
            _ => format!("/{number} four"),
        };
        assert_eq!((answer.status(), answer.body), (200, body));
    }
    assert_eq!(origin.connections(), 1);
}

/// What follows a request that we answer ourselves is the next request, whatever its body looks like.
#[test]
fn a_body_that_nobody_wanted_is_no_request() {
    let origin = Origin::echo();
    let proxy = Proxy::with_route(&origin, "match: { path_prefix: /here }");
    let mut client = proxy.connect();
    let inner = "GET /here/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len()));
    client.send("GET /here/next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer(false).unwrap().status(), 404);
    if let Ok(next) = client.answer(false) {
        assert!(next.body.starts_with("GET /here/next "), "{next:?}");
    }
}

//! Every method, asked with curl.

use crate::curl::curl;
use crate::origin::{Origin, seen};
use crate::program::Proxy;
use crate::wire::Role;

#[test]
fn every_method_reaches_the_endpoint_with_its_body() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "X-CUSTOM"] {
        let got = curl(&["-X", method, &proxy.url("/a/b?c=d")]);
        assert_eq!((got.exit, got.status()), (0, 200), "{got:?}");
        assert!(got.body.starts_with(&format!("{method} /a/b?c=d HTTP/1.1\n")), "{got:?}");
        let got = curl(&["-X", method, "--data", "some=body", &proxy.url("/")]);
        assert_eq!((got.exit, got.status()), (0, 200), "{got:?}");
        assert!(got.body.ends_with("\n\nsome=body\n"), "{got:?}");
        assert_eq!(seen(&got.body, "content-length"), Some("9"));
    }
    assert_eq!(proxy.metric("pulsegate_requests_total", &["code=\"200\""]), 18);
}

#[test]
fn methods_without_a_body_are_passed_on_without_framing() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    for method in ["GET", "DELETE", "OPTIONS", "TRACE"] {
        let got = curl(&["-X", method, &proxy.url("/")]);
        assert_eq!((seen(&got.body, "content-length"), seen(&got.body, "transfer-encoding")), (None, None), "{got:?}");
    }
}

#[test]
fn head_is_answered_with_the_length_of_what_get_would_bring() {
    let origin = Origin::answering(|request| {
        assert_eq!(request.method(), "HEAD");
        "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"a\"\r\n\r\n".to_owned()
    });
    let proxy = Proxy::before(&origin);
    let got = curl(&["--head", &proxy.url("/a"), &proxy.url("/b")]);
    assert_eq!((got.exit, got.heads.len(), got.status()), (0, 2, 200), "{got:?}");
    assert_eq!((got.head().header("content-length"), got.head().header("etag")), (Some("12345"), Some("\"a\"")));
    assert_eq!(origin.connections(), 1, "a HEAD leaves the connection as it was");
}

#[test]
fn head_of_something_chunked_or_without_length_keeps_its_connection() {
    let origin = Origin::answering(|request| match request.target() {
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nX-Unframed: 1\r\n\r\n".to_owned(),
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for path in ["/chunked", "/unframed", "/chunked"] {
        let answer = client.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((answer.status(), answer.header("connection")), (200, None), "{answer:?}");
        // A length that is not known must not be made up.
        assert_ne!(answer.header("content-length"), Some("0"), "{answer:?}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn connect_is_not_implemented() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let through = format!("http://{}", proxy.address());
    let got = curl(&["--noproxy", "", "--proxytunnel", "--proxy", &through, "http://127.0.0.1:80/"]);
    assert_eq!((got.exit, got.heads[0].status()), (56, 501), "{got:?}");
    for target in ["a:80", "/", "*", "http://a/"] {
        let mut client = proxy.connect();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: a:80\r\n\r\n"));
        let answer = client.message(Role::Answer { to_head: false }).unwrap();
        assert!(matches!(answer.status(), 400 | 501), "{target}: {answer:?}");
        assert!(client.at_end(), "{target}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn answers_without_a_body_have_none_and_keep_their_connections() {
    let origin = Origin::answering(|request| match request.target() {
        "/204" => "HTTP/1.1 204 No Content\r\nX-Here: 1\r\n\r\n".to_owned(),
        "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"1\"\r\n\r\n".to_owned(),
        "/205" => "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let proxy = Proxy::before(&origin);
    let check = |path: &str, status: u16, length: Option<&str>| {
        let got = curl(&[&proxy.url(path)]);
        assert_eq!((got.exit, got.status(), got.head().header("content-length")), (0, status, length), "{got:?}");
        assert!(got.body.is_empty(), "{got:?}");
    };
    check("/204", 204, None);
    check("/304", 304, Some("99"));
    check("/205", 205, Some("0"));
    check("/200", 200, Some("0"));
    assert_eq!(origin.connections(), 1);
    // One connection of the client, too.
    let got = curl(&[&proxy.url("/204"), &proxy.url("/304"), &proxy.url("/200"), "--write-out", "%{num_connects}"]);
    assert_eq!(got.heads.len(), 3, "{got:?}");
    assert!(got.body.ends_with('0'), "the last exchange needed no connection: {got:?}");
}

//! `Expect: 100-continue`: endpoints that say go on, that refuse, and that know nothing of it.

use std::io::{BufRead, Read};

use crate::curl::{command, curl};
use crate::origin::{Origin, ok};
use crate::program::Proxy;
use crate::wire::{Peer, Role};

const HEAD: &str = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

/// Reads the body that belongs to a head, and says how long it was.
fn rest(peer: &mut Peer, mut request: crate::wire::Message) -> String {
    peer.body(&mut request, Role::Request).unwrap();
    request.body.len().to_string()
}

#[test]
fn the_body_comes_once_the_endpoint_has_said_go_on() {
    let origin = Origin::serving(|mut peer| {
        while let Ok(request) = peer.head() {
            assert_eq!(request.header("expect"), Some("100-continue"));
            // Nothing of the body is there before that.
            peer.socket().set_nonblocking(true).unwrap();
            assert!(peer.reader().fill_buf().is_err());
            peer.socket().set_nonblocking(false).unwrap();
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let length = rest(&mut peer, request);
            peer.send(ok(&length));
        }
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send(HEAD);
        assert_eq!(client.message(Role::Answer { to_head: false }).unwrap().status(), 100);
        client.send("hello");
        assert_eq!(client.answer(false).unwrap().body, "5");
    }
    let large = "x".repeat(3 << 20);
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("expect-{}", std::process::id()));
    std::fs::write(&file, &large).unwrap();
    let got = curl(&["--upload-file", file.to_str().unwrap(), "--expect100-timeout", "20", &proxy.url("/")]);
    std::fs::remove_file(file).unwrap();
    let statuses: Vec<u16> = got.heads.iter().map(crate::wire::Message::status).collect();
    assert_eq!((got.exit, statuses, got.body), (0, vec![100, 200], large.len().to_string()));
    assert_eq!(origin.connections(), 1);
}

/// The client may keep the body to itself then and ask for something else, which must not be taken for the body.
#[test]
fn a_refusal_reaches_the_client_and_ends_the_connection_if_the_body_may_never_come() {
    for refusal in [
        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let origin = Origin::serving(move |mut peer| {
            let request = peer.head().unwrap();
            assert_eq!(request.target(), "/upload");
            peer.send(refusal);
            let mut more = String::new();
            drop(peer.reader().read_to_string(&mut more));
            assert!(more.is_empty(), "the endpoint got {more:?}");
        });
        let proxy = Proxy::before(&origin);
        let mut client = proxy.connect();
        client.send(HEAD);
        let answer = client.message(Role::Answer { to_head: false }).unwrap();
        assert_eq!(answer.first, refusal.lines().next().unwrap());
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.at_end(), "{:?}", client.reader().fill_buf());
        proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
    }
}

#[test]
fn curl_is_told_the_refusal_of_an_upload() {
    let origin = Origin::serving(|mut peer| {
        drop(peer.head());
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nbig\n");
        drop(std::io::copy(peer.reader(), &mut std::io::sink()));
    });
    let proxy = Proxy::before(&origin);
    let mut command = command(&["--upload-file", "-", "--write-out", "%{http_code} %{size_upload}", &proxy.url("/")]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    // It is never written to: curl must learn the answer without having sent anything.
    let input = child.stdin.take();
    let said = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    drop(input);
    drop(child.wait());
    assert_eq!(said, "big\n413 0");
}

/// Our own answer is final, too, and nobody has asked for the body.
#[test]
fn our_own_refusal_ends_the_connection_too() {
    let origin = Origin::echo();
    let proxy = Proxy::with_route(&origin, "match: { path: /elsewhere }");
    let mut client = proxy.connect();
    client.send(HEAD);
    let answer = client.message(Role::Answer { to_head: false }).unwrap();
    assert_eq!(answer.error(), Some("destination_not_found"));
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    client.send("GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.at_end());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_endpoint_that_knows_no_expect_gets_the_body_all_the_same() {
    let origin = Origin::answering(|request| ok(&request.body));
    let proxy = Proxy::before(&origin);
    let got = curl(&["--header", "Expect: 100-continue", "--data", "hello", "--expect100-timeout", "20", &proxy.url("/")]);
    let statuses: Vec<u16> = got.heads.iter().map(crate::wire::Message::status).collect();
    assert_eq!((got.exit, statuses, got.body.as_str()), (0, vec![100, 200], "hello"));
    // A client that does not wait is not made to.
    let mut client = proxy.connect();
    client.send(format!("{HEAD}hello"));
    assert_eq!(client.answer(false).unwrap().body, "hello");
    let next = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(next.body, "ok");
}

//! Raw requests that are malformed or could be read in two ways: each is refused or closed, and whatever reaches an
//! endpoint has one target, one Host and one framing.

use std::io::Read;
use std::sync::mpsc::{Receiver, sync_channel};

use super::rig::{Client, Rig, endpoint};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Bytes that have no place in a head, with those that only look harmless.
const CONTROLS: [u8; 30] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127];

/// An endpoint that hands over the raw bytes of everything it gets, one connection at a time.
fn recorder() -> (std::net::SocketAddr, Receiver<String>) {
    let (record, records) = sync_channel(1024);
    let address = endpoint(move |mut client: Client| {
        while let Some(head) = client.request_head() {
            record.send(format!("{}\n{:?}", head.first, head.head)).unwrap();
            if client.body(head, false, false).is_none() {
                return;
            }
            client.send(OK);
        }
    });
    (address, records)
}

/// Requests that must not be answered as if they were right.
fn refused() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = REFUSED.iter().map(|text| text.as_bytes().to_vec()).collect();
    for control in CONTROLS {
        for template in [
            "GET /a\u{1}b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-\u{1}: 1\r\n\r\n",
            "G\u{1}T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\u{1}b\r\n\r\n",
        ] {
            cases.push(template.bytes().map(|byte| if byte == 1 { control } else { byte }).collect());
        }
    }
    for control in CONTROLS.into_iter().filter(|control| *control != 0x0b && *control != 0x0c) {
        cases.push([b"GET / HTTP/1.1\r\nHost: a\r\nX: 1".as_slice(), &[control], b"2\r\n\r\n"].concat());
    }
    cases
}

const REFUSED: &[&str] = &[
    // Two framings, or one that not everybody reads alike.
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x=1\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunk\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nab",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1a\r\n\r\na",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\na",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\na",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length\r\n\r\n",
    // Chunks that are none.
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\na\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\ra\r\n0\r\n\r\n",
    // Hosts.
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: me@a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
    "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    // Targets.
    "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/./b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /.%2E/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%2e HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / a HTTP/1.1\r\nHost: a\r\n\r\n",
    // Request lines.
    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "GET / http/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET / HTTP/11\r\nHost: a\r\n\r\n",
    "GET /\r\n\r\n",
    "GET /\r\nHost: a\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\tGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "G(T) / HTTP/1.1\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n",
    "hello\r\n\r\n",
    // Header lines.
    "GET / HTTP/1.1\r\nHost: a\r\n X: 1\r\n\r\n",
    "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\tfolded\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n(X): 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
    "GET / HTTP/1.1\rHost: a\r\r",
    "GET / HTTP/1.1\r\nHost: a\r\n\rGET /b HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e4}\u{0}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\u{e4}: 1\r\n\r\n",
];

#[test]
fn malformed_requests_are_refused_or_closed() {
    let (origin, records) = recorder();
    let rig = Rig::start(&[origin]);
    let cases = refused();
    assert!(cases.len() >= 200, "{}", cases.len());
    for case in &cases {
        let shown = String::from_utf8_lossy(case).into_owned();
        let mut client = rig.connect();
        client.send_bytes(case);
        client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        drop(client.stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap_or("closed").to_owned();
        assert!(status == "closed" || status.starts_with('4'), "{shown:?} got {answer:?}");
        for record in records.try_iter() {
            assert_unambiguous(&shown, &record);
        }
    }
    assert_eq!(rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 200);
    assert_eq!(crate::runtime::panics::count(), 0);
}

/// What reached an endpoint before its body turned out to be bad still has one Host and one framing.
fn assert_unambiguous(case: &str, record: &str) {
    let count = |name: &str| record.matches(&format!("(\"{name}\",")).count();
    assert!(count("host") == 1 && count("content-length") + count("transfer-encoding") <= 1, "{case:?} became {record}");
}

#[test]
fn what_is_tolerated_is_passed_on_in_one_plain_form() {
    let (origin, records) = recorder();
    let rig = Rig::start(&[origin]);
    let check = |request: &str, wanted: &str| {
        let mut client = rig.connect();
        client.send(request);
        assert_eq!(client.reply(false).status(), 200, "{request:?}");
        let record = records.recv_timeout(super::rig::PATIENCE).unwrap();
        assert!(record.contains(wanted), "{request:?} became {record}");
        assert_unambiguous(request, &record);
        client
    };
    check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1");
    check("GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1");
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", r#"("content-length", "1")"#);
    check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n1234567", r#"("content-length", "#);
    // Both framings: read as chunked, passed on so, and the connection ends afterwards.
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(check(both, r#"("transfer-encoding", "chunked")"#).at_end());
    let other = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n";
    assert!(check(other, r#"("transfer-encoding", "chunked")"#).at_end());
}

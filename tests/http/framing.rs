//! Bodies in every framing, both ways, and trailers.

use std::io::Write;

use crate::curl::{Beside, curl};
use crate::origin::{Origin, ok, seen, shown};
use crate::program::Proxy;
use crate::wire::{Fault, Role};

/// An endpoint that echoes in two chunks.
fn chunking() -> Origin {
    Origin::answering(|request| {
        let echo = shown(request);
        let (one, two) = echo.split_at(7);
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(one), chunk(two))
    })
}

#[test]
fn chunked_bodies_pass_both_ways() {
    let origin = chunking();
    let proxy = Proxy::before(&origin);
    let got = curl(&["--header", "Transfer-Encoding: chunked", "--data", "some=body", &proxy.url("/a"), &proxy.url("/b")]);
    assert_eq!((got.exit, got.heads.len(), got.status()), (0, 2, 200), "{got:?}");
    assert_eq!(got.head().header("transfer-encoding"), Some("chunked"));
    let (first, second) = got.body.split_at(got.body.find("POST /b").unwrap());
    for echo in [first, second] {
        assert_eq!((seen(echo, "transfer-encoding"), seen(echo, "content-length")), (Some("chunked"), None), "{echo}");
        assert!(echo.ends_with("\n\nsome=body\n"), "{echo}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_piece_passes_before_the_next_one_is_there() {
    let origin = Origin::serving(|mut peer| {
        let head = peer.head().unwrap();
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Each chunk goes back before the next one has been sent.
        while let Ok(size) = peer.line() {
            let text = peer.line().unwrap();
            peer.send(format!("{size}\r\n{text}\r\n"));
        }
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().unwrap().status(), 200);
    for text in ["one", "three", "eleven"] {
        let chunk = [format!("{:X}", text.len()), text.to_owned()];
        client.send(format!("{}\r\n{}\r\n", chunk[0], chunk[1]));
        assert_eq!([client.line().unwrap(), client.line().unwrap()], chunk);
    }
    client.send("0\r\n\r\n");
    assert_eq!([client.line().unwrap(), client.line().unwrap()], ["0", ""]);
}

#[test]
fn trailers_pass_both_ways_if_they_were_announced_and_wanted() {
    let origin = Origin::answering(|request| {
        let echo = shown(request);
        let trailers = "X-Sum: 7\r\nX-Secret: 1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\n";
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
        format!("{head}{:x}\r\n{echo}\r\n0\r\n{trailers}\r\n", echo.len())
    });
    let proxy = Proxy::before(&origin);
    let got = curl(&["--header", "TE: trailers", "--header", "Connection: TE", &proxy.url("/")]);
    assert_eq!((got.exit, got.status(), got.trailers.as_slice()), (0, 200, [("x-sum".to_owned(), "7".to_owned())].as_slice()));
    assert_eq!((seen(&got.body, "te"), seen(&got.body, "connection")), (Some("trailers"), Some("te")), "{got:?}");

    let mut client = proxy.connect();
    let answer = client.ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Check, X-Forwarded-For, X-Client-Cert-Subject, Authorization\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Check: 5\r\nX-Secret: 1\r\nHost: evil\r\nX-Forwarded-For: 10.0.0.1\r\n\
         X-Client-Cert-Subject: CN=root\r\nAuthorization: x\r\n\r\n",
    );
    assert!(answer.body.ends_with("\n\nabc\nx-check: 5\n"), "{answer:?}");
    assert_eq!(answer.trailers, [], "a client that did not ask for trailers gets none");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_client_of_http_1_0_gets_the_end_of_its_connection_instead_of_chunks() {
    let origin = chunking();
    let proxy = Proxy::before(&origin);
    let got = curl(&["--http1.0", &proxy.url("/a")]);
    assert_eq!((got.exit, got.status(), got.head().header("transfer-encoding")), (0, 200, None), "{got:?}");
    assert!(got.head().first.starts_with("HTTP/1.0 ") || got.head().header("connection") == Some("close"), "{got:?}");
    assert!(got.body.starts_with("GET /a HTTP/1.1\n"), "{got:?}");
    assert_eq!(seen(&got.body, "via"), Some("1.0 pulsegate"));
    let got = curl(&["--http1.0", "--data", "some=body", &proxy.url("/a")]);
    assert!(got.body.ends_with("\n\nsome=body\n"), "{got:?}");
    let mut bare = proxy.connect();
    let answer = bare.ask("GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(seen(&answer.body, "host"), Some(origin.address.to_string().as_str()), "HTTP/1.1 needs a Host");
}

#[test]
fn an_endpoint_of_http_1_0_is_understood() {
    let origin = Origin::serving(|mut peer| {
        while let Ok(request) = peer.request() {
            match request.target() {
                "/kept" => peer.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nkept"),
                "/closed" => peer.send("HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nclosed"),
                _ => {
                    peer.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
                    return;
                }
            };
        }
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    let mut get = |path: &str| client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    for (path, body, connections) in
        [("/kept", "kept", 1), ("/kept", "kept", 1), ("/closed", "closed", 1), ("/kept", "kept", 2), ("/end", "until the end", 2)]
    {
        let answer = get(path);
        assert_eq!((answer.first.as_str(), answer.body.as_str()), ("HTTP/1.1 200 OK", body));
        assert_eq!(origin.connections(), connections, "{path}");
    }
}

#[test]
fn a_body_as_long_as_its_connection_becomes_chunked() {
    let origin = Origin::serving(|mut peer| {
        drop(peer.request());
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
    });
    let proxy = Proxy::before(&origin);
    let got = curl(&[&proxy.url("/"), &proxy.url("/")]);
    assert_eq!((got.exit, got.heads.len(), got.body.as_str()), (0, 2, "until the enduntil the end"), "{got:?}");
    assert_eq!((got.head().header("transfer-encoding"), got.head().header("connection")), (Some("chunked"), None));
}

#[test]
fn an_upload_from_a_pipe_and_a_download_of_unknown_length_stream_with_curl() {
    let origin = Origin::answering(|request| ok(&request.body.len().to_string()));
    let proxy = Proxy::before(&origin);
    let mut curl = Beside::start(&["--header", "Expect:", "--upload-file", "-", &proxy.url("/")]);
    let mut input = curl.0.stdin.take().unwrap();
    for _ in 0..100 {
        input.write_all(&[b'x'; 1000]).unwrap();
    }
    drop(input);
    let said = std::io::read_to_string(curl.0.stdout.take().unwrap()).unwrap();
    assert_eq!(said, "100000");
}

/// Neither side of the proxy may take half a body for a whole one.
#[test]
fn a_client_that_breaks_off_leaves_no_whole_request_behind() {
    let (seen, requests) = std::sync::mpsc::sync_channel(4);
    let origin = Origin::serving(move |mut peer| seen.send(peer.message(Role::Request)).unwrap());
    let proxy = Proxy::before(&origin);
    for half in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(half);
        client.finish_sending();
        let request = requests.recv_timeout(crate::wire::PATIENCE).unwrap();
        assert!(matches!(request, Err(Fault::Broken(_))), "{half:?} became {request:?}");
    }
}

//! Requests inside requests: whatever a client writes, the endpoint reads as many requests as the client gets answers for, each
//! in the plainest form there is.

use std::sync::mpsc::{Receiver, sync_channel};

use crate::origin::{Origin, ok};
use crate::program::Proxy;
use crate::wire::{Fault, Message, Peer, Role};

/// A request that must reach nobody, as the body of another.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\nX-Ignore: x";

/// An endpoint that reads strictly and reports each request, or what it could not read.
fn strict() -> (Origin, Receiver<Result<Message, Fault>>) {
    let (report, reports) = sync_channel(10_000);
    let origin = Origin::serving(move |mut peer: Peer| {
        loop {
            let request = read(&mut peer);
            let answer = request.as_ref().ok().map(|request| ok(request.target()));
            // Reported before it is answered, so that whoever has the answer finds the report.
            report.send(request).unwrap();
            let Some(answer) = answer else { return };
            peer.send(answer);
        }
    });
    (origin, reports)
}

/// Reads a request, and says go on where that is waited for.
fn read(peer: &mut Peer) -> Result<Message, Fault> {
    let mut request = peer.head()?;
    if request.header("expect") == Some("100-continue") {
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    }
    peer.body(&mut request, Role::Request)?;
    Ok(request)
}

/// Ways to say how long a body is, of which at least one reader may see another one.
fn framings() -> Vec<String> {
    let codings = [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:chunked",
        "Transfer-Encoding:  chunked ",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n: chunked",
        " Transfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\u{0}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding\u{0}: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding: CHUNKED",
        "Transfer-Encoding: chunKed\u{a0}",
        "Transfer-Encoding: ch\u{17f}unked",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
        "Trailer: Content-Length\r\nTransfer-Encoding: chunked",
    ];
    let lengths =
        ["6", "+6", "06", "6, 6", "0x6", "6\r\nContent-Length: 6", "0\r\nContent-Length: 6", " 6", "6 ", "6\u{b}", "-0", "6e0"];
    let mut framings: Vec<String> = Vec::new();
    for coding in codings {
        framings.push(coding.to_owned());
        framings.push(format!("{coding}\r\nContent-Length: 6"));
        framings.push(format!("Content-Length: 6\r\n{coding}"));
    }
    framings.extend(lengths.iter().map(|length| format!("Content-Length: {length}")));
    framings.extend(lengths.iter().map(|length| format!("content-length: {length}\r\nTransfer-Encoding: chunked")));
    framings.push("Connection: content-length\r\nContent-Length: 6".to_owned());
    framings.push("Content_Length: 60\r\nContent-Length: 6".to_owned());
    framings.push("Content-Length\u{0}: 60".to_owned());
    framings.push("Expect: 100-continue\r\nContent-Length: 6".to_owned());
    framings.push("Expect: 100-continue\r\nTransfer-Encoding: chunked".to_owned());
    framings.push("Expect: x 100-continue\r\nContent-Length: 6".to_owned());
    framings.push("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 6".to_owned());
    framings.push("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: upgrade, http2-settings".to_owned());
    framings
}

/// Bodies that end in different places for different readers.
fn bodies() -> Vec<String> {
    let chunks = |head: &str| format!("{head}\r\n{HIDDEN}");
    vec![
        format!("0\r\n\r\nG{HIDDEN}\r\n\r\n"),
        format!("0\r\n\r\n{HIDDEN}\r\n\r\n"),
        chunks("0\n\n"),
        chunks("0;a=b\n\r\n"),
        chunks("0 \r\n\r\n"),
        chunks("00\r\n\r\n"),
        chunks("0\rx\r\n\r\n"),
        chunks("0\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n"),
        format!("1\r\nx\r\n0\r\n\r\n{HIDDEN}\r\n\r\n"),
        format!("2\r\nxx\n0\r\n\r\n{HIDDEN}\r\n\r\n"),
        format!("1;\nx\r\n0\r\n\r\n{HIDDEN}\r\n\r\n"),
        format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len()),
        format!("{:x};a=\"\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len()),
        format!("100000000000000001\r\nx\r\n0\r\n\r\n{HIDDEN}\r\n\r\n"),
    ]
}

#[test]
fn an_endpoint_reads_no_more_requests_than_the_client_gets_answers_for() {
    let (origin, reports) = strict();
    let proxy = Proxy::with_route(&origin, "timeout: 2s");
    let mut sent = 0;
    for framing in framings() {
        for body in bodies() {
            for version in ["1.1", "1.0"] {
                let request =
                    format!("POST /outer HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n{framing}\r\n\r\n{body}");
                check(&proxy, &reports, &request);
                sent += 1;
            }
        }
    }
    assert!(sent > 2500, "{sent}");
    let answer = proxy.connect().ask("GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.body, "/after");
}

/// Sends a request and compares the answers with what the endpoint read.
fn check(proxy: &Proxy, reports: &Receiver<Result<Message, Fault>>, request: &str) {
    let mut client = proxy.connect();
    client.send(request);
    client.finish_sending();
    let mut answers = Vec::new();
    while let Ok(answer) = client.answer(false) {
        answers.push(answer);
    }
    let from_endpoint: Vec<&str> = answers
        .iter()
        .filter(|answer| answer.error().is_none() && answer.status() == 200)
        .map(|answer| answer.body.as_str())
        .collect();
    let mut read = Vec::new();
    for report in reports.try_iter() {
        match report {
            Ok(message) => {
                assert_eq!(message.count("host"), 1, "{request:?} became {message:?}");
                assert!(message.trailers.is_empty(), "{request:?} became {message:?}");
                read.push(message.target().to_owned());
            }
            // A body that turned out to be none: the connection ended with it.
            Err(Fault::Broken(_) | Fault::Closed) => {}
            Err(Fault::Malformed(what)) => panic!("{request:?} reached the endpoint as {what}"),
        }
    }
    assert!(from_endpoint.len() <= read.len(), "{request:?}: {answers:?}");
    for target in &read {
        // What the client wrote after the end of its first request is a request of its own, if it is one.
        assert!(target == "/outer" || target == "/hidden", "{request:?} became a request for {target}");
    }
    let hidden = read.iter().filter(|target| *target == "/hidden").count();
    assert!(hidden <= read.iter().filter(|target| *target == "/outer").count(), "{request:?}");
    if hidden > 0 {
        assert_eq!(&from_endpoint[..1], ["/outer"], "{request:?}: an answer changed places: {answers:?}");
    }
}

/// The same bytes to other people's servers: each must see what the client was answered for, and nothing more.
#[test]
fn a_request_line_in_a_header_or_path_stays_there() {
    let (origin, reports) = strict();
    let proxy = Proxy::before(&origin);
    for line in [
        "GET /a%0d%0aHost:%20b HTTP/1.1",
        "GET /a%0d%0a%0d%0aGET%20/hidden HTTP/1.1",
        "GET /a?x=%0d%0aX-Injected:%201 HTTP/1.1",
        "GET /a\u{85}b HTTP/1.1",
    ] {
        let mut client = proxy.connect();
        client.send(format!("{line}\r\nHost: a\r\nX-Value: a%0d%0aX-Injected: 1\r\n\r\n"));
        client.finish_sending();
        drop(client.answer(false));
        for message in reports.try_iter().filter(|report| *report != Err(Fault::Closed)) {
            let message = message.unwrap_or_else(|fault| panic!("{line:?}: {fault:?}"));
            assert!(message.count("x-injected") == 0 && message.first == line, "{line:?} became {message:?}");
        }
    }
}

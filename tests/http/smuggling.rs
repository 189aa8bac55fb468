//! Requests inside requests: whatever a client writes, the endpoint reads as many requests as the client gets answers for, each
//! in the plainest form there is.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::origin::{Origin, ok};
use crate::program::Proxy;
use crate::wire::{Fault, Message, PATIENCE, Peer, Role};

/// How long nothing comes until a client believes that nothing will.
const QUIET: Duration = Duration::from_millis(20);
/// Clients side by side, each with a proxy and an endpoint of its own.
const LANES: usize = 4;

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

/// Bodies that end in different places for different readers, and have a request in them.
fn bodies(number: usize) -> Vec<String> {
    let hidden = format!("GET /hidden/{number} HTTP/1.1\r\nHost: a\r\nX-Ignore: x");
    let chunks = |head: &str| format!("{head}\r\n{hidden}");
    vec![
        format!("0\r\n\r\nG{hidden}\r\n\r\n"),
        format!("0\r\n\r\n{hidden}\r\n\r\n"),
        chunks("0\n\n"),
        chunks("0;a=b\n\r\n"),
        chunks("0 \r\n\r\n"),
        chunks("00\r\n\r\n"),
        chunks("0\rx\r\n\r\n"),
        chunks("0\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n"),
        format!("1\r\nx\r\n0\r\n\r\n{hidden}\r\n\r\n"),
        format!("2\r\nxx\n0\r\n\r\n{hidden}\r\n\r\n"),
        format!("1;\nx\r\n0\r\n\r\n{hidden}\r\n\r\n"),
        format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
        format!("{:x};a=\"\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
        format!("100000000000000001\r\nx\r\n0\r\n\r\n{hidden}\r\n\r\n"),
    ]
}

#[test]
fn an_endpoint_reads_what_the_client_is_answered_for_and_nothing_else() {
    let framings = framings();
    let share = framings.len().div_ceil(LANES);
    let lanes: Vec<_> = framings.chunks(share).map(<[String]>::to_vec).map(|share| std::thread::spawn(|| lane(share))).collect();
    let (sent, answered) = lanes.into_iter().map(|lane| lane.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert!(sent > 2500 && answered > 500, "{answered} of {sent} answered by an endpoint");
}

/// Sends every body with each of these framings; gives how many were sent and how many an endpoint has answered.
fn lane(framings: Vec<String>) -> (usize, usize) {
    let (origin, reports) = strict();
    let proxy = Proxy::with_route(&origin, "timeout: 2s");
    let (mut sent, mut answered) = (0, 0);
    for framing in framings {
        for body in 0..bodies(0).len() {
            for version in ["1.1", "1.0"] {
                let head = format!("POST /outer/{sent} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n{framing}");
                answered += check(&proxy, &reports, &format!("{head}\r\n\r\n{}", bodies(sent)[body]), sent);
                sent += 1;
            }
        }
    }
    let answer = proxy.connect().ask("GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.body, "/after");
    (sent, answered)
}

/// Sends a request, compares the answers with what the endpoint read, and gives how many it answered.
fn check(proxy: &Proxy, reports: &Receiver<Result<Message, Fault>>, request: &str, number: usize) -> usize {
    let mut client = proxy.connect();
    client.send(request);
    let answered: Vec<String> =
        answers(&mut client).into_iter().filter(|answer| answer.status() == 200).map(|a| a.body).collect();
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
    // An exchange before this one may have been reported late.
    read.retain(|target| target.ends_with(&format!("/{number}")));
    assert_eq!(read.get(..answered.len()), Some(&answered[..]), "{request:?}");
    // What the client wrote after the end of its first request is a request of its own, if it is one.
    let (outer, hidden) = (format!("/outer/{number}"), format!("/hidden/{number}"));
    assert!([outer, hidden].starts_with(&read), "{request:?} became {read:?}");
    answered.len()
}

/// Everything that comes until the other side closes, or nothing more seems to come.
fn answers(client: &mut Peer) -> Vec<Message> {
    client.socket().set_read_timeout(Some(QUIET)).unwrap();
    let mut answers = Vec::new();
    while let Ok(answer) = client.answer(false) {
        answers.push(answer);
    }
    client.finish_sending();
    client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    while let Ok(answer) = client.answer(false) {
        answers.push(answer);
    }
    answers
}

/// The endpoint answers before it has the body, and the client sends it afterwards.
#[test]
fn a_body_that_comes_after_its_answer_is_no_request() {
    let (report, reports) = sync_channel(100);
    let origin = Origin::serving(move |mut peer| {
        while let Ok(request) = peer.head() {
            report.send(request.target().to_owned()).unwrap();
            peer.send(ok(request.target()));
            if request.target() == "/early" {
                // It reads on and throws away, as a careful server does.
                drop(std::io::copy(peer.reader(), &mut std::io::sink()));
                return;
            }
        }
    });
    let proxy = Proxy::before(&origin);
    let inner = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    for (framing, body) in
        [(format!("Content-Length: {}", inner.len()), inner), ("Transfer-Encoding: chunked".to_owned(), chunk.as_str())]
    {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let mut client = proxy.connect();
            client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\n{expect}{framing}\r\n\r\n"));
            assert_eq!(client.answer(false).unwrap().body, "/early");
            client.send(body);
            client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
            let next = answers(&mut client);
            assert!(next.iter().all(|answer| answer.body == "/next"), "{framing} {expect:?}: {next:?}");
        }
    }
    let seen: Vec<String> = reports.try_iter().collect();
    assert!(seen.iter().all(|target| target != "/hidden") && seen.len() >= 4, "{seen:?}");
}

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

//! The same bytes, read by hyper's client and by ours: what we take hyper takes too, and reads the same.
//!
//! We refuse more. What hyper refuses we must refuse, or two programs with these two parsers could be played off against
//! each other; the one thing that we take beyond it is more header lines.

use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::sample::select;

use super::script::{Script, Then, ask, listen};
use crate::runtime::thread::block_on;

/// What came of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: usize,
}

fn lines(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    // Lengths are put into a plain form by us alone, and dropped by hyper where there is no body; plain words about the
    // connection are not passed on by us.
    let own = ["content-length", "transfer-encoding", "connection"];
    let kept = headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn ours(method: &Method, pieces: &[Vec<u8>]) -> Option<Read> {
    let whole = listen(ask(method, Script::new(pieces, Then::Closes))).expect("everything has been said").ok()?;
    Some(Read {
        status: whole.reply.status.as_u16(),
        headers: lines(&whole.reply.headers),
        body: whole.body,
        trailers: whole.trailers.map_or(0, |trailers| trailers.len()),
    })
}

fn hypers(method: &Method, pieces: &[Vec<u8>]) -> Option<Read> {
    let io = TokioIo::new(Script::new(pieces, Then::Closes));
    let request = http::Request::builder().method(method).uri("/").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
    block_on(async {
        let builder = hyper::client::conn::http1::Builder::new();
        let (mut sender, connection) = builder.handshake(io).await.unwrap();
        let mut connection = Box::pin(connection);
        let mut reading = Box::pin(async {
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?;
            let trailers = body.trailers().map_or(0, HeaderMap::len);
            let headers = lines(&head.headers);
            Some(Read { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec(), trailers })
        });
        let mut ended = false;
        std::future::poll_fn(|cx| {
            ended = ended || connection.as_mut().poll(cx).is_ready();
            match reading.as_mut().poll(cx) {
                Poll::Pending if ended => Poll::Ready(None),
                polled => polled,
            }
        })
        .await
    })
    .unwrap()
}

/// Cuts bytes at any places.
fn cut(bytes: &[u8], at: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = at.iter().map(|at| at % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect()
}

const HEADS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 404\r\n",
    "HTTP/1.1 500 \r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 201 Made\r\n",
    "\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\n",
    "HTTP/2 200 OK\r\n",
    "garbage\r\n",
    "",
];

const LINES: &[&str] = &[
    "Content-Length: 2\r\n",
    "Content-Length: 2\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 02\r\n",
    "Content-Length: 2, 2\r\n",
    "Content-Length: 2,3\r\n",
    "Content-Length: +2\r\n",
    "content-length:\t2\t\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: CHUNKED\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "X: 1\r\n",
    "X:\r\n",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    "Set-Cookie: a=1\r\n",
    "Bytes: \u{e9}\r\n",
    "X: 1\n",
    "X : 1\r\n",
    " folded\r\n",
    "X: a\0\r\n",
    "X: a\r",
    "\r\n",
];

const BODIES: &[&str] = &[
    "ok",
    "o",
    "okEVIL",
    "2\r\nok\r\n",
    "2\r\nok\r\n",
    "0\r\n\r\n",
    "0\r\n\r\n",
    "2;x=y\r\nok\r\n",
    "2 \r\nok\r\n",
    "a\r\n0123456789\r\n",
    "0\r\nX: 1\r\n\r\n",
    "0\r\n",
    "\r\n",
    "g\r\n",
    "2\nok\n",
    "",
];

fn answers() -> impl Strategy<Value = Vec<u8>> {
    let some = |of: &'static [&'static str], most: usize| proptest::collection::vec(select(of), 0..most);
    (select(HEADS), some(LINES, 4), select(&["\r\n", "\r\n", "\r\n", "\n", ""][..]), some(BODIES, 4))
        .prop_map(|(head, lines, end, body)| [head, &lines.concat(), end, &body.concat()].concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn what_we_take_hyper_takes_and_reads_the_same(
        bytes in answers(),
        head in any::<bool>(),
        at in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let method = if head { Method::HEAD } else { Method::GET };
        let whole = ours(&method, &cut(&bytes, &[]));
        prop_assert_eq!(&ours(&method, &cut(&bytes, &at)), &whole, "cut at {:?}", at);
        if let Some(ours) = whole {
            let hypers = hypers(&method, &cut(&bytes, &at));
            prop_assert_eq!(hypers, Some(ours), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

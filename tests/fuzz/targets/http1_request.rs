//! What must hold of every request that we send over HTTP/1.1: the endpoint reads exactly what was meant, however little it
//! takes at a time, and a body that is not what it was said to be never looks whole.
//!
//! The input is a row of choices: method, framing, header lines, the frames of the body, and how much the endpoint takes at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Empty;
use pulsegate::http1::{Connection, Conversation, Fault, Heard, RequestHead};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::PUT, Method::OPTIONS];
const NAMES: [&str; 8] = ["x-a", "trailer", "te", "connection", "expect", "x-trailer", "accept", "host"];
const TRAILERS: [&str; 4] = ["x-trailer", "content-length", "x-secret", "transfer-encoding"];
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const MAX_LINES: usize = 40;

/// An endpoint that takes so many bytes at a time, every other time none, and then says `answer`.
struct Endpoint {
    taken: Rc<RefCell<Vec<u8>>>,
    step: usize,
    busy: bool,
    answer: VecDeque<u8>,
}

impl Endpoint {
    fn new(step: usize, answer: &[u8]) -> (Self, Rc<RefCell<Vec<u8>>>) {
        let taken = Rc::<RefCell<Vec<u8>>>::default();
        (Self { taken: Rc::clone(&taken), step, busy: false, answer: answer.iter().copied().collect() }, taken)
    }

    fn is_busy(&mut self, cx: &mut Context<'_>) -> bool {
        self.busy = !self.busy && self.step < usize::MAX;
        cx.waker().wake_by_ref();
        self.busy
    }
}

impl AsyncRead for Endpoint {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.answer.len().min(buf.remaining());
        let piece: Vec<u8> = self.answer.drain(..count).collect();
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endpoint {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_busy(cx) {
            return Poll::Pending;
        }
        let count = buf.len().min(self.step);
        self.taken.borrow_mut().extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.is_busy(cx) {
            return Poll::Pending;
        }
        let all: Vec<u8> = bufs.iter().flat_map(|part| part.iter().copied()).take(self.step).collect();
        self.taken.borrow_mut().extend_from_slice(&all);
        Poll::Ready(Ok(all.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A body of these frames, every other time not ready, that says of itself that it is so long.
#[derive(Debug, Clone)]
struct Frames {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    says: Option<u64>,
    waits: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waits = !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let data = self.data.pop_front().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.says == Some(0) || (self.says.is_none() && self.data.is_empty() && self.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        self.says.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// A request as it is meant.
#[derive(Debug)]
struct Request {
    method: Method,
    headers: HeaderMap,
    body: Frames,
    step: usize,
}

/// What is left of the input.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn number(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn line(&mut self, names: &[&'static str]) -> Option<(HeaderName, HeaderValue)> {
        let name = names[self.number() % names.len()];
        let count = self.number() % 32;
        Some((HeaderName::from_static(name), HeaderValue::from_bytes(self.bytes(count)).ok()?))
    }

    fn request(mut self) -> Request {
        let method = METHODS[self.number() % METHODS.len()].clone();
        let step = match self.number() {
            0 => usize::MAX,
            step => step,
        };
        let mut headers = HeaderMap::new();
        for _ in 0..self.number() % 12 {
            match self.line(&NAMES) {
                Some((name, value)) if name == "host" => drop(headers.insert(name, value)),
                Some((name, value)) => drop(headers.append(name, value)),
                None => {}
            }
        }
        if self.number() % 2 == 1 {
            // What somebody said of another body.
            headers.insert("transfer-encoding", HeaderValue::from_static("chunked, gzip"));
        }
        let says = self.number();
        let trailers = self.number().is_multiple_of(3).then(|| (0..3).filter_map(|_| self.line(&TRAILERS)).collect());
        let mut data = VecDeque::new();
        while !self.0.is_empty() {
            let count = self.number() * 3;
            data.push_back(Bytes::copy_from_slice(self.bytes(count)));
        }
        let length = data.iter().map(|data| data.len() as u64).sum::<u64>();
        let says = match says % 4 {
            0 => Some(length),
            1 if says > 240 => Some(length + 1),
            2 if says > 240 => Some(length.saturating_sub(1)),
            _ => None,
        };
        let is_empty = says == Some(0) || (says.is_none() && data.is_empty() && trailers.is_none());
        headers.insert("content-length", if is_empty { HeaderValue::from_static("0") } else { HeaderValue::from_static("7") });
        Request { method, headers, body: Frames { data, trailers, says, waits: false }, step }
    }
}

/// Sends the request that `data` stands for.
pub(crate) fn run(data: &[u8]) {
    let request = Choices(data).request();
    let (whole, sent) = send(&request, usize::MAX);
    let (same, piecemeal) = send(&request, request.step);
    assert_eq!(same, whole, "{} bytes at a time", request.step);
    assert!(if whole { piecemeal == sent } else { sent.starts_with(&piecemeal) }, "{} bytes at a time", request.step);
    let meant: Vec<u8> = request.body.data.iter().flatten().copied().collect();
    let mut ends = request.body.data.iter().scan(0, |end, data| {
        *end += data.len() as u64;
        Some(*end)
    });
    assert_eq!(whole, request.body.says.is_none_or(|says| says == 0 || ends.any(|end| end == says)));
    check(&request, &sent, &meant, whole);
}

/// Whether it went out as a whole, and what the endpoint took.
fn send(request: &Request, step: usize) -> (bool, Vec<u8>) {
    let (endpoint, taken) = Endpoint::new(step, ANSWER);
    let Request { method, headers, body, .. } = request;
    let head = RequestHead { method, target: "/a?b", headers, host: Some("h"), more: b"", title_case: false };
    let mut conversation = Conversation::new(Connection::new(endpoint), head, body.clone());
    let cx = &mut Context::from_waker(Waker::noop());
    // Every poll that waits has the endpoint or the body go on with the next.
    let whole = loop {
        match conversation.poll_sent(cx) {
            Poll::Ready(Ok(())) => break true,
            Poll::Ready(Err(fault)) => {
                assert!(matches!(fault, Fault::RequestBody));
                break false;
            }
            Poll::Pending => {}
        }
    };
    if whole {
        assert!(matches!(conversation.poll_reply(cx), Poll::Ready(Ok(Heard::Final(_)))));
        assert!(matches!(conversation.poll_frame(cx), Poll::Ready(None)));
    }
    assert_eq!(conversation.finish().is_some(), whole);
    let taken = taken.borrow().clone();
    (whole, taken)
}

/// Reads what was sent as an endpoint would.
fn check(request: &Request, sent: &[u8], meant: &[u8], whole: bool) {
    let mut table = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut head = httparse::Request::new(&mut table);
    let Ok(httparse::Status::Complete(length)) = head.parse(sent) else {
        // The body failed before anything was sent.
        return assert!(!whole && sent.is_empty(), "the head is malformed");
    };
    assert_eq!((head.method, head.path, head.version), (Some(request.method.as_str()), Some("/a?b"), Some(1)));
    let values = |wanted: &'static str| head.headers.iter().filter(move |line| line.name == wanted).map(|line| line.value);
    assert_eq!(values("host").count(), 1);
    assert_eq!(values("x-a").count(), request.headers.get_all("x-a").iter().count());
    let (lengths, codings): (Vec<_>, Vec<_>) = (values("content-length").collect(), values("transfer-encoding").collect());
    let body = &sent[length..];
    match request.body.says {
        _ if request.body.is_end_stream() => {
            assert!(body.is_empty() && lengths == [b"0"] && codings.is_empty());
        }
        Some(says) => {
            assert!(lengths == [says.to_string().as_bytes()] && codings.is_empty());
            let says = usize::try_from(says).expect("it is short");
            assert!(if whole { body == &meant[..says] } else { body.len() < says });
        }
        None => {
            assert!(lengths.is_empty() && codings == [b"chunked"]);
            let announced: Vec<_> = values("trailer").map(|value| String::from_utf8_lossy(value).to_ascii_lowercase()).collect();
            assert_eq!(read_back(body, &announced), meant);
        }
    }
}

/// What our own reader makes of a body in chunks.
fn read_back(body: &[u8], announced: &[String]) -> Vec<u8> {
    let answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body].concat();
    let headers = HeaderMap::new();
    let head =
        RequestHead { method: &Method::GET, target: "/", headers: &headers, host: Some("h"), more: b"", title_case: false };
    let mut conversation = Conversation::new(Connection::new(Endpoint::new(usize::MAX, &answer).0), head, Empty::<Bytes>::new());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(conversation.poll_reply(cx), Poll::Ready(Ok(Heard::Final(_)))));
    let mut read = Vec::new();
    loop {
        match conversation.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => {
                    let fields = frame.into_trailers().expect("there is no third kind of frame");
                    assert!(fields.keys().all(|name| announced.iter().any(|names| names.contains(name.as_str()))));
                    assert!(!fields.contains_key("content-length") && !fields.contains_key("transfer-encoding"));
                }
            },
            Poll::Ready(None) => break,
            other => panic!("what we wrote we cannot read: {other:?}"),
        }
    }
    assert!(conversation.finish().is_some(), "something is left behind the body");
    read
}

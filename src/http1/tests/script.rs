//! A stream that plays an endpoint: what it says, in which pieces, and how much it takes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::{Connection, Conversation, Fault, Heard, Reply, RequestHead};

/// What an endpoint does when it has said everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Waits,
    Closes,
    Resets,
}

/// The endpoint's side.
#[derive(Debug)]
pub(super) struct Script {
    says: VecDeque<Vec<u8>>,
    then: Then,
    /// What it has been sent.
    pub(super) heard: Vec<u8>,
    /// How much more it takes.
    pub(super) takes: usize,
    /// What happens to what it does not take.
    pub(super) refuses: bool,
    /// It says nothing before it has heard something, as endpoints do.
    waiting: Option<Waker>,
}

impl Script {
    pub(super) fn new(says: impl IntoIterator<Item = impl AsRef<[u8]>>, then: Then) -> Self {
        let says = says.into_iter().map(|piece| piece.as_ref().to_vec()).filter(|piece| !piece.is_empty()).collect();
        Self { says, then, heard: Vec::new(), takes: usize::MAX, refuses: false, waiting: None }
    }

    pub(super) fn say(&mut self, piece: &str) {
        self.says.push_back(piece.as_bytes().to_vec());
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.heard.is_empty() && !self.refuses {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Some(mut piece) = self.says.pop_front() else {
            return match self.then {
                Then::Waits => Poll::Pending,
                Then::Closes => Poll::Ready(Ok(())),
                Then::Resets => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.says.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let length = buf.len().min(self.takes);
        if length == 0 {
            return if self.refuses { Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) } else { Poll::Pending };
        }
        self.takes -= length;
        self.heard.extend_from_slice(&buf[..length]);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The frames of a request's body; `None` stands for a moment in which there is none yet.
pub(super) type Upload = StreamBody<tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, io::Error>>>>;

pub(super) fn upload(frames: Vec<Result<Frame<Bytes>, io::Error>>) -> Upload {
    StreamBody::new(tokio_stream::iter(frames))
}

pub(super) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// A conversation that begins with a request without a body.
pub(super) fn ask(method: &Method, script: Script) -> Conversation<Script, Empty<Bytes>> {
    let headers = headers(&[("host", "a")]);
    let head = RequestHead { method, target: "/", headers: &headers, more: b"", host: None, title_case: false };
    Conversation::new(Connection::new(script), head, Empty::new())
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) reply: Reply,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    /// Whether the connection can be used again.
    pub(super) free: bool,
}

/// Polls; there is nobody to wait for.
pub(super) fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Reads to the end; nothing if the endpoint keeps us waiting. The flag says whether the head had come.
pub(super) fn listen<B>(mut conversation: Conversation<Script, B>) -> Option<Result<Whole, (Fault, bool)>>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let reply = loop {
        match now(|cx| conversation.poll_reply(cx))? {
            Ok(Heard::Interim(_)) => {}
            Ok(Heard::Final(reply)) => break reply,
            Err(fault) => return Some(Err((fault, false))),
        }
    };
    let mut body = Vec::new();
    let mut trailers = None;
    while let Some(frame) = now(|cx| conversation.poll_frame(cx))? {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => body.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(fault) => return Some(Err((fault, true))),
        }
    }
    Some(Ok(Whole { reply, body, trailers, free: conversation.finish().is_some() }))
}

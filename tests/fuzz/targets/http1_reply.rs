//! What must hold of every answer that an endpoint sends over HTTP/1.1: it is read, or refused, however it is cut, and what
//! is passed on has one framing and keeps the bounds.
//!
//! The first byte of the input chooses the method and where the rest, which is the answer, is cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::Empty;
use pulsegate::http1::{Connection, Conversation, Fault, Heard, MAX_HEAD_LINES, RequestHead};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An endpoint that says this, so many bytes at a time, and closes.
struct Endpoint<'a> {
    says: &'a [u8],
    step: usize,
}

impl AsyncRead for Endpoint<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (piece, rest) = self.says.split_at(self.says.len().min(self.step).min(buf.remaining()));
        buf.put_slice(piece);
        self.says = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endpoint<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    lines: usize,
    body: Vec<u8>,
    trailers: usize,
}

/// Reads `data` as an answer.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, says)) = data.split_first() else { return };
    let method = if choice & 1 == 0 { Method::GET } else { Method::HEAD };
    let whole = answer(&method, says, usize::MAX);
    let step = usize::from(choice >> 1) + 1;
    assert_eq!(answer(&method, says, step), whole, "{step} bytes at a time");
}

fn answer(method: &Method, says: &[u8], step: usize) -> Option<Answer> {
    let headers = HeaderMap::new();
    let head = RequestHead { method, target: "/", headers: &headers, more: b"", host: Some("a"), title_case: false };
    let mut conversation = Conversation::new(Connection::new(Endpoint { says, step }), head, Empty::<Bytes>::new());
    let cx = &mut Context::from_waker(Waker::noop());
    let reply = loop {
        match conversation.poll_reply(cx) {
            Poll::Ready(Ok(Heard::Final(reply))) => break reply,
            Poll::Ready(Ok(Heard::Interim(status))) => assert!(status.is_informational()),
            Poll::Ready(Err(fault)) => return refused(&fault),
            Poll::Pending => panic!("the endpoint never keeps us waiting"),
        }
    };
    let lengths = reply.headers.get_all("content-length").iter().count();
    let codings = reply.headers.get_all("transfer-encoding").iter().count();
    assert!(lengths + codings <= 1 && reply.headers.len() <= MAX_HEAD_LINES);
    let hint = conversation.size_hint().exact();
    let (mut body, mut trailers) = (Vec::new(), 0);
    loop {
        match conversation.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().map_or(0, |fields| fields.len()),
            },
            Poll::Ready(Some(Err(fault))) => return refused(&fault),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("the endpoint never keeps us waiting"),
        }
    }
    assert!(conversation.is_end() && hint.is_none_or(|length| length == body.len() as u64));
    Some(Answer { status: reply.status.as_u16(), lines: reply.headers.len(), body, trailers })
}

fn refused(fault: &Fault) -> Option<Answer> {
    assert!(!fault.to_string().is_empty());
    None
}

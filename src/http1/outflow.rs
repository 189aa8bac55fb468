//! A request's bytes on their way out: its head, and its body in one framing, never more of it than the endpoint takes.
//!
//! The next frame of a body is asked for when the last one has been written, so an endpoint that does not read stops the
//! client. What the body has at once goes out together with the head.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use crate::http1::trailers;

/// A buffer for heads that has grown larger is not kept.
const MAX_KEPT: usize = 64 * 1024;

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

impl Framing {
    /// The framing that a body demands.
    pub(super) fn of<B: Body>(body: &B) -> Self {
        if body.is_end_stream() {
            return Self::None;
        }
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// Why a request cannot be sent to its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// The connection does not take it.
    Stream,
    /// Its body failed.
    Body,
}

thread_local! {
    /// The buffer of the last head that was sent.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is being sent.
#[derive(Debug)]
pub(super) struct Outflow<B> {
    /// Heads: of the request, of a chunk.
    head: Vec<u8>,
    /// How much of it has been written.
    at: usize,
    data: Bytes,
    tail: &'static [u8],
    /// Until its last frame has been taken.
    body: Option<B>,
    framing: Framing,
    announced: Vec<HeaderName>,
    flushed: bool,
    /// Whether any byte has gone out.
    begun: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Outflow<B> {
    /// The head is what `write` appends.
    pub(super) fn new(body: B, headers: &HeaderMap, write: impl FnOnce(Framing, &mut Vec<u8>)) -> Self {
        let framing = Framing::of(&body);
        let mut head = SPARE.take();
        head.clear();
        write(framing, &mut head);
        let announced = if framing == Framing::Chunked { trailers::announced(headers) } else { Vec::new() };
        let body = (framing != Framing::None).then_some(body);
        Self { head, at: 0, data: Bytes::new(), tail: b"", body, framing, announced, flushed: false, begun: false }
    }

    /// Of a request that has been sent.
    pub(super) const fn done() -> Self {
        Self {
            head: Vec::new(),
            at: 0,
            data: Bytes::new(),
            tail: b"",
            body: None,
            framing: Framing::None,
            announced: Vec::new(),
            flushed: true,
            begun: true,
        }
    }

    /// Whether any byte may have reached the endpoint.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether everything has been sent.
    pub(super) fn is_done(&self) -> bool {
        self.flushed && self.body.is_none() && self.is_empty()
    }

    /// Sends what there is to send; ready when that was all.
    pub(super) fn poll_send<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        while !self.is_done() {
            let filled = self.poll_fill(cx)?;
            if ready!(self.poll_write(stream, cx)).is_err() {
                return Poll::Ready(Err(Halt::Stream));
            }
            ready!(filled);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next frame of the body, if there is room for it.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Halt> {
        while self.data.is_empty() && self.tail.is_empty() {
            let Some(body) = &mut self.body else { break };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.put(frame)?,
                Poll::Ready(Some(Err(_))) => return Err(Halt::Body),
                Poll::Ready(None) => self.finish(&HeaderMap::new())?,
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    fn put(&mut self, frame: Frame<Bytes>) -> Result<(), Halt> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return frame.into_trailers().map_or(Ok(()), |trailers| self.finish(&trailers)),
        };
        let length = data.len() as u64;
        match &mut self.framing {
            Framing::None => {}
            Framing::Length(left) => *left = left.checked_sub(length).ok_or(Halt::Body)?,
            // An empty chunk would be the last one.
            Framing::Chunked if length == 0 => {}
            Framing::Chunked => {
                self.head.extend_from_slice(hexadecimal(length, &mut [0; 16]));
                self.head.extend_from_slice(b"\r\n");
                self.tail = b"\r\n";
            }
        }
        self.data = data;
        if self.framing == Framing::Length(0) {
            self.body = None;
        }
        Ok(())
    }

    fn finish(&mut self, fields: &HeaderMap) -> Result<(), Halt> {
        self.body = None;
        match self.framing {
            Framing::None | Framing::Length(0) => Ok(()),
            // It was announced longer than it is.
            Framing::Length(_) => Err(Halt::Body),
            Framing::Chunked => {
                self.head.extend_from_slice(b"0\r\n");
                trailers::write(fields, &self.announced, &mut self.head);
                self.tail = b"\r\n";
                Ok(())
            }
        }
    }

    fn poll_write<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let head = &self.head[self.at..];
            let written = if self.data.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, head))?
            } else {
                let parts = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.flushed = false;
            self.advance(written);
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.flushed = true;
        if self.body.is_none() {
            self.give_back();
        }
        Poll::Ready(Ok(()))
    }

    fn is_empty(&self) -> bool {
        self.head.len() == self.at && self.data.is_empty() && self.tail.is_empty()
    }

    fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head.len() - self.at);
        self.at += of_head;
        if self.at == self.head.len() {
            self.head.clear();
            self.at = 0;
        }
        let of_data = (written - of_head).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_head - of_data..];
    }

    /// The buffer is the next request's.
    fn give_back(&mut self) {
        let head = std::mem::take(&mut self.head);
        if head.capacity() <= MAX_KEPT {
            SPARE.set(head);
        }
    }
}

/// The digits of a number, at the end of `room`.
fn hexadecimal(mut number: u64, room: &mut [u8; 16]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b"0123456789abcdef"[usize::try_from(number & 15).unwrap_or(0)];
        number >>= 4;
        if number == 0 {
            return &room[at..];
        }
    }
}

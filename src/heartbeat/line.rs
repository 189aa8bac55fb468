//! A sender's connection: the bytes that were read of it before the machinery of HTTP took it, and how far the answer on it has got.
//!
//! That machinery keeps some twenty kilobytes of buffers for every connection, and a sender says something once in a second or two. So
//! it is there for one beat and gone until the next. It does not tell when an answer has gone out; what it does to its stream does:
//! it flushes when, and only when, it has written everything.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once while nobody is served, in bytes: most beats are shorter, with their report too.
const FIRST: usize = 4096;

/// How far what is asked on a connection has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Nothing that is known to have been read whole has been answered.
    #[default]
    Asked,
    /// There is an answer, and what it answers has been read to its end.
    Answered,
    /// Some of the answer has been written.
    Written,
    /// All of it has gone out.
    Sent,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Line<S> {
    stream: S,
    first: Bytes,
    stage: Rc<Cell<Stage>>,
}

impl<S> Line<S> {
    /// `first` is what has been read already.
    pub(super) const fn new(stream: S, first: Bytes, stage: Rc<Cell<Stage>>) -> Self {
        Self { stream, first, stage }
    }

    /// The stream; what has been read of it is with whoever read it.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    fn advance(&self, from: Stage, to: Stage) {
        if self.stage.get() == from {
            self.stage.set(to);
        }
    }
}

/// What comes next, as `take` makes it from the bytes: none at the end. They lie on the stack, for a connection that says nothing needs
/// no room for what it will say.
///
/// # Errors
/// If the connection breaks.
pub(super) fn poll_first<S, T>(stream: &mut S, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>>
where
    S: AsyncRead + Unpin,
{
    let mut room = [MaybeUninit::uninit(); FIRST];
    let mut buffer = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(take(buffer.filled())))
}

/// Writes bytes and has them go out.
///
/// # Errors
/// If the connection breaks.
pub(super) fn poll_say<S>(stream: &mut S, bytes: &mut &[u8], cx: &mut Context<'_>) -> Poll<io::Result<()>>
where
    S: AsyncWrite + Unpin,
{
    while !bytes.is_empty() {
        match ready!(Pin::new(&mut *stream).poll_write(cx, bytes))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => *bytes = &bytes[written..],
        }
    }
    Pin::new(stream).poll_flush(cx)
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.advance(Stage::Answered, Stage::Written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces));
        self.advance(Stage::Answered, Stage::Written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.advance(Stage::Written, Stage::Sent);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

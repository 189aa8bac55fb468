//! A stream with two holders: the HTTP machinery that reads and writes it, and we, who ask it how it is.
//!
//! hyper takes its socket away for good, but whether a pooled connection is still open, or whether a client has sent
//! something at the last moment, can only be asked of the socket itself.

use std::cell::{Ref, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::stream::Stream;

/// A handle on a stream that other handles of the same thread share.
#[derive(Debug, Clone)]
pub struct Shared(Rc<RefCell<Stream>>);

/// What is waiting to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing; the other side is there.
    Nothing,
    /// Bytes.
    Bytes,
    /// The end: the other side has closed or reset.
    End,
}

impl Shared {
    /// The first handle.
    #[must_use]
    pub fn new(stream: impl Into<Stream>) -> Self {
        Self(Rc::new(RefCell::new(stream.into())))
    }

    /// The stream itself.
    pub(super) fn stream(&self) -> Ref<'_, Stream> {
        self.0.borrow()
    }

    /// Has the stream end with a reset, which nobody takes for the end of a message, once its last handle has gone. One in the
    /// file system knows no resets, and ends as usual.
    pub fn reset(&self) {
        // Without it the stream ends as usual, and nothing else is left to do about it.
        drop(SockRef::from(self.0.borrow().socket()).set_linger(Some(Duration::ZERO)));
    }

    /// Asks the system what is waiting, without taking it.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.0.borrow().waiting()
    }

    /// Whether something is waiting, without taking it; the calling task is woken when there is. Whoever asks has read
    /// all that had come.
    pub fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<Waiting> {
        let stream = self.0.borrow();
        loop {
            if std::task::ready!(stream.socket().poll_read_ready(cx)).is_err() {
                return Poll::Ready(Waiting::End);
            }
            match stream.waiting() {
                // A readiness that was left over.
                Waiting::Nothing => stream.socket().read_all(),
                waiting => return Poll::Ready(waiting),
            }
        }
    }
}

impl Waiting {
    /// Asks the system what is waiting at a stream, without taking it.
    #[must_use]
    pub fn at(stream: &impl AsFd) -> Self {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(stream).peek(&mut byte) {
            Ok(0) => Self::End,
            Ok(_) => Self::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::Nothing,
            Err(_) => Self::End,
        }
    }
}

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, buf)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}

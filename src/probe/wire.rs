//! A connection to an endpoint that knows whether anything has been heard on it, and whether it is still open.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::shared::Waiting;
use crate::net::stream::Stream;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    /// Shared with whoever asks while HTTP machinery holds the connection.
    heard: Rc<Cell<bool>>,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, heard: Rc::default() }
    }

    /// Whether anything is heard from now on.
    pub(super) fn listen(&self) -> Rc<Cell<bool>> {
        self.heard.set(false);
        Rc::clone(&self.heard)
    }

    /// Whether it can take a request: open, and nothing has come that nobody asked for.
    pub(super) fn is_idle(&self) -> bool {
        self.stream.waiting() == Waiting::Nothing
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.set(true);
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

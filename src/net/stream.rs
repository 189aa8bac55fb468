//! A stream to a client or an endpoint, whatever lies beneath it: the one type that codecs, pools and probes hold.
//!
//! An enum and not a trait object: reading and writing stay direct calls, and who adds a kind of stream is told by the
//! compiler where it matters.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::net::shared::Waiting;
use crate::net::socket::Socket;

/// Up to so many bytes, in several pieces, are copied into one: the system takes one piece by a shorter way than several.
const SMALL: usize = 4096;

thread_local! {
    /// Where that is done.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// All pieces in one, if they are small.
fn gathered(pieces: &[io::IoSlice<'_>]) -> Option<Vec<u8>> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length > SMALL || length == 0 {
        return None;
    }
    let mut room = ROOM.take();
    room.clear();
    for piece in pieces {
        room.extend_from_slice(piece);
    }
    Some(room)
}

/// A connected stream.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(Socket),
    /// TLS, from either side. Its state is large, and a plain stream should not carry room for it.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Asks the system what is waiting, without taking it.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.socket().fd().map_or(Waiting::End, |socket| Waiting::at(&socket))
    }

    /// Writes what goes out together with what follows at once. Under TLS that is for whoever holds the socket to see to.
    pub(super) fn poll_write_before_more(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Self::Plain(socket) = self else { return Pin::new(self).poll_write_vectored(cx, pieces) };
        let Some(small) = gathered(pieces) else { return Pin::new(socket).poll_write_vectored(cx, pieces) };
        let written = socket.poll_write_before_more(cx, &small);
        ROOM.set(small);
        written
    }

    /// The socket beneath everything.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl From<TlsStream<Socket>> for Stream {
    fn from(stream: TlsStream<Socket>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::Plain(socket)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => match gathered(bufs) {
                Some(small) => {
                    let written = Pin::new(stream).poll_write(cx, &small);
                    ROOM.set(small);
                    written
                }
                None => Pin::new(stream).poll_write_vectored(cx, bufs),
            },
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

//! A socket that the thread's event queue has not been told of.
//!
//! To have a socket watched takes two calls of the system's and a record on either side of them, and whatever comes passes by the queue
//! before anybody reads it. A connection that brings its request along, gets one answer and ends needs none of that. So who has been
//! accepted is asked directly at first, and is watched from the moment on in which somebody must wait for it.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::ReadBuf;

/// How much is asked for before anybody waits, in bytes: more than nearly all first heads and greetings have.
const FIRST: usize = 2000;

/// A connected socket that nobody waits for.
#[derive(Debug)]
pub struct Unwatched {
    /// None if it was to be watched and could not.
    socket: Option<TcpStream>,
    /// Whether it has been read from.
    read: bool,
}

impl Unwatched {
    /// A socket that does not block.
    #[must_use]
    pub const fn new(socket: TcpStream) -> Self {
        Self { socket: Some(socket), read: false }
    }

    pub(super) fn get(&self) -> io::Result<&TcpStream> {
        self.socket.as_ref().ok_or_else(gone)
    }

    /// Has it watched. If that fails the socket is gone.
    pub(super) fn watch(&mut self) -> io::Result<tokio::net::TcpStream> {
        self.socket.take().ok_or_else(gone).and_then(tokio::net::TcpStream::from_std)
    }

    /// Takes what has come already. Only once: what has not come by then must be waited for.
    pub(super) fn read(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        if std::mem::replace(&mut self.read, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let room = buf.initialize_unfilled_to(buf.remaining().min(FIRST));
        let (length, _) = recv(self.get()?, room, RecvFlags::empty())?;
        buf.advance(length);
        Ok(())
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.get()?.write(bytes)
    }

    pub(super) fn write_vectored(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.get()?.write_vectored(pieces)
    }

    pub(super) fn write_with(&self, bytes: &[u8], how: SendFlags) -> io::Result<usize> {
        Ok(send(self.get()?, bytes, how)?)
    }

    pub(super) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.get().map(AsFd::as_fd)
    }
}

/// What is said of a socket that is not there any more.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket could not be watched")
}

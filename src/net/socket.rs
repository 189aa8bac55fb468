//! A connected socket, on the network or in the file system: what is the same of both, and what only one has.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt::set_tcp_cork;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// On the network.
    Tcp(TcpStream),
    /// In the file system.
    Unix(UnixStream),
}

impl Socket {
    /// The address of this end, if it has one.
    ///
    /// # Errors
    /// If the connection has gone.
    pub fn local(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    /// The address of the other end, if it has one and is still there.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Whether there is something to read; the calling task is woken when there is.
    ///
    /// # Errors
    /// If the thread's event queue has gone.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Whether there is room to write; the calling task is woken when there is.
    ///
    /// # Errors
    /// If the thread's event queue has gone.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Has the socket read from by a call of the system's of which this knows nothing else.
    ///
    /// # Errors
    /// What the call gives; if it would block, that is noted.
    pub fn try_read<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.try_io(Interest::READABLE, call)
    }

    /// Has the socket written to in the same way.
    ///
    /// # Errors
    /// The same.
    pub fn try_write<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.try_io(Interest::WRITABLE, call)
    }

    fn try_io<T>(&self, interest: Interest, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, call),
            Self::Unix(stream) => stream.try_io(interest, call),
        }
    }

    /// Whether the system is to keep back what is written and does not fill a packet, for at most 200 ms (`TCP_CORK`). What it
    /// has kept goes out when that is taken back, and with the end. A socket in the file system has no packets to fill.
    pub fn cork(&self, kept: bool) {
        if let Self::Tcp(stream) = self {
            // Without it there are more packets, and nothing else is different.
            set_tcp_cork(stream, kept).ok();
        }
    }

    /// Writes what goes out together with what follows at once: the end, or more (`MSG_MORE`).
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn poll_write_before_more(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let how = SendFlags::MORE | SendFlags::NOSIGNAL;
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_write(|| Ok(send(self, bytes, how)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Notes that nothing is left to be read, as somebody has seen who asked the system himself.
    pub fn read_all(&self) {
        // That it would block is what is to be noted.
        drop(self.try_read(|| Err::<(), _>(io::ErrorKind::WouldBlock.into())));
    }

    /// Waits for bytes and looks at them without taking them; none at the end.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn peek(&self, seen: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(seen).await,
            Self::Unix(stream) => {
                let look = || recv(stream, &mut *seen, RecvFlags::PEEK).map(|(length, _)| length).map_err(io::Error::from);
                stream.async_io(Interest::READABLE, look).await
            }
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::runtime::thread::block_on;

    #[test]
    fn what_was_looked_at_is_still_there() {
        block_on(async {
            let (mut there, here) = UnixStream::pair().unwrap();
            let mut here = Socket::from(here);
            there.write_all(b"abc").await.unwrap();
            let mut seen = [0; 8];
            assert_eq!(here.peek(&mut seen).await.unwrap(), 3);
            assert_eq!(here.peek(&mut seen).await.unwrap(), 3);
            here.read_exact(&mut seen[..3]).await.unwrap();
            assert_eq!(&seen[..3], b"abc");
            drop(there);
            assert_eq!(here.peek(&mut seen).await.unwrap(), 0);
        })
        .unwrap();
    }
}

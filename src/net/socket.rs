//! A connected socket, on the network or in the file system: what is the same of both, and what only one has.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt::set_tcp_cork;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::net::unwatched::Unwatched;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// On the network.
    Tcp(TcpStream),
    /// The same, and nobody has had to wait for it yet.
    Unwatched(Unwatched),
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
            Self::Unwatched(stream) => stream.get()?.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    /// The address of the other end, if it has one and is still there.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unwatched(stream) => stream.get().and_then(|stream| stream.peer_addr()).ok(),
            Self::Unix(_) => None,
        }
    }

    /// The system's handle on it.
    ///
    /// # Errors
    /// If the socket has gone because it could not be watched.
    pub fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Tcp(stream) => Ok(stream.as_fd()),
            Self::Unwatched(stream) => stream.fd(),
            Self::Unix(stream) => Ok(stream.as_fd()),
        }
    }

    /// Has the thread's event queue watch it, if it does not yet: whoever waits for it, or passes it to calls of the system's, does this
    /// first.
    ///
    /// # Errors
    /// If the event queue takes no more. The socket is closed then.
    pub fn watch(&mut self) -> io::Result<()> {
        if let Self::Unwatched(stream) = self {
            *self = Self::Tcp(stream.watch()?);
        }
        Ok(())
    }

    /// Whether nobody has had to wait for it yet.
    #[must_use]
    pub const fn is_unwatched(&self) -> bool {
        matches!(self, Self::Unwatched(_))
    }

    /// Whether there is something to read; the calling task is woken when there is.
    ///
    /// # Errors
    /// If the thread's event queue has gone, or does not watch the socket.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unwatched(_) => Poll::Ready(Err(unwatched())),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Whether there is room to write; the calling task is woken when there is.
    ///
    /// # Errors
    /// The same.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unwatched(_) => Poll::Ready(Err(unwatched())),
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
            Self::Unwatched(_) => Err(unwatched()),
            Self::Unix(stream) => stream.try_io(interest, call),
        }
    }

    /// Whether the system is to keep back what is written and does not fill a packet, for at most 200 ms (`TCP_CORK`). What it
    /// has kept goes out when that is taken back, and with the end. A socket in the file system has no packets to fill.
    pub fn cork(&self, kept: bool) {
        if let (Self::Tcp(_) | Self::Unwatched(_), Ok(socket)) = (self, self.fd()) {
            // Without it there are more packets, and nothing else is different.
            set_tcp_cork(socket, kept).ok();
        }
    }

    /// Writes what goes out together with what follows at once: the end, or more (`MSG_MORE`).
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn poll_write_before_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let how = SendFlags::MORE | SendFlags::NOSIGNAL;
        if let Some(written) = self.at_once(|stream| stream.write_with(bytes, how)) {
            return Poll::Ready(written);
        }
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_write(|| Ok(send(self.fd()?, bytes, how)?)) {
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
    pub async fn peek(&mut self, seen: &mut [u8]) -> io::Result<usize> {
        self.watch()?;
        match self {
            Self::Tcp(stream) => stream.peek(seen).await,
            Self::Unwatched(_) => Err(unwatched()),
            Self::Unix(stream) => {
                let stream = &*stream;
                let look = || recv(stream, &mut *seen, RecvFlags::PEEK).map(|(length, _)| length).map_err(io::Error::from);
                stream.async_io(Interest::READABLE, look).await
            }
        }
    }
}

impl Socket {
    /// Does what needs no waiting, if nobody has had to wait yet. If it would block, the socket is watched from here on.
    fn at_once<T>(&mut self, call: impl Fn(&mut Unwatched) -> io::Result<T>) -> Option<io::Result<T>> {
        let Self::Unwatched(stream) = self else { return None };
        loop {
            match call(stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                done => return Some(done),
            }
        }
        self.watch().err().map(Err)
    }
}

/// What is said to who waits for a socket without having it watched.
fn unwatched() -> io::Error {
    io::Error::other("nobody watches the socket")
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

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Self::Unwatched(stream) = this {
            match stream.read(buf) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => this.watch()?,
                read => return Poll::Ready(read),
            }
        }
        match this {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unwatched(_) => Poll::Ready(Err(unwatched())),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(written) = this.at_once(|stream| stream.write(buf)) {
            return Poll::Ready(written);
        }
        match this {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unwatched(_) => Poll::Ready(Err(unwatched())),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(written) = this.at_once(|stream| stream.write_vectored(bufs)) {
            return Poll::Ready(written);
        }
        match this {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unwatched(_) => Poll::Ready(Err(unwatched())),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What has been written is the system's.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unwatched(stream) => Poll::Ready(stream.get().and_then(|stream| stream.shutdown(Shutdown::Write))),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::runtime::thread::block_on;

    /// Somebody, and us, whom nobody watches yet.
    fn accepted() -> (std::net::TcpStream, Socket) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let here = listener.accept().unwrap().0;
        here.set_nonblocking(true).unwrap();
        (there, Socket::Unwatched(Unwatched::new(here)))
    }

    #[test]
    fn who_brings_all_along_is_never_watched() {
        block_on(async {
            let (mut there, mut here) = accepted();
            std::io::Write::write_all(&mut there, b"question").unwrap();
            let mut seen = [0; 16];
            assert_eq!(here.read(&mut seen).await.unwrap(), 8);
            here.write_all(b"answer").await.unwrap();
            std::future::poll_fn(|cx| here.poll_write_before_more(cx, b"!")).await.unwrap();
            assert!(here.is_unwatched());
            drop(here);
            let mut said = String::new();
            std::io::Read::read_to_string(&mut there, &mut said).unwrap();
            assert_eq!(said, "answer!");
        })
        .unwrap();
    }

    #[test]
    fn whoever_must_be_waited_for_is_watched() {
        block_on(async {
            let (mut there, mut here) = accepted();
            let mut seen = [0; 16];
            let early = std::future::poll_fn(|cx| {
                Poll::Ready(Pin::new(&mut here).poll_read(cx, &mut ReadBuf::new(&mut seen)).is_ready())
            });
            assert!(!early.await && !here.is_unwatched(), "nothing had come");
            std::io::Write::write_all(&mut there, b"late").unwrap();
            assert_eq!(here.read(&mut seen).await.unwrap(), 4);

            let (mut there, mut here) = accepted();
            std::io::Write::write_all(&mut there, b"first").unwrap();
            assert_eq!(here.read(&mut seen).await.unwrap(), 5);
            let writer = std::thread::spawn(move || std::io::Write::write_all(&mut there, b"more").unwrap());
            assert_eq!(here.read(&mut seen).await.unwrap(), 4);
            assert!(!here.is_unwatched());
            writer.join().unwrap();
            assert_eq!(here.read(&mut seen).await.unwrap(), 0, "the end is told as well");
        })
        .unwrap();
    }

    #[test]
    fn who_takes_nothing_is_waited_for() {
        const SIZE: usize = 32 << 20;
        block_on(async {
            let (mut there, mut here) = accepted();
            let reader = std::thread::spawn(move || std::io::copy(&mut there, &mut std::io::sink()).unwrap());
            here.write_all(&vec![b'x'; SIZE]).await.unwrap();
            assert!(!here.is_unwatched());
            drop(here);
            assert_eq!(reader.join().unwrap(), SIZE as u64);
        })
        .unwrap();
    }

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

//! A stream with two holders: the HTTP machinery that reads and writes it, and we, who ask it how it is.
//!
//! hyper takes its socket away for good, but whether a pooled connection is still open, or whether a client has sent
//! something at the last moment, can only be asked of the socket itself.

use std::cell::{Cell, Ref, RefCell, RefMut};
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
pub struct Shared(Rc<Held>);

#[derive(Debug)]
struct Held {
    stream: RefCell<Stream>,
    cork: Cell<Cork>,
}

/// Whether the system keeps back what is written, to send it with what follows in one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cork {
    Out,
    /// Until something has been written and is to go out.
    Next,
    /// The same, and something has been written.
    Ripe,
    /// Until the end.
    End,
}

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
        Self::with(stream.into(), Cork::Out)
    }

    /// The first handle on a stream whose socket has been told to keep back what is written (`Socket::cork`). What was goes
    /// out with what is flushed next, or after the system's own patience, which is 200 ms on Linux.
    #[must_use]
    pub fn corked(stream: impl Into<Stream>) -> Self {
        Self::with(stream.into(), Cork::Next)
    }

    fn with(stream: Stream, cork: Cork) -> Self {
        Self(Rc::new(Held { stream: RefCell::new(stream), cork: Cell::new(cork) }))
    }

    /// Has what is written from here on go out together with the stream's end, which must follow at once.
    pub fn keep_to_the_end(&self) {
        if self.0.cork.replace(Cork::End) == Cork::Out && !self.is_plain() {
            self.stream().socket().cork(true);
        }
    }

    /// Whether nothing lies between the stream and its socket.
    fn is_plain(&self) -> bool {
        matches!(*self.stream(), Stream::Plain(_))
    }

    /// Says what is to be said before the stream ends: nothing, but under TLS. The end itself is left to whoever drops the last handle.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn poll_farewell(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.stream_mut() {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => {
                // However often it is called, it is said once.
                stream.get_mut().1.send_close_notify();
                Pin::new(&mut **stream).poll_flush(cx)
            }
        }
    }

    /// The stream itself.
    pub(super) fn stream(&self) -> Ref<'_, Stream> {
        self.0.stream.borrow()
    }

    fn stream_mut(&self) -> RefMut<'_, Stream> {
        self.0.stream.borrow_mut()
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) && self.0.cork.get() == Cork::Next {
            self.0.cork.set(Cork::Ripe);
        }
    }

    /// Has the stream end with a reset, which nobody takes for the end of a message, once its last handle has gone. One in the
    /// file system knows no resets, and ends as usual.
    pub fn reset(&self) {
        // Without it the stream ends as usual, and nothing else is left to do about it.
        drop(self.stream().socket().fd().and_then(|socket| SockRef::from(&socket).set_linger(Some(Duration::ZERO))));
    }

    /// Asks the system what is waiting, without taking it.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.stream().waiting()
    }

    /// Whether nobody has had to wait for the socket yet, so that nothing is known of what has come since it was read from.
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        self.stream().socket().is_unwatched()
    }

    /// Has the socket watched (`Socket::watch`).
    ///
    /// # Errors
    /// If the event queue takes no more.
    pub fn watch(&self) -> io::Result<()> {
        self.stream_mut().socket_mut().watch()
    }

    /// Whether something is waiting, without taking it; the calling task is woken when there is. Whoever asks has read
    /// all that had come.
    pub fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<Waiting> {
        if self.watch().is_err() {
            return Poll::Ready(Waiting::End);
        }
        let stream = self.stream();
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
        Pin::new(&mut *self.stream_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.0.cork.get() {
            Cork::End => self.stream_mut().poll_write_before_more(cx, &[io::IoSlice::new(buf)]),
            Cork::Out | Cork::Next | Cork::Ripe => Pin::new(&mut *self.stream_mut()).poll_write(cx, buf),
        };
        self.note(&written);
        written
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = match self.0.cork.get() {
            Cork::End => self.stream_mut().poll_write_before_more(cx, bufs),
            Cork::Out | Cork::Next | Cork::Ripe => Pin::new(&mut *self.stream_mut()).poll_write_vectored(cx, bufs),
        };
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *self.stream_mut()).poll_flush(cx);
        if flushed.is_ready() && self.0.cork.get() == Cork::Ripe {
            self.0.cork.set(Cork::Out);
            self.stream().socket().cork(false);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::tcp_cork;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::socket::Socket;
    use crate::runtime::thread::block_on;

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (there, listener.accept().await.unwrap().0.into())
    }

    fn is_corked(shared: &Shared) -> bool {
        tcp_cork(shared.stream().socket().fd().unwrap()).unwrap()
    }

    #[test]
    fn what_is_kept_for_the_next_write_goes_out_with_it() {
        block_on(async {
            let (mut there, here) = pair().await;
            here.cork(true);
            let mut shared = Shared::corked(here);
            shared.flush().await.unwrap();
            assert!(is_corked(&shared), "nothing has been written yet");
            shared.write_all(b"answer").await.unwrap();
            assert!(is_corked(&shared), "more may follow");
            shared.flush().await.unwrap();
            assert!(!is_corked(&shared));
            let mut seen = [0; 6];
            there.read_exact(&mut seen).await.unwrap();
            assert_eq!(&seen, b"answer");
        })
        .unwrap();
    }

    #[test]
    fn what_is_written_last_comes_with_the_end() {
        block_on(async {
            let (mut there, here) = pair().await;
            let mut shared = Shared::new(here);
            shared.write_all(b"first ").await.unwrap();
            shared.keep_to_the_end();
            shared.write_all(b"last ").await.unwrap();
            let pieces = [io::IoSlice::new(b"wo"), io::IoSlice::new(b"rds")];
            assert_eq!(shared.write_vectored(&pieces).await.unwrap(), 5);
            shared.flush().await.unwrap();
            drop(shared);
            let mut seen = Vec::new();
            there.read_to_end(&mut seen).await.unwrap();
            assert_eq!(seen, b"first last words");
        })
        .unwrap();
    }
}

//! What is to be written to a client whose exchanges run side by side, gathered: answers that end at about the same time go out
//! together.
//!
//! The machinery of HTTP/2 writes each piece of an answer by itself, and to send a small packet costs more than everything else
//! that is done for a small answer. So what it writes is kept here until it has said all that it has to say for now, and whoever
//! drives the connection sends it. What is kept is bounded, and what is large is not copied.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::shared::Shared;
use crate::proxy::client_socket::ClientSocket;
use crate::proxy::streams::Streams;

/// How much is kept at most, in bytes.
const MOST: usize = 32 * 1024;
/// From this size on a piece is written as it is, after what was kept.
const LARGE: usize = 4 * 1024;
/// How much room a thread keeps for when it is needed again, in outboxes.
const SPARE: usize = 16;

thread_local! {
    static ROOMS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What is to be written to one client.
#[derive(Debug)]
pub(crate) struct Outbox {
    socket: Shared,
    streams: Rc<Streams>,
    kept: RefCell<Vec<u8>>,
    /// How much of it has been written.
    gone: Cell<usize>,
    /// Whether anything has been written that may not have left us yet.
    unsent: Cell<bool>,
}

impl Outbox {
    pub(crate) fn new(socket: Shared, streams: Rc<Streams>) -> Rc<Self> {
        let (kept, gone, unsent) = Default::default();
        Rc::new(Self { socket, streams, kept, gone, unsent })
    }

    /// Sends everything that is kept.
    pub(crate) fn poll_send(&self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        while self.left() > 0 {
            ready!(self.poll_write(cx, &[]))?;
        }
        if self.unsent.get() {
            ready!(Pin::new(&mut self.socket.clone()).poll_flush(cx))?;
            self.unsent.set(false);
        }
        Poll::Ready(Ok(()))
    }

    fn left(&self) -> usize {
        self.kept.borrow().len() - self.gone.get()
    }

    /// Keeps `pieces`, or writes them if they are large; how many bytes of them are taken care of.
    fn poll_put(&self, cx: &mut TaskContext<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        while self.left() > 0 && (length >= LARGE || self.left() + length > MOST) {
            let taken = ready!(self.poll_write(cx, pieces))?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
        if length >= LARGE {
            return self.poll_write(cx, pieces);
        }
        let mut kept = self.kept.borrow_mut();
        if kept.capacity() == 0 {
            *kept = ROOMS.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        for piece in pieces {
            kept.extend_from_slice(piece);
        }
        Poll::Ready(Ok(length))
    }

    /// Writes what is kept and then `pieces`; how many bytes of those have been written.
    fn poll_write(&self, cx: &mut TaskContext<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut kept = self.kept.borrow_mut();
        let first = &kept[self.gone.get()..];
        let mut socket = self.socket.clone();
        let written = if pieces.is_empty() {
            ready!(Pin::new(&mut socket).poll_write(cx, first))?
        } else if first.is_empty() {
            ready!(Pin::new(&mut socket).poll_write_vectored(cx, pieces))?
        } else {
            let all: Vec<IoSlice<'_>> = std::iter::once(IoSlice::new(first)).chain(pieces.iter().copied()).collect();
            ready!(Pin::new(&mut socket).poll_write_vectored(cx, &all))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.unsent.set(true);
        self.streams.wrote(written);
        let of_kept = written.min(first.len());
        self.gone.set(self.gone.get() + of_kept);
        if self.gone.get() == kept.len() {
            self.gone.set(0);
            give_back(std::mem::take(&mut kept));
        }
        Poll::Ready(Ok(written - of_kept))
    }
}

fn give_back(mut room: Vec<u8>) {
    room.clear();
    ROOMS.with_borrow_mut(|rooms| {
        if room.capacity() > 0 && rooms.len() < SPARE {
            rooms.push(room);
        }
    });
}

/// A client's socket as the machinery of HTTP/2 has it, with an outbox for what it writes.
#[derive(Debug)]
pub(crate) struct Gathered {
    socket: ClientSocket<Rc<Streams>>,
    outbox: Rc<Outbox>,
}

impl Gathered {
    pub(crate) fn new(socket: ClientSocket<Rc<Streams>>, outbox: &Rc<Outbox>) -> Self {
        Self { socket, outbox: Rc::clone(outbox) }
    }
}

impl AsyncRead for Gathered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.poll_put(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.outbox.poll_put(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is kept is sent by whoever drives the connection.
    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        ready!(self.outbox.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::socket::Socket;
    use crate::proxy::streams::tests::limits;
    use crate::runtime::thread::block_on;

    fn outbox() -> (Gathered, Rc<Outbox>, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        let (socket, streams) = (Shared::new(Socket::from(here)), Streams::new(&limits()));
        let outbox = Outbox::new(socket.clone(), Rc::clone(&streams));
        (Gathered::new(ClientSocket::new(socket, streams, Vec::new()), &outbox), outbox, there)
    }

    #[test]
    fn small_pieces_wait_for_each_other_and_large_ones_take_them_along() {
        block_on(async {
            let (mut gathered, outbox, mut there) = outbox();
            let mut seen = vec![0; 64 * 1024];
            gathered.write_all(b"one ").await.unwrap();
            gathered.flush().await.unwrap();
            gathered.write_all(b"two").await.unwrap();
            assert_eq!(there.try_read(&mut seen).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            poll_fn(|cx| outbox.poll_send(cx)).await.unwrap();
            assert_eq!(there.read(&mut seen).await.unwrap(), 7);
            assert_eq!(&seen[..7], b"one two");
            gathered.write_all(b"head").await.unwrap();
            let large = vec![7; LARGE];
            assert_eq!(gathered.write(&large).await.unwrap(), LARGE);
            assert_eq!(there.read(&mut seen).await.unwrap(), 4 + LARGE);
            assert_eq!((&seen[..4], &seen[4..4 + LARGE]), (&b"head"[..], &large[..]));
        })
        .unwrap();
    }

    /// Writes a piece in halves; a client whose outbox is full reads a little. How often that was.
    async fn put(gathered: &mut Gathered, mut piece: &[u8], there: &UnixStream, seen: &mut Vec<u8>) -> u32 {
        let (mut blocked, mut room) = (0, vec![0; 300_000]);
        while !piece.is_empty() {
            let (first, second) = piece.split_at(piece.len() / 2);
            let pieces = [IoSlice::new(first), IoSlice::new(second)];
            let taken = poll_fn(|cx| Poll::Ready(Pin::new(&mut *gathered).poll_write_vectored(cx, &pieces))).await;
            assert!(gathered.outbox.left() <= MOST, "{}", gathered.outbox.left());
            let Poll::Ready(taken) = taken else {
                blocked += 1;
                let length = there.try_read(&mut room).unwrap_or(0);
                seen.extend_from_slice(&room[..length]);
                tokio::task::yield_now().await;
                continue;
            };
            piece = &piece[taken.unwrap()..];
        }
        blocked
    }

    #[test]
    fn a_client_that_takes_nothing_is_owed_no_more_than_the_bound_and_gets_everything_in_order() {
        block_on(async {
            let (mut gathered, outbox, mut there) = outbox();
            let mut rng = fastrand::Rng::with_seed(7);
            let (mut sent, mut seen, mut blocked) = (Vec::new(), Vec::new(), 0);
            for number in 0..4000_u32 {
                let size = if rng.u8(..) < 16 { LARGE + rng.usize(..LARGE) } else { 1 + rng.usize(..LARGE / 4) };
                let piece = vec![number.to_le_bytes()[0]; size];
                blocked += put(&mut gathered, &piece, &there, &mut seen).await;
                sent.extend_from_slice(&piece);
            }
            assert!(blocked > 3);
            let mut room = vec![0; 300_000];
            let reading = async {
                while seen.len() < sent.len() {
                    let length = there.read(&mut room).await.unwrap();
                    seen.extend_from_slice(&room[..length]);
                }
            };
            tokio::join!(async { poll_fn(|cx| outbox.poll_send(cx)).await.unwrap() }, reading);
            assert_eq!(outbox.left(), 0);
            assert!(seen == sent, "something is missing, or in another order");
        })
        .unwrap();
    }
}

//! Bytes that go from one socket to another and stay in the system on their way (`splice(2)`).
//!
//! To copy a long body in and out again costs more than all else that is done for it. Here a pipe of the system holds its
//! pages instead. What speaks HTTP between the two sockets wants bytes, and gets a stand-in: as many as the pipe holds, of no
//! content. A stand-in is told by where it lies in memory, and what the pipe holds is written in its place. Where one is
//! missing while the pipe holds something, the connection ends with an error: a client never gets what has no content.
//!
//! Which bodies are worth it is for others to say.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::AsyncWrite;

use crate::net::shared::Shared;
use crate::net::socket::Socket;

/// How much one pipe holds at most, in bytes. Less means more turns for the same body, more is memory for each slow client.
const MOST: usize = 256 * 1024;
/// How many pipes a thread has at most. Bodies beyond them are copied.
const MOST_PIPES: usize = 256;
/// How many of them it keeps when they are not needed.
const MOST_SPARE: usize = 16;

/// Pages are handed on rather than copied, and nobody waits.
const HOW: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

static STAND_IN: [u8; MOST] = [0; MOST];

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static PIPES: Cell<usize> = const { Cell::new(0) };
}

/// The way from an endpoint's socket to a client's, for one body after another.
#[derive(Debug, Default)]
pub struct Conduit {
    /// While it holds something.
    pipe: RefCell<Option<Pipe>>,
    held: Cell<usize>,
    /// Whether somebody waits until it holds nothing.
    wanted: Cell<bool>,
}

#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    /// An empty pipe; none if there are too many, or the system gives no more.
    fn take() -> Option<Self> {
        SPARE.with_borrow_mut(Vec::pop).or_else(Self::make)
    }

    fn make() -> Option<Self> {
        if PIPES.get() >= MOST_PIPES {
            return None;
        }
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A system that allows less room holds less at a time.
        fcntl_setpipe_size(&into, MOST).ok();
        PIPES.set(PIPES.get() + 1);
        Some(Self { out, into })
    }

    /// Keeps an empty pipe for whoever needs one next.
    fn put(self) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST_SPARE {
                spare.push(self);
            }
        });
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        PIPES.set(PIPES.get() - 1);
    }
}

impl Conduit {
    /// Whether nothing is on its way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.get() == 0
    }

    /// Takes up to `most` bytes from a socket, once what was taken before has been passed on, and gives their stand-in: an
    /// empty one at the end of what comes, and none if there is no pipe to be had.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn poll_fill(&self, cx: &mut Context<'_>, from: &Socket, most: u64) -> Poll<io::Result<Option<Bytes>>> {
        if !self.is_empty() {
            self.wanted.set(true);
            return Poll::Pending;
        }
        loop {
            ready!(from.poll_read_ready(cx))?;
            let Some(pipe) = Pipe::take() else { return Poll::Ready(Ok(None)) };
            let most = usize::try_from(most).map_or(MOST, |most| most.min(MOST));
            match from.try_read(|| Ok(splice(from.fd()?, None, &pipe.into, None, most, HOW)?)) {
                Ok(0) => {
                    pipe.put();
                    return Poll::Ready(Ok(Some(Bytes::new())));
                }
                Ok(length) => {
                    self.pipe.replace(Some(pipe));
                    self.held.set(length);
                    return Poll::Ready(Ok(Some(Bytes::from_static(&STAND_IN[..length]))));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pipe.put(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes what comes first of `pieces`, some of which are stand-ins for what was taken, and says how much that was.
    ///
    /// # Errors
    /// If the connection breaks, or if there are no stand-ins though something was taken.
    pub fn poll_pass(&self, cx: &mut Context<'_>, to: &mut Shared, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(first) = pieces.iter().position(|piece| is_stand_in(piece)) else {
            return Poll::Ready(Err(io::Error::other("bytes that were to stay in the system have been looked at")));
        };
        if pieces[..first].iter().any(|piece| !piece.is_empty()) {
            return Pin::new(to).poll_write_vectored(cx, &pieces[..first]);
        }
        let length = ready!(self.poll_drain(cx, to, pieces[first].len().min(self.held.get())))?;
        self.held.set(self.held.get() - length);
        if self.is_empty() {
            if let Some(pipe) = self.pipe.take() {
                pipe.put();
            }
            if self.wanted.take() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(length))
    }

    fn poll_drain(&self, cx: &mut Context<'_>, to: &Shared, most: usize) -> Poll<io::Result<usize>> {
        let pipe = self.pipe.borrow();
        let Some(pipe) = &*pipe else { return Poll::Ready(Ok(0)) };
        to.watch()?;
        let stream = to.stream();
        let socket = stream.socket();
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_write(|| Ok(splice(&pipe.out, None, socket.fd()?, None, most, HOW)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

fn is_stand_in(piece: &[u8]) -> bool {
    !piece.is_empty() && STAND_IN.as_ptr_range().contains(&piece.as_ptr())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSlice;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::runtime::thread::block_on;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (there, listener.accept().await.unwrap().0)
    }

    /// An endpoint that has said something, and a client.
    async fn sides(said: &[u8]) -> (TcpStream, Socket, Shared, TcpStream) {
        let (mut endpoint, from) = pair().await;
        let (client, to) = pair().await;
        endpoint.write_all(said).await.unwrap();
        (endpoint, from.into(), Shared::new(Socket::from(to)), client)
    }

    async fn fill(conduit: &Conduit, from: &Socket, most: u64) -> Bytes {
        poll_fn(|cx| conduit.poll_fill(cx, from, most)).await.unwrap().unwrap()
    }

    #[test]
    fn what_was_taken_is_written_in_its_stand_ins_place() {
        block_on(async {
            let (_endpoint, from, mut to, mut client) = sides(b"a body and more").await;
            let conduit = Conduit::default();
            let mut part = fill(&conduit, &from, 6).await;
            assert_eq!(part, &[0; 6][..], "a stand-in has no content");
            let mut sent = 0;
            while sent < 5 {
                let pieces = [IoSlice::new(&b"head "[sent..]), IoSlice::new(&part), IoSlice::new(b" tail")];
                sent += poll_fn(|cx| conduit.poll_pass(cx, &mut to, &pieces)).await.unwrap();
            }
            while !conduit.is_empty() {
                let pieces = [IoSlice::new(b""), IoSlice::new(&part), IoSlice::new(b" tail")];
                drop(part.split_to(poll_fn(|cx| conduit.poll_pass(cx, &mut to, &pieces)).await.unwrap()));
            }
            assert!(part.is_empty());
            to.write_all(b" tail").await.unwrap();
            let rest = fill(&conduit, &from, 9).await;
            assert_eq!(rest.len(), 9);
            poll_fn(|cx| conduit.poll_pass(cx, &mut to, &[IoSlice::new(&rest)])).await.unwrap();
            drop(to);
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "head a body tail and more");
        })
        .unwrap();
    }

    #[test]
    fn nothing_is_taken_before_what_was_taken_has_been_passed_on() {
        block_on(async {
            let (_endpoint, from, mut to, _client) = sides(b"one two").await;
            let conduit = Conduit::default();
            let part = fill(&conduit, &from, 3).await;
            let mut next = std::pin::pin!(fill(&conduit, &from, 4));
            let waits = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
            assert!(waits);
            poll_fn(|cx| conduit.poll_pass(cx, &mut to, &[IoSlice::new(&part)])).await.unwrap();
            assert_eq!(next.await.len(), 4);
        })
        .unwrap();
    }

    #[test]
    fn what_has_no_content_is_never_sent() {
        block_on(async {
            let (_endpoint, from, mut to, mut client) = sides(b"body").await;
            let conduit = Conduit::default();
            let copied = fill(&conduit, &from, 4).await.to_vec();
            poll_fn(|cx| conduit.poll_pass(cx, &mut to, &[IoSlice::new(&copied)])).await.unwrap_err();
            drop((conduit, to));
            assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        })
        .unwrap();
    }

    #[test]
    fn an_end_is_told_and_pipes_are_bounded() {
        block_on(async {
            let (endpoint, from, ..) = sides(b"x").await;
            let conduit = Conduit::default();
            assert_eq!(fill(&conduit, &from, u64::MAX).await.len(), 1);
            drop(endpoint);
            let other = Conduit::default();
            assert!(fill(&other, &from, 8).await.is_empty());
            let all: Vec<Pipe> = std::iter::from_fn(Pipe::take).collect();
            assert_eq!(all.len(), MOST_PIPES - 1, "one is in use");
            let (_endpoint, from, ..) = sides(b"x").await;
            assert!(poll_fn(|cx| other.poll_fill(cx, &from, 8)).await.unwrap().is_none());
            all.into_iter().for_each(Pipe::put);
            assert_eq!(PIPES.get(), MOST_SPARE + 1);
        })
        .unwrap();
    }
}

//! A client's socket as the HTTP machinery has it, telling what passes to whoever watches the connection's times.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::conduit::Conduit;
use crate::net::shared::Shared;
use crate::proxy::context::Context;
use crate::proxy::frames::PREFACE;
use crate::proxy::streams::Streams;

/// Whoever watches what passes.
pub(crate) trait Witness {
    /// These bytes have come.
    fn read(&self, bytes: &[u8]);
    /// The client takes nothing.
    fn stuck(&self);
    /// The client has taken so many bytes, as far as we can tell.
    fn wrote(&self, bytes: usize);
    /// The way of bytes that have not been read, while there are some on it.
    fn conduit(&self) -> Option<&Conduit>;
    /// Whether all that is still to be written has been handed over, and the connection ends with it.
    fn is_last(&self) -> bool;
    /// Whether nothing is expected of the client, and it need not be noticed at once if it leaves.
    fn is_patient(&self) -> bool;
    /// Something goes out that is not the last, so it is noticed from here on. Returns whether that is new.
    fn lose_patience(&self) -> bool;
}

impl Witness for Rc<Context> {
    fn read(&self, _: &[u8]) {
        self.activity.read();
    }

    fn stuck(&self) {
        self.activity.stuck();
    }

    fn wrote(&self, _: usize) {
        self.activity.wrote();
    }

    fn conduit(&self) -> Option<&Conduit> {
        Context::conduit(self).filter(|conduit| !conduit.is_empty())
    }

    fn is_last(&self) -> bool {
        self.activity.says_its_last()
    }

    fn is_patient(&self) -> bool {
        self.activity.is_patient()
    }

    fn lose_patience(&self) -> bool {
        self.activity.lose_patience()
    }
}

impl Witness for Rc<Streams> {
    fn read(&self, bytes: &[u8]) {
        Streams::read(self, bytes);
    }

    /// Each stream has a time-out of its own.
    fn stuck(&self) {}

    fn wrote(&self, bytes: usize) {
        Streams::wrote(self, bytes);
    }

    /// Streams share the connection.
    fn conduit(&self) -> Option<&Conduit> {
        None
    }

    /// There may always be another.
    fn is_last(&self) -> bool {
        false
    }

    fn is_patient(&self) -> bool {
        false
    }

    fn lose_patience(&self) -> bool {
        false
    }
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct ClientSocket<W> {
    socket: Shared,
    witness: W,
    /// Bytes that were read before this had the socket.
    first: Vec<u8>,
    /// While it is not known whether HTTP/2 is spoken.
    guess: Option<Rc<Guess>>,
}

/// Finds out by a connection's first bytes whether the client speaks HTTP/2, while a parser of HTTP/1.1 already waits for
/// them: so that nothing is read twice, or moved, for the many that speak HTTP/1.1.
#[derive(Debug, Default)]
pub(crate) struct Guess {
    stash: RefCell<Vec<u8>>,
    http2: Cell<bool>,
}

impl Guess {
    /// Everything that has come, if it is HTTP/2.
    pub(crate) fn http2(&self) -> Option<Vec<u8>> {
        self.http2.get().then(|| self.stash.take())
    }

    /// Looks at the bytes that have just come, which it keeps as long as they could be HTTP/2; whether it is known now.
    fn look(&self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        let mut stash = self.stash.borrow_mut();
        let fresh = &buf.filled()[before..];
        if stash.is_empty() && is_no_request_line(fresh) {
            // The machinery of HTTP/2 says so in a way that whoever meant to speak it understands.
            stash.extend_from_slice(fresh);
            buf.set_filled(before);
            self.http2.set(true);
            return false;
        }
        let could_be = |at: usize, byte: &u8| PREFACE.get(at).is_none_or(|wanted| wanted == byte);
        let ended = fresh.is_empty();
        if ended || !fresh.iter().enumerate().all(|(at, byte)| could_be(stash.len() + at, byte)) {
            give_back(&mut stash, buf, before);
            return true;
        }
        stash.extend_from_slice(fresh);
        buf.set_filled(before);
        self.http2.set(stash.len() >= PREFACE.len());
        false
    }
}

/// How nearly all requests of HTTP/1 begin.
const USUAL: [&[u8]; 5] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE "];

/// Whether a whole line has come whose last word of three is not even the name of a version: a preface gone wrong.
fn is_no_request_line(bytes: &[u8]) -> bool {
    if USUAL.iter().any(|usual| bytes.starts_with(usual)) {
        return false;
    }
    let Some(end) = bytes.iter().take(PREFACE.len() * 2).position(|byte| *byte == b'\n') else { return false };
    let line = bytes[..end].trim_ascii_end();
    let mut words = line.split(|byte| *byte == b' ');
    let last = words.nth(2);
    words.next().is_none() && last.is_some_and(|word| word.len() > 1 && word.iter().all(u8::is_ascii_uppercase))
}

/// What was kept goes before what has just come. There is room: it is less than the preface, and parsers read in thousands.
fn give_back(stash: &mut Vec<u8>, buf: &mut ReadBuf<'_>, before: usize) {
    if stash.is_empty() {
        return;
    }
    let fresh = buf.filled()[before..].to_vec();
    buf.set_filled(before);
    stash.extend(fresh);
    let room = buf.remaining().min(stash.len());
    buf.put_slice(&stash[..room]);
    stash.drain(..room);
}

impl<W: Witness> ClientSocket<W> {
    /// A socket; `first` has been read from it already.
    pub(crate) fn new(socket: Shared, witness: W, first: Vec<u8>) -> Self {
        Self { socket, witness, first, guess: None }
    }

    /// A socket on which HTTP/1.1 is expected, and HTTP/2 possible.
    pub(crate) fn guessing(socket: Shared, witness: W, guess: &Rc<Guess>) -> Self {
        Self { socket, witness, first: Vec::new(), guess: Some(Rc::clone(guess)) }
    }

    /// What is written last leaves together with the end.
    fn keep_the_last(&self, cx: &TaskContext<'_>) {
        if self.witness.is_last() {
            self.socket.keep_to_the_end();
        } else if self.witness.lose_patience() {
            // Whoever reads has been told to wait, and nobody else would wake him.
            cx.waker().wake_by_ref();
        }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.witness.stuck(),
            Poll::Ready(Ok(bytes)) => self.witness.wrote(*bytes),
            Poll::Ready(Err(_)) => self.witness.wrote(0),
        }
    }

    fn poll_guess(&mut self, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>, guess: &Guess) -> Poll<io::Result<()>> {
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
            if guess.look(buf, before) {
                self.guess = None;
                self.first = guess.stash.take();
                return Poll::Ready(Ok(()));
            }
            if guess.http2.get() {
                // Whoever polls the parser sees it next, and takes the socket away from it.
                return Poll::Pending;
            }
        }
    }
}

impl<W: Witness + Unpin> AsyncRead for ClientSocket<W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.witness.is_patient() && self.socket.is_unwatched() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let result = if !self.first.is_empty() {
            let room = buf.remaining().min(self.first.len());
            buf.put_slice(&self.first[..room]);
            self.first.drain(..room);
            Poll::Ready(Ok(()))
        } else if let Some(guess) = self.guess.clone() {
            self.poll_guess(cx, buf, &guess)
        } else {
            Pin::new(&mut self.socket).poll_read(cx, buf)
        };
        let fresh = &buf.filled()[before..];
        if !fresh.is_empty() {
            self.witness.read(fresh);
        }
        result
    }
}

impl<W: Witness + Unpin> AsyncWrite for ClientSocket<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.keep_the_last(cx);
        let result = match this.witness.conduit() {
            Some(conduit) => conduit.poll_pass(cx, &mut this.socket, &[io::IoSlice::new(buf)]),
            None => Pin::new(&mut this.socket).poll_write(cx, buf),
        };
        this.note(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.keep_the_last(cx);
        let result = match this.witness.conduit() {
            Some(conduit) => conduit.poll_pass(cx, &mut this.socket, bufs),
            None => Pin::new(&mut this.socket).poll_write_vectored(cx, bufs),
        };
        this.note(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if self.witness.is_last() {
            // The socket is let go of at once, which says the same.
            return self.socket.poll_farewell(cx);
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a parser gets of these pieces, and what is kept for HTTP/2.
    fn guessed(pieces: &[&[u8]]) -> (Vec<u8>, Option<Vec<u8>>) {
        let guess = Guess::default();
        let mut room = [0; 256];
        let mut buf = ReadBuf::new(&mut room);
        for piece in pieces {
            let before = buf.filled().len();
            buf.put_slice(piece);
            if guess.look(&mut buf, before) {
                break;
            }
        }
        (buf.filled().to_vec(), guess.http2())
    }

    #[test]
    fn the_preface_is_told_from_everything_else_however_it_comes() {
        let http1 = |pieces: &[&[u8]]| assert_eq!(guessed(pieces), (pieces.concat(), None));
        http1(&[b"GET / HTTP/1.1\r\n"]);
        http1(&[b"P", b"OST / HTTP/1.1\r\n"]);
        http1(&[b"PRI * HT", b"TP/1.1\r\n"]);
        http1(&[b"PRI", b""]);
        let http2 = |pieces: &[&[u8]]| assert_eq!(guessed(pieces), (Vec::new(), Some(pieces.concat())));
        http2(&[PREFACE]);
        http2(&[&PREFACE[..1], &PREFACE[1..23], &PREFACE[23..]]);
        http2(&[&PREFACE[..20], &[&PREFACE[20..], b"\0\0\0\x04\0\0\0\0\0"].concat()]);
        assert_eq!(guessed(&[&PREFACE[..23]]), (Vec::new(), None), "it may still be either");
        http2(&[b"INVALID CONNECTION PREFACE\r\n\r\n"]);
        http1(&[b"GET /\r\n\r\n"]);
        http1(&[b"GET / HTTP\x01/1.1\r\n\r\n"]);
        http1(&[b"GET / A B\r\n\r\n"]);
    }
}

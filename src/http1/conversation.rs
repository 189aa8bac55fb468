//! One request and its answer on one connection.
//!
//! Everything happens when it is polled: what is left of the request is sent and what has come of the answer is read, in
//! the same future, so an answer that comes early is read while the request is still on its way. The connection is given
//! back only if the request has been sent, the answer has been read, and nothing is left of either.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http1::chunks::Step;
use crate::http1::connection::Connection;
use crate::http1::fault::Fault;
use crate::http1::inflow::Inflow;
use crate::http1::outflow::{Halt, Outflow};
use crate::http1::piece;
use crate::http1::reply::{MAX_HEAD_BYTES, Reply};
use crate::http1::request::RequestHead;

/// How many interim answers may precede one.
const MAX_INTERIM: u8 = 100;
/// How often a head that comes in pieces is looked at before its end is in sight.
const MAX_LOOKS: u8 = 64;

/// What has come before the answer's body.
#[derive(Debug)]
pub enum Heard {
    /// An interim answer, 100 or 102 to 199; the final one is still to come.
    Interim(StatusCode),
    /// The answer's head. A 101 hands the stream over: [`Conversation::into_stream`].
    Final(Reply),
}

/// A request on its way, and its answer.
#[derive(Debug)]
pub struct Conversation<S, B> {
    stream: S,
    outflow: Outflow<B>,
    /// The connection takes nothing more of the request; an answer may still be there.
    halted: bool,
    /// Somebody else polls for the rest of the request to be sent.
    sent_apart: bool,
    /// Read and not yet used.
    rest: Bytes,
    /// The beginning of a head.
    partial: Vec<u8>,
    looks: u8,
    interim: u8,
    heard: bool,
    to_head: bool,
    keep_alive: bool,
    /// The answer's body, from its head on.
    inflow: Inflow,
}

impl<S, B> Conversation<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    /// Begins; nothing is sent until the reply is polled. Without a length of its own the body is sent in chunks.
    #[must_use]
    pub fn new(connection: Connection<S>, head: RequestHead<'_>, body: B) -> Self {
        let outflow = Outflow::new(body, head.headers, |framing, out| head.write(framing, out));
        Self {
            stream: connection.stream,
            outflow,
            halted: false,
            sent_apart: false,
            rest: Bytes::new(),
            partial: Vec::new(),
            looks: 0,
            interim: 0,
            heard: false,
            to_head: *head.method == Method::HEAD,
            keep_alive: false,
            inflow: Inflow::ToEnd,
        }
    }

    /// One whose request, which was no HEAD, has been said already, and of whose answer this much has come.
    #[must_use]
    pub fn said(connection: Connection<S>, came: Bytes) -> Self {
        Self {
            stream: connection.stream,
            outflow: Outflow::done(),
            halted: false,
            sent_apart: false,
            heard: !came.is_empty(),
            rest: came,
            partial: Vec::new(),
            looks: 0,
            interim: 0,
            to_head: false,
            keep_alive: false,
            inflow: Inflow::ToEnd,
        }
    }

    /// Whether any byte of the request may have reached the endpoint.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.outflow.has_begun()
    }

    /// Waits for the answer's head.
    ///
    /// # Errors
    /// If none comes, or what comes is none. The conversation is over then.
    pub fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, Fault>> {
        self.send(cx)?;
        loop {
            if !self.rest.is_empty()
                && let Some(heard) = self.take_head()?
            {
                return Poll::Ready(Ok(heard));
            }
            let piece = ready!(self.poll_read(cx))?;
            if piece.is_empty() {
                return Poll::Ready(Err(Fault::Closed { heard: self.heard }));
            }
            self.heard = true;
            self.rest = piece;
        }
    }

    /// Waits for the next part of the answer's body; nothing after its end.
    ///
    /// # Errors
    /// If the answer breaks off or is malformed, or if the request's body, of which some was still to be sent, fails.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if !self.sent_apart {
            self.send(cx)?;
        }
        loop {
            match self.inflow.step(&mut self.rest)? {
                Step::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Step::Trailers(fields) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Step::End => return Poll::Ready(None),
                Step::More => {}
            }
            let piece = ready!(self.poll_read(cx))?;
            if piece.is_empty() {
                self.keep_alive = false;
                if !self.inflow.end() {
                    return Poll::Ready(Some(Err(Fault::Closed { heard: true })));
                }
            }
            self.rest = piece;
        }
    }

    /// The stream, and how many bytes of the answer's body are still to be taken from it as they are, if that is all that is
    /// left to be done: for somebody who passes them on without reading them, and tells [`Self::pass`] so.
    #[must_use]
    pub fn unread(&self) -> Option<(&S, u64)> {
        let left = self.inflow.left()?;
        (self.rest.is_empty() && self.is_sent()).then_some((&self.stream, left))
    }

    /// So many bytes of the body have been taken from the stream, not more than were left; none at its end.
    ///
    /// # Errors
    /// If the answer breaks off here.
    pub fn pass(&mut self, length: usize) -> Result<(), Fault> {
        if length == 0 {
            self.keep_alive = false;
            return Err(Fault::Closed { heard: true });
        }
        self.inflow.pass(length as u64);
        Ok(())
    }

    /// Whether nothing more of the request will be sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.halted || self.outflow.is_done()
    }

    /// Sends the rest of the request; from now on only this does, and whoever reads the answer is not in charge of it any
    /// more. Two tasks may poll the two, each the same one every time.
    ///
    /// # Errors
    /// If the request's body fails.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.sent_apart = true;
        self.send(cx)?;
        if self.is_sent() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Whether the answer's body has been read to its end.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.inflow.is_end()
    }

    /// What is known of the rest of the answer's body.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        self.inflow.size_hint()
    }

    /// The connection, if it can take another request.
    #[must_use]
    pub fn finish(self) -> Option<Connection<S>> {
        let free = self.keep_alive && self.inflow.is_end() && self.rest.is_empty() && self.outflow.is_done();
        free.then(|| Connection::new(self.stream))
    }

    /// The stream, and what has been read of it after the head of the answer: for a 101, after which it speaks
    /// another protocol.
    #[must_use]
    pub fn into_stream(self) -> (S, Bytes) {
        (self.stream, self.rest)
    }

    /// The endpoint, for tests that have it change its mind.
    #[cfg(test)]
    pub(super) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends what can be sent. A connection that takes nothing more may still hold an answer that says why.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.is_sent() {
            return Ok(());
        }
        match self.outflow.poll_send(&mut self.stream, cx) {
            Poll::Ready(Err(Halt::Body)) => return Err(Fault::RequestBody),
            Poll::Ready(Err(Halt::Stream)) => self.halted = true,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Fault>> {
        piece::poll_read(&mut self.stream, cx).map_err(|error| Fault::Broken { error, heard: self.heard })
    }

    /// The head at the beginning of what has come, if it is whole.
    fn take_head(&mut self) -> Result<Option<Heard>, Fault> {
        if !self.partial.is_empty() {
            let known = self.partial.len();
            self.partial.extend_from_slice(&std::mem::take(&mut self.rest));
            if !self.is_worth_a_look(known) {
                return Ok(None);
            }
            self.rest = Bytes::from(std::mem::take(&mut self.partial));
        }
        let Some((reply, length)) = Reply::read(&self.rest)? else {
            self.partial = std::mem::take(&mut self.rest).into();
            return Ok(None);
        };
        drop(self.rest.split_to(length));
        self.looks = 0;
        if reply.status.is_informational() && reply.status != StatusCode::SWITCHING_PROTOCOLS {
            self.interim += 1;
            let flood = self.interim > MAX_INTERIM;
            return if flood {
                Err(Fault::Malformed("there are too many interim answers"))
            } else {
                Ok(Some(Heard::Interim(reply.status)))
            };
        }
        self.inflow = reply.inflow(self.to_head);
        self.keep_alive = reply.keep_alive && reply.status != StatusCode::SWITCHING_PROTOCOLS;
        Ok(Some(Heard::Final(reply)))
    }

    /// Reading a head anew with every byte of it would cost the square of its length. `known` is what there was before.
    fn is_worth_a_look(&mut self, known: usize) -> bool {
        self.looks = self.looks.saturating_add(1);
        let grown = &self.partial[known.saturating_sub(2)..];
        let ends = grown.windows(2).any(|pair| pair == b"\n\n") || grown.windows(3).any(|three| three == b"\n\r\n");
        self.looks < MAX_LOOKS || ends || self.partial.len() > MAX_HEAD_BYTES
    }
}

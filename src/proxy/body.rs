//! An answer's body on its way to the client: the endpoint's, passed on frame by frame, or our own.
//!
//! It is never held as a whole: a frame is taken from the endpoint when the client's socket has room. When the last
//! one has gone, the connection to the endpoint returns to its pool and the exchange is settled.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::cluster::ListenerError;
use crate::proxy::attempt::Answer;
use crate::proxy::ledger::Ledger;
use crate::proxy::trailers::passable;
use crate::runtime::{clock, task};
use crate::traffic::forward;

/// Why a body that had begun could not be finished; the client's connection is closed so that it notices.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint broke off in the middle of its answer")]
pub(crate) struct Broken;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    inner: Inner,
    ledger: Ledger,
}

#[derive(Debug)]
enum Inner {
    Own(Option<Bytes>),
    Relayed(Box<Answer>),
    /// There is no body, but the head says how long it would be: as in 304.
    Bodyless,
    /// The endpoint has broken off, which is told with the next look.
    Broken,
    Done,
}

impl AnswerBody {
    /// A body of our own.
    pub(crate) fn own(bytes: Bytes, mut ledger: Ledger) -> Self {
        // Nobody asks for the pieces of nothing.
        if bytes.is_empty() {
            ledger.complete(clock::now());
        }
        Self { inner: Inner::Own(Some(bytes)), ledger }
    }

    /// Nothing but a head of our own.
    pub(crate) fn bare(mut ledger: Ledger) -> Self {
        ledger.complete(clock::now());
        Self { inner: Inner::Done, ledger }
    }

    /// No body of our own; the head says how long it would be.
    pub(crate) fn described(mut ledger: Ledger) -> Self {
        ledger.complete(clock::now());
        Self { inner: Inner::Bodyless, ledger }
    }

    /// An endpoint's body; `described` if there is none and the head says how long it would be.
    pub(crate) fn relayed(answer: Box<Answer>, ledger: Ledger, described: bool) -> Self {
        let ended = answer.inflow.is_end_stream();
        let mut body = Self { inner: Inner::Relayed(answer), ledger };
        if ended {
            body.finish();
            if described {
                body.inner = Inner::Bodyless;
            }
        }
        body
    }

    fn finish(&mut self) {
        let now = clock::now();
        if let Inner::Relayed(answer) = std::mem::replace(&mut self.inner, Inner::Done) {
            let Answer { inflow, lease, source, idle_timeout, .. } = *answer;
            self.ledger.context().handed(idle_timeout, now);
            lease.finish(inflow, now);
            if let Some(source) = source.filter(|source| source.lacks_end()) {
                drop(task::spawn(source.hear_end()));
            }
        }
        self.ledger.complete(now);
    }

    fn fail(&mut self, reason: ListenerError) -> Broken {
        self.inner = Inner::Done;
        self.ledger.context().activity.break_off();
        self.ledger.broken(reason);
        Broken
    }

    fn poll_own(&mut self) -> Option<Frame<Bytes>> {
        let Inner::Own(bytes) = &mut self.inner else { return None };
        self.ledger.passed(bytes.as_ref().map_or(0, Bytes::len));
        let frame = bytes.take().map(Frame::data);
        let now = clock::now();
        self.ledger.context().handed(Some(self.ledger.context().limits.keepalive_timeout), now);
        self.ledger.complete(now);
        frame
    }
}

impl Answer {
    /// Waits for the idle time-out, counted from the last byte in either direction.
    fn poll_idle(&self, ledger: &Ledger, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.idle_timeout else { return Poll::Pending };
        let deadline = &ledger.context().deadline;
        loop {
            ready!(deadline.poll_reached(cx));
            let moved = self.source.as_ref().map(|source| source.progress() + limit);
            match moved.filter(|until| *until > clock::now()) {
                Some(until) => deadline.set(until),
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let body = &mut *self;
        body.ledger.context().activity.asked();
        let answer = match &mut body.inner {
            Inner::Relayed(answer) => answer,
            Inner::Broken => return Poll::Ready(Some(Err(Broken))),
            Inner::Own(_) | Inner::Bodyless | Inner::Done => return Poll::Ready(body.poll_own().map(Ok)),
        };
        match answer.inflow.poll_part(cx, body.ledger.context().conduit()) {
            Poll::Ready(Some(Ok(frame))) => {
                body.ledger.passed(frame.data_ref().map_or(0, Bytes::len));
                body.ledger.context().activity.give();
                // hyper does not ask again once a body of known length is complete, nor after trailers.
                if answer.inflow.is_end_stream() {
                    body.finish();
                } else if let Some(limit) = answer.idle_timeout {
                    let (context, now) = (body.ledger.context(), clock::now());
                    context.deadline.set(now + limit);
                    context.handed(Some(limit), now);
                }
                Poll::Ready(Some(Ok(passable(frame, forward::trailers))))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!("an endpoint broke off in the middle of its answer: {error}");
                if error.is_breach {
                    answer.lease.distrust();
                }
                body.fail(ListenerError::UpstreamAborted);
                body.inner = Inner::Broken;
                // hyper drops what it has not sent yet when it is told; before it looks again, it sends that.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                body.finish();
                Poll::Ready(None)
            }
            // What waits for the client is not the endpoint's fault, and the client's socket has a time of its own.
            Poll::Pending if body.ledger.context().conduit().is_some_and(|conduit| !conduit.is_empty()) => Poll::Pending,
            Poll::Pending => {
                ready!(answer.poll_idle(&body.ledger, cx));
                Poll::Ready(Some(Err(body.fail(ListenerError::IdleTimeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Own(bytes) => bytes.is_none(),
            Inner::Relayed(answer) => answer.inflow.is_end_stream(),
            // hyper writes the length of a body that it knows to be none as 0, or not at all.
            Inner::Bodyless | Inner::Broken => false,
            Inner::Done => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Relayed(answer) => answer.inflow.size_hint(),
            Inner::Bodyless | Inner::Broken => SizeHint::default(),
            Inner::Done => SizeHint::with_exact(0),
        }
    }
}

//! A request's body: read from the client, sent to one endpoint at a time, and remembered as begun or not.
//!
//! A body cannot be read twice, so the first byte of it decides that the exchange stays where it is. Until then several
//! attempts may stand in line for it; only the latest one gets anything.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::base::time::Timestamp;
use crate::proxy::trailers::passable;
use crate::runtime::clock;
use crate::runtime::timer::{self, Deadline};
use crate::traffic::forward;

/// How long a client that asked `Expect: 100-continue` is kept from sending if the endpoint says nothing.
const EXPECT_WAIT: Duration = Duration::from_secs(1);

/// How long the end of a body that is all there is waited for.
const END_WAIT: Duration = Duration::from_secs(1);

/// What went wrong with a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its framing is wrong.
    Broken,
    /// The client went away in the middle of it.
    Gone,
    /// The client sent nothing for `idle_timeout`.
    Stalled,
}

/// The error that ends an attempt whose body cannot be continued.
#[derive(Debug, thiserror::Error)]
#[error("the request's body ended early")]
pub(crate) struct BodyError;

/// The body of one exchange's request.
#[derive(Debug)]
pub(crate) struct Source {
    incoming: RefCell<Incoming>,
    owner: Cell<u32>,
    begun: Cell<bool>,
    ended: Cell<bool>,
    fault: Cell<Option<Fault>>,
    progress: Cell<Timestamp>,
    idle_timeout: Option<Duration>,
    deadline: Deadline,
    gate: Option<Rc<Gate>>,
    /// Whether it comes on a connection that it shares with others, so that its end is a word of its own.
    shared: bool,
}

/// Keeps the client's body back until the endpoint wants it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Gate {
    /// Lets the body through.
    pub(crate) fn open(&self) {
        self.open.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open.get() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Source {
    /// A body that has not been read yet, of a request in this version; `expects` if the client waits for 100.
    pub(crate) fn new(
        (incoming, version): (Incoming, Version),
        expects: bool,
        idle_timeout: Option<Duration>,
        now: Timestamp,
    ) -> Self {
        let gate = expects.then(Rc::default);
        Self {
            incoming: RefCell::new(incoming),
            owner: Cell::new(0),
            begun: Cell::new(false),
            ended: Cell::new(false),
            fault: Cell::new(None),
            progress: Cell::new(now),
            idle_timeout,
            deadline: Deadline::unset(),
            gate,
            shared: version == Version::HTTP_2,
        }
    }

    /// The body for the next attempt; earlier ones get nothing more.
    pub(crate) fn for_attempt(self: &Rc<Self>) -> RequestBody {
        self.owner.set(self.owner.get() + 1);
        RequestBody(Some((Rc::clone(self), self.owner.get())))
    }

    /// Whether any of it has been read.
    pub(crate) fn begun(&self) -> bool {
        self.begun.get()
    }

    /// Whether all of it has been read.
    pub(crate) fn ended(&self) -> bool {
        self.ended.get() || self.incoming.borrow().is_end_stream()
    }

    /// What went wrong with it.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// When it last moved.
    pub(crate) fn progress(&self) -> Timestamp {
        self.progress.get()
    }

    /// The gate, if the client waits for 100.
    pub(crate) fn gate(&self) -> Option<&Rc<Gate>> {
        self.gate.as_ref()
    }

    /// Whether all of it has come but for the word that it has ended, which HTTP/2 sends apart.
    pub(crate) fn lacks_end(&self) -> bool {
        !self.ended() && self.incoming.borrow().size_hint().exact() == Some(0)
    }

    /// Waits a moment for that word. Whoever is about to send it had better not be told that it is not wanted.
    pub(crate) async fn hear_end(self: Rc<Self>) {
        let end = std::future::poll_fn(|cx| Pin::new(&mut *self.incoming.borrow_mut()).poll_frame(cx));
        tokio::select! {
            _ = end => {}
            () = timer::sleep(END_WAIT) => {}
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.poll_gate(cx));
        let next = Pin::new(&mut *self.incoming.borrow_mut()).poll_frame(cx);
        match next {
            Poll::Ready(Some(Ok(frame))) => {
                self.begun.set(true);
                // Nothing comes after trailers, and hyper does not ask again.
                self.ended.set(frame.is_trailers());
                self.moved();
                Poll::Ready(Some(Ok(passable(frame, forward::request_trailers))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.fail(fault(&error))))),
            // A client that takes its request back without naming an error has ended it to hyper, and not in truth.
            Poll::Ready(None) if self.shared && !self.incoming.borrow().is_end_stream() => {
                Poll::Ready(Some(Err(self.fail(Fault::Gone))))
            }
            Poll::Ready(None) => {
                self.ended.set(true);
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_stall(cx),
        }
    }

    fn poll_gate(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(gate) = &self.gate else { return Poll::Ready(()) };
        if gate.poll_open(cx).is_ready() {
            return Poll::Ready(());
        }
        self.deadline.set(self.progress.get() + EXPECT_WAIT);
        ready!(self.deadline.poll_reached(cx));
        gate.open();
        self.moved();
        Poll::Ready(())
    }

    fn poll_stall(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(idle_timeout) = self.idle_timeout else { return Poll::Pending };
        self.deadline.set(self.progress.get() + idle_timeout);
        ready!(self.deadline.poll_reached(cx));
        Poll::Ready(Some(Err(self.fail(Fault::Stalled))))
    }

    fn moved(&self) {
        self.progress.set(clock::now());
        self.deadline.set(Timestamp::NEVER);
    }

    fn fail(&self, fault: Fault) -> BodyError {
        self.fault.set(Some(fault));
        self.ended.set(true);
        BodyError
    }
}

/// Tells a client that left from one that sends nonsense.
fn fault(error: &hyper::Error) -> Fault {
    use std::io::ErrorKind as Kind;
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let left = cause.is_some_and(|cause| {
        matches!(cause.kind(), Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe)
    });
    if left || error.is_incomplete_message() || error.is_canceled() || error.is_closed() { Fault::Gone } else { Fault::Broken }
}

/// What one attempt sends as its body.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<(Rc<Source>, u32)>);

impl RequestBody {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self(None)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &self.0 {
            None => Poll::Ready(None),
            Some((source, owner)) if source.owner.get() == *owner => source.poll(cx),
            // A later attempt has taken over; this one is about to be dropped.
            Some(_) => Poll::Ready(Some(Err(BodyError))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(source, _)| source.ended())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |(source, _)| source.incoming.borrow().size_hint())
    }
}

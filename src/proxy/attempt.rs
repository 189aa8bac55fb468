//! One try on one endpoint. It ends in one of three ways: an answer, a failure, or a recall.
//!
//! This is the narrow seam towards endpoints: above it nobody knows how a request is written or an answer read.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode};
use hyper::ext::ReasonPhrase;

use crate::base::time::Timestamp;
use crate::cluster::Upstream as Settings;
use crate::http1::{Conversation, Fault, Heard, Reply};
use crate::proxy::exchange::Exchange;
use crate::proxy::failure::Failure;
use crate::proxy::inflow::Inflow;
use crate::proxy::place::Place;
use crate::proxy::pool;
use crate::proxy::upstream::{Seat, Upstream};
use crate::runtime::clock;

/// A try that has been begun: its place among those in flight, and among those with a connection once it has one.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) upstream: Rc<Upstream>,
    settings: Settings,
    connected: bool,
    /// Given back after the connection.
    _place: Place,
}

impl Lease {
    fn new(place: Place, settings: Settings) -> Self {
        Self { upstream: Rc::clone(&place.upstream), settings, connected: false, _place: place }
    }

    fn connect(&mut self) {
        self.upstream.cells().active.inc();
        self.connected = true;
    }

    /// The answer is complete: its connection may be used again, unless something is left on it.
    pub(crate) fn finish(self, inflow: Inflow, now: Timestamp) {
        if let Some(connection) = inflow.finish() {
            self.upstream.pool.put(connection, self.settings, now, self.upstream.cells());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connected {
            self.upstream.cells().active.dec();
        }
    }
}

/// The head of an endpoint's answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The words after the status, if they are not the usual ones.
    pub(crate) reason: Option<ReasonPhrase>,
}

/// An endpoint's answer, and the lease that lasts until its body has been passed on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// A connection in the middle of an exchange is of no further use; dropping this closes it.
    pub(crate) inflow: Inflow,
    pub(crate) lease: Lease,
}

/// Tries the exchange on an endpoint.
pub(crate) async fn run(
    exchange: &mut Exchange<'_>,
    place: Place,
    settings: Settings,
    started: Timestamp,
) -> Result<Answer, Failure> {
    let upstream = &Rc::clone(&place.upstream);
    let mut lease = Lease::new(place, settings);
    exchange.begin_try(started);
    let seat = upstream.sit();
    let (head, inflow) = {
        let mut work = pin!(send(exchange, &mut lease, started));
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => poll_interruption(exchange, &seat, started, cx).map(Err),
            ready @ Poll::Ready(_) => ready,
        })
        .await
    }?;
    let now = clock::now();
    exchange.end_wait(now);
    upstream.cells().answered(head.status.as_u16(), started, now);
    Ok(Answer { head, inflow, lease })
}

/// Gets a connection, new or used, and sends the request on it.
async fn send(exchange: &Exchange<'_>, lease: &mut Lease, now: Timestamp) -> Result<(Head, Inflow), Failure> {
    let upstream = &lease.upstream;
    let connection = match upstream.pool.take(exchange.idempotent, now, upstream.cells()) {
        Some(connection) => connection,
        None => pool::open(upstream, lease.settings).await.map_err(Failure::Dial)?,
    };
    let request = exchange.request_head(&lease.upstream.endpoint);
    // On the heap, for an answer is handed on many times.
    let mut conversation = Box::new(Conversation::new(connection, request, exchange.request_body()));
    lease.connect();
    exchange.sent.set(true);
    let reply = std::future::poll_fn(|cx| {
        loop {
            match conversation.poll_reply(cx) {
                Poll::Ready(Ok(Heard::Interim(status))) => exchange.interim(status),
                Poll::Ready(Ok(Heard::Final(reply))) => return Poll::Ready(Ok(reply)),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    match reply {
        Ok(reply) => Ok((head(reply), Inflow::Http1(conversation))),
        Err(fault) => {
            exchange.sent.set(conversation.has_begun());
            Err(classify(exchange, &fault))
        }
    }
}

fn head(reply: Reply) -> Head {
    let reason = reply.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok());
    Head { status: reply.status, headers: reply.headers, reason }
}

fn classify(exchange: &Exchange<'_>, fault: &Fault) -> Failure {
    if let Some(fault) = exchange.body_fault() {
        return Failure::Body(fault);
    }
    match fault {
        Fault::HeadTooLarge => Failure::HeadTooLarge,
        Fault::TransferCoding => Failure::TransferCoding,
        Fault::Malformed(what) => Failure::Protocol(what),
        Fault::Closed { .. } | Fault::Broken { .. } | Fault::RequestBody => Failure::Reset(fault.to_string()),
    }
}

/// What ends a wait from outside: a recall, if the exchange may go elsewhere, or a deadline.
fn poll_interruption(exchange: &Exchange<'_>, seat: &Seat, started: Timestamp, cx: &mut Context<'_>) -> Poll<Failure> {
    while seat.poll_recalled(cx).is_ready() {
        if exchange.may_leave() {
            return Poll::Ready(Failure::Recalled);
        }
        seat.stay();
    }
    exchange.poll_deadline(started, cx)
}

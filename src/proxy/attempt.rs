//! One try on one endpoint. It ends in one of three ways: an answer, a failure, or a recall.
//!
//! This is the narrow seam towards endpoints: above it nobody knows how a request is written or an answer read.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, StatusCode};
use hyper::ext::ReasonPhrase;

use crate::base::time::Timestamp;
use crate::cluster::{Snapshot, Upstream as Settings};
use crate::config::model::Protocol;
use crate::http1::{self, Conversation, Fault, Heard, MAX_HEAD_BYTES, Reply, RequestHead};
use crate::proxy::downstream::Downstream;
use crate::proxy::exchange::Exchange;
use crate::proxy::failure::Failure;
use crate::proxy::inflow::Inflow;
use crate::proxy::lines::{Line, Ride};
use crate::proxy::opening::{self, Opened, Wanted};
use crate::proxy::place::Place;
use crate::proxy::pool::Connection;
use crate::proxy::source::Source;
use crate::proxy::upstream::{Seat, Upstream};
use crate::runtime::clock;

/// How many connections may refuse a request unseen before that counts as a failure.
const UNTAKEN: usize = 3;

/// What a field of a head over HTTP/2 counts beyond its name and value, in bytes (RFC 9113, section 6.5.2).
const FIELD: usize = 32;

/// A try that has been begun: its place among those in flight, and among those with a connection once it has one.
#[derive(Debug)]
pub(crate) struct Lease {
    settings: Settings,
    /// The client's connection that the one to the endpoint belongs to, if it belongs to one.
    owner: Option<Rc<Downstream>>,
    connected: bool,
    /// The place on a connection that it shares with others.
    ride: Option<Ride>,
    /// Given back after the connection.
    place: Place,
}

impl Lease {
    fn new(place: Place, settings: Settings, downstream: &Rc<Downstream>) -> Self {
        let owner = settings.proxy_protocol.map(|_| Rc::clone(downstream));
        Self { settings, owner, connected: false, ride: None, place }
    }

    /// The endpoint that is tried, as this worker uses it.
    pub(crate) const fn upstream(&self) -> &Rc<Upstream> {
        &self.place.upstream
    }

    fn connect(&mut self) {
        self.upstream().cells().active.inc();
        self.connected = true;
    }

    /// The endpoint broke the protocol: nothing more is asked for on a connection that others share.
    pub(crate) fn distrust(&self) {
        if let Some(ride) = &self.ride {
            ride.distrust();
        }
    }

    /// The answer is complete: its connection may be used again, unless something is left on it.
    pub(crate) fn finish(self, inflow: Inflow, now: Timestamp) {
        if let Some(connection) = inflow.finish()
            && self.place.cluster.keeps_connection()
        {
            let upstream = self.upstream();
            if let Some(owner) = &self.owner {
                owner.held_by(upstream);
            }
            upstream.pool.put(connection, self.owner.as_ref(), self.settings, now, upstream.cells());
            self.place.cluster.pooled();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connected {
            self.upstream().cells().active.dec();
        }
        if self.ride.is_some() {
            self.place.cluster.pooled();
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

impl Head {
    /// What it says, which is nobody else's then.
    pub(crate) fn take(&mut self) -> (StatusCode, HeaderMap, Option<ReasonPhrase>) {
        (self.status, std::mem::take(&mut self.headers), self.reason.take())
    }
}

/// An endpoint's answer, and the lease that lasts until its body has been passed on. It lives on the heap, for it is handed
/// on many times.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// A connection in the middle of an exchange is of no further use; dropping this closes it.
    pub(crate) inflow: Inflow,
    pub(crate) lease: Lease,
    /// The request's body, of which some may still be on its way.
    pub(crate) source: Option<Rc<Source>>,
    pub(crate) idle_timeout: Option<Duration>,
}

/// Tries the exchange on an endpoint.
pub(crate) async fn run(
    exchange: &mut Exchange<'_>,
    place: Place,
    snapshot: &Snapshot,
    started: Timestamp,
) -> Result<Box<Answer>, Failure> {
    let upstream = &Rc::clone(&place.upstream);
    let mut lease = Lease::new(place, snapshot.upstream, exchange.downstream());
    exchange.begin_try(started);
    let seat = upstream.sit(exchange.source(), started);
    let sent = {
        let mut work = pin!(send(exchange, &mut lease, snapshot, started));
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => poll_interruption(exchange, &seat, started, cx).map(Err),
            ready @ Poll::Ready(_) => ready,
        })
        .await
    };
    if let (Err(Failure::Timeout(_) | Failure::TryTimeout(_) | Failure::Recalled), Some(ride)) = (&sent, &lease.ride) {
        ride.doubt();
    }
    let (head, inflow) = sent?;
    let now = clock::now();
    seat.answered();
    exchange.end_wait(now);
    upstream.answered(head.status.as_u16(), started, now);
    let (source, idle_timeout) = (exchange.source().cloned(), exchange.idle_timeout());
    Ok(Box::new(Answer { head, inflow, lease, source, idle_timeout }))
}

/// Gets a connection, new or used, and sends the request on it.
async fn send(
    exchange: &Exchange<'_>,
    lease: &mut Lease,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(Head, Inflow), Failure> {
    if exchange.upgrades && snapshot.upstream.protocol == Protocol::Http2 {
        return Err(Failure::NoUpgrade);
    }
    for _ in 0..UNTAKEN {
        let Lease { place, owner, .. } = &mut *lease;
        let wanted = Wanted { snapshot, owner: owner.as_ref(), repeatable: exchange.idempotent, now };
        let opened = match opening::take(place, wanted) {
            Some(opened) => opened,
            // Every exchange would carry the room for it, and hardly any needs it.
            None => Box::pin(opening::get(place, wanted)).await?,
        };
        match opened {
            Opened::Http1(connection) => return converse(exchange, lease, connection).await,
            Opened::Http2(_) if exchange.upgrades => return Err(Failure::NoUpgrade),
            Opened::Http2(line) => match Box::pin(multiplex(exchange, lease, line, snapshot.tls.is_some())).await {
                // The endpoint closes this connection in good order, or has enough to do on it: it says that it has not looked
                // at the request, so the next connection is as good as this one was.
                Err(Failure::NotTaken) if !exchange.has_body_begun() => {}
                ended => return ended,
            },
        }
    }
    Err(Failure::NotTaken)
}

/// Sends the request on a connection that is shared with others.
async fn multiplex(exchange: &Exchange<'_>, lease: &mut Lease, line: Rc<Line>, secure: bool) -> Result<(Head, Inflow), Failure> {
    let request = exchange.request(&lease.upstream().endpoint, secure);
    let ride = lease.ride.insert(line.ride(&lease.place.upstream));
    exchange.sent.set(true);
    match ride.sender().try_send_request(request).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let head = shared_head(parts)?;
            let inflow = Inflow::http2(body, head.status);
            Ok((head, inflow))
        }
        Err(mut error) => {
            let failure = match error.take_message() {
                Some(_) => Failure::NotTaken,
                None if ride.is_flooded() => Failure::Protocol("frames for nothing"),
                None => classify_shared(exchange, error.error()),
            };
            exchange.sent.set(!matches!(failure, Failure::NotTaken));
            if matches!(failure, Failure::Protocol(_)) {
                ride.distrust();
            }
            Err(failure)
        }
    }
}

/// The head of an answer that came on a shared connection, in the plain form that others have.
fn shared_head(parts: Parts) -> Result<Head, Failure> {
    let Parts { status, mut headers, .. } = parts;
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
    if size > MAX_HEAD_BYTES {
        return Err(Failure::HeadTooLarge);
    }
    // Of lengths that are repeated, and of such with nothing in them, only one is looked at where the body is read.
    http1::one_length(&mut headers).map_err(|_| Failure::Protocol("the length is no single, plain number"))?;
    Ok(Head { status, headers, reason: None })
}

/// What ended an exchange on a shared connection.
fn classify_shared(exchange: &Exchange<'_>, error: &hyper::Error) -> Failure {
    if let Some(fault) = exchange.body_fault() {
        return Failure::Body(fault);
    }
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    let Some(cause) = cause else { return Failure::Reset(error.to_string()) };
    // RFC 9113, sections 6.8 and 8.7: the stream is beyond the last one that is answered, or was refused unseen.
    let left_out = cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR);
    let refused = cause.is_reset() && cause.is_remote() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    if left_out || refused {
        Failure::NotTaken
    } else if cause.is_library() {
        Failure::Protocol("a breach of HTTP/2")
    } else {
        Failure::Reset(cause.to_string())
    }
}

/// Sends the request on a connection of its own.
async fn converse(exchange: &Exchange<'_>, lease: &mut Lease, connection: Connection) -> Result<(Head, Inflow), Failure> {
    // On the heap, for an answer is handed on many times.
    let begin = |head: RequestHead<'_>| Box::new(Conversation::new(connection, head, exchange.request_body()));
    let mut conversation = exchange.with_head(&lease.upstream().endpoint, begin);
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
        Ok(reply) => Ok((head(reply), Inflow::http1(conversation))),
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
    while let Poll::Ready(overdue) = seat.poll_recalled(cx) {
        if exchange.may_leave() {
            return Poll::Ready(if overdue { Failure::Overdue } else { Failure::Recalled });
        }
        seat.stay();
    }
    exchange.poll_deadline(started, cx)
}

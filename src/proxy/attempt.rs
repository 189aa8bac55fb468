//! One try on one endpoint. It ends in one of three ways: an answer, a failure, or a recall.
//!
//! This is the narrow seam towards endpoints: above it nobody knows how a request is written or an answer read.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Response;

use crate::base::time::Timestamp;
use crate::cluster::Upstream as Settings;
use crate::proxy::exchange::Exchange;
use crate::proxy::failure::Failure;
use crate::proxy::inflow::Inflow;
use crate::proxy::pool::{self, Connection};
use crate::proxy::source::Source;
use crate::proxy::upstream::{Seat, Upstream};
use crate::runtime::clock;

/// A try that has been begun: its place among those in flight, and its connection once there is one.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) upstream: Rc<Upstream>,
    settings: Settings,
    connection: Option<Connection>,
}

impl Lease {
    fn enter(upstream: &Rc<Upstream>, settings: Settings) -> Self {
        upstream.endpoint.enter();
        Self { upstream: Rc::clone(upstream), settings, connection: None }
    }

    fn hold(&mut self, connection: Connection) -> &mut Connection {
        self.upstream.cells().active.inc();
        self.connection.insert(connection)
    }

    /// The answer is complete: the connection may be used again, unless the request's body is still on it.
    pub(crate) fn finish(mut self, source: Option<&Source>, now: Timestamp) {
        let clean = source.is_none_or(Source::ended);
        if let Some(connection) = self.release().filter(|_| clean) {
            self.upstream.pool.put(connection, self.settings, now, self.upstream.cells());
        }
    }

    fn release(&mut self) -> Option<Connection> {
        let connection = self.connection.take();
        if connection.is_some() {
            self.upstream.cells().active.dec();
        }
        connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A connection in the middle of an exchange is of no further use; dropping it closes it.
        drop(self.release());
        self.upstream.endpoint.leave();
    }
}

/// An endpoint's answer, and the lease that lasts until its body has been passed on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Inflow>,
    pub(crate) lease: Lease,
}

/// Tries the exchange on an endpoint.
pub(crate) async fn run(
    exchange: &mut Exchange<'_>,
    upstream: &Rc<Upstream>,
    settings: Settings,
    started: Timestamp,
) -> Result<Answer, Failure> {
    exchange.begin_try(upstream, started);
    let mut lease = Lease::enter(upstream, settings);
    let seat = upstream.sit();
    let response = {
        let mut work = pin!(send(exchange, &mut lease, started));
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => poll_interruption(exchange, &seat, started, cx),
            ready @ Poll::Ready(_) => ready,
        })
        .await
    }?;
    let now = clock::now();
    exchange.end_wait(now);
    upstream.cells().answered(response.status().as_u16(), started, now);
    Ok(Answer { response, lease })
}

/// Gets a connection, new or used, and sends the request on it.
async fn send(exchange: &Exchange<'_>, lease: &mut Lease, now: Timestamp) -> Result<Response<Inflow>, Failure> {
    let upstream = Rc::clone(&lease.upstream);
    let connection = match upstream.pool.take(exchange.idempotent, now, upstream.cells()) {
        Some(connection) => connection,
        None => pool::open(&upstream, lease.settings).await.map_err(Failure::Dial)?,
    };
    let connection = lease.hold(connection);
    let request = exchange.request(&upstream.endpoint);
    exchange.sent.set(true);
    let answered = connection.sender.try_send_request(request).await;
    answered.map(|response| response.map(Inflow::Http1)).map_err(|mut refused| {
        if refused.take_message().is_some() {
            exchange.sent.set(false);
        }
        classify(exchange, &refused.into_error())
    })
}

fn classify(exchange: &Exchange<'_>, error: &hyper::Error) -> Failure {
    match exchange.body_fault() {
        Some(fault) => Failure::Body(fault),
        None if error.is_parse_too_large() => Failure::HeadTooLarge,
        None if error.is_parse() => Failure::Protocol(cause(error)),
        None => Failure::Reset(cause(error)),
    }
}

/// The error with what lies beneath it, for the log.
fn cause(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// What ends a wait from outside: a recall, if the exchange may go elsewhere, or a deadline.
fn poll_interruption(
    exchange: &Exchange<'_>,
    seat: &Seat,
    started: Timestamp,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<Inflow>, Failure>> {
    while seat.poll_recalled(cx).is_ready() {
        if exchange.may_leave() {
            return Poll::Ready(Err(Failure::Recalled));
        }
        seat.stay();
    }
    exchange.poll_deadline(started, cx).map(Err)
}

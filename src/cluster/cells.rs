//! What is counted, in cells with one writer each: a worker's, or control's.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::cluster::Token;
use crate::telemetry::cell::{Counter, Gauge, Histogram, SketchCells, StatusCounters};
use crate::traffic::limits::Limit;

/// How trying a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// It was made.
    Ok,
    /// Nobody listens.
    Refused,
    /// Not within `connect_timeout`.
    Timeout,
    /// TLS stood in the way.
    Tls,
    /// Otherwise, a name that does not resolve included.
    Error,
}

impl Connect {
    /// Every result, with its label.
    pub const ALL: [(Self, &'static str); 5] =
        [(Self::Ok, "ok"), (Self::Refused, "refused"), (Self::Timeout, "timeout"), (Self::Tls, "tls"), (Self::Error, "error")];
}

/// How a retry ended, or why there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryResult {
    /// The retry was answered, with a status that is not tried again.
    Success,
    /// It failed too.
    Failure,
    /// The budget forbade it.
    Budget,
}

impl RetryResult {
    /// Every result, with its label.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Success, "success"), (Self::Failure, "failure"), (Self::Budget, "budget_exhausted")];
}

/// One worker's counts about one endpoint.
#[derive(Debug, Default)]
pub struct EndpointCells {
    /// Answers by class, 1xx to 5xx, and attempts without one.
    pub classes: [Counter; 6],
    /// Sum of the times to the first byte, in nanoseconds.
    pub first_byte_nanos: Counter,
    /// Answers in that sum.
    pub first_bytes: Counter,
    /// Connections tried, in the order of [`Connect::ALL`].
    pub connects: [Counter; 5],
    /// Connections with an exchange on them.
    pub active: Gauge,
    /// Connections in the pool.
    pub idle: Gauge,
    /// Attempts that were answered with less than 500.
    pub ok: Counter,
    /// Attempts that failed or were answered with 500 or more.
    pub error: Counter,
    /// When the newest request that was answered with less than 500 had been sent, in nanoseconds of the monotonic clock.
    pub newest_success_sent: Gauge,
    /// The same for an answer of any status: somebody accepted the connection.
    pub newest_answered_sent: Gauge,
    /// When the last answer began, in nanoseconds of the monotonic clock.
    pub heard: Gauge,
    /// When the oldest request was sent that waits for an answer and was sent after every one answered; 0 if none waits.
    pub oldest_unanswered: Gauge,
    /// Times to the first byte, of what no stall of ours delayed.
    pub latencies: SketchCells,
    /// Attempts in them that were called back for taking so long, and so would have taken longer.
    pub overdue: Counter,
    /// Attempts that no gateway would call answered: no connection, a reset, a time-out, and 502 to 504.
    pub gateway_errors: Counter,
    /// Those of them since the last other answer.
    pub gateway_streak: Gauge,
}

impl EndpointCells {
    /// Labels of `classes`.
    pub const CLASSES: [&'static str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "error"];

    /// Counts an answer to a request that was sent at `sent`.
    pub fn answered(&self, status: u16, sent: Timestamp, now: Timestamp) {
        self.latencies.observe(now.since(sent));
        self.answered_excused(status, sent, now);
    }

    /// The same of one whose time says nothing about the endpoint: we stood still meanwhile, or were catching up.
    pub fn answered_excused(&self, status: u16, sent: Timestamp, now: Timestamp) {
        self.classes[usize::from(status / 100).clamp(1, 5) - 1].inc();
        self.first_byte_nanos.add(u64::try_from(now.since(sent).as_nanos()).unwrap_or(u64::MAX));
        self.first_bytes.inc();
        self.heard.set(now.as_nanos());
        newer(&self.newest_answered_sent, sent);
        if matches!(status, 502..=504) {
            self.gateway_errors.inc();
            self.gateway_streak.inc();
        } else {
            self.gateway_streak.set(0);
        }
        if status < 500 {
            self.ok.inc();
            newer(&self.newest_success_sent, sent);
        } else {
            self.error.inc();
        }
    }

    /// Counts an attempt that ended without an answer.
    pub fn failed(&self) {
        self.failed_excused();
        self.blame();
    }

    /// Holds a failure against the endpoint.
    pub fn blame(&self) {
        self.error.inc();
        self.gateway_errors.inc();
        self.gateway_streak.inc();
    }

    /// The same of one that is not held against the endpoint: it was called back, and the verdict that called is not held against it
    /// twice; or time ran out that we took ourselves.
    pub fn failed_excused(&self) {
        self.classes[5].inc();
    }

    /// Counts the time of an attempt that was called back because of it.
    pub fn overdue(&self, waited: Duration) {
        self.latencies.observe(waited);
        self.overdue.inc();
    }

    /// Counts a connection that was tried.
    pub fn connected(&self, result: Connect) {
        self.connects[result as usize].inc();
    }
}

/// Moves a cell on, never back: answers come in another order than their requests went out.
fn newer(cell: &Gauge, sent: Timestamp) {
    cell.set(cell.get().max(sent.as_nanos()));
}

/// One worker's counts about one cluster.
#[derive(Debug, Default)]
pub struct ClusterCells {
    /// Durations of whole exchanges.
    pub durations: Histogram,
    /// Retries, in the order of [`RetryResult::ALL`].
    pub retries: [Counter; 3],
    /// Requests turned away, in the order of [`Limit::ALL`].
    pub rejected: [Counter; Limit::ALL.len()],
}

/// One worker's counts about one route.
#[derive(Debug, Default)]
pub struct RouteCells {
    /// Exchanges by status.
    pub statuses: StatusCounters,
    /// Answers of our own, in the order of [`Token::ALL`].
    pub local: [Counter; Token::ALL.len()],
    /// Requests in recent seconds, for the retry budget.
    pub recent_requests: crate::traffic::budget::Recent,
    /// Retries in recent seconds.
    pub recent_retries: crate::traffic::budget::Recent,
}

/// Why a client's connection ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerError {
    /// The parser refused a head.
    BadRequest,
    /// A head did not come within `head_timeout`.
    HeadTimeout,
    /// The client went away in the middle of an exchange.
    ClientGone,
    /// A body stood still for `idle_timeout`.
    IdleTimeout,
    /// There were `limits.connections` already.
    ConnectionLimit,
    /// A trusted proxy did not say who connects, on a listener with `proxy_protocol`.
    ProxyHeader,
    /// Accepting failed.
    Accept,
    /// The upstream broke off in the middle of a body.
    UpstreamAborted,
    /// A TLS handshake failed.
    Handshake,
    /// A TLS handshake did not end within `head_timeout`.
    HandshakeTimeout,
    /// There were `limits.handshakes` already.
    HandshakeLimit,
    /// An HTTP/2 client made work without asking for anything: control frames, requests taken back at once.
    Flood,
}

impl ListenerError {
    /// Every reason, with its label.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::BadRequest, "bad_request"),
        (Self::HeadTimeout, "head_timeout"),
        (Self::ClientGone, "client_gone"),
        (Self::IdleTimeout, "idle_timeout"),
        (Self::ConnectionLimit, "connection_limit"),
        (Self::ProxyHeader, "proxy_header"),
        (Self::Accept, "accept"),
        (Self::UpstreamAborted, "upstream_aborted"),
        (Self::Handshake, "handshake"),
        (Self::HandshakeTimeout, "handshake_timeout"),
        (Self::HandshakeLimit, "handshake_limit"),
        (Self::Flood, "flood"),
    ];
}

/// One worker's counts about one listener.
#[derive(Debug, Default)]
pub struct ListenerCells {
    /// Connections that ended badly, in the order of [`ListenerError::ALL`].
    pub errors: [Counter; ListenerError::ALL.len()],
    /// What no route was found for.
    pub unrouted: RouteCells,
}

impl ListenerCells {
    /// Counts a connection that ended badly.
    pub fn error(&self, reason: ListenerError) {
        self.errors[reason as usize].inc();
    }
}

//! A route as the request path holds it: its policy, where it leads, and each worker's cells.

use std::sync::Arc;

use crate::cluster::RouteCells;
use crate::telemetry::cell::Counter;
use crate::telemetry::lanes::Lanes;
use crate::traffic::policy::RoutePolicy;
use crate::traffic::split;

/// The `error` of a Proxy-Status header (RFC 9209, section 2.3), for the failures that we answer ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// No route.
    DestinationNotFound,
    /// Nobody available.
    DestinationUnavailable,
    /// A name that has not resolved.
    DnsError,
    /// No way to the address.
    DestinationIpUnroutable,
    /// Nobody listens.
    ConnectionRefused,
    /// Reset or closed before an answer.
    ConnectionTerminated,
    /// A limit of ours was met.
    ConnectionLimitReached,
    /// Not connected in time.
    ConnectionTimeout,
    /// The endpoint's certificate is not believed.
    TlsCertificateError,
    /// TLS could not be agreed on.
    TlsProtocolError,
    /// No head in time.
    HttpResponseTimeout,
    /// What came is no HTTP answer.
    HttpProtocolError,
    /// A status that has no place there, such as 101 without an upgrade.
    HttpUpgradeFailed,
    /// Body framing that cannot be passed on.
    HttpResponseTransferCoding,
    /// A head that is too large.
    HttpResponseHeaderSectionSize,
    /// The request is at fault.
    HttpRequestError,
    /// A bug of ours.
    ProxyInternalError,
    /// A loop: our own Via came back too often.
    ProxyLoopDetected,
}

impl Token {
    /// Every token, with its spelling.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::DestinationNotFound, "destination_not_found"),
        (Self::DestinationUnavailable, "destination_unavailable"),
        (Self::DnsError, "dns_error"),
        (Self::DestinationIpUnroutable, "destination_ip_unroutable"),
        (Self::ConnectionRefused, "connection_refused"),
        (Self::ConnectionTerminated, "connection_terminated"),
        (Self::ConnectionLimitReached, "connection_limit_reached"),
        (Self::ConnectionTimeout, "connection_timeout"),
        (Self::TlsCertificateError, "tls_certificate_error"),
        (Self::TlsProtocolError, "tls_protocol_error"),
        (Self::HttpResponseTimeout, "http_response_timeout"),
        (Self::HttpProtocolError, "http_protocol_error"),
        (Self::HttpUpgradeFailed, "http_upgrade_failed"),
        (Self::HttpResponseTransferCoding, "http_response_transfer_coding"),
        (Self::HttpResponseHeaderSectionSize, "http_response_header_section_size"),
        (Self::HttpRequestError, "http_request_error"),
        (Self::ProxyInternalError, "proxy_internal_error"),
        (Self::ProxyLoopDetected, "proxy_loop_detected"),
    ];

    /// Its spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// A cluster that a route's requests go to, or none if they are answered here.
#[derive(Debug)]
pub struct Target {
    /// Its name; empty for none.
    pub name: Arc<str>,
    /// Its position in [`crate::cluster::World::clusters`].
    pub cluster: Option<usize>,
    /// Shared with the target of the same route and cluster before a reload, so that counts go on.
    pub cells: Arc<Lanes<RouteCells>>,
}

/// A live route.
#[derive(Debug)]
pub struct Route {
    /// Its policy.
    pub policy: RoutePolicy,
    targets: Box<[Target]>,
    weights: Box<[u32]>,
    turns: Lanes<Counter>,
}

impl Route {
    /// A route to these targets, in the order of its policy's shares; one without a cluster if it has none.
    ///
    /// # Panics
    /// If there is no target.
    #[must_use]
    pub fn new(policy: RoutePolicy, targets: Vec<Target>) -> Self {
        assert!(!targets.is_empty(), "what no cluster serves is answered here, and that is a target too");
        let weights = policy.action.shares().iter().map(|share| share.weight).collect();
        Self { policy, targets: targets.into(), weights, turns: Lanes::default() }
    }

    /// Where its requests go.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The position of the target of a worker's next request. One that is not `usable` passes its turn on.
    pub fn choose(&self, worker: usize, usable: impl Fn(&Target) -> bool) -> usize {
        if self.targets.len() == 1 {
            return 0;
        }
        let turns = &self.turns[worker];
        turns.inc();
        split::choose(&self.weights, turns.get() - 1, |position| self.targets.get(position).is_some_and(&usable))
    }
}

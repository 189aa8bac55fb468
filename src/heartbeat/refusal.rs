//! Why a beat is not taken: the answer to its sender, the count, and one line in the log.

use std::cell::RefCell;
use std::collections::HashSet;

use http::StatusCode;
use prometheus::core::Collector;

use crate::telemetry::names;
use crate::telemetry::series::Series;

/// Most kinds of refusals that are explained in the log, each once for a cluster.
const EXPLAINED: usize = 256;

/// Why a beat is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    /// No token, or one that no cluster has.
    Unauthorized,
    /// The token may not speak for this endpoint.
    Forbidden,
    /// The token is good, and there is no such cluster, or it wants no heartbeats.
    UnknownCluster,
    /// The cluster has no such endpoint.
    UnknownEndpoint,
    /// As many endpoints have joined as may.
    ClusterFull,
    /// The body is longer than a beat may be.
    TooLarge,
    /// It is no beat: not JSON, cut short, a field that is unknown or wrong.
    Malformed,
    /// There is no connection to answer on: TLS could not be agreed on, or there was no client certificate.
    Handshake,
    /// More often than any sender needs.
    RateLimited,
    /// It comes from an incarnation that has been followed by another.
    Zombie,
    /// Control is not there any more.
    Stopping,
}

impl Refusal {
    /// The label of the count.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::UnknownCluster => "unknown_cluster",
            Self::UnknownEndpoint => "unknown_endpoint",
            Self::ClusterFull => "cluster_full",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Handshake => "handshake",
            Self::RateLimited => "rate_limited",
            Self::Zombie => "zombie",
            Self::Stopping => "stopping",
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::UnknownCluster | Self::UnknownEndpoint => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed | Self::Handshake => StatusCode::BAD_REQUEST,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Zombie => StatusCode::CONFLICT,
            Self::ClusterFull | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the sender is told where nothing better is known.
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::Unauthorized => "a bearer token of the cluster's token_file is wanted",
            Self::Forbidden => "this token may not speak for this endpoint",
            Self::UnknownCluster => "no cluster of this name takes heartbeats",
            Self::UnknownEndpoint => "the cluster has no endpoint of this address",
            Self::ClusterFull => "as many endpoints have joined this cluster as may",
            Self::TooLarge => "a heartbeat is at most 64 KiB",
            Self::Malformed => "no heartbeat",
            Self::Handshake => "TLS cannot be agreed on",
            Self::RateLimited => "more heartbeats than any sender needs",
            Self::Zombie => "another incarnation has taken this endpoint's place since",
            Self::Stopping => "this proxy is stopping",
        }
    }
}

/// The counts of heartbeats. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Counts(Series);

impl Default for Counts {
    fn default() -> Self {
        Self(Series::new(names::HEARTBEATS))
    }
}

impl Counts {
    /// Counts one. Labels of what is not configured are empty: senders make no series.
    pub fn count(&self, cluster: &str, endpoint: &str, result: &str) {
        self.0.inc(&[cluster, endpoint, result]);
    }

    /// The series, to be dropped with their endpoint.
    #[must_use]
    pub const fn series(&self) -> &Series {
        &self.0
    }

    /// To be registered.
    #[must_use]
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.0.clone())
    }
}

/// Tells of refusals: each kind once for a cluster, so that a flood of them leaves the log readable.
#[derive(Debug, Default)]
pub(super) struct Teller {
    told: RefCell<HashSet<(Refusal, Box<str>)>>,
}

impl Teller {
    /// Tells of a refusal; `cluster` and `endpoint` are those of the configuration, or empty.
    pub(super) fn tell(&self, refusal: Refusal, cluster: &str, endpoint: &str, detail: &str) {
        let key = (refusal, Box::from(cluster));
        let mut told = self.told.borrow_mut();
        let new = !told.contains(&key) && told.len() < EXPLAINED;
        if new {
            told.insert(key);
            tracing::warn!(
                cluster,
                endpoint,
                reason = refusal.as_str(),
                detail,
                "heartbeat refused; more of this kind are only counted"
            );
        } else {
            tracing::debug!(cluster, endpoint, reason = refusal.as_str(), detail, "heartbeat refused");
        }
    }
}

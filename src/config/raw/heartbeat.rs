//! Owns the shapes of heartbeats: where they are received, and what a cluster expects of them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::raw::{ListenerTls, Span};

/// A socket that endpoints push heartbeats to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Heartbeats {
    /// Where it listens: ip:port (IPv6 in brackets), or :port for every interface.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// TLS towards who sends them.
    pub(in crate::config) tls: Option<ListenerTls>,
}

/// What is expected of the heartbeats that endpoints push. Without path and probes beside it heartbeats alone decide.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Heartbeat {
    /// From one heartbeat to the next, unless the sender says otherwise.
    #[schemars(extend("default" = format_duration(defaults::HEARTBEAT_PERIOD)))]
    pub(in crate::config) period: Option<Span>,
    /// How long an endpoint counts as alive after a heartbeat; by default 3.5 times the period.
    pub(in crate::config) ttl: Option<Span>,
    /// How silence before that is judged.
    #[schemars(extend("default" = "ttl"))]
    pub(in crate::config) detector: Option<Detector>,
    /// With detector accrual: how improbable silence must be to be suspected, in decades, 1 to 16.
    #[schemars(extend("default" = defaults::PHI))]
    pub(in crate::config) phi: Option<f64>,
    /// A file with a token in each line, alone or followed by the endpoints that it may speak for.
    #[schemars(length(min = 1))]
    pub(in crate::config) token_file: Option<String>,
}

/// How silence is judged.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Detector {
    /// Not before the ttl is over.
    Ttl,
    /// By its improbability, given how beats came so far; the ttl is the end all the same.
    Accrual,
}

/// Whether the nonce that a probe sends must come back in its answer.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Acknowledge {
    /// None is sent.
    Off,
    /// It may; an answer with another one says nothing.
    Optional,
    /// It must.
    Required,
}

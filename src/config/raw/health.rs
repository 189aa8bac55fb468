//! Owns the shape of a cluster's health block and its probes.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::raw::{
    Acknowledge, Damping, Heartbeat, Leader, List, OneOrMany, OrOff, Outlier, Pairs, Percent, Report, Silence, SlowStart, Span,
    Status,
};

/// How health is judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// The path of one http probe: short for probes with one in it.
    #[schemars(extend("default" = defaults::HEALTH_PATH))]
    pub(in crate::config) path: Option<String>,
    /// Another port than the endpoint's for that probe.
    #[schemars(range(min = 1))]
    pub(in crate::config) port: Option<u16>,
    /// Whether that probe uses the cluster's TLS.
    #[schemars(extend("default" = "inherit"))]
    pub(in crate::config) tls: Option<ProbeTls>,
    /// From the start of a probe to the start of the next while all is well.
    #[schemars(extend("default" = format_duration(defaults::INTERVAL)))]
    pub(in crate::config) interval: Option<Span>,
    /// For one probe, from connect to the last byte.
    #[schemars(extend("default" = format_duration(defaults::TIMEOUT)))]
    pub(in crate::config) timeout: Option<Span>,
    /// Instead of interval while the verdict is in question; by default half of interval, at most 500ms.
    pub(in crate::config) fast_interval: Option<Span>,
    /// Instead of interval while an endpoint is unhealthy; by default interval, at most 5s.
    pub(in crate::config) down_interval: Option<Span>,
    /// Each probe moves by up to this share of the interval, either way; at most 50%.
    #[schemars(extend("default" = defaults::JITTER))]
    pub(in crate::config) jitter: Option<Percent>,
    /// Failed results in a row that make a healthy endpoint unhealthy.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::FALL))]
    pub(in crate::config) fall: Option<u32>,
    /// Passed results in a row that make an unhealthy endpoint healthy.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::RISE))]
    pub(in crate::config) rise: Option<u32>,
    /// What an endpoint is before its first result.
    #[schemars(extend("default" = "unknown"))]
    pub(in crate::config) start: Option<Start>,
    /// Several probes; an empty list means none.
    pub(in crate::config) probes: Option<List<Probe>>,
    /// How many probes must pass: all, any, or a number. Where not all must, heartbeats are one way more beside the probes.
    #[schemars(extend("default" = "all"))]
    pub(in crate::config) require: Option<Require>,
    /// Load and state that endpoints state about themselves, or off.
    pub(in crate::config) report: Option<OrOff<Report>>,
    /// Whether the nonce of an http probe must come back in its answer.
    #[schemars(extend("default" = "optional"))]
    pub(in crate::config) acknowledge: Option<Acknowledge>,
    /// Heartbeats that endpoints push, or off.
    pub(in crate::config) heartbeat: Option<OrOff<Heartbeat>>,
    /// What takes an endpoint out or weighs it down when its live traffic fares badly, or off.
    pub(in crate::config) outlier: Option<OrOff<Outlier>>,
    /// When an endpoint that answers nothing while others answer is suspected, or off.
    pub(in crate::config) silence: Option<OrOff<Silence>>,
    /// How an endpoint that returns gets its traffic back, or off.
    pub(in crate::config) slow_start: Option<OrOff<SlowStart>>,
    /// How an endpoint that comes and goes is held out, or off.
    pub(in crate::config) damping: Option<OrOff<Damping>>,
    /// Addresses that are probed as well, ip:port or name:port: if these fail too, it is our own link. One or a list.
    pub(in crate::config) reference: Option<OneOrMany<String>>,
    /// Share of the cluster that outliers, silence and report rules may take out at once; failed probes are not capped.
    #[schemars(extend("default" = defaults::MAX_EJECTED))]
    pub(in crate::config) max_ejected: Option<Percent>,
    /// Let sicker endpoints in when fewer than this share are available; 0% means when none is; off means never.
    #[schemars(extend("default" = "off"))]
    pub(in crate::config) panic: Option<OrOff<Percent>>,
    /// Whether an ejection for a time-out or a soft reason needs a majority of the fleet.
    #[schemars(extend("default" = false))]
    pub(in crate::config) quorum: Option<bool>,
    /// How endpoints say which of them leads, or off.
    pub(in crate::config) leader: Option<OrOff<Leader>>,
}

/// Whether a probe uses the cluster's TLS.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ProbeTls {
    /// If the cluster has TLS.
    Inherit,
    /// It speaks in the clear.
    Off,
}

/// What an endpoint is before its first result.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Start {
    /// Not available before the first pass.
    Unknown,
    /// Available until a probe says otherwise.
    Healthy,
}

/// How many probes must pass.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Require {
    /// A number of them.
    Number(u32),
    /// `all` or `any`.
    Word(RequireWord),
}

/// How many probes must pass, in a word.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RequireWord {
    /// Every one.
    All,
    /// At least one.
    Any,
}

impl JsonSchema for Require {
    fn schema_name() -> Cow<'static, str> {
        "Require".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "all, any, or a number of probes",
            "anyOf": [{ "enum": ["all", "any"] }, { "type": "integer", "minimum": 1, "maximum": 1000 }],
        })
    }
}

/// One probe: http, tcp, agent, grpc or file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Probe {
    /// Its name, the label in metrics; by default its kind.
    #[schemars(regex(pattern = super::scalar::NAME), extend("errorMessage" = super::scalar::NAME_WANTED))]
    pub(in crate::config) name: Option<String>,
    /// A request whose answer is judged.
    pub(in crate::config) http: Option<HttpProbe>,
    /// A connection that is accepted.
    pub(in crate::config) tcp: Option<TcpProbe>,
    /// The line of an HAProxy agent: state, weight and more.
    pub(in crate::config) agent: Option<AgentProbe>,
    /// The check of a gRPC health service.
    pub(in crate::config) grpc: Option<GrpcProbe>,
    /// A file that the endpoint touches, such as one on a shared disk.
    pub(in crate::config) file: Option<FileProbe>,
    /// Another port than the endpoint's.
    #[schemars(range(min = 1))]
    pub(in crate::config) port: Option<u16>,
    /// Whether it uses the cluster's TLS.
    #[schemars(extend("default" = "inherit"))]
    pub(in crate::config) tls: Option<ProbeTls>,
    /// Another address than the endpoint's: ip:port (IPv6 in brackets) or name:port.
    pub(in crate::config) address: Option<String>,
    /// The address of ours that connections are made from, to take another way there.
    pub(in crate::config) source: Option<String>,
    /// Instead of the health block's interval.
    pub(in crate::config) interval: Option<Span>,
    /// Instead of the health block's timeout.
    pub(in crate::config) timeout: Option<Span>,
}

/// A request whose answer is judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HttpProbe {
    /// Path and query.
    #[schemars(extend("default" = defaults::HEALTH_PATH))]
    pub(in crate::config) path: Option<String>,
    /// The method.
    #[schemars(extend("default" = "GET"))]
    pub(in crate::config) method: Option<String>,
    /// The Host header; by default the endpoint's address.
    pub(in crate::config) host: Option<String>,
    /// More headers.
    pub(in crate::config) headers: Option<Pairs<String>>,
    /// Statuses that pass, such as 204 or 200-299; one or a list.
    #[schemars(extend("default" = defaults::PROBE_STATUS))]
    pub(in crate::config) status: Option<OneOrMany<Status>>,
    /// Text that the body must contain.
    #[schemars(length(min = 1, max = 1024))]
    pub(in crate::config) body_contains: Option<String>,
}

/// A connection that is accepted. It has no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TcpProbe {}

/// The line of an HAProxy agent. It has no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AgentProbe {}

/// The check of a gRPC health service (grpc.health.v1).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct GrpcProbe {
    /// The name of the service; by default empty, which means the whole server.
    #[schemars(extend("default" = ""))]
    pub(in crate::config) service: Option<String>,
    /// What an endpoint without a health service is.
    #[schemars(extend("default" = "unhealthy"))]
    pub(in crate::config) unimplemented: Option<Unimplemented>,
}

/// What an endpoint without a health service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Unimplemented {
    /// The probe passes.
    Healthy,
    /// The probe fails.
    Unhealthy,
}

/// A file that the endpoint touches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileProbe {
    /// The file; `{host}`, `{port}` and `{address}` in it stand for the endpoint's.
    #[schemars(required, length(min = 1, max = 1024))]
    pub(in crate::config) path: Option<String>,
    /// How old its last change may be; by default 3 times the interval, at least 10s.
    pub(in crate::config) max_age: Option<Span>,
}

//! Owns the shapes of the document as users write it, one file per section; the published schema is generated from them.
//!
//! Every setting is optional here, also one that must be given: the walk tells what is missing or wrong and takes it out, so
//! that everything else can still be looked at. The first paragraph above a field is what an editor shows for it.
//! What settings mean, and which go together, is left to lowering.

mod cluster;
mod fleet;
mod health;
mod heartbeat;
mod leader;
mod listener;
mod live;
mod process;
mod report;
mod route;
mod scalar;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;

pub(super) use cluster::{
    Balance, BalanceWord, Cluster, ClusterLimits, ClusterTls, Discovery, Endpoint, HashOn, HashWord, Pool, ProxyProtocol, Sticky,
};
pub(super) use fleet::Fleet;
pub(super) use health::{FileProbe, GrpcProbe, Health, HttpProbe, Probe, ProbeTls, Require, RequireWord, Start, Unimplemented};
pub(super) use heartbeat::{Acknowledge, Detector, Heartbeat, Heartbeats};
pub(super) use leader::{Leader, LeaderFrom};
pub(super) use listener::{ClientAuth, Limits, Listener, ListenerTls, Protocol};
pub(super) use live::{Damping, Outlier, Silence, SlowStart};
pub(super) use process::{AccessFormat, AccessLog, Admin, Level as LogLevel, Log, LogFormat, Metrics};
pub(super) use report::{For, Format, Level, Report, Rule, Side, Unit};
pub(super) use route::{HeaderChanges, Match, Retries, Role as RouteRole, Route, Share, WhenEntry};
pub(super) use scalar::{CountOrNone, METRIC_WANTED, OneOrMany, OrOff, Pairs, Percent, Size, Span, SpanOrNone, Status};

/// A list; an item that was told as a problem is `None`, so that the others keep their places.
pub(super) type List<T> = Vec<Option<T>>;

/// The configuration of Pulsegate. Durations have a unit (500ms, 2s, 1m), shares are in percent, ${NAME} and
/// ${NAME:-default} are replaced by environment variables.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Pulsegate configuration")]
pub(super) struct Root {
    /// The admin interface.
    pub(super) admin: Option<Admin>,
    /// A listener for scrapers and kubelets: only /metrics, /livez and /readyz, without a token.
    pub(super) metrics: Option<Metrics>,
    /// Data-plane threads; by default as many as there are CPUs.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) workers: Option<u32>,
    /// How long /readyz already fails before a drain begins, while connections are still accepted.
    #[schemars(extend("default" = format_duration(defaults::DRAIN_DELAY)))]
    pub(super) drain_delay: Option<Span>,
    /// How long exchanges may take to finish in a drain.
    #[schemars(extend("default" = format_duration(defaults::DRAIN_TIMEOUT)))]
    pub(super) drain_timeout: Option<Span>,
    /// Whether a change of this file is a reload, be it written, renamed over, or behind a link that is swapped.
    #[schemars(extend("default" = defaults::WATCH))]
    pub(super) watch: Option<bool>,
    /// A file in which operators' orders, and epochs of leaders, are kept over a restart. Relative to this file's folder.
    #[schemars(length(min = 1))]
    pub(super) state_file: Option<String>,
    /// A line for every exchange, or off.
    pub(super) access_log: Option<OrOff<AccessLog>>,
    /// What is logged, and how.
    pub(super) log: Option<Log>,
    /// Where endpoints push their heartbeats to: one address or a list.
    pub(super) heartbeats: Option<OneOrMany<Heartbeats>>,
    /// Sockets that requests come in by.
    pub(super) listeners: Option<List<Listener>>,
    /// Groups of interchangeable endpoints. One that no route names is only watched.
    pub(super) clusters: Option<List<Cluster>>,
    /// The proxies that agree on health.
    pub(super) fleet: Option<Fleet>,
}

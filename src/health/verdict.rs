//! The verdict: one state, the reasons for it, and what it means for traffic.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::signal::{BeatResult, BeatState};
use crate::health::suspicion::Suspicion;

/// The state of an endpoint, in the order in which they take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// The operator took it out.
    Maintenance,
    /// The operator lets it finish what it has.
    Draining,
    /// Its probes fail, or live traffic is refused.
    Unhealthy,
    /// Taken out for what it reports or how it answers.
    Ejected,
    /// Evidence says trouble, not yet proved.
    Suspect,
    /// No result yet.
    Unknown,
    /// Well enough, at less weight.
    Degraded,
    /// Well.
    Healthy,
}

impl State {
    /// Every state, in order of precedence.
    pub const ALL: [Self; 8] = [
        Self::Maintenance,
        Self::Draining,
        Self::Unhealthy,
        Self::Ejected,
        Self::Suspect,
        Self::Unknown,
        Self::Degraded,
        Self::Healthy,
    ];

    /// Whether it is well enough for traffic.
    #[must_use]
    pub const fn is_well(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// The name used in metrics, API and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Suspect => "suspect",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Healthy => "healthy",
        }
    }
}

/// The code of a reason, the same in metrics, API, logs and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// No probe result yet.
    NotProbedYet,
    /// The last failed probe was refused.
    ProbeRefused,
    /// The last failed probe ran out of time.
    ProbeTimeout,
    /// The last failed probe had a wrong status.
    ProbeStatus,
    /// The last failed probe had a wrong body.
    ProbeBody,
    /// The last failed probe did not get past TLS.
    ProbeTls,
    /// The last failed probe was answered without its nonce.
    ProbeUnacknowledged,
    /// The last failed probe ended otherwise.
    ProbeError,
    /// Live connects are refused.
    Refused,
    /// Too many requests fail, in a row or as a share.
    OutlierErrors,
    /// It is much slower than its siblings.
    OutlierLatency,
    /// It answers none of its requests, while others answer theirs.
    Silence,
    /// It cannot be told from here whether it is the endpoint or our own way to it.
    LocalUnreachable,
    /// Most of the fleet says so.
    Quorum,
    /// It came and went too often.
    Damped,
    /// It has returned a short while ago.
    SlowStart,
    /// A report rule on this metric holds.
    Report(Arc<str>),
    /// The report's status word.
    ReportStatus,
    /// Its heartbeats come late, or one is missing.
    HeartbeatLate,
    /// Its heartbeats have stopped.
    HeartbeatExpired,
    /// The operator drains it, or it says that it drains.
    Draining,
    /// The operator took it out.
    Maintenance,
    /// Verdicts of its cluster are frozen.
    Frozen,
    /// Nobody of its cluster leads.
    NoLeader,
    /// It says that it leads, and so does another one.
    LeaderConflict,
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotProbedYet => "not_probed_yet",
            Self::ProbeRefused => "probe_refused",
            Self::ProbeTimeout => "probe_timeout",
            Self::ProbeStatus => "probe_status",
            Self::ProbeBody => "probe_body",
            Self::ProbeTls => "probe_tls",
            Self::ProbeUnacknowledged => "probe_unacknowledged",
            Self::ProbeError => "probe_error",
            Self::Refused => "refused",
            Self::OutlierErrors => "outlier_errors",
            Self::OutlierLatency => "outlier_latency",
            Self::Silence => "silence",
            Self::LocalUnreachable => "local_unreachable",
            Self::Quorum => "quorum",
            Self::Damped => "damped",
            Self::SlowStart => "slow_start",
            Self::Report(metric) => return write!(f, "report_{metric}"),
            Self::ReportStatus => "report_status",
            Self::HeartbeatLate => "heartbeat_late",
            Self::HeartbeatExpired => "heartbeat_expired",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Frozen => "frozen",
            Self::NoLeader => "no_leader",
            Self::LeaderConflict => "leader_conflict",
        })
    }
}

/// One reason of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its code.
    pub code: Code,
    /// The probe it comes from.
    pub probe: Option<Arc<str>>,
    /// A sentence with the figures.
    pub detail: String,
    /// Since when it holds.
    pub since: Timestamp,
    /// When it ends by itself, if that is known.
    pub until: Option<Timestamp>,
}

/// What the last run of a probe looked like.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeView {
    /// The probe.
    pub name: Arc<str>,
    /// `pass`, `fail`, `void`, or `None` before the first run.
    pub result: Option<&'static str>,
    /// Of the last run.
    pub latency: Duration,
    /// When the last run ended.
    pub at: Timestamp,
    /// Results in a row that contradict, or carry, its current opinion: passed ones if it counts as failing, failed ones if passing.
    pub streak: u32,
    /// Whether it counts as passing.
    pub passing: bool,
    /// Why it counts as failing; it stands here also when others outvote it, and the endpoint is well.
    pub reason: Option<Box<Reason>>,
    /// First bytes of the last answer.
    pub excerpt: Arc<str>,
    /// What the endpoint's own stamps in the last answer tell, if it stamps.
    pub stamped: Option<Stamped>,
}

/// What an endpoint's stamps tell of the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// How late the answer came against the quickest of the last minute.
    pub delay: Duration,
    /// How long the endpoint had the probe, if it stamps both receipt and answer.
    pub server_time: Option<Duration>,
}

/// What is shown of an endpoint's heartbeats.
#[derive(Debug, Clone, PartialEq)]
pub struct HeartbeatView {
    /// When the last one that counted came.
    pub at: Option<Timestamp>,
    /// When the endpoint is unhealthy unless another one comes.
    pub deadline: Option<Timestamp>,
    /// What the last one was taken for.
    pub last: BeatResult,
    /// How the sender says that it is.
    pub state: BeatState,
    /// The greatest number so far.
    pub seq: Option<u64>,
    /// Of the incarnation that sends.
    pub boot_id: Option<Arc<str>>,
    /// How late the last one came against the quickest of the last minute.
    pub delay: Duration,
    /// By how much the sender's clock is behind ours, the way here included.
    pub clock_offset_ms: Option<i64>,
    /// Parts in a million by which it runs slow.
    pub clock_drift_ppm: Option<i64>,
    /// How suspicion grows from the last one on, with `detector: accrual`.
    pub suspicion: Option<Suspicion>,
    /// The share of numbered ones that were lost.
    pub loss: f64,
    /// Why they count as silent or late; the endpoint may be well all the same, if probes outvote them.
    pub reason: Option<Reason>,
    /// The sockets that they came by, if that is known.
    pub ways: Vec<WayView>,
}

/// What is shown of a socket that an endpoint's heartbeats come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayView {
    /// Its address as configured.
    pub name: Arc<str>,
    /// When the last one came by it.
    pub at: Timestamp,
    /// Why nothing comes by it any more, if others bring them.
    pub reason: Option<Reason>,
}

/// What is shown of an endpoint's part among its siblings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleView {
    /// Its own word for it.
    pub word: Arc<str>,
    /// The epoch that it says it in.
    pub epoch: Option<u64>,
    /// When it last said so.
    pub at: Timestamp,
    /// What that makes it.
    pub part: Part,
}

/// What an endpoint is taken for among its siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It leads.
    Leader,
    /// It would lead, and is not well enough to be sent requests.
    Out,
    /// It says that it leads, in the same epoch as another one.
    Conflict,
    /// It says that it leads in an epoch that is over.
    Stale,
    /// It does not say that it leads.
    Replica,
}

impl Part {
    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Out => "out",
            Self::Conflict => "conflict",
            Self::Stale => "stale",
            Self::Replica => "replica",
        }
    }
}

/// Who leads a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderView {
    /// The endpoint that requests to the leader go to.
    pub leader: Option<EndpointId>,
    /// The endpoint that leads, whether it is well enough for requests or not.
    pub holder: Option<EndpointId>,
    /// The highest epoch that anybody has said to lead in; never falls. 0 before, and where nobody has epochs.
    pub epoch: u64,
    /// Why requests to the leader go nowhere: `no_leader` or `leader_conflict`.
    pub reason: Option<Reason>,
}

/// A change of who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// When.
    pub at: Timestamp,
    /// Who has led until then.
    pub from: Option<EndpointId>,
    /// Who leads from then on.
    pub to: Option<EndpointId>,
    /// The highest epoch then.
    pub epoch: u64,
    /// Why nobody does.
    pub reason: Option<Reason>,
}

/// Everything that is shown of one endpoint, made anew when a signal touched it.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointView {
    /// The state.
    pub state: State,
    /// Whether it counts as available. Stays false while panic lets it in.
    pub available: bool,
    /// Whether it gets traffic now: available, or let in by panic, or suspect without an alternative, or backup in use.
    pub admitted: bool,
    /// Effective weight: configured weight times the factors in force; 0 if it gets none.
    pub weight: f64,
    /// When the state was entered.
    pub since: Timestamp,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// The last report's metrics, by name.
    pub report: Vec<(Arc<str>, f64)>,
    /// What could not be read in it, and hints: `(metric or empty, hint)`.
    pub report_voids: Vec<(Arc<str>, String)>,
    /// When the last report came.
    pub report_at: Option<Timestamp>,
    /// Its probes.
    pub probes: Vec<ProbeView>,
    /// Its heartbeats, if any are wanted.
    pub heartbeat: Option<Box<HeartbeatView>>,
    /// What it says that it is among its siblings, if it does and anybody listens.
    pub role: Option<Box<RoleView>>,
    /// The most requests at once that it asks for, if it does.
    pub most_requests: Option<u32>,
    /// When the verdict would next change by time alone.
    pub next_change: Option<Timestamp>,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The endpoint.
    pub endpoint: crate::base::ids::EndpointId,
    /// When.
    pub at: Timestamp,
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl Transition {
    /// Whether waiting for an answer of the endpoint makes no more sense: it is gone, or answers nobody.
    #[must_use]
    pub fn forbids_waiting(&self) -> bool {
        let gone = |code: &Code| matches!(code, Code::ProbeTimeout | Code::ProbeRefused | Code::Refused | Code::HeartbeatExpired);
        self.to == State::Unhealthy && self.reasons.iter().any(|reason| gone(&reason.code))
    }
}

//! One observation about an endpoint, from any source: the only thing that moves a verdict.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::electorate::Count;
use crate::health::verdict::Code;
use crate::report::{Asks, Report};

/// Why a probe failed; the code of the reason that it leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// The time-out ran out, whether on connect, head or body.
    Timeout(Duration),
    /// The answer had a status that is not among those wanted.
    Status(u16),
    /// A file has not changed for so long.
    Stale(Duration),
    /// The body lacks the wanted text.
    Body(String),
    /// A gRPC health service says that it does not serve.
    Serving(String),
    /// A status word in the report says that it fails.
    ReportStatus(String),
    /// The endpoint's certificate is not believed, or TLS could not be agreed on.
    Tls(String),
    /// The answer lacks the nonce that was sent, or has another one: it may not be the endpoint's answer to this probe.
    Unacknowledged(String),
    /// Anything else: a reset, an answer that is not HTTP, a name that does not resolve.
    Error(String),
}

impl Failure {
    /// The code of the reason that this failure leaves.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused => Code::ProbeRefused,
            Self::Timeout(_) | Self::Stale(_) => Code::ProbeTimeout,
            Self::Status(_) | Self::Serving(_) => Code::ProbeStatus,
            Self::Body(_) => Code::ProbeBody,
            Self::ReportStatus(_) => Code::ReportStatus,
            Self::Tls(_) => Code::ProbeTls,
            Self::Unacknowledged(_) => Code::ProbeUnacknowledged,
            Self::Error(_) => Code::ProbeError,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Timeout(span) => write!(f, "no complete answer within {}", format_duration(*span)),
            Self::Stale(span) => write!(f, "the file has not changed for {}", format_duration(*span)),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Serving(said) => write!(f, "it answers {said}"),
            Self::Body(wanted) => write!(f, "the body lacks {wanted:?}"),
            Self::ReportStatus(word) => write!(f, "its report says {word:?}"),
            Self::Tls(what) | Self::Unacknowledged(what) | Self::Error(what) => f.write_str(what),
        }
    }
}

/// What one run of a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// The endpoint is well as far as this probe can tell.
    Pass,
    /// It is not.
    Fail(Failure),
    /// It could not be told; changes no count.
    Void(String),
}

impl ProbeResult {
    /// `pass`, `fail` or `void`, as metrics and API show it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Void(_) => "void",
        }
    }
}

/// What an answer says of who gave it, beside what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps {
    /// `Pulsegate-Boot-Id`: drawn anew at every start of the endpoint; at most 64 bytes.
    pub boot_id: Option<Arc<str>>,
    /// `Pulsegate-Time`: when it answered by its own clock, in milliseconds since 1970.
    pub answered_at_ms: Option<u64>,
    /// The first of two numbers there: when it had received the probe.
    pub received_at_ms: Option<u64>,
}

/// One run of one probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeRun {
    /// Its position among the cluster's probes.
    pub probe: usize,
    /// When it started.
    pub started: Timestamp,
    /// From start to result.
    pub latency: Duration,
    /// What it found.
    pub result: ProbeResult,
    /// The first bytes of the answer, at most 256, for `explain`; empty if none came.
    pub excerpt: Arc<str>,
    /// What the answer says of who gave it.
    pub stamps: Stamps,
}

/// How an endpoint says that it is, in a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BeatState {
    /// It takes traffic.
    #[default]
    Ready,
    /// It takes some.
    Degraded,
    /// It cannot serve.
    Failing,
    /// It finishes what it has.
    Draining,
    /// It ends.
    Bye,
}

impl BeatState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Degraded, Self::Failing, Self::Draining, Self::Bye];

    /// The word in a heartbeat.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
            Self::Draining => "draining",
            Self::Bye => "bye",
        }
    }
}

/// One heartbeat, as far as the verdict goes. Its report is an observation of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// Drawn anew at every start of the sender; at most 64 bytes.
    pub boot_id: Option<Arc<str>>,
    /// Counts up.
    pub seq: Option<u64>,
    /// When it was sent by the sender's clock, in milliseconds since 1970.
    pub sent_at_ms: Option<u64>,
    /// When it came by our calendar, in milliseconds since 1970.
    pub received_at_ms: Option<u64>,
    /// From one beat to the next; by default that of the configuration.
    pub period: Option<Duration>,
    /// How the sender says that it is.
    pub state: BeatState,
    /// What it is among its siblings, such as `leader`.
    pub role: Option<Arc<str>>,
    /// Of its role: a later leader has a greater one.
    pub epoch: Option<u64>,
    /// The socket that it came by: its address as configured.
    pub way: Option<Arc<str>>,
}

/// What a heartbeat was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BeatResult {
    /// The next one.
    Ok,
    /// The first one of a new incarnation.
    Restarted,
    /// The next one, and the sender's clock was set since the last.
    ClockStep,
    /// It had come before.
    Duplicate,
    /// A later one had come before it.
    Reordered,
    /// It came from an incarnation that has been followed by another.
    Zombie,
}

impl BeatResult {
    /// Every result.
    pub const ALL: [Self; 6] = [Self::Ok, Self::Restarted, Self::ClockStep, Self::Duplicate, Self::Reordered, Self::Zombie];

    /// The label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Restarted => "restarted",
            Self::ClockStep => "clock_step",
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered",
            Self::Zombie => "zombie",
        }
    }
}

/// What came of reading a report.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportReading {
    /// It was read; single metrics may be void.
    Read(Report),
    /// It came with an answer to live traffic and tells of load alone: what it does not mention stays.
    Load(Report),
    /// It could not be read as a whole: fetch failed or malformed. The text says why and what would help.
    Void(String),
    /// There was none in the answer.
    None,
}

/// The operator's state of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OperatorState {
    /// Gets traffic as far as it is well.
    #[default]
    Ready,
    /// Finishes what it has, gets nothing new.
    Draining,
    /// Gets nothing.
    Maintenance,
}

impl OperatorState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Draining, Self::Maintenance];

    /// The name used in API and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What was observed.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// A probe ran.
    Probe(ProbeRun),
    /// A report was read, or not.
    Report(ReportReading),
    /// The endpoint sent a heartbeat.
    Beat(Beat),
    /// Live traffic was answered with a load report, in words yet to be read.
    Load(Arc<str>),
    /// It asks for something besides saying how it is.
    Asks(Asks),
    /// Live traffic was refused a connection.
    Refused,
    /// Live traffic had its connection reset or closed before an answer.
    Reset,
    /// Live traffic was answered.
    Answered,
    /// What the others of the fleet say of it changed.
    Fleet(Count),
    /// The operator spoke.
    Operator {
        /// The wanted state.
        state: OperatorState,
        /// When it ends by itself.
        until: Option<Timestamp>,
        /// In the operator's words.
        reason: Option<Arc<str>>,
    },
}

/// One observation about one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// The cluster.
    pub cluster: ClusterId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When it was made.
    pub at: Timestamp,
    /// What was observed.
    pub observation: Observation,
}

//! How an endpoint of the seeded world behaves towards probes and requests.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::schedule::Slots;
use crate::health::signal::{Failure, Observation, ProbeResult, ReportReading};
use crate::report::{Report, StatusWord};

/// What an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// Answers with 200, and reports that its cpu is at this share.
    Well {
        /// 0 to 1.
        cpu: f64,
    },
    /// Answers requests; says in its report that it should get less.
    Warns,
    /// Refuses every connect.
    Refuses,
    /// Accepts and never answers.
    Hangs,
    /// Resets every connection.
    Resets,
    /// Answers requests, and probes with this status.
    Answers(u16),
    /// Answers requests; what its probes find cannot be told.
    Unclear,
}

impl Behaviour {
    /// Whether nobody could take it for well: every probe that starts from now on fails.
    #[must_use]
    pub const fn is_dead(self) -> bool {
        matches!(self, Self::Refuses | Self::Hangs | Self::Resets | Self::Answers(_))
    }

    /// What a probe that starts now finds, and after what time.
    pub(super) fn probe(self, timeout: Duration, rng: &mut fastrand::Rng) -> (ProbeResult, Duration) {
        let quick = Duration::from_micros(rng.u64(200..5000)).min(timeout);
        match self {
            Self::Well { .. } | Self::Warns => (ProbeResult::Pass, quick),
            Self::Refuses => (ProbeResult::Fail(Failure::Refused), Duration::from_micros(50)),
            Self::Hangs => (ProbeResult::Fail(Failure::Timeout(timeout)), timeout),
            Self::Resets => (ProbeResult::Fail(Failure::Error("connection reset".to_owned())), quick),
            Self::Answers(status) => (ProbeResult::Fail(Failure::Status(status)), quick),
            Self::Unclear => (ProbeResult::Void("the process stood still".to_owned()), quick),
        }
    }

    /// The report in a probe's answer.
    pub(super) fn report(self) -> Option<ReportReading> {
        let report = match self {
            Self::Well { cpu } => {
                Report { status: Some(StatusWord::Healthy), metrics: vec![(Arc::from("cpu"), cpu)], ..Report::default() }
            }
            Self::Warns => Report { status: Some(StatusWord::Degraded), word: Some("warn".to_owned()), ..Report::default() },
            Self::Refuses | Self::Hangs | Self::Resets | Self::Answers(_) | Self::Unclear => return None,
        };
        Some(ReportReading::Read(report))
    }

    /// What a request that is sent now shows; `None` if nothing is known of it yet.
    pub(super) const fn request(self) -> Option<Observation> {
        match self {
            Self::Well { .. } | Self::Warns | Self::Answers(_) | Self::Unclear => Some(Observation::Answered),
            Self::Refuses => Some(Observation::Refused),
            Self::Resets => Some(Observation::Reset),
            Self::Hangs => None,
        }
    }
}

/// An endpoint of the seeded world.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its id.
    pub id: EndpointId,
    /// What it does.
    pub behaviour: Behaviour,
    /// Since when.
    pub since: Timestamp,
    /// Its probes' slots, in the order of the policy, each with whether a run is under way.
    pub(super) probes: Vec<(Slots, bool)>,
}

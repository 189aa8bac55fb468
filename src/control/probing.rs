//! Stands in until the probes land.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::cluster::Endpoint;
use crate::health::Pace;
use crate::health::check::ProbeSpec;
use crate::health::policy::Timing;
use crate::health::signal::Signal;
use crate::report::spec::Spec;

/// How late the latest probe started against its slot.
#[derive(Debug, Default)]
pub struct ProbeLag;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) probes: Vec<ProbeSpec>,
    pub(super) report: Option<Spec>,
    pub(super) report_timing: Timing,
}

#[derive(Debug)]
pub(super) struct Probing(Plan);

impl Probing {
    pub(super) fn set_pace(&self, pace: Pace) {
        tracing::trace!(plan = ?self.0, ?pace, "no probes yet");
    }

    pub(super) fn probe_now(&self) {
        tracing::trace!(plan = ?self.0, "no probes yet");
    }
}

pub(super) fn start(plan: Plan, signals: mpsc::Sender<Signal>, lag: Arc<ProbeLag>) -> Probing {
    drop((signals, lag));
    tracing::trace!(plan.report_timing = ?(&plan.endpoint, &plan.probes, &plan.report, plan.report_timing), "no probes yet");
    Probing(plan)
}

//! Tells everybody else what changed: the log, the event ring, the counts, and workers whose exchanges wait in vain.

use std::sync::Arc;

use crate::cluster::{Endpoint, Recall, RecallSender};
use crate::control::events::{EventLog, What};
use crate::control::handle::Shared;
use crate::health::signal::Observation;
use crate::health::verdict::{Code, Succession, Transition};

/// Where changes are told.
#[derive(Debug)]
pub(super) struct Announcer {
    pub(super) shared: Arc<Shared>,
    events: EventLog,
    recalls: RecallSender,
}

impl Announcer {
    pub(super) const fn new(shared: Arc<Shared>, events: EventLog, recalls: RecallSender) -> Self {
        Self { shared, events, recalls }
    }

    /// Tells of a change of state.
    pub(super) fn transition(&self, endpoint: &Endpoint, transition: &Transition) {
        let (cluster, address) = (&endpoint.cluster, endpoint.address.as_str());
        let first = transition.reasons.first();
        tracing::info!(
            cluster = &**cluster,
            endpoint = address,
            from = transition.from.as_str(),
            to = transition.to.as_str(),
            reason = first.map(|reason| reason.code.to_string()),
            detail = first.map(|reason| reason.detail.as_str()),
            "transition"
        );
        self.shared.tallies.transition(cluster, address, transition);
        let (from, to, reasons) = (transition.from, transition.to, transition.reasons.clone());
        self.events.push(transition.at, cluster, What::Transition { endpoint: endpoint.address.text(), from, to, reasons });
    }

    /// Tells of a change of who leads, from one address to another.
    pub(super) fn succession(&self, cluster: &Arc<str>, before: Option<Arc<str>>, leader: Option<Arc<str>>, change: &Succession) {
        let reason = change.reason.as_ref();
        let (code, detail) = (reason.map(|reason| reason.code.to_string()), reason.map(|reason| reason.detail.as_str()));
        let (name, epoch) = (&**cluster, change.epoch);
        if reason.is_some_and(|reason| reason.code == Code::LeaderConflict) {
            tracing::warn!(cluster = name, before = before.as_deref(), epoch, reason = code, detail, "several endpoints lead");
        } else {
            tracing::info!(
                cluster = name,
                before = before.as_deref(),
                leader = leader.as_deref(),
                epoch,
                reason = code,
                detail,
                "leader"
            );
        }
        let reasons = change.reason.iter().cloned().collect();
        self.events.push(change.at, cluster, What::Leader { before, leader, epoch: change.epoch, reasons });
    }

    /// Counts how late the answer to a probe came, if the endpoint stamps its answers.
    pub(super) fn stamped(&self, endpoint: &Endpoint, observation: &Observation) {
        let Observation::Probe(run) = observation else { return };
        let view = run.stamps.answered_at_ms.map(|_| endpoint.view());
        if let Some(stamped) = view.and_then(|view| view.probes.get(run.probe)?.stamped) {
            self.shared.tallies.delayed(&endpoint.cluster, stamped.delay);
        }
    }

    /// Tells of a soft ejection that was withheld.
    pub(super) fn withheld(&self, endpoint: &Endpoint, code: &Code) {
        let address = endpoint.address.as_str();
        tracing::info!(cluster = &*endpoint.cluster, endpoint = address, reason = code.to_string(), "ejection withheld");
        self.shared.tallies.withheld(&endpoint.cluster, code);
    }

    /// Wakes every worker's exchanges that wait for an endpoint. A worker that is that far behind lets them time out.
    pub(super) fn recall(&self, recall: Recall) {
        // Nobody hears it before the first worker has started.
        drop(self.recalls.send(recall));
    }
}

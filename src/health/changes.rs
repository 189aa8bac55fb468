//! What goes into the health of a cluster besides signals, and what comes out: its members, and what a call changed.
//!
//! Whoever calls publishes, tells and redraws only what is named here, so that nothing has to be compared outside.

use std::sync::Arc;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::verdict::{Code, Succession, Transition};

/// One endpoint as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id, kept for as long as it stays in the cluster.
    pub id: EndpointId,
    /// Its address as configured.
    pub address: Arc<str>,
    /// Its share of traffic against the others', 1 to 1000.
    pub weight: u32,
    /// Gets traffic only when no primary is available.
    pub backup: bool,
}

/// A run of a probe that changed nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its [position](crate::health::Cluster::position).
    pub position: usize,
    /// The probe's position among the cluster's probes.
    pub probe: usize,
}

/// What a call changed.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Changes {
    /// States entered, in the order in which they were.
    pub transitions: Vec<Transition>,
    /// Soft ejections that were withheld, once for each onset.
    pub withheld: Vec<(EndpointId, Code)>,
    /// Endpoints that should be asked at once, so many times by each probe that asks for an answer.
    pub confirm: Vec<(EndpointId, u32)>,
    /// Endpoints whose answer nobody should wait for any longer.
    pub recalled: Vec<EndpointId>,
    /// Endpoints at which nobody who was sent there before that moment should wait any longer, if he may be sent again.
    pub overdue: Vec<(EndpointId, Timestamp)>,
    /// Changes of who leads, in their order.
    pub successions: Vec<Succession>,
    /// Whether the references should be asked at once.
    pub ask_references: bool,
    /// Whether [`Cluster::admission`](crate::health::Cluster::admission) or [`Cluster::leader`](crate::health::Cluster::leader)
    /// differs from before.
    pub admission_changed: bool,
    /// An endpoint of whose view nothing differs but [what one of its probes found](crate::health::Cluster::probe_view).
    pub probed: Option<Probed>,
    /// Endpoints whose [`Cluster::view`](crate::health::Cluster::view) may differ from before, each once.
    pub touched: Vec<EndpointId>,
}

impl Changes {
    /// Adds what came after this.
    pub fn merge(&mut self, later: Self) {
        self.transitions.extend(later.transitions);
        self.withheld.extend(later.withheld);
        self.confirm.extend(later.confirm);
        self.recalled.extend(later.recalled);
        self.overdue.extend(later.overdue);
        self.successions.extend(later.successions);
        // There is room for one; another is named as a whole.
        let another = later.probed.filter(|_| self.probed.is_some());
        self.probed = self.probed.or(later.probed);
        self.touched.extend(later.touched);
        self.touched.extend(another.map(|probed| probed.endpoint));
        self.ask_references |= later.ask_references;
        self.admission_changed |= later.admission_changed;
    }

    pub(super) fn finish(mut self) -> Self {
        if self.touched.len() > 1 {
            self.touched.sort_unstable();
            self.touched.dedup();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_who_was_probed_is_forgotten_when_changes_are_added_up() {
        let probed = |id| {
            let probed = Probed { endpoint: EndpointId(id), position: 0, probe: 0 };
            Changes { probed: Some(probed), ..Changes::default() }
        };
        let mut sum = Changes::default();
        sum.merge(probed(1));
        assert_eq!(sum, probed(1));
        sum.merge(probed(2));
        assert_eq!(sum, Changes { touched: vec![EndpointId(2)], ..probed(1) });
    }
}

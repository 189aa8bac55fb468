//! What goes into the health of a cluster besides signals, and what comes out: its members, and what a call changed.
//!
//! Whoever calls publishes, tells and redraws only what is named here, so that nothing has to be compared outside.

use std::sync::Arc;

use crate::base::ids::EndpointId;
use crate::health::verdict::{Code, Transition};

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

/// What a call changed.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Changes {
    /// States entered, in the order in which they were.
    pub transitions: Vec<Transition>,
    /// Soft ejections that were withheld, once for each onset.
    pub withheld: Vec<(EndpointId, Code)>,
    /// Whether [`Cluster::admission`](crate::health::Cluster::admission) differs from before.
    pub admission_changed: bool,
    /// Endpoints whose [`Cluster::view`](crate::health::Cluster::view) may differ from before, each once.
    pub touched: Vec<EndpointId>,
}

impl Changes {
    pub(super) fn finish(mut self) -> Self {
        if self.touched.len() > 1 {
            self.touched.sort_unstable();
            self.touched.dedup();
        }
        self
    }
}

//! Who leads a cluster, as it was published with its members: whom a request with a role may go to.

use std::sync::Arc;

use crate::balance::{Algorithm, Picker};
use crate::cluster::{Affinity, Endpoint, Member};
use crate::health;
use crate::health::verdict::Reason;

/// Endpoints that a request may go to, and who chooses among them.
#[derive(Debug, Clone, Copy)]
pub struct Crew<'a> {
    /// In the order of their numbers; the picker's candidates are positions in it.
    pub members: &'a [Member],
    /// Chooses among the members.
    pub picker: &'a Picker,
}

impl Crew<'_> {
    /// Where among the members the endpoint with this number is, if it is one.
    #[must_use]
    pub fn position(&self, number: usize) -> Option<usize> {
        self.members.binary_search_by_key(&number, |member| member.number as usize).ok()
    }
}

/// Who leads a cluster.
#[derive(Debug)]
pub struct Leadership {
    /// The endpoint that requests to the leader go to.
    pub leader: Option<Arc<Endpoint>>,
    /// The highest epoch that anybody has said to lead in.
    pub epoch: u64,
    /// Why they go nowhere.
    pub reason: Option<Reason>,
    lead: (Option<Member>, Picker),
    replicas: (Box<[Member]>, Picker),
}

impl Leadership {
    /// Who leads by what is believed, if anybody may.
    pub(super) fn of(health: &health::Cluster, endpoints: &[Arc<Endpoint>], affinity: &Affinity) -> Option<Self> {
        let view = health.leader()?;
        let mut numbered = (0..).zip(endpoints);
        let leader = view.leader.and_then(|id| numbered.find(|(_, endpoint)| endpoint.id == id));
        let mut numbered = (0..).zip(endpoints);
        let replica =
            |(id, weight)| numbered.find(|(_, endpoint)| endpoint.id == id).map(|(number, _)| Member { number, weight });
        let replicas: Box<[Member]> = health.replicas().into_iter().filter_map(replica).collect();
        let picker = affinity.picker(&replicas);
        Some(Self {
            leader: leader.map(|(_, endpoint)| Arc::clone(endpoint)),
            epoch: view.epoch,
            reason: view.reason,
            lead: (leader.map(|(number, _)| Member { number, weight: 1.0 }), Picker::new(Algorithm::RoundRobin, &[1.0])),
            replicas: (replicas, picker),
        })
    }

    /// The leader, or nobody.
    pub(super) const fn lead(&self) -> Crew<'_> {
        Crew { members: self.lead.0.as_slice(), picker: &self.lead.1 }
    }

    /// Everybody who may get traffic but the leader.
    pub(super) const fn replicas(&self) -> Crew<'_> {
        Crew { members: &self.replicas.0, picker: &self.replicas.1 }
    }
}

//! One cluster as it was published: who gets traffic, at which weight, and the picker over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use crate::balance::Picker;
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::WallTime;
use crate::cluster::{Affinity, ClusterCells, Count, Crew, Endpoint, Gate, Leadership};
use crate::config::model::{self, Protocol, ProxyVersion};
use crate::health;
use crate::telemetry::lanes::Lanes;
use crate::tls::Towards;
use crate::traffic::limits::Limits;
use crate::traffic::policy::Role;

/// How connections to a cluster's endpoints are made and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// For a connection to an endpoint.
    pub connect_timeout: Duration,
    /// How long one may be idle.
    pub idle_timeout: Duration,
    /// How many idle ones are kept, per endpoint and worker.
    pub idle_connections: usize,
    /// What is spoken on them.
    pub protocol: Protocol,
    /// The header that they begin with, if there is one: then each belongs to one client's connection.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// An endpoint that gets traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// Its position in [`Snapshot::endpoints`].
    pub number: u32,
    /// Its effective weight, above 0.
    pub weight: f64,
}

/// What a pick is made from. Never changed, only replaced.
#[derive(Debug)]
pub struct Snapshot {
    /// The number of the first world that it belongs to: who still sees an earlier one must not read it.
    pub generation: u64,
    /// Those that get traffic, in the order of their numbers; the picker's candidates are positions in it.
    pub members: Box<[Member]>,
    /// Chooses among the members.
    pub picker: Picker,
    /// Every endpoint of the cluster, in the order of the configuration. Shared with the snapshot before unless they changed.
    pub endpoints: Arc<[Arc<Endpoint>]>,
    /// What requests are tied to endpoints by.
    pub affinity: Arc<Affinity>,
    /// How connections are made and kept.
    pub upstream: Upstream,
    /// TLS towards the endpoints, if there is any.
    pub tls: Option<Arc<Towards>>,
    /// How much may go there at once.
    pub limits: Limits,
    /// How many endpoints are available.
    pub available: usize,
    /// Whether sicker tiers are let in.
    pub panic: bool,
    /// Whether verdicts are frozen.
    pub frozen: bool,
    /// Who leads, where anybody may.
    pub leadership: Option<Leadership>,
}

impl Snapshot {
    /// What is to be published of a cluster, for every world. `endpoints` are in the order of the configuration, which is also that of `health`.
    #[must_use]
    pub fn of(
        config: &model::Cluster,
        health: &health::Cluster,
        endpoints: &Arc<[Arc<Endpoint>]>,
        affinity: &Arc<Affinity>,
    ) -> Self {
        let admission = health.admission();
        let mut numbered = (0..).zip(endpoints.iter());
        let member = |(id, weight): &(EndpointId, f64)| {
            let (number, _) = numbered.find(|(_, endpoint)| endpoint.id == *id)?;
            Some(Member { number, weight: *weight })
        };
        let members: Box<[Member]> = admission.admitted.iter().filter_map(member).collect();
        Self {
            generation: 0,
            picker: affinity.picker(&members),
            members,
            endpoints: Arc::clone(endpoints),
            affinity: Arc::clone(affinity),
            upstream: Upstream {
                connect_timeout: config.connect_timeout,
                idle_timeout: config.pool.idle_timeout,
                idle_connections: config.pool.idle_connections,
                protocol: config.protocol,
                proxy_protocol: config.proxy_protocol,
            },
            tls: config.tls.as_ref().map(|tls| Arc::clone(&tls.towards)),
            limits: config.limits,
            available: admission.available,
            panic: admission.panic,
            frozen: health.is_frozen(),
            leadership: Leadership::of(health, endpoints, affinity),
        }
    }

    /// The endpoint that a member is.
    ///
    /// # Panics
    /// If the member is not one of this snapshot's.
    #[must_use]
    pub fn endpoint(&self, member: Member) -> &Arc<Endpoint> {
        &self.endpoints[member.number as usize]
    }

    /// Whom a request with this role may go to. Where nobody leads, nobody is the leader.
    #[must_use]
    pub fn crew(&self, role: Role) -> Crew<'_> {
        let everybody = Crew { members: &self.members, picker: &self.picker };
        match (role, &self.leadership) {
            (Role::Any, _) | (Role::Replica, None) => everybody,
            (Role::Leader, None) => Crew { members: &[], picker: &self.picker },
            (Role::Leader, Some(leadership)) => leadership.lead(),
            (Role::Replica, Some(leadership)) => leadership.replicas(),
        }
    }
}

/// A cluster: its identity, its cells, and the snapshot in force.
#[derive(Debug)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: Arc<str>,
    /// Attempts in flight, where balancing asks for their sum.
    load: CachePadded<Count>,
    gate: Gate,
    /// When discovery has last brought endpoints, in milliseconds since 1970; 0 for never.
    discovered: AtomicU64,
    snapshot: ArcSwap<Snapshot>,
    workers: Lanes<ClusterCells>,
}

impl Cluster {
    /// A cluster with its first snapshot.
    #[must_use]
    pub fn new(id: ClusterId, name: Arc<str>, snapshot: Snapshot) -> Self {
        Self {
            id,
            name,
            load: CachePadded::default(),
            gate: Gate::default(),
            discovered: AtomicU64::new(0),
            snapshot: ArcSwap::from_pointee(snapshot),
            workers: Lanes::default(),
        }
    }

    /// Attempts in flight, from every worker, since balancing has asked for their sum.
    #[must_use]
    pub fn load(&self) -> u32 {
        self.load.get()
    }

    /// Counts an attempt in; [`Self::leave`] must follow.
    pub fn enter(&self) {
        self.load.enter(None);
    }

    /// Counts an attempt out.
    pub fn leave(&self) {
        self.load.leave();
    }

    /// Notes that discovery has brought endpoints; control only.
    pub fn discovered(&self, at: WallTime) {
        self.discovered.store(at.unix_millis(), Relaxed);
    }

    /// When discovery has last brought endpoints, if it has.
    #[must_use]
    pub fn last_discovered(&self) -> Option<WallTime> {
        Some(self.discovered.load(Relaxed)).filter(|at| *at > 0).map(WallTime::from_unix_millis)
    }

    /// Who is let through, and who waits.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The snapshot's place, for readers that cache it.
    #[must_use]
    pub fn snapshot(&self) -> &ArcSwap<Snapshot> {
        &self.snapshot
    }

    /// Publishes a snapshot; control only.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// A worker's own cells; workers are numbered from 0.
    #[must_use]
    pub fn cells(&self, worker: usize) -> &ClusterCells {
        &self.workers[worker]
    }

    /// Every worker's cells, for summing.
    pub fn all_cells(&self) -> impl Iterator<Item = &ClusterCells> {
        self.workers.iter()
    }
}

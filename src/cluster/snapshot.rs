//! One cluster as it was published: who gets traffic, at which weight, and the picker over them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::balance::Picker;
use crate::base::ids::ClusterId;
use crate::cluster::{ClusterCells, Endpoint};
use crate::telemetry::lanes::Lanes;

/// How connections to a cluster's endpoints are made and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// For a connection to an endpoint.
    pub connect_timeout: Duration,
    /// How long one may be idle.
    pub idle_timeout: Duration,
    /// How many idle ones are kept, per endpoint and worker.
    pub idle_connections: usize,
}

/// An endpoint that gets traffic.
#[derive(Debug, Clone)]
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its effective weight, above 0.
    pub weight: f64,
}

/// What a pick is made from. Never changed, only replaced.
#[derive(Debug)]
pub struct Snapshot {
    /// Those that get traffic; the picker's numbers are positions in it.
    pub members: Box<[Member]>,
    /// Chooses among the members.
    pub picker: Picker,
    /// Every endpoint of the cluster, in the order of the configuration.
    pub endpoints: Arc<[Arc<Endpoint>]>,
    /// How connections are made and kept.
    pub upstream: Upstream,
    /// How many endpoints are available.
    pub available: usize,
    /// Whether sicker tiers are let in.
    pub panic: bool,
    /// Whether verdicts are frozen.
    pub frozen: bool,
}

/// A cluster: its identity, its cells, and the snapshot in force.
#[derive(Debug)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: Arc<str>,
    snapshot: ArcSwap<Snapshot>,
    workers: Lanes<ClusterCells>,
}

impl Cluster {
    /// A cluster with its first snapshot.
    #[must_use]
    pub fn new(id: ClusterId, name: Arc<str>, snapshot: Snapshot) -> Self {
        Self { id, name, snapshot: ArcSwap::from_pointee(snapshot), workers: Lanes::default() }
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

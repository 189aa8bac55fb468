//! Everything a request needs to know, behind one pointer, and the phase the process is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::cluster::{Cluster, ListenerCells, Pulse, Route, Touched};
use crate::config::model;
use crate::telemetry::lanes::Lanes;
use crate::tls::Renewable;
use crate::traffic::route::RouteTable;

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Waiting for first verdicts.
    Starting,
    /// Serving.
    Ready,
    /// Finishing what it has.
    Draining,
    /// Done.
    Stopped,
}

impl Phase {
    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// A listener as the request path holds it.
#[derive(Debug)]
pub struct Listener {
    /// As configured.
    pub config: Arc<model::Listener>,
    /// From request to route.
    pub table: RouteTable,
    /// The routes; the table's numbers are positions in it.
    pub routes: Vec<Route>,
    /// Each worker's cells; kept over reloads.
    pub cells: Arc<Lanes<ListenerCells>>,
    /// Open connections of the whole process; kept over reloads.
    pub connections: Arc<AtomicUsize>,
    /// TLS handshakes under way in the whole process; kept over reloads.
    pub handshakes: Arc<AtomicUsize>,
    /// TLS as it is terminated, if it is; kept and renewed over reloads.
    pub tls: Option<Arc<Renewable>>,
}

/// A socket that heartbeats come in by.
#[derive(Debug)]
pub struct Inlet {
    /// What it is called: its place in the configuration.
    pub name: Arc<str>,
    /// As configured.
    pub config: model::Heartbeats,
    /// TLS as it is terminated, if it is; kept and renewed over reloads.
    pub tls: Option<Arc<Renewable>>,
}

/// Whoever terminates TLS: the name, what was configured, and what is in force.
pub type Terminated<'a> = (&'a Arc<str>, &'a model::ListenerTls, &'a Renewable);

/// All listeners and clusters of one configuration.
#[derive(Debug, Default)]
pub struct World {
    /// How many worlds there were before it. Snapshots of clusters that a reload changes are there a moment before the world that
    /// they belong to, and are not read until that is in force: so a reload has one point at which everything changes.
    pub generation: u64,
    /// In the order of the configuration.
    pub listeners: Vec<Listener>,
    /// In the order of the configuration.
    pub inlets: Vec<Inlet>,
    /// In the order of the configuration.
    pub clusters: Vec<Arc<Cluster>>,
}

impl World {
    /// The cluster of this name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.iter().find(|cluster| &*cluster.name == name)
    }

    /// Everybody who terminates TLS.
    pub fn terminated(&self) -> impl Iterator<Item = Terminated<'_>> {
        let listeners = self.listeners.iter().map(|one| (&one.config.name, one.config.tls.as_ref(), one.tls.as_deref()));
        let inlets = self.inlets.iter().map(|one| (&one.name, one.config.tls.as_ref(), one.tls.as_deref()));
        listeners.chain(inlets).filter_map(|(name, configured, tls)| Some((name, configured?, tls?)))
    }
}

/// The world in force, and the phase.
#[derive(Debug)]
pub struct Live {
    world: ArcSwap<World>,
    phase: AtomicU8,
    /// Whether each worker runs.
    pub pulses: Lanes<Pulse>,
    /// Whose cells have something new.
    pub touched: Touched,
    hunger: Notify,
    roused: Notify,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// An empty world.
    #[must_use]
    pub fn new() -> Self {
        Self {
            world: ArcSwap::default(),
            phase: AtomicU8::new(Phase::Starting as u8),
            pulses: Lanes::default(),
            touched: Touched::default(),
            hunger: Notify::new(),
            roused: Notify::new(),
        }
    }

    /// Where workers are asked to close connections that idle, since others wait for leave to open one.
    #[must_use]
    pub const fn hunger(&self) -> &Notify {
        &self.hunger
    }

    /// Where control is told that a worker which rested has something under way again.
    #[must_use]
    pub const fn roused(&self) -> &Notify {
        &self.roused
    }

    /// The world's place, for readers that cache it.
    #[must_use]
    pub fn world(&self) -> &ArcSwap<World> {
        &self.world
    }

    /// Publishes a world; control only.
    pub fn publish(&self, world: World) {
        self.world.store(Arc::new(world));
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            2 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// Enters a phase; phases only go forward.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

//! Endpoints that discovery has found, on their way into their clusters.
//!
//! What joins is probed beside the cluster that goes on serving, and comes in when it has had its first verdicts, together with
//! what leaves: a name whose addresses are all replaced at once costs no request. While a reload is on its way, or a change of
//! the same cluster, the newest finding waits.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::cluster::Endpoint;
use crate::config::Config;
use crate::config::model::Discovery;
use crate::control::announcer::Announcer;
use crate::control::beats::Senders;
use crate::control::draft::{Bench, Kept, PATIENCE};
use crate::control::wards::Wards;
use crate::control::watched::Watcher;
use crate::discovery::{self, Found};
use crate::health::signal::Signal;
use crate::runtime::clock;
use crate::runtime::task::Owned;

/// The sources, and what they have brought.
#[derive(Debug)]
pub(super) struct Moves {
    found: mpsc::Sender<Found>,
    /// By cluster; they end when dropped.
    sources: HashMap<Arc<str>, (Discovery, Owned)>,
    /// The newest finding of each cluster that has not been looked at.
    waiting: HashMap<Arc<str>, Found>,
    under_way: HashMap<ClusterId, Move>,
}

#[derive(Debug)]
struct Move {
    kept: Kept,
    found: Found,
    deadline: Timestamp,
}

impl Moves {
    pub(super) fn new(found: mpsc::Sender<Found>) -> Self {
        Self { found, sources: HashMap::new(), waiting: HashMap::new(), under_way: HashMap::new() }
    }

    /// Asks the sources of a configuration that has come into force, and no others.
    pub(super) fn follow(&mut self, config: &Config) {
        let mut sources = HashMap::new();
        for cluster in &config.clusters {
            let Some(source) = &cluster.discovery else { continue };
            let kept = self.sources.remove(&cluster.name).filter(|(known, _)| known == source);
            let start = || (source.clone(), discovery::start(Arc::clone(&cluster.name), source.clone(), self.found.clone()));
            sources.insert(Arc::clone(&cluster.name), kept.unwrap_or_else(start));
        }
        self.sources = sources;
    }

    /// A source has brought something.
    pub(super) fn hear(&mut self, found: Found, wards: &Wards) {
        if let Some(ward) = wards.find(&found.cluster) {
            ward.cluster.discovered(clock::wall());
        }
        self.waiting.insert(Arc::clone(&found.cluster), found);
    }

    /// Puts off everything that is under way, for a reload.
    pub(super) fn put_off(&mut self) {
        for (_, Move { found, .. }) in self.under_way.drain() {
            // Who joins by heartbeats sends the next one; this finding would be out of date.
            if found.source != Discovery::Heartbeat {
                self.waiting.entry(Arc::clone(&found.cluster)).or_insert(found);
            }
        }
    }

    /// Takes in a signal about an endpoint that joins.
    pub(super) fn apply(&mut self, signal: Signal, now: Timestamp, announcer: &Announcer) {
        if let Some(one) = self.under_way.get_mut(&signal.cluster) {
            one.kept.hear(signal, now, announcer);
        }
    }

    /// An endpoint's name leads somewhere for the first time.
    pub(super) fn resolved(&self, id: EndpointId) {
        self.under_way.values().for_each(|one| one.kept.resolved(id));
    }

    /// The endpoint of this address that joins.
    pub(super) fn find(&self, cluster: ClusterId, address: &str) -> Option<&Arc<Endpoint>> {
        self.under_way.get(&cluster)?.kept.find(address)
    }

    /// The endpoints that join, with the settings of their cluster.
    pub(super) fn joining(&self) -> impl Iterator<Item = Senders<'_>> {
        self.under_way.values().map(|one| one.kept.senders())
    }

    /// Looks at what was found, and ends what has its first verdicts. Returns whether endpoints join or have joined by it.
    pub(super) fn advance(&mut self, wards: &mut Wards, bench: &mut Bench<'_>, watcher: &Watcher) -> bool {
        let now = bench.now;
        let idle: Vec<Arc<str>> = self.waiting.keys().filter(|name| !self.is_under_way(wards, name)).cloned().collect();
        let mut moved = !idle.is_empty();
        for name in idle {
            if let Some(found) = self.waiting.remove(&name) {
                self.begin(found, wards, bench);
            }
        }
        let done = |one: &Move| one.kept.settled() || one.deadline <= now;
        let done: Vec<ClusterId> = self.under_way.iter().filter(|(_, one)| done(one)).map(|(id, _)| *id).collect();
        for id in done {
            if let Some(one) = self.under_way.remove(&id) {
                wards.change(id, one.kept, watcher, now);
                moved = true;
            }
        }
        moved
    }

    pub(super) fn is_under_way(&self, wards: &Wards, name: &str) -> bool {
        wards.find(name).is_some_and(|ward| self.under_way.contains_key(&ward.cluster.id))
    }

    /// Starts a change of endpoints, unless there is none.
    pub(super) fn begin(&mut self, found: Found, wards: &Wards, bench: &mut Bench<'_>) {
        let Some(ward) = wards.find(&found.cluster) else { return };
        if ward.config.discovery.as_ref() != Some(&found.source) || *ward.config.endpoints == *found.endpoints {
            return;
        }
        let count = |n: usize| tracing::info!(cluster = &*found.cluster, endpoints = n, "endpoints discovered have changed");
        count(found.endpoints.len());
        let mut config = ward.config.clone();
        config.endpoints = found.endpoints.as_slice().into();
        let kept = Kept::new(&config, ward, bench);
        self.under_way.insert(ward.cluster.id, Move { kept, found, deadline: bench.now + PATIENCE });
    }

    /// When [`Self::advance`] has something to do, whatever is heard.
    pub(super) fn wake(&self) -> Timestamp {
        self.under_way.values().map(|one| one.deadline).min().unwrap_or(Timestamp::NEVER)
    }
}

//! The next world, while what is new in it is looked at for the first time.
//!
//! An endpoint that joins is unknown, and a cluster of unknown ones answers 503. So a reload first probes what joins, beside
//! the world that goes on serving, and takes effect when there are first verdicts. Until then nothing that serves has
//! changed; after 10 s it takes effect anyway, for an endpoint that never answers must not hold up the rest.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::base::address::EndpointAddress;
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::cluster::Endpoint;
use crate::config::{Config, model};
use crate::control::announcer::Announcer;
use crate::control::beats::Senders;
use crate::control::ward::{Change, Ward, believe};
use crate::control::wards::{Wards, count};
use crate::control::watched::{Watched, Watcher};
use crate::health;
use crate::health::signal::Signal;

/// How long first verdicts are waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How many signals are kept of each joining endpoint, until its cluster can take them in.
const HEARD: usize = 256;

/// Gives out identities, each once in the life of the process.
#[derive(Debug, Default)]
pub(super) struct Identities {
    endpoints: u32,
    clusters: u32,
}

impl Identities {
    const fn endpoint(&mut self) -> EndpointId {
        self.endpoints += 1;
        EndpointId(self.endpoints)
    }

    const fn cluster(&mut self) -> ClusterId {
        self.clusters += 1;
        ClusterId(self.clusters)
    }
}

/// What making a draft needs besides the configuration.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) identities: &'a mut Identities,
    pub(super) watcher: &'a Watcher,
    pub(super) now: Timestamp,
}

impl Bench<'_> {
    fn endpoint(&mut self, id: ClusterId, cluster: &model::Cluster, settings: &model::Endpoint) -> Watched {
        let (name, address) = (Arc::clone(&cluster.name), settings.address.clone());
        let endpoint = Endpoint::new(self.identities.endpoint(), id, name, address, self.now);
        self.watcher.watch(Arc::new(endpoint), cluster)
    }

    fn references(&mut self, id: ClusterId, cluster: &model::Cluster) -> Vec<Watched> {
        let watch = |address: &EndpointAddress| {
            let (name, address) = (Arc::clone(&cluster.name), address.clone());
            let endpoint = Endpoint::new(self.identities.endpoint(), id, name, address, self.now);
            self.watcher.watch_reference(Arc::new(endpoint), cluster.report_timing)
        };
        cluster.references.iter().map(watch).collect()
    }
}

/// A configuration on its way into force.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) config: Config,
    plans: Vec<Plan>,
    /// Where the endpoints that join are.
    joining: HashMap<EndpointId, usize>,
    deadline: Timestamp,
}

#[derive(Debug)]
enum Plan {
    New(Box<Ward>),
    Kept(Box<Kept>),
}

/// What will change of a cluster that stays.
#[derive(Debug)]
pub(super) struct Kept {
    id: ClusterId,
    config: model::Cluster,
    joining: Vec<Watched>,
    /// The references, if they are others than before.
    references: Option<Vec<Watched>>,
    /// What is believed of the joining ones alone; says when they have first verdicts.
    trial: health::Cluster,
    heard: VecDeque<Signal>,
}

impl Draft {
    /// Starts to look at whatever `config` has and `wards` have not.
    pub(super) fn new(config: Config, wards: &Wards, mut bench: Bench<'_>) -> Self {
        let plans: Vec<Plan> = config.clusters.iter().map(|cluster| plan(cluster, wards, &mut bench)).collect();
        let mut joining = HashMap::new();
        for (place, plan) in plans.iter().enumerate() {
            match plan {
                Plan::New(ward) => joining.extend(ward.endpoints().iter().map(|endpoint| (endpoint.id, place))),
                Plan::Kept(kept) => joining.extend(kept.joining.iter().map(|watched| (watched.endpoint.id, place))),
            }
        }
        Self { config, plans, joining, deadline: bench.now + PATIENCE }
    }

    /// The endpoints that join, in the order of the configuration.
    #[cfg(test)]
    pub(super) fn joining_endpoints(&self) -> Vec<Arc<Endpoint>> {
        let of = |plan: &Plan| match plan {
            Plan::New(ward) => ward.endpoints().to_vec(),
            Plan::Kept(kept) => kept.joining.iter().map(|watched| Arc::clone(&watched.endpoint)).collect(),
        };
        self.plans.iter().flat_map(of).collect()
    }

    /// The endpoints that join, with the settings of their cluster.
    pub(super) fn joining(&self) -> impl Iterator<Item = Senders<'_>> {
        self.plans.iter().map(|plan| match plan {
            Plan::New(ward) => (&ward.config, ward.endpoints().to_vec()),
            Plan::Kept(kept) => kept.senders(),
        })
    }

    /// Takes in a signal about an endpoint that joins.
    pub(super) fn apply(&mut self, signal: Signal, now: Timestamp, announcer: &Announcer) {
        let Some(place) = self.joining.get(&signal.endpoint) else { return };
        match &mut self.plans[*place] {
            Plan::New(ward) => {
                if let Some(endpoint) = ward.endpoint(signal.endpoint) {
                    count(endpoint, &signal.observation, announcer);
                }
                ward.apply(&signal, now, announcer);
            }
            Plan::Kept(kept) => kept.hear(signal, now, announcer),
        }
    }

    /// An endpoint's name leads somewhere for the first time.
    pub(super) fn resolved(&self, id: EndpointId) {
        match self.joining.get(&id).map(|place| &self.plans[*place]) {
            Some(Plan::New(ward)) => ward.probe_now(id),
            Some(Plan::Kept(kept)) => kept.resolved(id),
            None => {}
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Timestamp, announcer: &Announcer) {
        for plan in &mut self.plans {
            if let Plan::New(ward) = plan {
                ward.tick(now, announcer);
            }
        }
    }

    /// When [`Self::tick`] has something to do, or it takes effect whatever is known.
    pub(super) fn wake(&self) -> Timestamp {
        let wards = self.plans.iter().filter_map(|plan| match plan {
            Plan::New(ward) => ward.wake(),
            Plan::Kept(_) => None,
        });
        wards.min().map_or(self.deadline, |at| at.min(self.deadline))
    }

    /// Whether it may take effect.
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        let settled = |plan: &Plan| match plan {
            Plan::New(ward) => ward.has_first_verdicts(),
            Plan::Kept(kept) => kept.settled(),
        };
        now >= self.deadline || self.plans.iter().all(settled)
    }

    /// Ends the probes that do not outlive this change, so that nothing they would say comes after it.
    pub(super) fn stop_outdated_probes(&self, wards: &mut Wards) {
        let kept: HashMap<ClusterId, &Kept> = self.plans.iter().filter_map(Plan::kept).map(|kept| (kept.id, kept)).collect();
        for ward in wards.iter_mut() {
            if let Some(kept) = kept.get(&ward.cluster.id) {
                ward.stop_outdated_probes(&kept.config);
            }
        }
    }

    /// Takes effect on the clusters, for the world of this number. What left is forgotten.
    pub(super) fn commit(self, wards: &mut Wards, watcher: &Watcher, generation: u64, now: Timestamp) -> Config {
        let Self { config, plans, .. } = self;
        let mut stock: HashMap<ClusterId, Ward> = wards.take().into_iter().map(|ward| (ward.cluster.id, ward)).collect();
        let mut list = Vec::with_capacity(plans.len());
        for plan in plans {
            match plan {
                Plan::New(ward) => list.push(*ward),
                Plan::Kept(kept) => {
                    let mut ward = stock.remove(&kept.id).expect("a cluster that is planned to stay is still there");
                    ward.await_world(generation);
                    kept.commit(&mut ward, watcher, now, &wards.announcer);
                    list.push(ward);
                }
            }
        }
        for name in stock.values().map(|ward| &ward.cluster.name) {
            wards.announcer.shared.tallies.forget_cluster(name);
        }
        wards.install(list);
        config
    }
}

fn plan(cluster: &model::Cluster, wards: &Wards, bench: &mut Bench<'_>) -> Plan {
    let Some(ward) = wards.find(&cluster.name) else {
        let id = bench.identities.cluster();
        let watched = cluster.endpoints.iter().map(|settings| bench.endpoint(id, cluster, settings)).collect();
        let references = bench.references(id, cluster);
        return Plan::New(Box::new(Ward::new(id, cluster.clone(), watched, references, bench.now)));
    };
    // What has been discovered stays until something else is.
    if cluster.discovery.is_some() && cluster.discovery == ward.config.discovery {
        let endpoints = ward.config.endpoints.clone();
        return Plan::Kept(Box::new(Kept::new(&model::Cluster { endpoints, ..cluster.clone() }, ward, bench)));
    }
    // Who sends heartbeats already has joined.
    if cluster.discovery == Some(model::Discovery::Heartbeat) {
        let sends = |endpoint: &&Arc<Endpoint>| endpoint.view().heartbeat.as_ref().is_some_and(|beats| beats.at.is_some());
        let senders: HashSet<&str> = ward.endpoints().iter().filter(sends).map(|endpoint| endpoint.address.as_str()).collect();
        let sends = |settings: &&model::Endpoint| senders.contains(settings.address.as_str());
        let endpoints = ward.config.endpoints.iter().filter(sends).cloned().collect();
        return Plan::Kept(Box::new(Kept::new(&model::Cluster { endpoints, ..cluster.clone() }, ward, bench)));
    }
    Plan::Kept(Box::new(Kept::new(cluster, ward, bench)))
}

impl Plan {
    const fn kept(&self) -> Option<&Kept> {
        match self {
            Self::New(_) => None,
            Self::Kept(kept) => Some(kept),
        }
    }
}

impl Kept {
    /// The endpoints that join, with the settings of their cluster.
    pub(super) fn senders(&self) -> Senders<'_> {
        (&self.config, self.joining.iter().map(|watched| Arc::clone(&watched.endpoint)).collect())
    }

    /// Starts to look at the endpoints that `cluster` has and `ward` has not.
    pub(super) fn new(cluster: &model::Cluster, ward: &Ward, bench: &mut Bench<'_>) -> Self {
        let id = ward.cluster.id;
        let known: HashSet<&str> = ward.endpoints().iter().map(|endpoint| endpoint.address.as_str()).collect();
        let joins = |settings: &&model::Endpoint| !known.contains(settings.address.as_str());
        let joining: Vec<Watched> =
            cluster.endpoints.iter().filter(joins).map(|settings| bench.endpoint(id, cluster, settings)).collect();
        let trial = believe(cluster, &joining, bench.now);
        let same =
            |other: &model::Cluster| (&other.references, other.report_timing) == (&cluster.references, cluster.report_timing);
        let references = (!same(&ward.config)).then(|| bench.references(id, cluster));
        Self { id, config: cluster.clone(), joining, references, trial, heard: VecDeque::new() }
    }

    /// Whether everybody who joins has had a first verdict.
    pub(super) const fn settled(&self) -> bool {
        self.trial.settled()
    }

    /// The endpoint of this address that joins.
    pub(super) fn find(&self, address: &str) -> Option<&Arc<Endpoint>> {
        self.joining.iter().map(|watched| &watched.endpoint).find(|endpoint| endpoint.address.as_str() == address)
    }

    /// The settings that will come into force.
    pub(super) const fn config(&self) -> &model::Cluster {
        &self.config
    }

    /// An endpoint's name leads somewhere for the first time.
    pub(super) fn resolved(&self, id: EndpointId) {
        self.joining.iter().filter(|one| one.endpoint.id == id).for_each(Watched::probe_now);
    }

    /// Takes in a signal about an endpoint that joins.
    pub(super) fn hear(&mut self, signal: Signal, now: Timestamp, announcer: &Announcer) {
        if let Some(watched) = self.joining.iter().find(|watched| watched.endpoint.id == signal.endpoint) {
            count(&watched.endpoint, &signal.observation, announcer);
        }
        drop(self.trial.apply(&signal, now));
        if self.heard.len() == HEARD * self.joining.len() {
            self.heard.pop_front();
        }
        self.heard.push_back(signal);
    }

    /// Takes effect on the cluster.
    pub(super) fn commit(self, ward: &mut Ward, watcher: &Watcher, now: Timestamp, announcer: &Announcer) {
        if ward.config == self.config {
            return;
        }
        let tallies = &announcer.shared.tallies;
        let name = Arc::clone(&ward.cluster.name);
        for probe in ward.config.health.probes.iter().filter(|probe| !self.config.health.probes.contains(probe)) {
            tallies.forget_probe(&name, probe);
        }
        let (references, heard) = (self.references, self.heard.into());
        let change = Change { config: self.config, joining: self.joining, references, heard };
        for watched in ward.reconfigure(change, watcher, now, announcer) {
            tallies.forget_endpoint(&name, watched.endpoint.address.as_str());
        }
    }
}

//! One cluster in control's care: what is believed of it, what is published of it, and who watches its endpoints.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::cluster::{Affinity, Cluster, Endpoint, Recall, Snapshot};
use crate::config::model;
use crate::control::announcer::Announcer;
use crate::control::pacer::Pacer;
use crate::control::stirred::Stirred;
use crate::control::watched::{Watched, Watcher};
use crate::health::electorate::Vote;
use crate::health::signal::{Observation, ReportReading, Signal};
use crate::health::{self, Changes, Entry, Glance, Local, Pace, Probed};
use crate::net::secure;
use crate::report::spec::{Format, Source};
use crate::report::{self, Said};

/// A cluster, its health and its watch.
#[derive(Debug)]
pub(super) struct Ward {
    pub(super) config: model::Cluster,
    pub(super) cluster: Arc<Cluster>,
    health: health::Cluster,
    /// In the order of the configuration, and at the same positions as in `health`.
    watched: Vec<Watched>,
    roster: Arc<[Arc<Endpoint>]>,
    affinity: Arc<Affinity>,
    pacer: Pacer,
    references: Vec<Watched>,
    stirred: Stirred,
    /// The number of the first world that its next snapshots belong to.
    generation: u64,
    /// Whether that world is still to come.
    awaits_world: bool,
    /// Endpoints nobody should wait for any more, once the snapshot that says so is out.
    recalls: Vec<EndpointId>,
    /// Whose votes may have changed since they were taken; `None`: all of them. So a signal costs the same in a cluster of ten
    /// thousand as in one of three.
    unsaid: Option<Vec<EndpointId>>,
    /// The highest epoch of a leader when it was last asked for.
    epoch: Option<u64>,
}

/// What we say of a cluster's endpoints since the last time.
#[derive(Debug)]
pub(super) enum Fresh {
    /// Of every endpoint of which anything is known.
    All(BTreeMap<Arc<str>, Vote>),
    /// Of these; `None`: nothing any more.
    Some(Vec<(Arc<str>, Option<Vote>)>),
}

impl Ward {
    /// A cluster of which nothing is known yet. `watched` is in the order of the configuration.
    pub(super) fn new(
        id: ClusterId,
        config: model::Cluster,
        watched: Vec<Watched>,
        references: Vec<Watched>,
        now: Timestamp,
    ) -> Self {
        let health = believe(&config, &watched, now);
        prepare(&config);
        let roster = roster(&watched);
        let affinity = affinity(&config);
        let snapshot = Snapshot::of(&config, &health, &roster, &affinity);
        let cluster = Arc::new(Cluster::new(id, Arc::clone(&config.name), snapshot));
        let (pacer, recalls) = (Pacer::default(), Vec::new());
        let stirred = Stirred::all(watched.len());
        let mut ward = Self {
            config,
            cluster,
            health,
            watched,
            roster,
            affinity,
            pacer,
            references,
            stirred,
            generation: 0,
            awaits_world: false,
            recalls,
            unsaid: None,
            epoch: None,
        };
        ward.show_all();
        ward
    }

    pub(super) fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoint_at(self.health.position(id)?, id)
    }

    /// The same where its position among [`Self::ids`] is known: whoever has been given one may come late with it.
    pub(super) fn endpoint_at(&self, position: usize, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.watched.get(position).map(|watched| &watched.endpoint).filter(|endpoint| endpoint.id == id)
    }

    pub(super) fn endpoints(&self) -> &Arc<[Arc<Endpoint>]> {
        &self.roster
    }

    /// Everything that signals of this cluster may be about: its endpoints and its references.
    pub(super) fn ids(&self) -> impl Iterator<Item = EndpointId> + '_ {
        let endpoints = self.roster.iter().map(|endpoint| endpoint.id);
        endpoints.chain(self.references.iter().map(|reference| reference.endpoint.id))
    }

    /// Takes in a signal about a reference. Returns whether it is one.
    pub(super) fn hear_reference(&mut self, signal: &Signal, now: Timestamp, announcer: &Announcer) -> bool {
        let known = self.references.iter_mut().find(|reference| reference.endpoint.id == signal.endpoint);
        let Some(reference) = known else { return false };
        reference.set_pace(Pace::Normal);
        if let Observation::Probe(run) = &signal.observation {
            let changes = self.health.hear_reference(signal.endpoint, run, now);
            self.act(changes, now, announcer);
        }
        true
    }

    /// Something has been counted of the endpoint at this position.
    pub(super) fn stir(&mut self, position: usize) {
        if position < self.watched.len() {
            self.stirred.mark(position);
        }
    }

    /// Reads what workers counted and acts on it.
    pub(super) fn look(&mut self, local: &Local, now: Timestamp, announcer: &Announcer) {
        let live = &announcer.shared.live;
        let watched = &mut self.watched;
        let glances: Vec<Glance> = self.stirred.look(|index| watched[index].glance(live, now));
        let changes = self.health.look(&glances, *local, now);
        self.act(changes, now, announcer);
    }

    /// The same for one endpoint alone.
    pub(super) fn look_at(&mut self, id: EndpointId, local: &Local, now: Timestamp, announcer: &Announcer) {
        let Some(position) = self.health.position(id) else { return };
        let glance = self.watched[position].glance(&announcer.shared.live, now);
        let changes = self.health.look(glance.as_slice(), *local, now);
        self.act(changes, now, announcer);
    }

    /// The endpoint of this address.
    pub(super) fn find(&self, address: &str) -> Option<&Arc<Endpoint>> {
        self.roster.iter().find(|endpoint| endpoint.address.as_str() == address)
    }

    /// Whether nobody but traffic can say that an endpoint came back.
    pub(super) fn is_unprobed(&self) -> bool {
        !self.config.probes.iter().any(|probe| probe.reaches())
    }

    /// Whether a pass of this probe shows that the endpoint itself can be reached.
    pub(super) fn reaches(&self, probe: usize) -> bool {
        self.config.probes.get(probe).is_some_and(|probe| probe.reaches())
    }

    /// Whether every endpoint has had its first verdict, and the snapshot says so: whoever is told that all is ready may ask at once.
    pub(super) const fn has_first_verdicts(&self) -> bool {
        self.health.settled() && self.pacer.due().is_none()
    }

    /// The same, and endpoints that are to be discovered have been.
    pub(super) fn settled(&self) -> bool {
        self.has_first_verdicts() && (self.config.discovery.is_none() || !self.roster.is_empty())
    }

    pub(super) fn history(&self, id: EndpointId) -> Vec<Entry> {
        self.health.history(id)
    }

    /// Reads a load report of an answer to live traffic; `None` if reports of this cluster are not written so.
    pub(super) fn read_load(&self, words: &str) -> Option<ReportReading> {
        let spec = self.config.report.as_ref().filter(|spec| matches!(spec.format, Format::Auto | Format::Orca))?;
        match report::read(spec, &Said { load: Some(words), ..Said::default() }) {
            Ok(report) => report.map(ReportReading::Load),
            Err(unreadable) => Some(ReportReading::Void(unreadable.to_string())),
        }
    }

    /// Looks at all that a signal about this endpoint will need; see [`Wards::look_ahead`](super::wards::Wards::look_ahead).
    pub(super) fn look_ahead(&self, position: usize) -> u64 {
        let endpoint = self.watched.get(position).map_or(0, |watched| watched.endpoint.look_ahead());
        endpoint.wrapping_add(self.health.look_ahead(position))
    }

    /// Takes in a signal and acts on what it changes.
    pub(super) fn apply(&mut self, signal: &Signal, now: Timestamp, announcer: &Announcer) {
        let changes = self.health.apply(signal, now);
        self.act(changes, now, announcer);
    }

    /// The same where the endpoint's position is known.
    pub(super) fn apply_at(&mut self, position: usize, signal: &Signal, now: Timestamp, announcer: &Announcer) {
        let changes = self.health.apply_at(position, signal, now);
        self.act(changes, now, announcer);
    }

    /// What we say of endpoints that may have changed since the last call, if there are any.
    pub(super) fn take_votes(&mut self) -> Option<Fresh> {
        let of = |id: EndpointId| Some((self.endpoint(id)?.address.text(), self.health.vote(id)));
        let fresh = match &self.unsaid {
            None => {
                let known = self.watched.iter().filter_map(|watched| of(watched.endpoint.id));
                Fresh::All(known.filter_map(|(address, vote)| Some((address, vote?))).collect())
            }
            Some(ids) if ids.is_empty() => return None,
            Some(ids) => Fresh::Some(ids.iter().filter_map(|id| of(*id)).collect()),
        };
        self.unsaid = Some(Vec::new());
        Some(fresh)
    }

    /// Has the votes taken anew.
    pub(super) fn retake_votes(&mut self) {
        self.unsaid = None;
    }

    /// Lets time pass, and publishes what is due.
    pub(super) fn tick(&mut self, now: Timestamp, announcer: &Announcer) {
        if self.health.next_change().is_some_and(|at| at <= now) {
            let changes = self.health.tick(now);
            self.act(changes, now, announcer);
        }
        self.publish_if_due(now, announcer);
    }

    /// We stood still for `span`: nobody is judged for it.
    pub(super) fn excuse(&mut self, span: Duration, now: Timestamp) {
        self.health.excuse(span, now);
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        [self.health.next_change(), self.pacer.due()].into_iter().flatten().min()
    }

    /// Freezes or thaws the verdicts.
    pub(super) fn set_frozen(&mut self, frozen: bool, now: Timestamp, announcer: &Announcer) {
        let changes = if frozen { self.health.freeze(now) } else { self.health.thaw(now) };
        self.pacer.ask_at_once(now);
        self.act(changes, now, announcer);
    }

    /// Takes in the operator's word, and publishes it without delay: who ordered is told that it is done.
    pub(super) fn obey(&mut self, order: &Signal, now: Timestamp, announcer: &Announcer) {
        self.pacer.ask_at_once(now);
        self.apply(order, now, announcer);
    }

    /// All that is known of the endpoints, by address.
    pub(super) fn memory(&self) -> HashMap<String, health::Memory> {
        let of = |endpoint: &Arc<Endpoint>| Some((endpoint.address.to_string(), self.health.memory(endpoint.id)?));
        self.roster.iter().filter_map(of).collect()
    }

    /// Believes what was known of the endpoints.
    pub(super) fn remember(&mut self, mut known: HashMap<String, health::Memory>, now: Timestamp, announcer: &Announcer) {
        let of = |endpoint: &Arc<Endpoint>| Some((endpoint.id, known.remove(endpoint.address.as_str())?));
        let known = self.roster.iter().filter_map(of).collect();
        let changes = self.health.remember(known, now);
        self.pacer.ask_at_once(now);
        self.act(changes, now, announcer);
    }

    /// The highest epoch that anybody has said to lead in, where anybody may.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.health.epoch()
    }

    /// Whether that is another one than at the last call.
    pub(super) fn has_new_epoch(&mut self) -> bool {
        let epoch = self.health.epoch();
        std::mem::replace(&mut self.epoch, epoch) != epoch
    }

    /// No claim in an epoch below this one counts any more.
    pub(super) fn raise_epoch(&mut self, epoch: u64, now: Timestamp, announcer: &Announcer) {
        let changes = self.health.raise_epoch(epoch, now);
        self.act(changes, now, announcer);
    }

    pub(super) const fn is_frozen(&self) -> bool {
        self.health.is_frozen()
    }

    /// Has an endpoint probed at once.
    pub(super) fn probe_now(&self, id: EndpointId) {
        if let Some(position) = self.health.position(id) {
            self.watched[position].probe_now();
        }
    }

    /// Whether a change to `config` needs other probes than those that run.
    pub(super) fn needs_other_probes(&self, config: &model::Cluster) -> bool {
        let old = &self.config;
        (&old.probes, &old.report, old.report_timing, &old.tls, old.proxy_protocol, old.protocol)
            != (&config.probes, &config.report, config.report_timing, &config.tls, config.proxy_protocol, config.protocol)
    }

    /// Ends the probes of every endpoint that does not stay as it is under `config`.
    pub(super) fn stop_outdated_probes(&mut self, config: &model::Cluster) {
        let all = self.needs_other_probes(config);
        let staying: HashSet<&str> = config.endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect();
        for watched in &mut self.watched {
            if all || !staying.contains(watched.endpoint.address.as_str()) {
                watched.stop_probes();
            }
        }
    }

    /// From now on what is published belongs to this world, and is read when that is in force.
    pub(super) const fn await_world(&mut self, generation: u64) {
        self.generation = generation;
        self.awaits_world = true;
    }

    /// That world is in force.
    pub(super) fn enter_world(&mut self, announcer: &Announcer) {
        self.awaits_world = false;
        self.announce_recalls(announcer);
    }

    /// Takes on changed settings. Endpoints that stay keep what is believed of them; `joining` ones are known by what was
    /// `heard` of them. Returns the endpoints that left.
    pub(super) fn reconfigure(
        &mut self,
        change: Change,
        watcher: &Watcher,
        now: Timestamp,
        announcer: &Announcer,
    ) -> Vec<Watched> {
        let Change { config, joining, references, heard } = change;
        if let Some(references) = references {
            self.references = references;
        }
        let other_probes = self.needs_other_probes(&config);
        let mut stock: HashMap<Arc<str>, Watched> =
            self.watched.drain(..).map(|watched| (watched.endpoint.address.text(), watched)).collect();
        if other_probes {
            stock.values_mut().for_each(|watched| watcher.probe(watched, &config));
        }
        stock.extend(joining.into_iter().map(|watched| (watched.endpoint.address.text(), watched)));
        self.watched = config.endpoints.iter().filter_map(|endpoint| stock.remove(endpoint.address.as_str())).collect();
        self.stirred = Stirred::all(self.watched.len());
        self.roster = roster(&self.watched);
        let mut changes = vec![self.health.reconfigure(config.health.clone(), members(&config, &self.watched), now)];
        self.health.set_report_interval(report_interval(&config));
        self.affinity = affinity(&config);
        prepare(&config);
        self.config = config;
        self.unsaid = None;
        changes.extend(heard.iter().map(|signal| self.health.apply(signal, now)));
        self.pacer.ask_at_once(now);
        let all = changes.into_iter().reduce(|mut sum, later| {
            sum.merge(later);
            sum
        });
        self.act(all.unwrap_or_default(), now, announcer);
        stock.into_values().collect()
    }

    fn act(&mut self, changes: Changes, now: Timestamp, announcer: &Announcer) {
        if let Some(probed) = changes.probed {
            self.show_probe(probed);
        }
        if let Some(unsaid) = &mut self.unsaid {
            unsaid.extend(&changes.touched);
        }
        if !changes.successions.is_empty() {
            // Whoever has been deposed must not get another write.
            self.pacer.ask_at_once(now);
        } else if changes.admission_changed {
            self.pacer.ask(now);
        }
        let gone = changes.transitions.iter().filter(|transition| transition.forbids_waiting());
        self.recalls.extend(gone.map(|transition| transition.endpoint));
        self.recalls.extend(&changes.recalled);
        for id in &changes.touched {
            self.show(*id);
        }
        for (id, before) in &changes.overdue {
            if self.endpoint(*id).is_some_and(|endpoint| endpoint.in_flight() > 0) {
                announcer.recall(Recall { endpoint: *id, overdue: Some(*before) });
            }
        }
        for (id, runs) in &changes.confirm {
            if let Some(position) = self.health.position(*id) {
                self.watched[position].confirm(*runs, &self.config);
            }
        }
        if changes.ask_references {
            self.references.iter().for_each(Watched::probe_now);
        }
        self.publish_if_due(now, announcer);
        for transition in &changes.transitions {
            if let Some(endpoint) = self.endpoint(transition.endpoint) {
                announcer.transition(endpoint, transition);
            }
        }
        for succession in &changes.successions {
            let name = |id: Option<EndpointId>| id.and_then(|id| self.endpoint(id)).map(|endpoint| endpoint.address.text());
            announcer.succession(&self.cluster.name, name(succession.from), name(succession.to), succession);
        }
        for (id, code) in &changes.withheld {
            if let Some(endpoint) = self.endpoint(*id) {
                announcer.withheld(endpoint, code);
            }
        }
    }

    fn show(&mut self, id: EndpointId) {
        if let (Some(position), Some(view)) = (self.health.position(id), self.health.view(id)) {
            let watched = &mut self.watched[position];
            watched.endpoint.show(view);
            watched.set_pace(self.health.pace(id));
        }
    }

    fn show_probe(&self, probed: Probed) {
        let endpoint = self.endpoint_at(probed.position, probed.endpoint);
        if let (Some(endpoint), Some(view)) = (endpoint, self.health.probe_view(probed)) {
            endpoint.show_probe(probed.probe, view);
        }
    }

    fn show_all(&mut self) {
        let ids: Vec<EndpointId> = self.roster.iter().map(|endpoint| endpoint.id).collect();
        ids.into_iter().for_each(|id| self.show(id));
    }

    /// Whether all that is believed by now has been published.
    pub(super) const fn is_published(&self) -> bool {
        self.pacer.due().is_none()
    }

    fn publish_if_due(&mut self, now: Timestamp, announcer: &Announcer) {
        if self.pacer.take(now) {
            let snapshot = Snapshot::of(&self.config, &self.health, &self.roster, &self.affinity);
            self.cluster.publish(Snapshot { generation: self.generation, ..snapshot });
        }
        self.announce_recalls(announcer);
    }

    /// Only when the snapshot is out: what wakes must not pick the same endpoint again.
    fn announce_recalls(&mut self, announcer: &Announcer) {
        if self.pacer.due().is_none() && !self.awaits_world {
            self.recalls.drain(..).for_each(|id| announcer.recall(Recall::all(id)));
        }
    }
}

/// Makes what would otherwise be made when the first request comes.
fn prepare(config: &model::Cluster) {
    if let Some(tls) = &config.tls {
        secure::prepare(&tls.towards);
    }
}

/// A change of a cluster's settings.
#[derive(Debug)]
pub(super) struct Change {
    /// The new settings.
    pub(super) config: model::Cluster,
    /// Endpoints that were not there before.
    pub(super) joining: Vec<Watched>,
    /// The references, if they are others than before.
    pub(super) references: Option<Vec<Watched>>,
    /// What was heard of these, oldest first.
    pub(super) heard: Vec<Signal>,
}

/// What is believed of a cluster before anything is heard of it.
pub(super) fn believe(config: &model::Cluster, watched: &[Watched], now: Timestamp) -> health::Cluster {
    let mut health = health::Cluster::new(config.health.clone(), members(config, watched), now);
    health.set_report_interval(report_interval(config));
    health
}

fn members(config: &model::Cluster, watched: &[Watched]) -> Vec<health::Member> {
    let settings: HashMap<&str, &model::Endpoint> =
        config.endpoints.iter().map(|endpoint| (endpoint.address.as_str(), endpoint)).collect();
    let member = |watched: &Watched| {
        let settings = settings.get(watched.endpoint.address.as_str())?;
        let address = watched.endpoint.address.text();
        Some(health::Member { id: watched.endpoint.id, address, weight: settings.weight, backup: settings.backup })
    };
    watched.iter().filter_map(member).collect()
}

/// How often reports come when nothing is in question.
fn report_interval(config: &model::Cluster) -> Duration {
    let first_http = config.probes.iter().find(|probe| matches!(probe.check, health::check::Check::Http(_)));
    match (config.report.as_ref().map(|report| &report.source), first_http) {
        (Some(Source::Own { .. }), _) => config.report_timing.interval,
        (Some(Source::FirstHttpProbe), Some(probe)) => probe.timing.interval,
        (Some(Source::FirstHttpProbe), None) => config.health.heartbeat.map_or(Duration::ZERO, |heartbeat| heartbeat.period),
        (None, _) => Duration::ZERO,
    }
}

fn roster(watched: &[Watched]) -> Arc<[Arc<Endpoint>]> {
    watched.iter().map(|watched| Arc::clone(&watched.endpoint)).collect()
}

/// What is made once of all endpoints.
fn affinity(config: &model::Cluster) -> Arc<Affinity> {
    let endpoints = config.endpoints.iter().map(|endpoint| (endpoint.address.as_str(), endpoint.weight));
    Arc::new(Affinity::new(&config.balance, config.sticky.as_ref(), &config.name, endpoints))
}

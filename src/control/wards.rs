//! Every cluster in control's care, and the way of a signal to the one it concerns.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{ByEndpoint, ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::cluster::{Cluster, Endpoint, Pulse, Touched};
use crate::control::announcer::Announcer;
use crate::control::doubts::Doubts;
use crate::control::draft::Kept;
use crate::control::handle::NotFound;
use crate::control::local::Ourselves;
use crate::control::orders::Epochs;
use crate::control::ward::{Fresh, Ward};
use crate::control::watched::Watcher;
use crate::health::electorate::Count;
use crate::health::signal::{Failure, Observation, ProbeResult, ReportReading, Signal};
use crate::health::verdict::State;
use crate::health::{self, Entry};

/// The clusters, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Wards {
    list: Vec<Ward>,
    places: ByEndpoint<Place>,
    /// Whose mark a worker leaves where, in the order of the marks.
    marks: Vec<(u32, EndpointId)>,
    doubts: Doubts,
    /// Whether any of them hears heartbeats.
    beaten: bool,
    pub(super) ourselves: Ourselves,
    pub(super) announcer: Announcer,
}

/// Where an endpoint is: in which cluster, and at which position in it.
#[derive(Debug, Clone, Copy)]
struct Place {
    ward: u32,
    position: u32,
}

impl Wards {
    pub(super) fn new(announcer: Announcer) -> Self {
        Self {
            list: Vec::new(),
            places: ByEndpoint::default(),
            marks: Vec::new(),
            doubts: Doubts::default(),
            beaten: false,
            ourselves: Ourselves::new(Arc::clone(&announcer.shared.pulse)),
            announcer,
        }
    }

    /// Takes all clusters out; [`Self::install`] must follow.
    pub(super) fn take(&mut self) -> Vec<Ward> {
        self.places.clear();
        std::mem::take(&mut self.list)
    }

    /// Puts clusters in, in the order of the configuration.
    pub(super) fn install(&mut self, list: Vec<Ward>) {
        self.list = list;
        let numbered = self.list.iter().zip(0..);
        let places =
            numbered.flat_map(|(one, ward)| one.ids().zip(0..).map(move |(id, position)| (id, Place { ward, position })));
        self.places = places.collect();
        self.marks = self.places.keys().map(|id| (Touched::slot(*id), *id)).collect();
        self.marks.sort_unstable();
        self.beaten = self.list.iter().any(|ward| ward.config.health.heartbeat.is_some());
    }

    /// Whether anything may be seen at the next look that must be seen soon. While heartbeats or other proxies are judged by when they
    /// were last heard, it must be known soon that we did not hear.
    fn is_awake(&self) -> bool {
        let shared = &self.announcer.shared;
        self.beaten || shared.fleet.load().is_some() || !shared.live.pulses.iter().all(Pulse::is_resting)
    }

    /// Learns whose cells have something new.
    fn take_marks(&mut self) {
        let Some((last, _)) = self.marks.last() else { return };
        for slot in self.announcer.shared.live.touched.take(*last) {
            let first = self.marks.partition_point(|(other, _)| *other < slot);
            for (_, id) in self.marks[first..].iter().take_while(|(other, _)| *other == slot) {
                if let Some(place) = self.places.get(id) {
                    self.list[place.ward as usize].stir(place.position as usize);
                }
            }
        }
    }

    /// Changes the endpoints of one cluster. What left is forgotten.
    pub(super) fn change(&mut self, id: ClusterId, change: Kept, watcher: &Watcher, now: Timestamp) {
        let Some(ward) = self.list.iter_mut().find(|ward| ward.cluster.id == id) else { return };
        ward.stop_outdated_probes(change.config());
        change.commit(ward, watcher, now, &self.announcer);
        let list = std::mem::take(&mut self.list);
        self.install(list);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ward> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Ward> {
        self.list.iter_mut()
    }

    /// The world that clusters were changed for is in force.
    pub(super) fn enter_world(&mut self) {
        for ward in &mut self.list {
            ward.enter_world(&self.announcer);
        }
    }

    /// The clusters as the request path sees them.
    pub(super) fn clusters(&self) -> Vec<Arc<Cluster>> {
        self.list.iter().map(|ward| Arc::clone(&ward.cluster)).collect()
    }

    /// Whether all that is believed by now of an endpoint's cluster has been published; nothing is waited for if it is not here.
    pub(super) fn is_published(&self, endpoint: EndpointId) -> bool {
        self.places.get(&endpoint).and_then(|place| self.list.get(place.ward as usize)).is_none_or(Ward::is_published)
    }

    pub(super) fn find(&self, cluster: &str) -> Option<&Ward> {
        self.list.iter().find(|ward| *ward.cluster.name == *cluster)
    }

    /// Looks at those whom signals are about, so that their lines are near when the signals act, one after the other.
    pub(super) fn look_ahead(&self, signals: &VecDeque<Signal>) {
        if signals.len() > 1 {
            let places = signals.iter().filter_map(|signal| self.places.get(&signal.endpoint));
            let seen = places.map(|place| self.list[place.ward as usize].look_ahead(place.position as usize));
            black_box(seen.fold(0, u64::wrapping_add));
        }
    }

    /// Takes in a signal. Returns it if no endpoint here is meant.
    pub(super) fn apply(&mut self, mut signal: Signal, now: Timestamp) -> Option<Signal> {
        let Some(place) = self.places.get(&signal.endpoint) else { return Some(signal) };
        let (place, position) = (place.ward as usize, place.position as usize);
        if let Observation::Probe(run) = &mut signal.observation
            && matches!(run.result, ProbeResult::Fail(Failure::Timeout(_)))
        {
            if self.ourselves.is_deaf(now) {
                run.result = ProbeResult::Void("the check of ourselves fails as well".to_owned());
            } else if self.ourselves.held_up(run.started) {
                run.result = ProbeResult::Void("we are still catching up after a stall of our own".to_owned());
            }
            // What traffic shows may outweigh it.
            self.list[place].look_at(signal.endpoint, &self.ourselves.known(now), now, &self.announcer);
        }
        let ward = &mut self.list[place];
        if ward.hear_reference(&signal, now, &self.announcer) {
            return None;
        }
        let Some(endpoint) = ward.endpoint_at(position, signal.endpoint).map(Arc::clone) else { return Some(signal) };
        if let Observation::Load(words) = &signal.observation {
            signal.observation = Observation::Report(ward.read_load(words)?);
        }
        if let Observation::Probe(run) = &signal.observation
            && run.result == ProbeResult::Pass
            && ward.reaches(run.probe)
        {
            self.doubts.passed(endpoint.id, run.started);
        }
        let refused = signal.observation == Observation::Refused;
        if refused && self.doubts.refused(&endpoint, signal.at, now) {
            ward.apply(&answered(&endpoint, signal.at), now, &self.announcer);
        }
        count(&endpoint, &signal.observation, &self.announcer);
        ward.apply_at(position, &signal, now, &self.announcer);
        self.announcer.stamped(&endpoint, &signal.observation);
        if refused || signal.observation == Observation::Reset {
            ward.probe_now(endpoint.id);
        }
        if refused && !ward.is_unprobed() && endpoint.state() == State::Unhealthy {
            self.doubts.forget(endpoint.id);
        }
        None
    }

    /// We stood still for `span`: nobody is judged for it.
    pub(super) fn excuse(&mut self, span: Duration, now: Timestamp) {
        for ward in &mut self.list {
            ward.excuse(span, now);
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let (list, places) = (&self.list, &self.places);
        let find = |id| places.get(&id).and_then(|place| list[place.ward as usize].endpoint(id)).map(|endpoint| &**endpoint);
        for id in self.doubts.look(now, find) {
            if let Some(ward) = self.places.get(&id).and_then(|place| self.list.get_mut(place.ward as usize))
                && let Some(endpoint) = ward.endpoint(id).map(Arc::clone)
            {
                ward.apply(&answered(&endpoint, now), now, &self.announcer);
            }
        }
        let looks = self.ourselves.take(self.is_awake(), now);
        let local = self.ourselves.known(now);
        if looks {
            self.take_marks();
        }
        for ward in &mut self.list {
            if looks {
                ward.look(&local, now, &self.announcer);
            }
            ward.tick(now, &self.announcer);
        }
    }

    /// What we saw of the clusters in which anything changed since the last call, for the rest of the fleet.
    pub(super) fn take_votes(&mut self) -> Vec<(Arc<str>, Fresh)> {
        self.list.iter_mut().filter_map(|ward| Some((Arc::clone(&ward.cluster.name), ward.take_votes()?))).collect()
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Has the votes of every cluster taken anew, and forgets what others said.
    pub(super) fn retake_votes(&mut self, now: Timestamp) {
        for ward in &mut self.list {
            ward.retake_votes();
        }
        self.hear_fleet(|_, _| Count::default(), now);
    }

    /// Takes in what the rest of the fleet says of every endpoint.
    pub(super) fn hear_fleet(&mut self, count: impl Fn(&str, &str) -> Count, now: Timestamp) {
        for ward in self.list.iter_mut().filter(|ward| ward.config.health.quorum) {
            let roster = Arc::clone(ward.endpoints());
            for endpoint in roster.iter() {
                let observation = Observation::Fleet(count(&ward.cluster.name, endpoint.address.as_str()));
                let signal = Signal { cluster: endpoint.cluster_id, endpoint: endpoint.id, at: now, observation };
                ward.apply(&signal, now, &self.announcer);
            }
        }
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.list.iter().filter_map(Ward::wake).chain(self.doubts.next()).chain(self.ourselves.next()).min()
    }

    /// Whether every cluster has had its first verdicts.
    pub(super) fn settled(&self) -> bool {
        self.list.iter().all(Ward::settled)
    }

    /// Takes in the operator's word about an endpoint, or about all of a cluster. Gives the addresses that it concerns.
    pub(super) fn operate(
        &mut self,
        cluster: &str,
        endpoint: Option<&str>,
        observation: &Observation,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Arc<str>>, NotFound> {
        let ward = find_mut(&mut self.list, cluster)?;
        let meant = match endpoint {
            Some(endpoint) => vec![Arc::clone(ward.find(endpoint).ok_or_else(|| NotFound::Endpoint(endpoint.to_owned()))?)],
            None => ward.endpoints().to_vec(),
        };
        for endpoint in &meant {
            let order = Signal { cluster: endpoint.cluster_id, endpoint: endpoint.id, at, observation: observation.clone() };
            ward.obey(&order, now, &self.announcer);
        }
        Ok(meant.iter().map(|endpoint| endpoint.address.text()).collect())
    }

    /// Whether an endpoint is here and under no operator's order.
    pub(super) fn is_ready(&self, cluster: &str, endpoint: &str) -> bool {
        let view = self.find(cluster).and_then(|ward| ward.find(endpoint)).map(|endpoint| endpoint.view());
        view.is_some_and(|view| !matches!(view.state, State::Draining | State::Maintenance))
    }

    /// All that is known of endpoints, by cluster and address.
    pub(super) fn memory(&self) -> HashMap<String, HashMap<String, health::Memory>> {
        self.list.iter().map(|ward| (ward.cluster.name.to_string(), ward.memory())).collect()
    }

    /// Believes what was known.
    pub(super) fn remember(&mut self, mut known: HashMap<String, HashMap<String, health::Memory>>, now: Timestamp) {
        for ward in &mut self.list {
            if let Some(known) = known.remove(&*ward.cluster.name) {
                ward.remember(known, now, &self.announcer);
            }
        }
    }

    /// No claim to lead in an epoch below these counts any more; notes those that are higher already.
    pub(super) fn raise_epochs(&mut self, epochs: &mut Epochs, now: Timestamp) {
        for ward in &mut self.list {
            if let Some(epoch) = epochs.get(&*ward.cluster.name) {
                ward.raise_epoch(*epoch, now, &self.announcer);
            }
        }
        self.note_epochs(epochs);
    }

    /// Notes the highest epochs if any of them is a new one. Returns whether that is so.
    pub(super) fn take_epochs(&mut self, epochs: &mut Epochs) -> bool {
        // Those behind the first are new at the next call too, which then finds nothing that has changed.
        self.list.iter_mut().any(Ward::has_new_epoch) && self.note_epochs(epochs)
    }

    /// Notes the highest epochs, and forgets those of clusters in which nobody may lead any more. Returns whether anything changed.
    fn note_epochs(&self, epochs: &mut Epochs) -> bool {
        let known = |ward: &Ward| Some((ward.cluster.name.to_string(), ward.epoch().filter(|epoch| *epoch > 0)?));
        let now: Epochs = self.list.iter().filter_map(known).collect();
        let changed = *epochs != now;
        *epochs = now;
        changed
    }

    /// Freezes or thaws a cluster.
    pub(super) fn set_frozen(&mut self, cluster: &str, frozen: bool, now: Timestamp) -> Result<(), NotFound> {
        find_mut(&mut self.list, cluster)?.set_frozen(frozen, now, &self.announcer);
        tracing::info!(cluster, frozen, "verdicts frozen or thawed");
        Ok(())
    }

    pub(super) fn history(&self, cluster: &str, endpoint: &str) -> Option<Vec<Entry>> {
        let ward = self.find(cluster)?;
        Some(ward.history(ward.find(endpoint)?.id))
    }

    /// An endpoint's name leads somewhere for the first time.
    pub(super) fn resolved(&self, id: EndpointId) {
        if let Some(place) = self.places.get(&id) {
            self.list[place.ward as usize].probe_now(id);
        }
    }
}

fn find_mut<'a>(list: &'a mut [Ward], cluster: &str) -> Result<&'a mut Ward, NotFound> {
    list.iter_mut().find(|ward| *ward.cluster.name == *cluster).ok_or_else(|| NotFound::Cluster(cluster.to_owned()))
}

fn answered(endpoint: &Endpoint, at: Timestamp) -> Signal {
    Signal { cluster: endpoint.cluster_id, endpoint: endpoint.id, at, observation: Observation::Answered }
}

/// Counts runs of probes and readings of reports.
pub(super) fn count(endpoint: &Endpoint, observation: &Observation, announcer: &Announcer) {
    match observation {
        Observation::Probe(run) => {
            if let Some(name) = endpoint.probed(run.probe, &run.result) {
                announcer.shared.tallies.probed(&endpoint.cluster, &name, run.latency);
            }
        }
        Observation::Report(reading) => {
            let [read, void, none] = &endpoint.reports;
            match reading {
                ReportReading::Read(_) | ReportReading::Load(_) => read.inc(),
                ReportReading::Void(_) => void.inc(),
                ReportReading::None => none.inc(),
            }
        }
        // Whoever takes beats in counts them, the refused ones too.
        Observation::Beat(_)
        | Observation::Fleet(_)
        | Observation::Asks(_)
        | Observation::Load(_)
        | Observation::Refused
        | Observation::Reset
        | Observation::Answered
        | Observation::Operator { .. } => {}
    }
}

//! A cluster under live traffic on a virtual clock: probes, beats, looks at what traffic shows, and what control does about it.
//!
//! Silence, outliers and slow starts are about many requests at once, which single observations cannot show. Here the engine, the
//! picker, the probes' slots and the rules of retries are the real ones; endpoints answer as the weather and their mood have them.
//! Nothing is measured on a machine, so a seed gives the same life everywhere. What happens is written down and never judged:
//! whoever runs it looks.
//!
//! Time begins an hour after zero, as in a process that has been up for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Algorithm, Cursor, Picker, Standing};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::config::model;
use crate::health::electorate::Count;
use crate::health::schedule::Slots;
use crate::health::signal::{Beat, Observation, ProbeRun, Signal};
use crate::health::verdict::Transition;
use crate::health::{Backlog, Changes, Cluster, Local, Member};
use crate::sim::mood::Mood;
use crate::sim::node::{Node, Try};
use crate::sim::requests::{Done, Request};
use crate::sim::weather::{Sky, Weather};
use crate::traffic::affinity::Balance;
use crate::traffic::budget::Recent;
use crate::traffic::policy::RetryPolicy;
use crate::traffic::retry::Ending;

/// When time begins.
const START: Timestamp = Timestamp::from_millis(3_600_000);
/// From one look at what traffic shows to the next, as in the running proxy.
const LOOK: Duration = Duration::from_millis(20);
/// From one moment at which a machine may stand still to the next.
const GUST: Duration = Duration::from_millis(100);
/// What it takes to read the heartbeats that came during a stall.
const READING: Duration = Duration::from_millis(20);
/// What a refused connect takes.
pub(super) const REFUSED: Duration = Duration::from_micros(300);
/// The address that tells our own link from an endpoint.
const REFERENCE: EndpointId = EndpointId(u32::MAX);
/// What the calendars show at the beginning, in milliseconds since 1970.
const CALENDAR_MS: i64 = 1_750_000_000_000;

/// What an arena is made from.
#[derive(Debug, Clone)]
pub struct Arrangement {
    /// The cluster as configured.
    pub cluster: model::Cluster,
    /// How its requests are tried again.
    pub retries: RetryPolicy,
    /// How long a request may wait for its answer.
    pub patience: Duration,
    /// The network and the machines.
    pub weather: Weather,
    /// Requests a second, at random moments.
    pub rate: f64,
    /// What an answer takes to make, on average.
    pub service: Duration,
    /// For how long a request that comes keeps an endpoint from taking in the next; not at all if zero.
    pub intake: Duration,
    /// Whether machines stand still now and then, as the weather has it.
    pub pauses: bool,
    /// Connections that may wait at an endpoint to be accepted; those beyond get no answer.
    pub accepts: u32,
}

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Every request that ended.
    pub requests: Vec<Done>,
    /// Every change of state.
    pub transitions: Vec<Transition>,
    /// Requests that were called back while an answer was awaited.
    pub recalled: u64,
    /// Requests that were called back from a slow endpoint.
    pub called_back: u64,
    /// Tries, by endpoint.
    pub tries: Vec<u64>,
    /// Probes, by endpoint.
    pub probes: Vec<u64>,
}

#[derive(Debug)]
pub(super) enum Event {
    Slot { node: usize, probe: usize },
    Probed { node: usize, run: ProbeRun, scheduled: bool },
    Reference { run: ProbeRun },
    Send { node: usize },
    Beat { node: usize, beat: Beat },
    Arrive { due: Timestamp },
    Ended { one: Try, ending: Option<Ending> },
    Connecting { node: usize, one: Try, ready: Timestamp, until: Timestamp },
    Unconnected { node: usize },
    GiveUp { request: u64 },
    Look,
    Pause { node: usize },
    Turn { node: usize, mood: Mood },
    Clock { node: usize, ahead_ms: i64 },
}

impl Event {
    /// Whether it happens elsewhere, so that it goes on while we stand still.
    const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Turn { .. } | Self::Pause { .. } | Self::Send { .. } | Self::Clock { .. })
    }
}

/// A cluster under live traffic.
#[derive(Debug)]
pub struct Arena {
    pub(super) arrangement: Arrangement,
    pub(super) now: Timestamp,
    pub(super) rng: fastrand::Rng,
    engine: Cluster,
    pub(super) nodes: Vec<Node>,
    pub(super) admitted: Vec<usize>,
    pub(super) picker: Picker,
    pub(super) cursor: Cursor,
    pub(super) requests: BTreeMap<u64, Request>,
    pub(super) next_request: u64,
    /// Requests and retries of late.
    pub(super) recent: (Recent, Recent),
    /// What an answer of anybody took of late.
    pub(super) usual: Standing,
    events: BTreeMap<(Timestamp, u64), Event>,
    planned: u64,
    /// The last time for which nothing of ours ran, and whether that is yet to be noticed.
    pub(super) stalled: (Timestamp, Timestamp),
    waking: bool,
    pub(super) backlog: Backlog,
    /// What has happened so far.
    pub record: Record,
}

impl Arena {
    /// An arena at its begin: nobody was probed, everybody is well.
    #[must_use]
    pub fn new(arrangement: Arrangement, seed: u64) -> Self {
        let endpoints = &arrangement.cluster.endpoints;
        let members = endpoints.iter().zip(0..).map(|(endpoint, id)| Member {
            id: EndpointId(id),
            address: endpoint.address.text(),
            weight: endpoint.weight,
            backup: endpoint.backup,
        });
        let members: Vec<Member> = members.collect();
        let sky = Sky::new(arrangement.weather, arrangement.service);
        let node = |member: &Member| Node::new(member.id, sky.clone(), &arrangement.cluster.probes, START);
        let nodes: Vec<Node> = members.iter().map(node).collect();
        let record = Record { tries: vec![0; nodes.len()], probes: vec![0; nodes.len()], ..Record::default() };
        let mut arena = Self {
            now: START,
            rng: fastrand::Rng::with_seed(seed),
            engine: Cluster::new(arrangement.cluster.health.clone(), members, START),
            nodes,
            admitted: Vec::new(),
            picker: Picker::new(Algorithm::default(), &[]),
            cursor: Cursor::default(),
            requests: BTreeMap::new(),
            next_request: 0,
            recent: (Recent::default(), Recent::default()),
            usual: Standing::default(),
            events: BTreeMap::new(),
            planned: 0,
            stalled: (Timestamp::ZERO, Timestamp::ZERO),
            waking: false,
            backlog: Backlog::default(),
            record,
            arrangement,
        };
        arena.publish();
        arena.begin();
        arena
    }

    fn begin(&mut self) {
        let beats = self.arrangement.cluster.health.heartbeat.is_some();
        for node in 0..self.nodes.len() {
            for probe in 0..self.arrangement.cluster.probes.len() {
                self.plan(self.now, Event::Slot { node, probe });
            }
            if self.arrangement.pauses {
                self.plan(self.now, Event::Pause { node });
            }
            if beats {
                let phase = self.period().mul_f64(self.rng.f64());
                self.plan(self.now + phase, Event::Send { node });
            }
        }
        self.plan(self.now + LOOK, Event::Look);
        // Listeners open when everybody has been probed.
        let due = self.now + Duration::from_secs(1);
        self.plan(due, Event::Arrive { due });
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The engine.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.engine
    }

    /// Has an endpoint behave otherwise from now on.
    pub fn turn(&mut self, endpoint: usize, mood: Mood) {
        self.turn_at(self.now, endpoint, mood);
    }

    /// Has an endpoint behave otherwise from `at` on.
    pub fn turn_at(&mut self, at: Timestamp, endpoint: usize, mood: Mood) {
        self.plan(at, Event::Turn { node: endpoint, mood });
    }

    /// From `at` on the clock that an endpoint writes into its heartbeats is ahead by so much.
    pub fn set_clock_at(&mut self, at: Timestamp, endpoint: usize, ahead_ms: i64) {
        self.plan(at, Event::Clock { node: endpoint, ahead_ms });
    }

    /// What the other proxies of a fleet say of an endpoint.
    pub fn hear_fleet(&mut self, endpoint: usize, count: Count) {
        self.tell(endpoint, Observation::Fleet(count));
    }

    /// Nothing of ours runs for so long from now on; what comes meanwhile is found afterwards.
    pub fn stall(&mut self, span: Duration) {
        (self.stalled, self.waking) = ((self.now, self.now + span), true);
        self.backlog = self.backlog.after(span, self.stalled.1);
        self.nodes.iter_mut().for_each(|node| node.excused_until = self.backlog.done());
        let mut late = self.events.split_off(&(self.now, 0));
        let after = late.split_off(&(self.stalled.1, 0));
        self.events = after;
        for ((at, order), event) in late {
            self.events.insert((self.noticed(at, &event), order), event);
        }
    }

    /// Lets so much time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    fn step(&mut self, end: Timestamp) -> bool {
        let due = self.engine.next_change().unwrap_or(Timestamp::NEVER).max(self.stalled.1);
        let next = self.events.first_key_value().map_or(Timestamp::NEVER, |((at, _), _)| *at);
        if due.min(next) > end {
            return false;
        }
        if due < next {
            self.now = self.now.max(due);
            self.wake();
            let changes = self.engine.tick(self.now);
            self.act(changes);
        } else if let Some(((at, _), event)) = self.events.pop_first() {
            self.now = self.now.max(at);
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        if !event.is_elsewhere() {
            self.wake();
        }
        match event {
            Event::Slot { node, probe } => self.probe(node, probe),
            Event::Probed { node, run, scheduled } => self.probed(node, run, scheduled),
            Event::Reference { run } => {
                let changes = self.engine.hear_reference(REFERENCE, &run, self.now);
                self.act(changes);
            }
            Event::Send { node } => self.send_beat(node),
            Event::Beat { node, beat } => self.tell(node, Observation::Beat(beat)),
            Event::Arrive { due } => self.arrive(due),
            Event::Ended { one, ending } => self.ended(one, ending),
            Event::Connecting { node, one, ready, until } => self.connecting(node, one, ready, until),
            Event::Unconnected { node } => self.nodes[node].unconnected(),
            Event::GiveUp { request } => self.give_up(request),
            Event::Look => {
                self.look();
                self.plan(self.now + LOOK, Event::Look);
            }
            Event::Pause { node } => self.pause(node),
            Event::Turn { node, mood } => self.change(node, mood),
            Event::Clock { node, ahead_ms } => self.nodes[node].ahead_ms = ahead_ms,
        }
    }

    /// After a stall nobody is judged for what was not heard meanwhile.
    fn wake(&mut self) {
        let (from, to) = self.stalled;
        if self.waking && self.now >= to {
            self.waking = false;
            self.engine.excuse(to.since(from), self.now);
        }
    }

    fn change(&mut self, node: usize, mood: Mood) {
        let before = self.nodes[node].turn(mood, self.now);
        if mood == Mood::Dead && before != Mood::Dead {
            let usual = self.usual();
            for one in self.nodes[node].die(usual, self.now) {
                self.tell(node, Observation::Reset);
                self.ask_at_once(node);
                self.try_again(one.request, Ending::Reset, node);
            }
        } else if mood != Mood::Hung {
            for (one, ending) in std::mem::take(&mut self.nodes[node].stuck) {
                self.plan(self.now + Duration::from_millis(1), Event::Ended { one, ending });
            }
        }
    }

    // Heartbeats.

    fn period(&self) -> Duration {
        self.arrangement.cluster.health.heartbeat.map_or(Duration::from_secs(1), |heartbeat| heartbeat.period)
    }

    fn send_beat(&mut self, node: usize) {
        self.plan(self.now + self.period(), Event::Send { node });
        let (now, rng) = (self.now, &mut self.rng);
        let sender = &mut self.nodes[node];
        if !sender.mood.is_at_work() {
            return;
        }
        sender.beats += 1;
        let calendar = |at: Timestamp, ahead: i64| {
            let elapsed = i64::try_from(at.since(START).as_millis()).unwrap_or(i64::MAX);
            u64::try_from(CALENDAR_MS.saturating_add(elapsed).saturating_add(ahead)).ok()
        };
        let Some(took) = sender.sky.exchange(now, sender.mood.loss(), 0.0, rng) else { return };
        let comes = now + took / 2 + sender.stalled(now);
        let beat = Beat {
            boot_id: Some(Arc::from("first")),
            seq: Some(sender.beats),
            sent_at_ms: calendar(now, sender.ahead_ms),
            received_at_ms: calendar(comes, 0),
            ..Beat::default()
        };
        self.plan(comes, Event::Beat { node, beat });
    }

    // What is believed.

    pub(super) fn look(&mut self) {
        let glances: Vec<_> = self.nodes.iter_mut().filter_map(Node::glance).collect();
        let local = Local { excused_until: self.backlog.done(), alive: self.now };
        let changes = self.engine.look(&glances, local, self.now);
        self.act(changes);
    }

    pub(super) fn tell(&mut self, node: usize, observation: Observation) {
        let signal = Signal { cluster: ClusterId(0), endpoint: self.nodes[node].id, at: self.now, observation };
        let changes = self.engine.apply(&signal, self.now);
        self.act(changes);
    }

    /// Does what control does: publishes, sets the pace, confirms, calls back.
    fn act(&mut self, changes: Changes) {
        if changes.admission_changed {
            self.publish();
        }
        for id in &changes.touched {
            self.set_pace(position(*id));
        }
        for (id, runs) in &changes.confirm {
            self.confirm(position(*id), *runs);
        }
        for (id, before) in &changes.overdue {
            self.call_back(position(*id), *before);
        }
        if changes.ask_references {
            self.ask_reference();
        }
        let gone = changes.transitions.iter().filter(|transition| transition.forbids_waiting());
        let gone = gone.map(|transition| transition.endpoint).chain(changes.recalled.iter().copied());
        let gone: Vec<usize> = gone.map(position).collect();
        self.record.transitions.extend(changes.transitions);
        gone.into_iter().for_each(|node| self.recall(node));
    }

    fn publish(&mut self) {
        let admission = self.engine.admission();
        let weights: Vec<f64> = admission.admitted.iter().map(|(_, weight)| *weight).collect();
        self.admitted = admission.admitted.iter().map(|(id, _)| position(*id)).collect();
        self.picker = Picker::new(algorithm(&self.arrangement.cluster.balance), &weights);
    }

    fn set_pace(&mut self, node: usize) {
        let pace = self.engine.pace(self.nodes[node].id);
        for probe in 0..self.nodes[node].rounds.len() {
            let slots: &mut Slots = &mut self.nodes[node].rounds[probe].slots;
            let before = slots.next();
            slots.set_pace(pace, self.now, &mut self.rng);
            let next = slots.next();
            if next != before {
                self.plan(next, Event::Slot { node, probe });
            }
        }
    }

    /// Has the machine under an endpoint stand still, if it does now; in a cloud half of the pauses befall all of them.
    fn pause(&mut self, node: usize) {
        self.plan(self.now + GUST, Event::Pause { node });
        let Some(span) = self.nodes[node].sky.pause(GUST, &mut self.rng) else { return };
        let all = self.arrangement.weather == Weather::Cloud && self.rng.bool();
        let nodes = if all { &mut self.nodes[..] } else { &mut self.nodes[node..=node] };
        for node in nodes {
            node.stalled_until = node.stalled_until.max(self.now + span);
        }
    }

    pub(super) fn plan(&mut self, at: Timestamp, event: Event) {
        self.events.insert((self.noticed(at, &event), self.planned), event);
        self.planned += 1;
    }

    /// When we notice what happens at `at`: after a stall what happened during it, heartbeats as soon as they have been read.
    fn noticed(&self, at: Timestamp, event: &Event) -> Timestamp {
        if event.is_elsewhere() || at < self.stalled.0 || at >= self.stalled.1 {
            return at;
        }
        self.stalled.1 + if matches!(event, Event::Beat { .. }) { READING } else { Duration::ZERO }
    }
}

/// Ids are given out in order.
fn position(id: EndpointId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX)
}

/// How requests are spread. Those with a key are taken for many different keys, which come to the same as turns.
const fn algorithm(balance: &Balance) -> Algorithm {
    match balance {
        Balance::Any(algorithm) => *algorithm,
        Balance::Hash(_) => Algorithm::RoundRobin,
    }
}

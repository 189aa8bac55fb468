//! One cluster under load with one fault, lived through event by event: requests, probes, looks at what traffic shows.
//!
//! Where [`World`](crate::sim::World) checks promises of the engine, this tells what clients notice: requests are picked, sent, answered
//! late or never, called back and tried again as the proxy does it, by the same engine, picker and budget. Nothing is measured
//! on a machine, so a seed gives the same life everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Algorithm, Cursor, Loads, Picker};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::config::model;
use crate::health::check::Check;
use crate::health::schedule::Slots;
use crate::health::signal::{Failure, Observation, ProbeResult, ProbeRun, Signal, Stamps};
use crate::health::verdict::{State, Transition};
use crate::health::{Changes, Cluster, Local, Member};
use crate::sim::fault::Fault;
use crate::sim::node::{Node, Wait};
use crate::sim::weather::Weather;
use crate::traffic::affinity::Balance;
use crate::traffic::budget::{Recent, allows};
use crate::traffic::policy::RetryPolicy;
use crate::traffic::retry::{Ending, Exchange, may_retry};

/// From one look at what traffic shows to the next, as in the running proxy.
const LOOK: Duration = Duration::from_millis(20);
/// From one moment at which a machine may stand still to the next.
const GUST: Duration = Duration::from_millis(100);
/// What a refused connect takes.
const REFUSED: Duration = Duration::from_micros(300);
/// The endpoint that a fault hits.
pub(super) const SICK: usize = 0;

/// What a life is made from.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The cluster as configured.
    pub cluster: model::Cluster,
    /// How its requests are tried again.
    pub retries: RetryPolicy,
    /// How long a request may wait for its answer.
    pub patience: Duration,
    /// The network and the machines.
    pub weather: Weather,
    /// What goes wrong.
    pub fault: Fault,
    /// Requests a second.
    pub rate: f64,
    /// What an answer takes on average.
    pub service: Duration,
    /// When the fault begins.
    pub begin: Timestamp,
    /// When the life ends; requests that are under way then are not counted.
    pub end: Timestamp,
}

/// What became of one request.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// When it came.
    pub start: Timestamp,
    /// From then to its end.
    pub latency: Duration,
    /// Whether it was answered with less than 500.
    pub well: bool,
    /// The endpoint that answered, by position.
    pub by: Option<usize>,
}

/// What happened in a life.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Every request that ended.
    pub requests: Vec<Done>,
    /// Every change of state.
    pub transitions: Vec<Transition>,
    /// Probes that ended while no fault was at work on their endpoint, and those of them that failed.
    pub probes: (u64, u64),
}

#[derive(Debug)]
enum Event {
    Slot { node: usize, probe: usize },
    Probed { node: usize, run: ProbeRun, scheduled: bool },
    Arrive,
    Ended { request: u64, try_: u32, ending: Option<Ending> },
    GiveUp { request: u64 },
    Look,
    Pause { node: usize },
}

#[derive(Debug)]
struct Request {
    start: Timestamp,
    tries: u32,
    tried: Vec<usize>,
    /// Where its current try is, and when it was sent.
    at: Option<(usize, Timestamp)>,
}

/// A life under way.
#[derive(Debug)]
pub struct Life {
    scene: Scene,
    now: Timestamp,
    rng: fastrand::Rng,
    engine: Cluster,
    nodes: Vec<Node>,
    admitted: Vec<usize>,
    picker: Picker,
    cursor: Cursor,
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    recent: (Recent, Recent),
    events: BTreeMap<(Timestamp, u64), Event>,
    planned: u64,
    record: Record,
}

impl Life {
    /// Lives a life from beginning to end.
    #[must_use]
    pub fn live(scene: Scene, seed: u64) -> Record {
        let mut life = Self::new(scene, seed);
        while life.step() {}
        life.record
    }

    fn new(scene: Scene, seed: u64) -> Self {
        let now = Timestamp::ZERO;
        let members = scene.cluster.endpoints.iter().zip(0..).map(|(endpoint, id)| Member {
            id: EndpointId(id),
            address: endpoint.address.text(),
            weight: endpoint.weight,
            backup: endpoint.backup,
        });
        let members: Vec<Member> = members.collect();
        let nodes = members.iter().map(|member| Node::new(member.id, &scene, now)).collect();
        let mut life = Self {
            engine: Cluster::new(scene.cluster.health.clone(), members, now),
            now,
            rng: fastrand::Rng::with_seed(seed),
            nodes,
            admitted: Vec::new(),
            picker: Picker::new(Algorithm::default(), &[]),
            cursor: Cursor::default(),
            requests: BTreeMap::new(),
            next_request: 0,
            recent: (Recent::default(), Recent::default()),
            events: BTreeMap::new(),
            planned: 0,
            record: Record::default(),
            scene,
        };
        life.publish();
        life.begin();
        life
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            for probe in 0..self.scene.cluster.probes.len() {
                self.plan(self.now, Event::Slot { node, probe });
            }
            self.plan(self.now, Event::Pause { node });
        }
        self.plan(self.now + LOOK, Event::Look);
        // Listeners open when everybody has been probed.
        self.plan(self.now + Duration::from_secs(1), Event::Arrive);
    }

    /// Lets the next thing happen; false at the end.
    fn step(&mut self) -> bool {
        let due = self.engine.next_change().unwrap_or(Timestamp::NEVER);
        let next = self.events.first_key_value().map_or(Timestamp::NEVER, |((at, _), _)| *at);
        if due.min(next) > self.scene.end {
            return false;
        }
        if due < next {
            self.now = self.now.max(due);
            let changes = self.engine.tick(self.now);
            self.act(&changes);
        } else if let Some(((at, _), event)) = self.events.pop_first() {
            self.now = self.now.max(at);
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Slot { node, probe } => self.probe_in_turn(node, probe),
            Event::Probed { node, run, scheduled } => self.probed(node, run, scheduled),
            Event::Arrive => self.arrive(),
            Event::Ended { request, try_, ending } => self.ended(request, try_, ending),
            Event::GiveUp { request } => self.give_up(request),
            Event::Look => {
                self.look();
                self.plan(self.now + LOOK, Event::Look);
            }
            Event::Pause { node } => self.pause(node),
        }
    }

    /// The fault that is at work on an endpoint now.
    fn fault(&self, node: usize) -> Fault {
        let everywhere = matches!(self.scene.fault, Fault::LossEverywhere(_));
        if self.now >= self.scene.begin && (node == SICK || everywhere) { self.scene.fault } else { Fault::None }
    }

    fn hangs(&self, node: usize) -> bool {
        self.fault(node).hangs(self.now.since(self.scene.begin))
    }

    // Probes.

    fn probe_in_turn(&mut self, node: usize, probe: usize) {
        let rounds = &mut self.nodes[node].rounds[probe];
        if rounds.busy {
            return;
        }
        let Some(slot) = rounds.slots.take(self.now, &mut self.rng) else { return };
        rounds.busy = true;
        let (fresh, next) = (slot.fresh || !rounds.warm, rounds.slots.next());
        let timeout = self.scene.cluster.probes[probe].timing.timeout;
        self.ask(node, probe, fresh, timeout, true);
        self.plan(next, Event::Slot { node, probe });
    }

    /// Starts a run; its result is drawn now and comes when it is due.
    fn ask(&mut self, node: usize, probe: usize, fresh: bool, timeout: Duration, scheduled: bool) {
        let spec = &self.scene.cluster.probes[probe];
        let fault = self.fault(node);
        let connects = spec.check == Check::Tcp;
        let factor = fault.slower(&mut self.rng);
        let node_ = &mut self.nodes[node];
        let shaken = if fresh || connects { node_.connect(fault.loss().0, &mut self.rng) } else { Some(Duration::ZERO) };
        let answered = if connects { Some(Duration::ZERO) } else { node_.sky.exchange(fault.loss().0, factor, &mut self.rng) };
        let took = shaken.zip(answered).map(|(shaken, answered)| shaken + answered + node_.stalled(self.now));
        let silent = self.hangs(node) && !connects;
        let late = Failure::Timeout(timeout);
        let (result, latency) = match took.filter(|took| !silent && *took <= timeout) {
            _ if fault == Fault::Refused => (ProbeResult::Fail(Failure::Refused), REFUSED.min(timeout)),
            None => (ProbeResult::Fail(late), timeout),
            Some(took) if fault == Fault::Wrong && !connects => (ProbeResult::Fail(Failure::Status(503)), took),
            Some(took) => (ProbeResult::Pass, took),
        };
        let run = ProbeRun { probe, started: self.now, latency, result, excerpt: Arc::from(""), stamps: Stamps::default() };
        self.plan(self.now + latency, Event::Probed { node, run, scheduled });
    }

    fn probed(&mut self, node: usize, run: ProbeRun, scheduled: bool) {
        let passed = run.result == ProbeResult::Pass;
        let rounds = &mut self.nodes[node].rounds[run.probe];
        if scheduled {
            (rounds.busy, rounds.warm) = (false, passed);
            let (probe, next) = (run.probe, rounds.slots.next());
            self.plan(next.max(self.now), Event::Slot { node, probe });
        }
        if passed {
            self.nodes[node].rounds[run.probe].took(run.latency);
        }
        if matches!(run.result, ProbeResult::Fail(Failure::Timeout(_))) {
            // What traffic shows may outweigh it.
            self.look();
        }
        if !self.fault(node).is_sick() {
            self.record.probes.0 += 1;
            self.record.probes.1 += u64::from(!passed);
        }
        self.tell(node, Observation::Probe(run));
    }

    fn confirm(&mut self, id: EndpointId, runs: u32) {
        let Some(node) = self.nodes.iter().position(|node| node.id == id) else { return };
        for probe in 0..self.scene.cluster.probes.len() {
            let spec = &self.scene.cluster.probes[probe];
            if spec.check != Check::Tcp && spec.address.is_none() {
                let deadline = self.nodes[node].rounds[probe].deadline(spec.timing.timeout);
                (0..runs).for_each(|_| self.ask(node, probe, true, deadline, false));
            }
        }
    }

    // Requests.

    fn arrive(&mut self) {
        let gap = Duration::from_secs_f64(-(1.0 - self.rng.f64()).ln() / self.scene.rate);
        self.plan(self.now + gap, Event::Arrive);
        let request = self.next_request;
        self.next_request += 1;
        self.recent.0.inc(self.now);
        self.requests.insert(request, Request { start: self.now, tries: 0, tried: Vec::new(), at: None });
        self.plan(self.now + self.scene.patience, Event::GiveUp { request });
        self.send(request);
    }

    /// Sends a request to whom the picker chooses, or ends it if there is nobody.
    fn send(&mut self, request: u64) {
        let Some(asked) = self.requests.get(&request) else { return };
        let tried: Vec<usize> =
            asked.tried.iter().filter_map(|node| self.admitted.iter().position(|other| other == node)).collect();
        let seen = Seen { nodes: &self.nodes, admitted: &self.admitted };
        let picked = self.picker.pick(&mut self.cursor, &mut self.rng, &seen, None, &tried);
        let Some(node) = picked.map(|place| self.admitted[place]) else { return self.finish(request, false, None) };
        let Some(asked) = self.requests.get_mut(&request) else { return };
        asked.tries += 1;
        asked.tried.push(node);
        asked.at = Some((node, self.now));
        let try_ = asked.tries;
        self.nodes[node].sent(Wait { request, sent: self.now });
        if let Some((after, ending)) = self.outcome(node) {
            self.plan(self.now + after, Event::Ended { request, try_, ending });
        }
    }

    /// When a try ends and how: without an ending it is answered well. `None`: never by itself.
    fn outcome(&mut self, node: usize) -> Option<(Duration, Option<Ending>)> {
        let fault = self.fault(node);
        if fault == Fault::Refused {
            return Some((REFUSED, Some(Ending::Connect)));
        }
        if self.hangs(node) {
            return None;
        }
        let (loss, limit) = (fault.loss().0, self.scene.cluster.connect_timeout);
        let factor = fault.slower(&mut self.rng);
        let node = &mut self.nodes[node];
        let kept = node.take_idle(self.now, self.scene.cluster.pool.idle_timeout);
        let shaken = if kept { Some(Duration::ZERO) } else { node.connect(loss, &mut self.rng) };
        let Some(shaken) = shaken.filter(|took| *took <= limit) else { return Some((limit, Some(Ending::Connect))) };
        let took = shaken + node.sky.exchange(loss, factor, &mut self.rng)? + node.stalled(self.now);
        let fails = fault.fails(&mut self.rng);
        Some((took, fails.then_some(Ending::Status { status: 503, retry_after: false })))
    }

    fn ended(&mut self, request: u64, try_: u32, ending: Option<Ending>) {
        let Some(asked) = self.requests.get(&request).filter(|asked| asked.tries == try_) else { return };
        let Some((node, sent)) = asked.at else { return };
        if self.hangs(node) && ending != Some(Ending::Connect) {
            // It stopped while it was at work on it.
            return;
        }
        let status = match ending {
            None => Some(200),
            Some(Ending::Status { status, .. }) => Some(status),
            Some(_) => None,
        };
        self.nodes[node].settled(request, sent, status, self.now);
        if ending == Some(Ending::Connect) && self.fault(node) == Fault::Refused {
            self.refused(node);
        }
        match ending {
            None => self.finish(request, true, Some(node)),
            Some(ending) => self.try_again(request, ending, node),
        }
    }

    fn refused(&mut self, node: usize) {
        let last = self.nodes[node].refused.replace(self.now);
        if last.is_some_and(|last| self.nodes[node].heard > last) {
            self.tell(node, Observation::Answered);
        }
        self.tell(node, Observation::Refused);
    }

    fn try_again(&mut self, request: u64, ending: Ending, node: usize) {
        let Some(asked) = self.requests.get_mut(&request) else { return };
        asked.at = None;
        let sent = ending != Ending::Connect;
        let exchange = Exchange { tries: asked.tries, idempotent: true, body_begun: false, sent };
        let (requests, retries) = (self.recent.0.sum(self.now), self.recent.1.sum(self.now));
        if may_retry(&self.scene.retries, exchange, ending) && allows(requests, retries, self.scene.retries.budget) {
            self.recent.1.inc(self.now);
            self.send(request);
        } else {
            let answered = matches!(ending, Ending::Status { .. });
            self.finish(request, false, answered.then_some(node));
        }
    }

    fn give_up(&mut self, request: u64) {
        if let Some((node, sent)) = self.requests.get(&request).and_then(|asked| asked.at) {
            self.nodes[node].settled(request, sent, None, self.now);
        }
        self.finish(request, false, None);
    }

    fn finish(&mut self, request: u64, well: bool, by: Option<usize>) {
        if let Some(asked) = self.requests.remove(&request) {
            let latency = self.now.since(asked.start);
            self.record.requests.push(Done { start: asked.start, latency, well, by });
        }
    }

    /// Calls back everybody who waits for an endpoint.
    fn recall(&mut self, id: EndpointId) {
        let Some(node) = self.nodes.iter().position(|node| node.id == id) else { return };
        for wait in self.nodes[node].recalled() {
            self.try_again(wait.request, Ending::Silence, node);
        }
    }

    // What is believed.

    fn look(&mut self) {
        let glances: Vec<_> = self.nodes.iter_mut().filter_map(Node::glance).collect();
        let local = Local { stalled_until: Timestamp::ZERO, alive: self.now };
        let changes = self.engine.look(&glances, local, self.now);
        self.act(&changes);
    }

    fn tell(&mut self, node: usize, observation: Observation) {
        let signal = Signal { cluster: ClusterId(0), endpoint: self.nodes[node].id, at: self.now, observation };
        let changes = self.engine.apply(&signal, self.now);
        self.act(&changes);
    }

    /// Does what control does: publishes, sets the pace, confirms, calls back.
    fn act(&mut self, changes: &Changes) {
        self.record.transitions.extend(changes.transitions.iter().cloned());
        if changes.admission_changed {
            self.publish();
        }
        for id in &changes.touched {
            self.set_pace(*id);
        }
        for (id, runs) in &changes.confirm {
            self.confirm(*id, *runs);
        }
        let gone = changes.transitions.iter().filter(|transition| matches!(transition.to, State::Unhealthy | State::Ejected));
        let gone: Vec<EndpointId> = gone.map(|transition| transition.endpoint).chain(changes.recalled.iter().copied()).collect();
        gone.into_iter().for_each(|id| self.recall(id));
    }

    fn publish(&mut self) {
        let admission = self.engine.admission();
        let weights: Vec<f64> = admission.admitted.iter().map(|(_, weight)| *weight).collect();
        let place = |id: EndpointId| self.nodes.iter().position(|node| node.id == id);
        self.admitted = admission.admitted.iter().filter_map(|(id, _)| place(*id)).collect();
        self.picker = Picker::new(algorithm(&self.scene.cluster.balance), &weights);
    }

    fn set_pace(&mut self, id: EndpointId) {
        let pace = self.engine.pace(id);
        let Some(node) = self.nodes.iter().position(|node| node.id == id) else { return };
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
        let all = self.scene.weather == Weather::Cloud && self.rng.bool();
        let nodes = if all { &mut self.nodes[..] } else { &mut self.nodes[node..=node] };
        for node in nodes {
            node.stalled_until = node.stalled_until.max(self.now + span);
        }
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        self.events.insert((at, self.planned), event);
        self.planned += 1;
    }
}

/// How requests are spread. Those with a key are taken for many different keys, which come to the same as turns.
const fn algorithm(balance: &Balance) -> Algorithm {
    match balance {
        Balance::Any(algorithm) => *algorithm,
        Balance::Hash(_) => Algorithm::RoundRobin,
    }
}

/// What a picker sees of endpoints.
struct Seen<'a> {
    nodes: &'a [Node],
    admitted: &'a [usize],
}

impl Loads for Seen<'_> {
    fn in_flight(&self, candidate: usize) -> u32 {
        self.nodes[self.admitted[candidate]].in_flight
    }

    fn latency(&self, candidate: usize) -> f64 {
        self.nodes[self.admitted[candidate]].latency
    }
}

//! A cluster under live traffic on a virtual clock: requests take time, wait, fail and are sent again, and what workers would count
//! of them is read every 20 ms, as control does.
//!
//! Silence, outliers and slow starts are about many requests at once, which single observations cannot show. Here the engine, the
//! picker and the probes' slots are the real ones; endpoints answer as the weather and their mood have them. What happens is
//! counted and never judged: whoever runs it looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Algorithm, Cursor, Picker};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::sketch::bucket;
use crate::base::time::Timestamp;
use crate::health::policy::{Policy, Timing};
use crate::health::schedule::Slots;
use crate::health::signal::{Failure, Observation, ProbeResult, ProbeRun, Signal, Stamps};
use crate::health::verdict::Transition;
use crate::health::{Changes, Cluster, Glance, Local, Member};
use crate::sim::weather::{Sky, Weather};

/// From one look at the counts to the next.
const LOOK: Duration = Duration::from_millis(20);
/// Tries of one request.
const TRIES: usize = 3;
/// When a client gives up.
const LIMIT: Duration = Duration::from_secs(15);

/// What an endpoint does with what reaches it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    /// Answers.
    Well,
    /// Nobody listens.
    Dead,
    /// Takes everything and says nothing, until it goes on.
    Hung,
    /// A share of its answers to requests is 503; probes are fine.
    Failing(f64),
    /// A share of its answers takes so many times as long; probes are fine.
    Slow(f64, f64),
    /// A share of packets to and from it is lost.
    Lossy(f64),
    /// Everything takes so many times as long.
    Limping(f64),
}

/// What an arena is made from.
#[derive(Debug, Clone)]
pub struct Arrangement {
    /// How the cluster is judged.
    pub policy: Policy,
    /// The pace of every probe.
    pub timing: Timing,
    /// How many endpoints there are.
    pub endpoints: u32,
    /// The network and machines.
    pub weather: Weather,
    /// What an answer takes to make, on average.
    pub service: Duration,
    /// From one request to the next.
    pub gap: Duration,
}

/// What has become of requests.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests of clients.
    pub requests: u64,
    /// Those that got no good answer.
    pub failed: u64,
    /// Those that took over 100 ms, and over 300 ms.
    pub slow: [u64; 2],
    /// Those that were sent again while an answer was awaited.
    pub recalled: u64,
    /// Tries, by endpoint.
    pub tries: Vec<u64>,
    /// Probes, by endpoint.
    pub probes: Vec<u64>,
    /// Changes of state.
    pub transitions: Vec<Transition>,
}

#[derive(Debug)]
enum Event {
    Arrive,
    Answer { endpoint: usize, number: u64, status: u16 },
    Probe { endpoint: usize, probe: usize },
    Probed { endpoint: usize, run: ProbeRun, scheduled: bool },
    Turn { endpoint: usize, mood: Mood },
    Restart { endpoint: usize, boot: u32 },
    Look,
}

#[derive(Debug)]
struct Request {
    began: Timestamp,
    tried: Vec<usize>,
}

#[derive(Debug)]
struct Host {
    mood: Mood,
    sky: Sky,
    boot: u32,
    slots: Vec<(Slots, bool)>,
    /// Requests that wait, by number, with when they were sent.
    waiting: BTreeMap<u64, (Timestamp, Request)>,
    /// What waits to be answered when a hung endpoint goes on.
    stuck: Vec<u64>,
    glance: Glance,
    overtaken: u64,
}

/// A cluster under live traffic.
#[derive(Debug)]
pub struct Arena {
    now: Timestamp,
    rng: fastrand::Rng,
    arrangement: Arrangement,
    cluster: Cluster,
    hosts: Vec<Host>,
    admitted: Vec<usize>,
    picker: Picker,
    cursor: Cursor,
    events: BTreeMap<(Timestamp, u64), Event>,
    planned: u64,
    numbers: u64,
    stalled: (Timestamp, Timestamp),
    /// What has happened so far.
    pub tally: Tally,
}

impl Arena {
    /// An arena at time zero: nobody was probed, everybody is well.
    #[must_use]
    pub fn new(arrangement: Arrangement, seed: u64) -> Self {
        let now = Timestamp::ZERO + Duration::from_secs(3600);
        let (policy, timing) = (arrangement.policy.clone(), arrangement.timing);
        let slots = |id| policy.probes.iter().map(|name| (Slots::new(timing, EndpointId(id), name, now), false)).collect();
        let hosts: Vec<Host> = (0..arrangement.endpoints)
            .map(|id| Host {
                mood: Mood::Well,
                sky: Sky::new(arrangement.weather, arrangement.service),
                boot: 1,
                slots: slots(id),
                waiting: BTreeMap::new(),
                stuck: Vec::new(),
                glance: Glance { endpoint: EndpointId(id), ..Glance::default() },
                overtaken: 0,
            })
            .collect();
        let member = |id: u32| Member { id: EndpointId(id), address: format!("10.0.0.{id}:80").into(), weight: 1, backup: false };
        let members = (0..arrangement.endpoints).map(member).collect();
        let tally = Tally { tries: vec![0; hosts.len()], probes: vec![0; hosts.len()], ..Tally::default() };
        let mut arena = Self {
            now,
            rng: fastrand::Rng::with_seed(seed),
            cluster: Cluster::new(policy, members, now),
            hosts,
            admitted: Vec::new(),
            picker: Picker::new(Algorithm::RoundRobin, &[]),
            cursor: Cursor::default(),
            events: BTreeMap::new(),
            planned: 0,
            numbers: 1,
            stalled: (Timestamp::ZERO, Timestamp::ZERO),
            tally,
            arrangement,
        };
        arena.publish();
        arena.begin();
        arena
    }

    fn begin(&mut self) {
        for endpoint in 0..self.hosts.len() {
            for probe in 0..self.hosts[endpoint].slots.len() {
                self.plan(self.now, Event::Probe { endpoint, probe });
            }
        }
        self.plan(self.now + Duration::from_secs(1), Event::Arrive);
        self.plan(self.now, Event::Look);
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The engine.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whether an endpoint gets traffic.
    #[must_use]
    pub fn is_admitted(&self, endpoint: usize) -> bool {
        self.admitted.contains(&endpoint)
    }

    /// Has an endpoint behave otherwise from now on.
    pub fn turn(&mut self, endpoint: usize, mood: Mood) {
        self.turn_at(self.now, endpoint, mood);
    }

    /// Has an endpoint behave otherwise from `at` on.
    pub fn turn_at(&mut self, at: Timestamp, endpoint: usize, mood: Mood) {
        self.plan(at, Event::Turn { endpoint, mood });
    }

    /// Has another process answer at an endpoint from `at` on.
    pub fn restart_at(&mut self, at: Timestamp, endpoint: usize, boot: u32) {
        self.plan(at, Event::Restart { endpoint, boot });
    }

    /// Nothing of ours runs for so long from now on; what comes meanwhile is found afterwards.
    pub fn stall(&mut self, span: Duration) {
        self.stalled = (self.now, self.now + span);
        let mut late = self.events.split_off(&(self.now, 0));
        let after = late.split_off(&(self.stalled.1, 0));
        self.events = after;
        for ((at, order), event) in late {
            // The endpoints go on; what is ours waits.
            let at = if matches!(event, Event::Turn { .. } | Event::Restart { .. }) { at } else { self.stalled.1 };
            self.events.insert((at, order), event);
        }
    }

    /// Lets so much time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    fn step(&mut self, end: Timestamp) -> bool {
        let due = self.cluster.next_change().unwrap_or(Timestamp::NEVER).max(self.stalled.1);
        let next = self.events.first_key_value().map_or(Timestamp::NEVER, |((at, _), _)| *at);
        if due.min(next) > end {
            return false;
        }
        if due < next {
            self.now = self.now.max(due);
            let changes = self.cluster.tick(self.now);
            self.act(changes);
        } else if let Some(((at, _), event)) = self.events.pop_first() {
            self.now = self.now.max(at);
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => {
                self.plan(self.now + self.arrangement.gap, Event::Arrive);
                self.tally.requests += 1;
                self.send(Request { began: self.now, tried: Vec::new() });
            }
            Event::Answer { endpoint, number, status } => self.answer(endpoint, number, status),
            Event::Probe { endpoint, probe } => self.probe(endpoint, probe),
            Event::Probed { endpoint, run, scheduled } => self.probed(endpoint, run, scheduled),
            Event::Turn { endpoint, mood } => self.change(endpoint, mood),
            Event::Restart { endpoint, boot } => self.hosts[endpoint].boot = boot,
            Event::Look => self.look(),
        }
    }

    fn change(&mut self, endpoint: usize, mood: Mood) {
        self.hosts[endpoint].mood = mood;
        if mood == Mood::Dead {
            let waiting = std::mem::take(&mut self.hosts[endpoint].waiting);
            self.hosts[endpoint].stuck.clear();
            for (_, (_, request)) in waiting {
                self.fail(endpoint);
                self.tell(endpoint, Observation::Reset);
                self.send(request);
            }
        } else if mood != Mood::Hung {
            for number in std::mem::take(&mut self.hosts[endpoint].stuck) {
                self.plan(self.now + Duration::from_millis(1), Event::Answer { endpoint, number, status: 200 });
            }
        }
    }

    /// Sends a request to whoever is picked; it fails if nobody is, or it has been tried often enough.
    fn send(&mut self, mut request: Request) {
        while request.tried.len() < TRIES && self.now.since(request.began) < LIMIT {
            let tried: Vec<usize> =
                request.tried.iter().filter_map(|one| self.admitted.iter().position(|other| other == one)).collect();
            let picked = self.picker.pick(&mut self.cursor, &mut self.rng, &|_: usize| 0, None, &tried);
            let Some(endpoint) = picked.map(|position| self.admitted[position]) else { break };
            request.tried.push(endpoint);
            self.tally.tries[endpoint] += 1;
            if self.hosts[endpoint].mood == Mood::Dead {
                self.fail(endpoint);
                self.tell(endpoint, Observation::Refused);
                continue;
            }
            return self.put(endpoint, request);
        }
        self.tally.failed += 1;
    }

    fn put(&mut self, endpoint: usize, request: Request) {
        let number = self.numbers;
        self.numbers += 1;
        let (now, rng) = (self.now, &mut self.rng);
        let host = &mut self.hosts[endpoint];
        host.waiting.insert(number, (now, request));
        let span = match host.mood {
            Mood::Hung | Mood::Dead => None,
            Mood::Well | Mood::Failing(_) => host.sky.exchange(0.0, 1.0, rng),
            Mood::Slow(share, factor) => host.sky.exchange(0.0, if rng.f64() < share { factor } else { 1.0 }, rng),
            Mood::Lossy(share) => host.sky.exchange(share, 1.0, rng),
            Mood::Limping(factor) => host.sky.exchange(0.0, factor, rng),
        };
        let status = if matches!(host.mood, Mood::Failing(share) if rng.f64() < share) { 503 } else { 200 };
        match span {
            Some(span) => self.plan(now + span, Event::Answer { endpoint, number, status }),
            None => host.stuck.push(number),
        }
    }

    fn fail(&mut self, endpoint: usize) {
        let glance = &mut self.hosts[endpoint].glance;
        glance.requests += 1;
        glance.errors += 1;
        glance.gateway_errors += 1;
        glance.streak += 1;
    }

    fn answer(&mut self, endpoint: usize, number: u64, status: u16) {
        let now = self.now;
        let host = &mut self.hosts[endpoint];
        if host.mood == Mood::Hung {
            host.stuck.push(number);
            return;
        }
        let Some((sent, request)) = host.waiting.remove(&number) else { return };
        host.overtaken = host.overtaken.max(number);
        let glance = &mut host.glance;
        glance.heard = now;
        glance.requests += 1;
        let bucket = u8::try_from(bucket(now.since(sent))).unwrap_or(u8::MAX);
        glance.latencies.push((bucket, 1));
        if status == 503 {
            glance.errors += 1;
            glance.gateway_errors += 1;
            glance.streak += 1;
            return self.send(request);
        }
        glance.streak = 0;
        glance.success_sent = glance.success_sent.max(sent);
        let took = now.since(request.began);
        self.tally.slow[0] += u64::from(took > Duration::from_millis(100));
        self.tally.slow[1] += u64::from(took > Duration::from_millis(300));
    }

    fn look(&mut self) {
        self.plan(self.now + LOOK, Event::Look);
        let mut glances = Vec::new();
        for host in &mut self.hosts {
            let overtaken = host.overtaken;
            host.glance.oldest = host.waiting.range(overtaken..).next().map(|(_, (sent, _))| *sent);
            host.glance.in_flight = u32::try_from(host.waiting.len()).unwrap_or(u32::MAX);
            if host.glance.requests > 0 || host.glance.oldest.is_some() {
                glances.push(host.glance.clone());
            }
            let Glance { endpoint, heard, success_sent, streak, .. } = host.glance;
            host.glance = Glance { endpoint, heard, success_sent, streak, ..Glance::default() };
        }
        let local = Local { stalled_until: self.stalled.1.min(self.now), alive: self.now };
        let changes = self.cluster.look(&glances, local, self.now);
        self.act(changes);
    }

    fn probe(&mut self, endpoint: usize, probe: usize) {
        let (slots, under_way) = &mut self.hosts[endpoint].slots[probe];
        if *under_way || slots.take(self.now, &mut self.rng).is_none() {
            return;
        }
        *under_way = true;
        self.ask(endpoint, probe, self.arrangement.timing.timeout, true);
    }

    fn ask(&mut self, endpoint: usize, probe: usize, timeout: Duration, scheduled: bool) {
        self.tally.probes[endpoint] += 1;
        let (now, rng) = (self.now, &mut self.rng);
        let host = &mut self.hosts[endpoint];
        let (loss, factor) = match host.mood {
            Mood::Lossy(share) => (share, 1.0),
            Mood::Limping(factor) => (0.0, factor),
            _ => (0.0, 1.0),
        };
        let span = match host.mood {
            Mood::Dead => Some(Duration::from_micros(50)),
            Mood::Hung => None,
            _ => host.sky.exchange(loss, factor, rng).filter(|span| *span < timeout),
        };
        let result = match (host.mood, span) {
            (Mood::Dead, _) => ProbeResult::Fail(Failure::Refused),
            (_, None) => ProbeResult::Fail(Failure::Timeout(timeout)),
            (_, Some(_)) => ProbeResult::Pass,
        };
        let latency = span.unwrap_or(timeout);
        let run = ProbeRun { probe, started: now, latency, result, excerpt: Arc::from(""), stamps: Stamps::default() };
        self.plan(now + latency, Event::Probed { endpoint, run, scheduled });
    }

    fn probed(&mut self, endpoint: usize, mut run: ProbeRun, scheduled: bool) {
        let probe = run.probe;
        let within = run.started < self.stalled.1 && run.started + run.latency > self.stalled.0;
        if within && matches!(run.result, ProbeResult::Fail(Failure::Timeout(_))) {
            run.result = ProbeResult::Void("the proxy itself stalled".to_owned());
        }
        if run.result == ProbeResult::Pass {
            run.stamps.boot_id = Some(self.hosts[endpoint].boot.to_string().into());
        }
        self.tell(endpoint, Observation::Probe(run));
        if scheduled {
            let (slots, under_way) = &mut self.hosts[endpoint].slots[probe];
            *under_way = false;
            let next = slots.next().max(self.now);
            self.plan(next, Event::Probe { endpoint, probe });
        }
    }

    fn tell(&mut self, endpoint: usize, observation: Observation) {
        let id = self.hosts[endpoint].glance.endpoint;
        let signal = Signal { cluster: ClusterId(0), endpoint: id, at: self.now, observation };
        let changes = self.cluster.apply(&signal, self.now);
        self.act(changes);
    }

    /// Does what control does: publishes, calls back, confirms, sets the pace.
    fn act(&mut self, changes: Changes) {
        if changes.admission_changed {
            self.publish();
        }
        for id in &changes.touched {
            self.set_pace(position(*id));
        }
        for (id, runs) in &changes.confirm {
            let deadline = self.arrangement.timing.timeout.min(Duration::from_millis(50));
            for probe in 0..self.hosts[position(*id)].slots.len() {
                (0..*runs).for_each(|_| self.ask(position(*id), probe, deadline, false));
            }
        }
        let gone = changes.transitions.iter().filter(|transition| forbids_waiting(transition)).map(|gone| gone.endpoint);
        let gone: Vec<usize> = gone.chain(changes.recalled.iter().copied()).map(position).collect();
        self.tally.transitions.extend(changes.transitions);
        for endpoint in gone {
            self.hosts[endpoint].stuck.clear();
            for (_, (_, request)) in std::mem::take(&mut self.hosts[endpoint].waiting) {
                self.tally.recalled += 1;
                self.send(request);
            }
        }
    }

    fn set_pace(&mut self, endpoint: usize) {
        let pace = self.cluster.pace(self.hosts[endpoint].glance.endpoint);
        for probe in 0..self.hosts[endpoint].slots.len() {
            let slots = &mut self.hosts[endpoint].slots[probe].0;
            let before = slots.next();
            slots.set_pace(pace, self.now, &mut self.rng);
            let next = slots.next();
            if next != before {
                self.plan(next, Event::Probe { endpoint, probe });
            }
        }
    }

    fn publish(&mut self) {
        let admission = self.cluster.admission();
        let weights: Vec<f64> = admission.admitted.iter().map(|(_, weight)| *weight).collect();
        self.admitted = admission.admitted.iter().map(|(id, _)| position(*id)).collect();
        self.picker = Picker::new(Algorithm::RoundRobin, &weights);
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        let ours = !matches!(event, Event::Turn { .. } | Event::Restart { .. });
        let at = if ours && at >= self.stalled.0 { at.max(self.stalled.1) } else { at };
        self.events.insert((at, self.planned), event);
        self.planned += 1;
    }
}

fn position(id: EndpointId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX)
}

/// Whether a verdict calls those back who wait.
fn forbids_waiting(transition: &Transition) -> bool {
    use crate::health::verdict::{Code, State};
    let gone = |code: &Code| matches!(code, Code::ProbeTimeout | Code::ProbeRefused | Code::Refused);
    transition.to == State::Unhealthy && transition.reasons.iter().any(|reason| gone(&reason.code))
}

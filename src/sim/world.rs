//! Runs one cluster through time, event by event: slots, results, requests, changes of behaviour.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Algorithm, Cursor, Picker};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::health::policy::{Policy, Timing};
use crate::health::schedule::Slots;
use crate::health::signal::{Observation, ProbeRun, Signal, Stamps};
use crate::health::{Changes, Cluster, Member};
use crate::sim::{Behaviour, Host};

/// What a world is made from.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How the cluster is judged.
    pub policy: Policy,
    /// The pace of every probe.
    pub timing: Timing,
    /// The cluster's endpoints.
    pub members: Vec<Member>,
    /// From one request to the next.
    pub request_gap: Duration,
}

/// Something that happened, and what it changed.
#[derive(Debug, Clone)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// What the engine made of it.
    pub changes: Changes,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// A probe started.
    Started {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its position in the policy.
        probe: usize,
    },
    /// The engine was given an observation.
    Observed {
        /// The endpoint.
        endpoint: EndpointId,
        /// The observation.
        observation: Observation,
    },
    /// A request was sent, or there was nobody to send it to.
    Sent {
        /// The endpoint.
        endpoint: Option<EndpointId>,
    },
    /// An endpoint behaves otherwise from now on.
    Behaves {
        /// The endpoint.
        endpoint: EndpointId,
        /// The new behaviour.
        behaviour: Behaviour,
    },
    /// Time passed.
    Ticked,
}

#[derive(Debug, Clone)]
enum Event {
    Slot { host: usize, probe: usize },
    Result { host: usize, run: ProbeRun, behaviour: Behaviour },
    Observe { endpoint: EndpointId, observation: Observation },
    Request,
    Behave { host: usize, behaviour: Behaviour },
    Tick,
}

/// A cluster, its endpoints, the traffic, and the time.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    rng: fastrand::Rng,
    timing: Timing,
    request_gap: Duration,
    cluster: Cluster,
    hosts: Vec<Host>,
    admitted: Vec<EndpointId>,
    picker: Picker,
    cursor: Cursor,
    /// Events by time, then by the order in which they were planned.
    events: BTreeMap<(Timestamp, u64), Event>,
    planned: u64,
}

impl World {
    /// A world at time zero: nobody was probed, everybody is well.
    #[must_use]
    pub fn new(setting: Setting, seed: u64) -> Self {
        let now = Timestamp::ZERO;
        let names = setting.policy.probes.clone();
        let slots = |id: EndpointId| names.iter().map(|name| (Slots::new(setting.timing, id, name, now), false)).collect();
        let hosts = setting.members.iter().map(|member| Host {
            id: member.id,
            behaviour: Behaviour::Well { cpu: 0.2 },
            since: now,
            probes: slots(member.id),
        });
        let mut world = Self {
            now,
            rng: fastrand::Rng::with_seed(seed),
            timing: setting.timing,
            request_gap: setting.request_gap,
            hosts: hosts.collect(),
            cluster: Cluster::new(setting.policy, setting.members, now),
            admitted: Vec::new(),
            picker: Picker::new(Algorithm::RoundRobin, &[]),
            cursor: Cursor::default(),
            events: BTreeMap::new(),
            planned: 0,
        };
        world.publish();
        for host in 0..world.hosts.len() {
            for probe in 0..names.len() {
                world.plan(now, Event::Slot { host, probe });
            }
        }
        world.plan(now + world.request_gap, Event::Request);
        world
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

    /// The engine, for what an operator does between two steps. [`Self::take`] what it returns.
    pub const fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Acts on changes that [`Self::cluster_mut`] brought.
    pub fn take(&mut self, changes: &Changes) {
        self.act(changes);
    }

    /// The endpoints.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Has an endpoint, by position, behave otherwise from `at` on.
    pub fn behave(&mut self, at: Timestamp, host: usize, behaviour: Behaviour) {
        self.plan(at, Event::Behave { host, behaviour });
    }

    /// Gives the engine an observation at `at`, for instance an order of the operator.
    pub fn observe(&mut self, at: Timestamp, endpoint: EndpointId, observation: Observation) {
        self.plan(at, Event::Observe { endpoint, observation });
    }

    /// The next thing that happens. Something always does, for requests never end.
    pub fn step(&mut self) -> Step {
        loop {
            let due = self.cluster.next_change().unwrap_or(Timestamp::NEVER);
            let event = match self.events.first_key_value() {
                Some(((at, _), _)) if *at <= due => self.events.pop_first().map(|((at, _), event)| (at, event)),
                _ => Some((due, Event::Tick)),
            };
            let Some((at, event)) = event else { continue };
            self.now = self.now.max(at);
            if let Some((what, changes)) = self.happen(event) {
                self.act(&changes);
                return Step { at: self.now, what, changes };
            }
        }
    }

    fn happen(&mut self, event: Event) -> Option<(What, Changes)> {
        match event {
            Event::Slot { host, probe } => self.start(host, probe).map(|what| (what, Changes::default())),
            Event::Result { host, run, behaviour } => Some(self.finish(host, run, behaviour)),
            Event::Observe { endpoint, observation } => Some(self.tell(endpoint, observation)),
            Event::Request => Some(self.request()),
            Event::Behave { host, behaviour } => {
                let host = self.hosts.get_mut(host)?;
                (host.behaviour, host.since) = (behaviour, self.now);
                Some((What::Behaves { endpoint: host.id, behaviour }, Changes::default()))
            }
            Event::Tick => Some((What::Ticked, self.cluster.tick(self.now))),
        }
    }

    /// Starts the run that is due, unless the slot has moved or the last run is still under way.
    fn start(&mut self, index: usize, probe: usize) -> Option<What> {
        let host = &mut self.hosts[index];
        let (slots, under_way) = &mut host.probes[probe];
        if *under_way {
            return None;
        }
        slots.take(self.now, &mut self.rng)?;
        *under_way = true;
        let next = slots.next();
        let (endpoint, behaviour) = (host.id, host.behaviour);
        let (result, latency) = behaviour.probe(self.timing.timeout, &mut self.rng);
        let run = ProbeRun { probe, started: self.now, latency, result, excerpt: Arc::from(""), stamps: Stamps::default() };
        self.plan(self.now + latency, Event::Result { host: index, run, behaviour });
        self.plan(next, Event::Slot { host: index, probe });
        Some(What::Started { endpoint, probe })
    }

    fn finish(&mut self, index: usize, run: ProbeRun, behaviour: Behaviour) -> (What, Changes) {
        let probe = run.probe;
        let host = &mut self.hosts[index];
        host.probes[probe].1 = false;
        let (endpoint, next) = (host.id, host.probes[probe].0.next());
        self.plan(next.max(self.now), Event::Slot { host: index, probe });
        if let Some(reading) = behaviour.report().filter(|_| probe == 0) {
            self.plan(self.now, Event::Observe { endpoint, observation: Observation::Report(reading) });
        }
        self.tell(endpoint, Observation::Probe(run))
    }

    fn request(&mut self) -> (What, Changes) {
        self.plan(self.now + self.request_gap, Event::Request);
        let picked = self.picker.pick(&mut self.cursor, &mut self.rng, &|_: usize| 0, None, &[]);
        let endpoint = picked.map(|position| self.admitted[position]);
        let host = self.hosts.iter().find(|host| Some(host.id) == endpoint);
        if let Some((host, observation)) = host.and_then(|host| host.behaviour.request().map(|seen| (host.id, seen))) {
            let later = self.now + Duration::from_micros(self.rng.u64(100..3000));
            self.plan(later, Event::Observe { endpoint: host, observation });
        }
        (What::Sent { endpoint }, Changes::default())
    }

    fn tell(&mut self, endpoint: EndpointId, observation: Observation) -> (What, Changes) {
        let signal = Signal { cluster: ClusterId(0), endpoint, at: self.now, observation };
        let changes = self.cluster.apply(&signal, self.now);
        (What::Observed { endpoint, observation: signal.observation }, changes)
    }

    /// Does what control does: publishes, and sets the pace.
    fn act(&mut self, changes: &Changes) {
        if changes.admission_changed {
            self.publish();
        }
        let touched: HashSet<EndpointId> = changes.touched.iter().copied().collect();
        for index in 0..self.hosts.len() {
            let id = self.hosts[index].id;
            if touched.contains(&id) {
                self.set_pace(index);
            }
        }
    }

    fn set_pace(&mut self, index: usize) {
        let pace = self.cluster.pace(self.hosts[index].id);
        for probe in 0..self.hosts[index].probes.len() {
            let slots = &mut self.hosts[index].probes[probe].0;
            let before = slots.next();
            slots.set_pace(pace, self.now, &mut self.rng);
            let next = slots.next();
            if next != before {
                self.plan(next, Event::Slot { host: index, probe });
            }
        }
    }

    fn publish(&mut self) {
        let admission = self.cluster.admission();
        let weights: Vec<f64> = admission.admitted.iter().map(|(_, weight)| *weight).collect();
        self.admitted = admission.admitted.into_iter().map(|(id, _)| id).collect();
        self.picker = Picker::new(Algorithm::RoundRobin, &weights);
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        self.events.insert((at, self.planned), event);
        self.planned += 1;
    }
}

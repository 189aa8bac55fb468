//! The same configuration in seeded worlds: what each fault costs clients, and how soon it is found.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::config::Config;
use crate::config::model::Cluster;
use crate::health::verdict::{State, Transition};
use crate::sim::arena::{Arena, Arrangement, Record};
use crate::sim::fault::{Fault, SICK};
use crate::sim::weather::Weather;
use crate::traffic::policy::{RetryOn, RetryPolicy};

/// Connections that wait to be accepted, as many as servers commonly let there be.
const ACCEPTS: u32 = 1024;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// The network and the machines.
    pub weather: Weather,
    /// Lives for each fault, each from a seed of its own; at least 1.
    pub seeds: u64,
    /// Requests a second to each cluster; above 0.
    pub rate: f64,
    /// What an answer takes on average.
    pub service: Duration,
    /// How long everybody is well before a fault.
    pub before: Duration,
    /// How long a fault lasts.
    pub lasts: Duration,
    /// An answer that takes longer is slow.
    pub slow: Duration,
}

impl Default for Plot {
    fn default() -> Self {
        Self {
            weather: Weather::Lan,
            seeds: 8,
            rate: 200.0,
            service: Duration::from_millis(5),
            before: Duration::from_secs(10),
            lasts: Duration::from_secs(20),
            slow: Duration::from_millis(100),
        }
    }
}

/// What one fault came to, over all seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// What went wrong.
    pub fault: Fault,
    /// Lives in which its endpoint was found sick, of all; 0 of 0 where nobody is sick.
    pub found: (u64, u64),
    /// From the fault to the first verdict against its endpoint, on average over those lives.
    pub mean: Duration,
    /// The same, at the worst.
    pub worst: Duration,
    /// Endpoints that were well and were taken out all the same.
    pub false_ejections: u64,
    /// For how long endpoints were well, over all lives, in days.
    pub endpoint_days: f64,
    /// Requests from the fault on.
    pub requests: u64,
    /// Those of them that were not answered well.
    pub failed: u64,
    /// Those of them that took longer than is slow.
    pub slow: u64,
    /// The share of the answers that the sick endpoint gave in the second half of the fault.
    pub share: f64,
    /// Changes of state of the sick endpoint in a life, on average.
    pub transitions: f64,
}

/// Plays faults on every cluster that has endpoints.
#[must_use]
pub fn simulate(config: &Config, faults: &[Fault], plot: &Plot) -> Vec<Outcome> {
    let clusters = config.clusters.iter().filter(|cluster| !cluster.endpoints.is_empty());
    clusters.flat_map(|cluster| faults.iter().map(move |fault| outcome(config, cluster, *fault, plot))).collect()
}

fn outcome(config: &Config, cluster: &Cluster, fault: Fault, plot: &Plot) -> Outcome {
    let arrangement = arrangement(config, cluster, plot);
    let mut outcome = Outcome {
        cluster: Arc::clone(&cluster.name),
        fault,
        found: (0, if fault.is_sick() { plot.seeds } else { 0 }),
        mean: Duration::ZERO,
        worst: Duration::ZERO,
        false_ejections: 0,
        endpoint_days: 0.0,
        requests: 0,
        failed: 0,
        slow: 0,
        share: 0.0,
        transitions: 0.0,
    };
    let mut answers = (0_u64, 0_u64);
    for seed in 0..plot.seeds {
        let life = live(arrangement.clone(), fault, plot, seed);
        outcome.add(&life, cluster.endpoints.len(), plot);
        let half = life.begin + plot.lasts / 2;
        for done in life.record.requests.iter().filter(|done| done.start >= half && done.by.is_some()) {
            answers.0 += u64::from(done.by == Some(SICK));
            answers.1 += 1;
        }
    }
    outcome.mean /= u32::try_from(outcome.found.0.max(1)).unwrap_or(u32::MAX);
    outcome.transitions /= count(plot.seeds.max(1));
    outcome.share = count(answers.0) / count(answers.1.max(1));
    outcome
}

impl Outcome {
    #[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
    fn add(&mut self, life: &Life, endpoints: usize, plot: &Plot) {
        let sick = EndpointId(u32::try_from(SICK).unwrap_or(0));
        let (begin, record) = (life.begin, &life.record);
        let later = || record.transitions.iter().filter(|transition| transition.at >= begin);
        let of_it = || later().filter(|transition| transition.endpoint == sick);
        self.transitions += count(of_it().count() as u64);
        if self.fault.is_sick()
            && let Some(first) = of_it().find(|transition| is_against(transition))
        {
            let after = first.at.since(begin);
            self.found.0 += 1;
            self.mean += after;
            self.worst = self.worst.max(after);
        }
        let falsely = record.transitions.iter().filter(|transition| {
            let deserved = self.fault.is_sick() && transition.endpoint == sick && transition.at >= begin;
            is_out(transition) && !deserved
        });
        self.false_ejections += falsely.count() as u64;
        let well = endpoints as f64 * (plot.before + plot.lasts).as_secs_f64();
        let ill = if self.fault.is_sick() { plot.lasts.as_secs_f64() } else { 0.0 };
        self.endpoint_days += (well - ill) / 86_400.0;
        for done in record.requests.iter().filter(|done| done.start >= begin) {
            self.requests += 1;
            self.failed += u64::from(!done.well);
            self.slow += u64::from(done.latency > plot.slow);
        }
    }
}

/// Whether an endpoint that was available no longer is, by a verdict that it must disprove.
fn is_out(transition: &Transition) -> bool {
    let was = matches!(transition.from, State::Healthy | State::Degraded | State::Suspect);
    was && matches!(transition.to, State::Unhealthy | State::Ejected)
}

fn is_against(transition: &Transition) -> bool {
    matches!(transition.to, State::Unhealthy | State::Ejected | State::Suspect | State::Degraded)
}

/// One life, and when the fault began in it.
#[derive(Debug, Clone)]
pub struct Life {
    /// When the fault began.
    pub begin: Timestamp,
    /// What happened.
    pub record: Record,
}

/// Lives one life with a fault. Requests that are under way at its end are not counted.
#[must_use]
pub fn live(arrangement: Arrangement, fault: Fault, plot: &Plot, seed: u64) -> Life {
    let endpoints = arrangement.cluster.endpoints.len();
    let mut arena = Arena::new(arrangement, seed);
    let begin = arena.now() + plot.before;
    for (at, mood) in fault.moods(begin, begin + plot.lasts) {
        fault.whom(endpoints).for_each(|endpoint| arena.turn_at(at, endpoint, mood));
    }
    arena.run(plot.before + plot.lasts);
    Life { begin, record: arena.record }
}

/// One cluster of a configuration, with the retries of the first route that leads to it.
#[must_use]
pub fn arrangement(config: &Config, cluster: &Cluster, plot: &Plot) -> Arrangement {
    let mut routes = config.listeners.iter().flat_map(|listener| &listener.routes);
    let route = routes.find(|route| route.action.shares().iter().any(|share| share.cluster == cluster.name));
    let none = RetryPolicy {
        attempts: 1,
        per_try_timeout: None,
        on: RetryOn::default(),
        statuses: Vec::new(),
        budget: crate::base::units::Ratio::ZERO,
    };
    Arrangement {
        cluster: cluster.clone(),
        retries: route.map_or(none, |route| route.retries.clone()),
        patience: route.and_then(|route| route.timeout).unwrap_or(Duration::from_secs(3600)),
        weather: plot.weather,
        rate: plot.rate,
        service: plot.service,
        intake: Duration::ZERO,
        accepts: ACCEPTS,
        pauses: true,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a simulation")]
const fn count(number: u64) -> f64 {
    number as f64
}

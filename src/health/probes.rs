//! Keeps what each probe of one endpoint thinks of it, and folds the opinions into one.
//!
//! | opinion | on pass | on fail | on void |
//! |---|---|---|---|
//! | none yet | passing | failing | none yet |
//! | passing | passing | failing after `fall` in a row | passing |
//! | failing | passing after `rise` in a row | failing | failing |
//!
//! A fold that is not certain yet (a probe has not reported, and its opinion would matter) leaves the last certain one
//! standing. So a reload that adds a probe takes nobody out, and a dead endpoint is found dead without waiting for the rest.
//! A probe that is asked of somebody who need not be there (an agent) is left out of the fold until it has been answered once.
//! Only a bad fold of which no failing probe is left is taken back: the endpoint is unknown until the rest have reported.
//!
//! Where not all probes must pass, heartbeats are one way more: they pass while they come, and have no vote before the first.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::health::history::clip;
use crate::health::lateness::Lateness;
use crate::health::policy::{Policy, Start};
use crate::health::seldom::Seldom;
use crate::health::signal::{Failure, ProbeResult, ProbeRun};
use crate::health::verdict::{Code, ProbeView, Reason, Stamped};

/// So many runs that are lost in a row are no accident.
const SOME: u32 = 2;

/// The probes of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Probes {
    each: Vec<Probe>,
    /// The last certain fold; `None` as long as there was none, and when nothing of what it rested on is left.
    well: Option<bool>,
    /// Whether there has been a verdict since the probes were configured.
    settled: bool,
    /// What heartbeats say as one way more, where they are folded with the probes and have spoken.
    beats: Option<bool>,
    /// Whether any of them reaches the endpoint itself.
    reach: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Probe {
    name: Arc<str>,
    /// Whether it has no vote beside others until it has spoken.
    adviser: bool,
    passing: Option<bool>,
    /// When the opinion was formed.
    since: Timestamp,
    passes: u32,
    fails: u32,
    failure: Option<Failure>,
    /// When it last passed.
    passed: Option<Timestamp>,
    last: Option<Last>,
    #[serde(skip)]
    lateness: Seldom<Lateness>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Last {
    result: ProbeResult,
    latency: Duration,
    at: Timestamp,
    excerpt: Arc<str>,
    #[serde(default)]
    started: Timestamp,
    #[serde(skip)]
    stamped: Option<Stamped>,
}

/// What the probes of one endpoint know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ProbesMemory {
    each: Vec<Probe>,
    well: Option<bool>,
}

impl Probes {
    pub(super) fn memory(&self) -> ProbesMemory {
        ProbesMemory { each: self.each.clone(), well: self.well }
    }

    /// Takes on what was known, by the probes' names.
    pub(super) fn remember(&mut self, memory: ProbesMemory, policy: &Policy) {
        for known in memory.each {
            if let Some(probe) = self.each.iter_mut().find(|probe| probe.name == known.name) {
                *probe = known;
            }
        }
        self.well = memory.well;
        self.fold(policy);
    }

    pub(super) fn new(policy: &Policy, now: Timestamp) -> Self {
        let presumed = (policy.start == Start::Healthy).then_some(true);
        let each = policy.probes.iter().map(|name| Probe::new(name, policy, presumed, now)).collect();
        let mut probes = Self { each, well: presumed, settled: false, beats: None, reach: false };
        probes.fold(policy);
        probes
    }

    /// Takes on a changed policy. Probes keep their state by name. One that joins a well endpoint is presumed to pass, so
    /// that `fall` holds for it too; one that joins an endpoint that is not well decides with its first result.
    pub(super) fn reconfigure(&mut self, policy: &Policy, now: Timestamp) {
        let presumed = self.well.filter(|well| *well);
        let mut old = std::mem::take(&mut self.each);
        for name in &policy.probes {
            let kept = old.iter().position(|probe| probe.name == *name).map(|at| old.swap_remove(at));
            self.each.push(match kept {
                Some(probe) => Probe { adviser: policy.advisers.contains(name), ..probe },
                None => Probe::new(name, policy, presumed, now),
            });
        }
        self.settled = false;
        self.fold(policy);
    }

    /// Takes in a run. Returns whether it is worth remembering: it moved a count or an opinion, or failed in a new way.
    pub(super) fn record(&mut self, run: &ProbeRun, policy: &Policy, at: Timestamp) -> bool {
        let Some(probe) = self.each.get_mut(run.probe) else { return false };
        let remarkable = probe.record(run, policy, at);
        self.fold(policy);
        remarkable
    }

    /// Counts what live traffic has shown as a first failure of each probe that asks for an answer, but never as the last that
    /// is needed: a probe must agree. Returns how many more must fail.
    pub(super) fn doubt(&mut self, policy: &Policy) -> u32 {
        let fall = policy.thresholds.fall.get();
        let asking = self.each.iter_mut().zip(&policy.asking).filter(|(_, asks)| **asks).map(|(probe, _)| probe);
        let needed = asking.filter(|probe| probe.passing == Some(true)).map(|probe| {
            probe.fails = (probe.fails + 1).min(fall - 1);
            fall - probe.fails
        });
        needed.max().unwrap_or(0)
    }

    /// A request that was sent at `sent` was answered well: probes lost before are no longer held against the endpoint, unless
    /// the probe has not passed for `patience`. Returns whether any was.
    pub(super) fn outweigh(&mut self, sent: Timestamp, patience: Duration, now: Timestamp) -> bool {
        let mut any = false;
        for probe in &mut self.each {
            let lost = probe.passing == Some(true) && probe.fails > 0 && matches!(probe.failure, Some(Failure::Timeout(_)));
            let last = probe.last.as_ref().map(|last| last.at);
            if lost && probe.is_fresh(patience, now) && last.is_some_and(|at| sent > at) {
                probe.fails = 0;
                any = true;
            }
        }
        any
    }

    /// Whether this probe has passed within `patience`.
    pub(super) fn is_fresh(&self, probe: usize, patience: Duration, now: Timestamp) -> bool {
        self.each.get(probe).is_some_and(|probe| probe.passing == Some(true) && probe.is_fresh(patience, now))
    }

    /// Whether a probe passes, and has passed in its last run.
    pub(super) fn is_steady(&self, probe: usize) -> bool {
        let steady = |probe: &Probe| {
            let passed = matches!(&probe.last, Some(Last { result: ProbeResult::Pass, .. }));
            passed && probe.passing == Some(true) && probe.fails == 0
        };
        self.each.get(probe).is_some_and(steady)
    }

    /// Something from all over each of them.
    pub(super) fn look_ahead(&self) -> u64 {
        let seen = |probe: &Probe| {
            let last = probe.last.as_ref().map_or(0, |last| last.at.as_nanos().wrapping_add(last.started.as_nanos()));
            let passed = probe.passed.map_or(0, Timestamp::as_nanos);
            last.wrapping_add(passed).wrapping_add(probe.fails.into()).wrapping_add(u64::from(probe.failure.is_some()))
        };
        self.each.iter().map(seen).fold(0, u64::wrapping_add)
    }

    /// What is shown of one of them.
    pub(super) fn view(&self, probe: usize, policy: &Policy) -> Option<ProbeView> {
        self.each.get(probe).map(|probe| probe.view(policy))
    }

    /// Whether any probe that counts as passing has begun to run out of time, or ran out of it and so counts as failing.
    pub(super) fn is_late(&self) -> bool {
        self.each.iter().any(|probe| probe.fails > 0 && matches!(probe.failure, Some(Failure::Timeout(_) | Failure::Error(_))))
    }

    /// Whether every failing probe runs out of time or breaks off, as it would if our own link were down.
    pub(super) fn only_late(&self) -> bool {
        let mut failing = self.each.iter().filter(|probe| probe.passing == Some(false)).peekable();
        failing.peek().is_some() && failing.all(|probe| matches!(probe.failure, Some(Failure::Timeout(_) | Failure::Error(_))))
    }

    /// Whether one more run that is lost as the last ones were makes it unhealthy, and there were some.
    pub(super) fn is_nearly_lost(&self, policy: &Policy) -> bool {
        let fall = policy.thresholds.fall.get();
        let nearly = |probe: &Probe| {
            let lost = probe.passing == Some(true) && matches!(probe.failure, Some(Failure::Timeout(_)));
            lost && probe.fails >= SOME.max(fall - 1)
        };
        let ways = self.each.len() + usize::from(self.beats.is_some());
        policy.require.of(ways) == ways && self.each.iter().any(nearly)
    }

    /// The failures in a row of the probe that has the most.
    pub(super) fn fails(&self) -> u32 {
        self.each.iter().map(|probe| probe.fails).max().unwrap_or(0)
    }

    /// Takes in what heartbeats say as one way more; `None`: nothing as yet.
    pub(super) fn hear_beats(&mut self, beats: Option<bool>, policy: &Policy) {
        if self.beats != beats {
            self.beats = beats;
            self.fold(policy);
        }
    }

    /// Whether it would not be well without what heartbeats say.
    pub(super) fn leans_on_beats(&self, policy: &Policy) -> bool {
        let passing = self.each.iter().filter(|probe| probe.passing == Some(true)).count();
        self.beats == Some(true) && passing < policy.require.of(self.each.len() + 1)
    }

    fn fold(&mut self, policy: &Policy) {
        self.reach = policy.elsewhere.len() < self.each.len();
        // Somebody must speak: where all are silent, none is left out.
        let silent = self.each.iter().filter(|probe| probe.is_silent()).count();
        let silent = if silent < self.each.len() || self.beats.is_some() { silent } else { 0 };
        let voting = self.each.len() - silent + usize::from(self.beats.is_some());
        let needed = policy.require.of(voting);
        let probes = self.each.iter().filter(|probe| probe.passing == Some(true)).count();
        let passing = probes + usize::from(self.beats == Some(true));
        let undecided = self.each.iter().filter(|probe| probe.passing.is_none()).count() - silent;
        if passing >= needed {
            self.well = Some(true);
        } else if passing + undecided < needed {
            self.well = Some(false);
        } else if self.well == Some(false) && passing + undecided == voting {
            self.well = None;
        }
        self.settled |= self.well.is_some();
    }

    /// Whether the endpoint is well by its probes; `None` before that is certain. Without probes it is well.
    pub(super) const fn well(&self) -> Option<bool> {
        self.well
    }

    /// Whether there has been a verdict, or none is needed.
    pub(super) const fn settled(&self) -> bool {
        self.settled
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Whether any of them reaches the endpoint itself, so that it can tell when connections are taken again.
    pub(super) const fn reach(&self) -> bool {
        self.reach
    }

    /// Whether any run came to an end, of whatever result.
    pub(super) fn tried(&self) -> bool {
        self.each.iter().any(|probe| probe.last.is_some())
    }

    /// Begins to count passes anew: bad evidence from elsewhere must be outweighed by newer passes alone.
    pub(super) fn restart_rise(&mut self) {
        for probe in &mut self.each {
            probe.passes = 0;
        }
    }

    /// Whether as many probes as are required have passed `rise` times in a row.
    pub(super) fn risen(&self, policy: &Policy) -> bool {
        let rise = policy.thresholds.rise.get();
        let voting = self.each.iter().filter(|probe| !probe.is_silent()).count();
        let risen = self.each.iter().filter(|probe| probe.passes >= rise).count();
        risen >= policy.require.of(voting)
    }

    /// Passes so far on the way back, the most of any probe.
    pub(super) fn rising(&self) -> u32 {
        self.each.iter().map(|probe| probe.passes).max().unwrap_or(0)
    }

    /// Whether a failing probe has begun to pass.
    pub(super) fn is_rising(&self) -> bool {
        self.each.iter().any(|probe| probe.passing == Some(false) && probe.passes > 0)
    }

    /// Whether a passing probe has begun to fail.
    pub(super) fn is_falling(&self) -> bool {
        self.each.iter().any(|probe| probe.passing == Some(true) && probe.fails > 0)
    }

    /// One reason for each failing probe.
    pub(super) fn failing<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = Reason> + 'a {
        self.each.iter().filter_map(|probe| probe.reason(policy))
    }

    /// Why nothing is known.
    pub(super) fn unknown(&self, since: Timestamp) -> Reason {
        let waiting = || self.each.iter().filter(|probe| probe.passing.is_none());
        let void = waiting().find_map(|probe| match &probe.last {
            Some(Last { result: ProbeResult::Void(why), .. }) => Some((&probe.name, why)),
            _ => None,
        });
        let (code, probe, detail) = match void {
            Some((name, why)) => (Code::ProbeError, Some(Arc::clone(name)), why.clone()),
            None => {
                let names: Vec<&str> = waiting().map(|probe| &*probe.name).collect();
                (Code::NotProbedYet, None, format!("no result yet of: {}", names.join(", ")))
            }
        };
        Reason { code, probe, detail: clip(detail), since, until: None }
    }

    pub(super) fn views(&self, policy: &Policy) -> Vec<ProbeView> {
        self.each.iter().map(|probe| probe.view(policy)).collect()
    }

    pub(super) fn name(&self, probe: usize) -> Option<&Arc<str>> {
        self.each.get(probe).map(|probe| &probe.name)
    }
}

impl Probe {
    fn new(name: &Arc<str>, policy: &Policy, passing: Option<bool>, now: Timestamp) -> Self {
        let adviser = policy.advisers.contains(name);
        Self {
            name: Arc::clone(name),
            adviser,
            passing,
            since: now,
            passes: 0,
            fails: 0,
            failure: None,
            passed: None,
            last: None,
            lateness: Seldom::default(),
        }
    }

    /// Whether it was asked, and there was nobody to say anything.
    const fn is_silent(&self) -> bool {
        self.adviser && self.passing.is_none() && self.last.is_some()
    }

    fn record(&mut self, run: &ProbeRun, policy: &Policy, at: Timestamp) -> bool {
        let remarkable = match &run.result {
            ProbeResult::Pass => self.pass(policy.thresholds.rise.get(), at),
            ProbeResult::Fail(failure) => self.fail(failure, policy.thresholds.fall.get(), at),
            ProbeResult::Void(_) => !matches!(&self.last, Some(Last { result: ProbeResult::Void(_), .. })),
        };
        let stamped = self.stamped(run);
        self.last = Some(Last {
            result: run.result.clone(),
            latency: run.latency,
            at,
            excerpt: Arc::clone(&run.excerpt),
            started: run.started,
            stamped,
        });
        remarkable
    }

    /// What the stamps in an answer tell. They are shown and counted; no verdict follows.
    fn stamped(&mut self, run: &ProbeRun) -> Option<Stamped> {
        let answered = run.stamps.answered_at_ms?;
        let spacing = self.last.as_ref().map_or(Duration::ZERO, |last| run.started.since(last.started));
        let shown = self.lateness.take(run.started + run.latency, answered, spacing, None)?;
        let server_time = run.stamps.received_at_ms.and_then(|received| answered.checked_sub(received));
        let server_time = server_time.map(Duration::from_millis).filter(|span| *span <= run.latency + Duration::from_millis(1));
        Some(Stamped { delay: shown.delay, server_time })
    }

    fn pass(&mut self, rise: u32, at: Timestamp) -> bool {
        let remarkable = self.passing != Some(true) || self.fails > 0;
        self.passes = self.passes.saturating_add(1);
        self.fails = 0;
        self.passed = Some(at);
        match self.passing {
            None => self.turn(true, at),
            Some(false) if self.passes >= rise => self.turn(true, at),
            Some(_) => {}
        }
        remarkable
    }

    fn fail(&mut self, failure: &Failure, fall: u32, at: Timestamp) -> bool {
        let known = self.failure.as_ref().is_some_and(|last| last.code() == failure.code());
        let remarkable = self.passing != Some(false) || self.passes > 0 || !known;
        self.fails = self.fails.saturating_add(1);
        self.passes = 0;
        self.failure = Some(failure.clone());
        match self.passing {
            None => self.turn(false, at),
            Some(true) if self.fails >= fall => self.turn(false, at),
            Some(_) => {}
        }
        remarkable
    }

    const fn turn(&mut self, passing: bool, at: Timestamp) {
        self.passing = Some(passing);
        self.since = at;
    }

    fn is_fresh(&self, patience: Duration, now: Timestamp) -> bool {
        self.passed.is_some_and(|passed| now.since(passed) <= patience)
    }

    fn reason(&self, policy: &Policy) -> Option<Reason> {
        let failure = self.failure.as_ref().filter(|_| self.passing == Some(false))?;
        let rise = policy.thresholds.rise.get();
        let back = if rise == 1 { "a pass brings it back".to_owned() } else { format!("{rise} passes in a row bring it back") };
        let sofar = if self.passes > 0 { format!(", {} so far", self.passes) } else { String::new() };
        Some(Reason {
            code: failure.code(),
            probe: Some(Arc::clone(&self.name)),
            detail: clip(format!("{failure}; {back}{sofar}")),
            since: self.since,
            until: None,
        })
    }

    fn view(&self, policy: &Policy) -> ProbeView {
        let passing = self.passing == Some(true);
        let streak = match self.passing {
            Some(true) => self.fails,
            Some(false) => self.passes,
            None => 0,
        };
        let (result, latency, at, excerpt) = match &self.last {
            Some(last) => (Some(last.result.as_str()), last.latency, last.at, Arc::clone(&last.excerpt)),
            None => (None, Duration::ZERO, self.since, Arc::from("")),
        };
        let stamped = self.last.as_ref().and_then(|last| last.stamped);
        let reason = self.reason(policy).map(Box::new);
        ProbeView { name: Arc::clone(&self.name), result, latency, at, streak, passing, reason, excerpt, stamped }
    }
}

//! The probes of an arena: each runs in its slots, and at once where traffic asks for it or a suspicion is to be confirmed.

use std::sync::Arc;
use std::time::Duration;

use crate::health::check::Check;
use crate::health::signal::{Failure, Observation, ProbeResult, ProbeRun, Stamps};
use crate::sim::arena::{Arena, Event, REFUSED};
use crate::sim::mood::Mood;

/// A stall of ours excuses what it may have caused if it was at least so long, and a quarter of the time-out.
const STALL: Duration = Duration::from_millis(20);
/// What a reference takes to answer.
const ANSWERED: Duration = Duration::from_millis(1);

/// What a run over the network needs.
#[derive(Debug, Clone, Copy)]
struct Ask {
    /// A connection of its own each time.
    connects: bool,
    /// An answer to a question.
    answers: bool,
}

/// Of an agent that does not answer nothing is known.
fn silent_is_void((result, latency): (ProbeResult, Duration)) -> (ProbeResult, Duration) {
    match result {
        ProbeResult::Fail(Failure::Refused | Failure::Timeout(_)) => {
            (ProbeResult::Void("the agent says nothing".to_owned()), latency)
        }
        ProbeResult::Fail(_) => (ProbeResult::Fail(Failure::ReportStatus("down".to_owned())), latency),
        ProbeResult::Pass | ProbeResult::Void(_) => (result, latency),
    }
}

impl Arena {
    pub(super) fn probe(&mut self, node: usize, probe: usize) {
        let timing = self.arrangement.cluster.probes[probe].timing;
        let rounds = &mut self.nodes[node].rounds[probe];
        let Some(fresh) = rounds.take(timing.fast_interval, self.now, &mut self.rng) else { return };
        let next = rounds.slots.next();
        self.ask(node, probe, fresh, timing.timeout, true);
        self.plan(next, Event::Slot { node, probe });
    }

    /// Has every probe of an endpoint run at once, as far as it has not just done so.
    pub(super) fn ask_at_once(&mut self, node: usize) {
        for probe in 0..self.nodes[node].rounds.len() {
            let at = self.nodes[node].rounds[probe].ask(self.now);
            self.plan(at, Event::Slot { node, probe });
        }
    }

    /// Starts a run; its result is drawn now and comes when it is due.
    fn ask(&mut self, node: usize, probe: usize, fresh: bool, timeout: Duration, scheduled: bool) {
        self.record.probes[node] += 1;
        let spec = Arc::clone(&self.arrangement.cluster.probes[probe]);
        let (result, latency) = match &spec.check {
            Check::File(file) => self.look_at_file(node, file.max_age),
            Check::Tcp => self.ask_by(node, fresh, timeout, Ask { connects: true, answers: false }),
            Check::Agent => silent_is_void(self.ask_by(node, fresh, timeout, Ask { connects: true, answers: true })),
            Check::Http(_) | Check::Grpc(_) => self.ask_by(node, fresh, timeout, Ask { connects: false, answers: true }),
        };
        let started = self.now;
        let run = ProbeRun { probe, started, latency, result, excerpt: Arc::from(""), stamps: Stamps::default() };
        self.plan(self.now + latency, Event::Probed { node, run, scheduled });
    }

    fn look_at_file(&self, node: usize, max_age: Duration) -> (ProbeResult, Duration) {
        let fresh = self.nodes[node].file_age(self.now) <= max_age;
        (if fresh { ProbeResult::Pass } else { ProbeResult::Fail(Failure::Stale(max_age)) }, Duration::ZERO)
    }

    /// What a run over the network comes to, and after what time.
    fn ask_by(&mut self, node: usize, fresh: bool, timeout: Duration, ask: Ask) -> (ProbeResult, Duration) {
        let (now, rng) = (self.now, &mut self.rng);
        let asked = &mut self.nodes[node];
        let (loss, factor) = (asked.mood.loss(), asked.mood.slower(rng));
        let shaken = if fresh || ask.connects { asked.sky.connect(now, loss, rng) } else { Some(Duration::ZERO) };
        let answered = if ask.answers { asked.sky.exchange(now, loss, factor, rng) } else { Some(Duration::ZERO) };
        let waits = asked.take_in(!fresh, (self.arrangement.intake, self.arrangement.accepts), now);
        let took =
            shaken.zip(answered).zip(waits).map(|((shaken, answered), waits)| shaken + waits + answered + asked.stalled(now));
        let silent = asked.mood == Mood::Hung && ask.answers;
        match took.filter(|took| !silent && *took <= timeout) {
            _ if asked.mood == Mood::Dead => (ProbeResult::Fail(Failure::Refused), REFUSED.min(timeout)),
            None => (ProbeResult::Fail(Failure::Timeout(timeout)), timeout),
            Some(took) if asked.mood == Mood::Wrong && ask.answers => (ProbeResult::Fail(Failure::Status(503)), took),
            Some(took) => (ProbeResult::Pass, took),
        }
    }

    pub(super) fn probed(&mut self, node: usize, mut run: ProbeRun, scheduled: bool) {
        let passed = run.result == ProbeResult::Pass;
        let late = matches!(run.result, ProbeResult::Fail(Failure::Timeout(_)));
        if late && self.is_excused(&run) {
            run.result = ProbeResult::Void("the proxy itself stalled".to_owned());
        }
        let rounds = &mut self.nodes[node].rounds[run.probe];
        if scheduled {
            (rounds.busy, rounds.warm) = (false, passed);
            let next = if rounds.is_wanted() { rounds.slots.next().min(rounds.patience) } else { rounds.slots.next() };
            self.plan(next.max(self.now), Event::Slot { node, probe: run.probe });
        }
        if passed {
            self.nodes[node].rounds[run.probe].took(run.latency);
        }
        if late {
            // What traffic shows may outweigh it.
            self.look();
        }
        self.tell(node, Observation::Probe(run));
    }

    /// Whether we stood still for so long during a run that this may be why nothing came.
    fn is_excused(&self, run: &ProbeRun) -> bool {
        let (from, to) = self.stalled;
        let held = to.min(run.started + run.latency).since(from.max(run.started));
        held > STALL.max(run.latency / 4) || run.started < self.backlog.done()
    }

    pub(super) fn confirm(&mut self, node: usize, runs: u32) {
        for probe in 0..self.arrangement.cluster.probes.len() {
            let spec = &self.arrangement.cluster.probes[probe];
            if spec.asks() {
                let deadline = self.nodes[node].rounds[probe].deadline(spec.timing.timeout);
                (0..runs).for_each(|_| self.ask(node, probe, true, deadline, false));
            }
        }
    }

    /// Asks a reference, which is well: our own link is, whenever we run.
    pub(super) fn ask_reference(&mut self) {
        let (probe, started, latency) = (0, self.now, ANSWERED);
        let excerpt = Arc::from("");
        let run = ProbeRun { probe, started, latency, result: ProbeResult::Pass, excerpt, stamps: Stamps::default() };
        self.plan(self.now + latency, Event::Reference { run });
    }
}

//! Everything believed of one endpoint: its axes, and how observations and time move them.
//!
//! Each observation moves the axis it belongs to and no other; what all of them come to is the fold's to say.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::budget::Stand;
use crate::health::cause::Cause;
use crate::health::changes::Member;
use crate::health::damping::Damping;
use crate::health::electorate::Vote;
use crate::health::fold::{Judged, Soft};
use crate::health::heartbeat::Heartbeat;
use crate::health::history::{Entry, History, Kind};
use crate::health::incarnation::{Incarnation, Met};
use crate::health::latency::Latency;
use crate::health::operator::Operator;
use crate::health::outliers::Outliers;
use crate::health::policy::Policy;
use crate::health::probes::Probes;
use crate::health::quorum::Quorum;
use crate::health::ramp::Ramp;
use crate::health::recent::Recent;
use crate::health::refused::Refused;
use crate::health::reports::Reports;
use crate::health::role::{Role, Source};
use crate::health::rules::Told;
use crate::health::schedule::Pace;
use crate::health::seldom::Seldom;
use crate::health::shares::Shares;
use crate::health::signal::{
    Beat, BeatResult, Failure, Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal,
};
use crate::health::silence::Silence;
use crate::health::verdict::State;
use crate::health::wishes::Wishes;
use crate::report::Asks;

/// Intervals for which live traffic may outweigh a probe that never passes.
const VETO: u32 = 5;

/// One endpoint.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) member: Member,
    pub(super) probes: Probes,
    pub(super) refused: Refused,
    pub(super) reports: Seldom<Reports>,
    pub(super) recent: Seldom<Recent>,
    pub(super) silence: Silence,
    pub(super) outliers: Seldom<Outliers>,
    pub(super) latency: Latency,
    pub(super) cause: Cause,
    /// Whether what it reports is held back.
    pub(super) reports_cause: Cause,
    pub(super) damping: Damping,
    pub(super) ramp: Ramp,
    /// Whether it must begin with less than its weight when it next gets traffic: it joined others that are warm, or was started anew or
    /// failed while nothing was sent to it.
    pub(super) cold: bool,
    /// When the newest request had been sent that was answered well.
    success_sent: Timestamp,
    pub(super) quorum: Seldom<Quorum>,
    /// What we say of it to the others of the fleet.
    pub(super) vote: Option<Vote>,
    pub(super) heartbeat: Seldom<Heartbeat>,
    pub(super) incarnation: Seldom<Incarnation>,
    pub(super) operator: Seldom<Operator>,
    pub(super) wishes: Seldom<Wishes>,
    pub(super) role: Role,
    pub(super) shares: Shares,
    pub(super) history: History,
    /// The fold of what is observed; stands still while the cluster is frozen.
    pub(super) judged: Judged,
    /// What became of its claim to be ejected.
    pub(super) soft: Soft,
    /// The state in force and when it was entered.
    pub(super) state: State,
    pub(super) since: Timestamp,
    /// Free share in points that the weight is taken from.
    pub(super) free: Option<u8>,
    /// What budget, admission and mean free share have counted it as.
    pub(super) stand: Stand,
    pub(super) share: Option<u8>,
    pub(super) capacity: Option<f64>,
    /// When time alone would change anything, and when that is looked at: not later.
    pub(super) wake: Option<Timestamp>,
    pub(super) filed: Option<Timestamp>,
}

/// What the axes need to know besides the signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) policy: &'a Policy,
    pub(super) report_interval: Duration,
    /// Requests a second that an endpoint's full weight brings.
    pub(super) pace: f64,
    pub(super) now: Timestamp,
}

impl Endpoint {
    pub(super) fn new(member: Member, policy: &Policy, now: Timestamp) -> Self {
        let mut endpoint = Self {
            member,
            probes: Probes::new(policy, now),
            refused: Refused::default(),
            reports: if policy.rules.is_empty() { Seldom::default() } else { Reports::new(policy).into() },
            recent: Seldom::default(),
            silence: Silence::default(),
            outliers: Seldom::default(),
            latency: Latency::default(),
            cause: Cause::default(),
            reports_cause: Cause::default(),
            damping: Damping::default(),
            ramp: Ramp::default(),
            cold: false,
            success_sent: Timestamp::ZERO,
            quorum: Seldom::default(),
            vote: None,
            heartbeat: policy.heartbeat.map(|_| Heartbeat::new(now).into()).unwrap_or_default(),
            incarnation: Seldom::default(),
            operator: Seldom::default(),
            wishes: Seldom::default(),
            role: Role::default(),
            shares: Shares::default(),
            history: History::default(),
            judged: Judged::unknown(),
            soft: Soft::default(),
            state: State::Unknown,
            since: now,
            free: None,
            stand: Stand::default(),
            share: None,
            capacity: None,
            wake: None,
            filed: None,
        };
        endpoint.judge(policy, now);
        endpoint.state = endpoint.wanted_state();
        endpoint
    }

    /// One that joins others; it begins with less than its weight if they are warm.
    pub(super) fn joining(self, warm: bool) -> Self {
        Self { cold: warm, ..self }
    }

    pub(super) const fn id(&self) -> EndpointId {
        self.member.id
    }

    /// Lets an observation move the axis it belongs to. Returns whether anything can have changed by it.
    pub(super) fn observe(&mut self, signal: &Signal, context: Context<'_>) -> bool {
        let at = signal.at.min(context.now);
        match &signal.observation {
            Observation::Probe(run) => return self.observe_probe(run, at, context),
            Observation::Report(reading) => self.observe_report(reading, at, context),
            Observation::Beat(beat) => self.observe_beat(beat, at, context),
            Observation::Asks(asks) => self.observe_asks(asks, at),
            // Whoever knows how reports are written reads it first.
            Observation::Load(_) => return false,
            Observation::Refused => return self.observe_refused(at, context),
            Observation::Reset => {
                let moved = self.refused.reset(at);
                if moved {
                    self.history.push(Entry::new(at, Kind::Reset, "live traffic was reset before an answer"));
                }
                return moved;
            }
            Observation::Answered => {
                let moved = self.refused.answer(&self.probes);
                if moved {
                    self.history.push(Entry::new(at, Kind::Answered, "live traffic was answered after refusals"));
                }
                return moved;
            }
            Observation::Fleet(count) => return self.quorum.hear(*count),
            Observation::Operator { state, until, reason } => self.order(*state, *until, reason.as_ref(), at),
        }
        true
    }

    fn observe_refused(&mut self, at: Timestamp, context: Context<'_>) -> bool {
        let out = self.refused.is_out();
        let counted = self.refused.refuse(at, context.policy, &mut self.probes);
        if let Some(outliers) = self.outliers.unusual() {
            outliers.refused();
        }
        if counted && !out {
            self.history.push(Entry::new(at, Kind::Refused, "a connect of live traffic was refused"));
        }
        if self.refused.is_out() && !out {
            self.role.clear();
            self.forget_process();
        }
        counted
    }

    /// Who refuses connections is gone; what comes back is another process, of which nothing is known yet.
    fn forget_process(&mut self) {
        if let Some(recent) = self.recent.unusual() {
            recent.clear();
        }
        self.outliers.forget();
        self.latency.clear();
    }

    fn observe_beat(&mut self, beat: &Beat, at: Timestamp, context: Context<'_>) {
        let Some(policy) = &context.policy.heartbeat else { return };
        let told = self.heartbeat.take(beat, at, policy, &mut self.incarnation);
        self.history.extend(told.into_iter().map(|told| Entry::new(at, Kind::Heartbeat, told)));
        if self.heartbeat.last() == BeatResult::Restarted {
            self.begin_anew(context);
        }
        if matches!(self.heartbeat.last(), BeatResult::Ok | BeatResult::Restarted | BeatResult::ClockStep)
            && let (Some(word), Some(_)) = (&beat.role, &context.policy.leader)
        {
            let told = self.role.hear(word, beat.epoch, at, Source::Beat);
            self.history.extend(told.map(|told| Entry::new(at, Kind::Role, told)));
        }
        self.fold_beats(context.policy);
    }

    /// Has heartbeats count as one way beside the probes, where they do.
    pub(super) fn fold_beats(&mut self, policy: &Policy) {
        let vote = self.heartbeat.vote().filter(|_| policy.folds_beats());
        self.probes.hear_beats(vote, policy);
    }

    /// Returns whether anything but the run itself has changed by it: nearly always nothing has, and that should cost next to
    /// nothing.
    fn observe_probe(&mut self, run: &ProbeRun, at: Timestamp, context: Context<'_>) -> bool {
        let policy = context.policy;
        let meeting = self.meet(run, at, context);
        if run.result == ProbeResult::Pass && meeting == Meeting::Same && self.is_calm(run.probe) {
            self.probes.record(run, policy, at);
            return false;
        }
        let zombie = (meeting == Meeting::Zombie).then(|| {
            let why = "an incarnation that has been followed by another answered".to_owned();
            ProbeRun { result: ProbeResult::Void(why), ..run.clone() }
        });
        self.judge_probe(zombie.as_ref().unwrap_or(run), at, context);
        true
    }

    /// Whether one more pass of a probe says nothing new.
    fn is_calm(&self, probe: usize) -> bool {
        self.probes.is_steady(probe)
            && self.probes.well() == Some(true)
            && self.refused.is_calm()
            && self.cause.is_open()
            && !self.silence.is_suspect()
            && !self.outliers.is_gone()
    }

    fn judge_probe(&mut self, run: &ProbeRun, at: Timestamp, context: Context<'_>) {
        let policy = context.policy;
        let vetoed = self.is_outweighed(run, context).then(|| ProbeRun {
            result: ProbeResult::Void("lost, but live traffic was answered meanwhile".to_owned()),
            ..run.clone()
        });
        let (found, run) = (&run.result, vetoed.as_ref().unwrap_or(run));
        let remarkable = self.probes.record(run, policy, at);
        if let (ProbeResult::Fail(Failure::Refused), Some(outliers)) = (&run.result, self.outliers.unusual()) {
            outliers.refused();
        }
        self.lose_probes(found, context);
        match (&run.result, &policy.outlier) {
            (ProbeResult::Fail(Failure::Refused), _) if self.probes.well() == Some(false) => {
                // Once it is known to be gone, whatever speaks for it from elsewhere says so anew.
                if self.state != State::Unhealthy {
                    self.role.clear();
                }
                self.forget_process();
            }
            (ProbeResult::Fail(Failure::Timeout(_)), Some(outlier)) => {
                if let Some(outliers) = self.outliers.unusual() {
                    outliers.postpone(at, outlier);
                }
            }
            _ => {}
        }
        if run.result == ProbeResult::Pass {
            self.refused.pass(run, policy, &mut self.probes);
            if self.outliers.is_gone() && self.probes.risen(policy) {
                self.forget_process();
                self.history.push(Entry::new(at, Kind::Process, "the one that was ejected has ended; another one answers"));
            }
            if policy.asking.get(run.probe) == Some(&true) && self.silence.pass(context.now) {
                self.history.push(Entry::new(at, Kind::Silence, "a probe was answered"));
            }
        }
        match self.probes.well() {
            Some(true) => self.cause.clear(),
            Some(false) if !self.reports.heard() => self.reports.give_up(),
            Some(false) | None => {}
        }
        self.cause.confirm(self.probes.fails(), policy.thresholds.fall.get());
        let Some(name) = self.probes.name(run.probe).filter(|_| remarkable) else { return };
        let detail = match &run.result {
            ProbeResult::Pass => String::new(),
            ProbeResult::Fail(failure) => failure.to_string(),
            ProbeResult::Void(why) => why.clone(),
        };
        let entry = Entry::new(at, Kind::Probe, detail);
        self.history.push(Entry { probe: Some(Arc::clone(name)), result: Some(run.result.as_str()), ..entry });
    }

    /// Whether a run that ran out of time is outweighed by a request sent after it began that was answered well. Not for
    /// ever: a probe that has not passed for five intervals is not lost, it fails.
    fn is_outweighed(&self, run: &ProbeRun, context: Context<'_>) -> bool {
        let patience = veto(context.policy);
        matches!(run.result, ProbeResult::Fail(Failure::Timeout(_)))
            && self.success_sent > run.started
            && self.probes.is_fresh(run.probe, patience, context.now)
    }

    /// A request sent at `sent` was answered well. Returns whether that outweighs lost probes.
    pub(super) fn succeed(&mut self, sent: Timestamp, policy: &Policy, now: Timestamp) -> bool {
        self.success_sent = self.success_sent.max(sent);
        let outweighs = self.probes.outweigh(self.success_sent, veto(policy), now);
        if outweighs {
            self.history.push(Entry::new(now, Kind::Answered, "live traffic was answered after a lost probe"));
        }
        outweighs
    }

    /// Takes in who answered a probe. What an old incarnation says is nothing of the one that has the place now.
    fn meet(&mut self, run: &ProbeRun, at: Timestamp, context: Context<'_>) -> Meeting {
        let Some(boot_id) = &run.stamps.boot_id else { return Meeting::Same };
        let shared = self.incarnation.is_shared();
        let met = self.incarnation.answer(boot_id);
        if shared != self.incarnation.is_shared() {
            let told = if shared {
                "one process answers at this address again"
            } else {
                "several processes answer at this address, by turns: their boot ids tell no restart"
            };
            self.history.push(Entry::new(at, Kind::Process, told));
        }
        match met {
            Met::Known | Met::Shared => Meeting::Same,
            Met::New => {
                let mut told = Vec::new();
                self.heartbeat.restart("the boot id in the answer of its probe is a new one", &mut told);
                self.history.extend(told.into_iter().map(|told| Entry::new(at, Kind::Process, told)));
                self.begin_anew(context);
                Meeting::Other
            }
            Met::Zombie => Meeting::Zombie,
        }
    }

    /// Another process has the place: what was learnt of the one before is forgotten, and it begins with less than its weight.
    fn begin_anew(&mut self, context: Context<'_>) {
        self.damping.new_process(context.now);
        self.role.clear();
        self.forget_process();
        if !self.state.is_well() {
            self.cold = true;
        } else if let Some(policy) = &context.policy.slow_start {
            self.ramp.begin(policy, context.now);
        }
    }

    fn observe_report(&mut self, reading: &ReportReading, at: Timestamp, context: Context<'_>) {
        let told = self.reports.read(reading, at, context.policy, context.report_interval);
        self.tell(told, at);
        if let ReportReading::Read(report) | ReportReading::Load(report) = reading {
            self.observe_asks(&report.asks, at);
            if let (Some(claim), Some(_)) = (&report.claim, &context.policy.leader) {
                let told = self.role.hear(&claim.role, claim.epoch, at, Source::Report);
                self.history.extend(told.map(|told| Entry::new(at, Kind::Role, told)));
            }
        }
    }

    fn observe_asks(&mut self, asks: &Asks, at: Timestamp) {
        let says = *asks != Asks::default() || self.wishes.unusual().is_some();
        if let Some(news) = says.then(|| self.wishes.hear(asks, at)).flatten() {
            self.history.push(Entry::new(at, Kind::Asks, news));
        }
        if let Some(share) = asks.share {
            self.shares.hear(share, at);
        }
    }

    fn order(&mut self, state: OperatorState, until: Option<Timestamp>, words: Option<&Arc<str>>, now: Timestamp) {
        self.operator.order(state, until, words, now);
        let said = words.map(|words| format!(": {words}")).unwrap_or_default();
        self.history.push(Entry::new(now, Kind::Operator, format!("{}{said}", state.as_str())));
    }

    /// Lets time pass on every axis.
    pub(super) fn expire(&mut self, context: Context<'_>) {
        let now = context.now;
        if self.refused.expire(now, &self.probes) {
            self.history.push(Entry::new(now, Kind::Refused, "tried again after a time without traffic"));
        }
        if let Some(told) = self.reports.unusual().map(|reports| reports.expire(now, context.policy)) {
            self.tell(told, now);
        }
        self.shares.expire(now);
        if self.role.expire(now, context.policy) {
            self.history.push(Entry::new(now, Kind::Role, "has not said for too long what it is"));
        }
        if let Some(policy) = &context.policy.heartbeat {
            let told = self.heartbeat.expire(now, policy);
            self.history.extend(told.into_iter().map(|told| Entry::new(now, Kind::Heartbeat, told)));
            self.fold_beats(context.policy);
        }
        if self.operator.unusual().is_some_and(|operator| operator.expire(now)) {
            self.history.push(Entry::new(now, Kind::Operator, "the order ran out"));
        }
        self.expire_traffic(context);
    }

    /// The same for what live traffic moves.
    fn expire_traffic(&mut self, context: Context<'_>) {
        let Context { policy, now, .. } = context;
        if self.silence.expire(now, policy.asks()) {
            self.history.push(Entry::new(now, Kind::Silence, "tried again after a time without traffic"));
        }
        if let Some(outlier) = &policy.outlier
            && let Some(outliers) = self.outliers.unusual()
            && outliers.expire(now, context.pace, outlier)
        {
            self.recent.clear();
            let text = if self.outliers.is_apart() { "on trial" } else { "its trial is over" };
            self.history.push(Entry::new(now, Kind::Outlier, text));
        }
        // Both move time on.
        let held = [&mut self.cause, &mut self.reports_cause].map(|cause| cause.expire(now, policy.interval));
        if held.contains(&true) {
            self.history.push(Entry::new(now, Kind::Held, "believed: it has lasted for too long"));
        }
        if self.damping.expire(now) {
            self.history.push(Entry::new(now, Kind::Damped, "the hold is over"));
        }
        if let Some(slow_start) = &policy.slow_start {
            self.ramp.expire(slow_start, now);
        }
    }

    /// It has entered its state from another: what follows for its return. Returns whether reasons may have changed by it.
    pub(super) fn come_and_go(&mut self, from: State, policy: &Policy, n: usize, now: Timestamp) -> bool {
        // Without probes a trial decides, which is late enough; one that is alone is never held out.
        let could = (from.is_well() || from == State::Suspect) && n > 1 && !self.probes.is_empty();
        let out = matches!(self.state, State::Unhealthy | State::Ejected);
        if let (true, true, Some(damping)) = (could, out, &policy.damping) {
            self.damping.ejected(damping, now);
        }
        if !self.state.is_well() {
            self.ramp.end();
            return true;
        }
        self.damping.returned(now);
        if from == State::Unhealthy {
            // What its requests came to before, and when it fell, is not held against it.
            if let Some(recent) = self.recent.unusual() {
                recent.clear();
            }
            if let Some(outliers) = self.outliers.unusual() {
                outliers.clear_row();
            }
        }
        let cold = std::mem::take(&mut self.cold);
        let was_out = cold || matches!(from, State::Unhealthy | State::Ejected);
        match &policy.slow_start {
            Some(slow_start) if was_out && n > 1 => self.ramp.begin(slow_start, now),
            _ => return false,
        }
        true
    }

    /// Takes on a changed policy: what is no longer watched is forgotten.
    fn reconfigure_traffic(&mut self, policy: &Policy) {
        if policy.silence.is_none() {
            self.silence.clear();
        }
        if policy.outlier.is_none() {
            self.outliers.forget();
            self.latency.clear();
        }
        if policy.slow_start.is_none() {
            self.ramp.end();
        }
        if policy.damping.is_none() {
            self.damping.clear();
        }
    }

    fn tell(&mut self, told: Vec<Told>, at: Timestamp) {
        for told in told {
            let kind = if told.enforced { Kind::Report } else { Kind::WouldBe };
            self.history.push(Entry::new(at, kind, told.text));
        }
    }

    /// When time alone would change the verdict. While the cluster is frozen only an operator's order can end.
    pub(super) fn next_change(&self, policy: &Policy, frozen: bool) -> Option<Timestamp> {
        if frozen {
            return self.operator.next_change();
        }
        let axes = [self.operator.next_change(), self.refused.next_change(&self.probes), self.reports.next_change(policy)];
        let heartbeat = policy.heartbeat.as_ref().and_then(|policy| self.heartbeat.next_change(policy));
        let full = policy.slow_start.as_ref().and_then(|policy| self.ramp.full(policy));
        axes.into_iter().chain(self.traffic_changes(policy)).chain([heartbeat, full]).flatten().min()
    }

    fn traffic_changes(&self, policy: &Policy) -> [Option<Timestamp>; 5] {
        [
            self.silence.next_change(policy.asks()),
            policy.outlier.as_ref().and_then(|outlier| self.outliers.next_change(outlier)),
            self.cause.next_change(policy.interval),
            self.reports_cause.next_change(policy.interval),
            self.damping.next_change(),
        ]
    }

    /// When time alone would change anything.
    pub(super) fn next_wake(&self, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
        let axes = [self.operator.next_change(), self.refused.next_change(&self.probes), self.reports.wake(policy)];
        let heartbeat = policy.heartbeat.as_ref().and_then(|policy| self.heartbeat.wake(policy));
        let step = policy.slow_start.as_ref().and_then(|policy| self.ramp.next_change(policy));
        let others = [heartbeat, step, self.shares.wake(now), self.role.ends(policy)];
        axes.into_iter().chain(self.traffic_changes(policy)).chain(others).flatten().min()
    }

    /// Whether there has been a verdict, or none is needed.
    pub(super) fn settled(&self, policy: &Policy) -> bool {
        let alone = policy.heartbeat.is_some() && self.probes.is_empty();
        // Who leads should be known when the first request comes.
        let asks = policy.leader.as_ref().is_some_and(|leader| leader.asks);
        let told = !asks || self.reports.heard();
        self.probes.settled() && told && (!alone || self.heartbeat.is_settled())
    }

    /// Takes on a changed policy.
    pub(super) fn reconfigure(&mut self, before: &Policy, policy: &Policy, now: Timestamp) {
        if (&before.probes, &before.elsewhere, before.require) != (&policy.probes, &policy.elsewhere, policy.require) {
            self.probes.reconfigure(policy, now);
        }
        if !policy.rules.is_empty() || self.reports.unusual().is_some() {
            self.reports.reconfigure(policy, before.weight_by == policy.weight_by);
        }
        self.reconfigure_traffic(policy);
        if before.heartbeat.is_none() && policy.heartbeat.is_some() {
            self.heartbeat.begin(matches!(self.judged.base, State::Healthy | State::Degraded), now);
        }
        if policy.leader.is_none() {
            self.role = Role::default();
        }
        if !before.advisers.is_empty() && policy.advisers.is_empty() {
            // Nobody is left to say "ready".
            self.wishes.forget();
        }
        self.fold_beats(policy);
    }

    /// How often it should be probed now.
    pub(super) fn pace(&self) -> Pace {
        let out = self.probes.well() == Some(false) || self.refused.is_out();
        let rising = if self.probes.well() == Some(false) { self.probes.is_rising() } else { self.probes.rising() > 0 };
        let question = self.silence.is_suspect()
            || self.outliers.is_gone()
            || self.cause.is_held()
            || self.quorum.in_doubt()
            || self.probes.well().is_none()
            || self.probes.is_falling()
            || self.probes.is_rising();
        match (out, rising) {
            (true, false) if !self.cause.is_held() => Pace::Down,
            (true, _) => Pace::Fast,
            (false, _) if question || self.refused.in_doubt() => Pace::Fast,
            (false, _) => Pace::Normal,
        }
    }
}

/// Who answered a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meeting {
    /// Whoever answered before, as far as can be told.
    Same,
    /// A new process.
    Other,
    /// One that has been followed by another.
    Zombie,
}

/// How long traffic may outweigh a probe that is lost again and again.
fn veto(policy: &Policy) -> Duration {
    policy.interval.saturating_mul(VETO)
}

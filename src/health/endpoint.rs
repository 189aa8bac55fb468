//! Everything believed of one endpoint: its axes, and their fold into one state with ordered reasons.
//!
//! The fold is a pure function of the axes. It is kept apart from what is in force, because a frozen cluster goes on
//! listening without acting on what it hears.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::admission::{Rank, Seat};
use crate::health::budget::Stand;
use crate::health::cause::Cause;
use crate::health::changes::Member;
use crate::health::damping::Damping;
use crate::health::electorate::Vote;
use crate::health::history::{Entry, History, Kind};
use crate::health::latency::Latency;
use crate::health::operator::Operator;
use crate::health::outliers::Outliers;
use crate::health::policy::Policy;
use crate::health::probes::Probes;
use crate::health::quorum::{self, Quorum};
use crate::health::ramp::Ramp;
use crate::health::recent::Recent;
use crate::health::refused::Refused;
use crate::health::reports::Reports;
use crate::health::rules::Told;
use crate::health::schedule::Pace;
use crate::health::shares::Shares;
use crate::health::signal::{Failure, Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal};
use crate::health::silence::Silence;
use crate::health::verdict::{Code, Reason, State};
use crate::health::weight;
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
    pub(super) reports: Reports,
    pub(super) recent: Recent,
    pub(super) silence: Silence,
    pub(super) outliers: Outliers,
    pub(super) latency: Latency,
    pub(super) cause: Cause,
    pub(super) damping: Damping,
    pub(super) ramp: Ramp,
    /// Whether it must begin with less than its weight when it first gets traffic: it joined others that are warm.
    pub(super) cold: bool,
    /// What its process names itself by.
    process: Option<Arc<str>>,
    /// When the newest request had been sent that was answered well.
    success_sent: Timestamp,
    quorum: Quorum,
    /// What we say of it to the others of the fleet.
    pub(super) vote: Option<Vote>,
    pub(super) operator: Operator,
    pub(super) wishes: Wishes,
    pub(super) shares: Shares,
    pub(super) history: History,
    /// The fold of what is observed; stands still while the cluster is frozen.
    pub(super) judged: Judged,
    /// What became of its claim to be ejected.
    pub(super) soft: Soft,
    /// The state in force and when it was entered.
    pub(super) state: State,
    pub(super) since: Timestamp,
    /// Effective weight while it gets traffic.
    pub(super) weight: f64,
    /// Free share in points that the weight is taken from.
    pub(super) free: Option<u8>,
    /// What budget, admission and mean free share have counted it as.
    pub(super) stand: Stand,
    pub(super) seat: Seat,
    pub(super) share: Option<u8>,
    pub(super) capacity: Option<f64>,
    pub(super) wake: Option<Timestamp>,
}

/// What the axes ask for, the operator and the cap on soft ejections left aside.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// Unhealthy, unknown, degraded or healthy.
    base: State,
    /// The state that the endpoint asks to be in, unless it is ready.
    wish: Option<State>,
    /// Since when it should be taken out for soft reasons, if it should, and in which state it is then.
    claim: Option<(Timestamp, State)>,
    /// Each with the state it asks for, gravest first.
    reasons: Vec<(State, Reason)>,
}

/// What became of a claim to be ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Soft {
    #[default]
    Unclaimed,
    Granted,
    Withheld,
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
        let seat = Seat { rank: None, backup: member.backup, ready: true };
        let mut endpoint = Self {
            member,
            probes: Probes::new(policy, now),
            refused: Refused::default(),
            reports: Reports::new(policy),
            recent: Recent::default(),
            silence: Silence::default(),
            outliers: Outliers::default(),
            latency: Latency::default(),
            cause: Cause::default(),
            damping: Damping::default(),
            ramp: Ramp::default(),
            cold: false,
            process: None,
            success_sent: Timestamp::ZERO,
            quorum: Quorum::default(),
            vote: None,
            operator: Operator::default(),
            wishes: Wishes::default(),
            shares: Shares::default(),
            history: History::default(),
            judged: Judged { base: State::Unknown, wish: None, claim: None, reasons: Vec::new() },
            soft: Soft::default(),
            state: State::Unknown,
            since: now,
            weight: 0.0,
            free: None,
            stand: Stand::default(),
            seat,
            share: None,
            capacity: None,
            wake: None,
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
            Observation::Probe(run) => self.observe_probe(run, at, context),
            Observation::Report(reading) => self.observe_report(reading, at, context),
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
            Observation::Process(name) => return self.observe_process(name, at, context),
            Observation::Fleet(count) => return self.quorum.hear(*count),
            Observation::Operator { state, until, reason } => self.order(*state, *until, reason.as_ref(), at),
        }
        true
    }

    fn observe_refused(&mut self, at: Timestamp, context: Context<'_>) -> bool {
        let out = self.refused.is_out();
        let counted = self.refused.refuse(at, context.policy, &mut self.probes);
        if counted && !out {
            self.history.push(Entry::new(at, Kind::Refused, "a connect of live traffic was refused"));
        }
        if self.refused.is_out() && !out {
            self.forget_process();
        }
        counted
    }

    /// Who refuses connections is gone; what comes back is another process, of which nothing is known yet.
    fn forget_process(&mut self) {
        self.recent.clear();
        self.outliers.clear();
        self.latency.clear();
    }

    fn observe_probe(&mut self, run: &ProbeRun, at: Timestamp, context: Context<'_>) {
        let policy = context.policy;
        let vetoed = self.is_outweighed(run, context).then(|| ProbeRun {
            result: ProbeResult::Void("lost, but live traffic was answered meanwhile".to_owned()),
            ..run.clone()
        });
        let run = vetoed.as_ref().unwrap_or(run);
        let remarkable = self.probes.record(run, policy, at);
        match (&run.result, &policy.outlier) {
            (ProbeResult::Fail(Failure::Refused), _) if self.probes.well() == Some(false) => self.forget_process(),
            (ProbeResult::Fail(Failure::Timeout(_)), Some(outlier)) => self.outliers.postpone(at, outlier),
            _ => {}
        }
        if run.result == ProbeResult::Pass {
            self.refused.pass(run.started, policy, &mut self.probes);
            if policy.asking.get(run.probe) == Some(&true) && self.silence.pass(context.now) {
                self.history.push(Entry::new(at, Kind::Silence, "a probe was answered"));
            }
        }
        if self.probes.well() == Some(true) {
            self.cause.clear();
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

    fn observe_process(&mut self, name: &Arc<str>, at: Timestamp, context: Context<'_>) -> bool {
        let known = self.process.replace(Arc::clone(name));
        if known.is_none_or(|known| known == *name) {
            return false;
        }
        self.history.push(Entry::new(at, Kind::Process, "another process answers"));
        self.damping.new_process(context.now);
        self.forget_process();
        if let Some(policy) = context.policy.slow_start.as_ref().filter(|_| self.state.is_well()) {
            self.ramp.begin(policy, context.now);
        }
        true
    }

    fn observe_report(&mut self, reading: &ReportReading, at: Timestamp, context: Context<'_>) {
        let told = self.reports.read(reading, at, context.policy, context.report_interval);
        self.tell(told, at);
        if let ReportReading::Read(report) | ReportReading::Load(report) = reading {
            self.observe_asks(&report.asks, at);
        }
    }

    fn observe_asks(&mut self, asks: &Asks, at: Timestamp) {
        if let Some(news) = self.wishes.hear(asks, at) {
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
        let told = self.reports.expire(now, context.policy);
        self.tell(told, now);
        self.shares.expire(now);
        if self.operator.expire(now) {
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
            && self.outliers.expire(now, context.pace, outlier)
        {
            self.recent.clear();
            let text = if self.outliers.is_apart() { "on trial" } else { "its trial is over" };
            self.history.push(Entry::new(now, Kind::Outlier, text));
        }
        if self.cause.expire(now, policy.interval) {
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
        let out = self.state == State::Unhealthy || (self.state == State::Ejected && self.outliers.is_apart());
        if let (true, true, Some(damping)) = (could, out, &policy.damping) {
            self.damping.ejected(damping, now);
        }
        if !self.state.is_well() {
            self.ramp.end();
            return true;
        }
        self.damping.returned(now);
        let was_out = match from {
            State::Unhealthy => true,
            State::Ejected => self.outliers.is_apart() || self.damping.has_held(now),
            State::Unknown => std::mem::take(&mut self.cold),
            _ => false,
        };
        match &policy.slow_start {
            Some(slow_start) if was_out && n > 1 => self.ramp.begin(slow_start, now),
            _ => return false,
        }
        true
    }

    /// Takes on a changed policy: what is no longer watched is forgotten.
    pub(super) fn reconfigure_traffic(&mut self, policy: &Policy) {
        if policy.silence.is_none() {
            self.silence.clear();
        }
        if policy.outlier.is_none() {
            self.outliers.clear();
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
        let full = policy.slow_start.as_ref().and_then(|policy| self.ramp.full(policy));
        axes.into_iter().chain(self.traffic_changes(policy)).chain([full]).flatten().min()
    }

    fn traffic_changes(&self, policy: &Policy) -> [Option<Timestamp>; 4] {
        [
            self.silence.next_change(policy.asks()),
            policy.outlier.as_ref().and_then(|outlier| self.outliers.next_change(outlier)),
            self.cause.next_change(policy.interval),
            self.damping.next_change(),
        ]
    }

    /// When time alone would change anything.
    pub(super) fn next_wake(&self, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
        let axes = [self.operator.next_change(), self.refused.next_change(&self.probes), self.reports.wake(policy)];
        let step = policy.slow_start.as_ref().and_then(|policy| self.ramp.next_change(policy));
        axes.into_iter().chain(self.traffic_changes(policy)).chain([step, self.shares.wake(now)]).flatten().min()
    }

    /// Folds the axes anew.
    pub(super) fn judge(&mut self, policy: &Policy, now: Timestamp) {
        let mut reasons: Vec<(State, Reason)> = Vec::new();
        match self.probes.well() {
            Some(true) => {}
            Some(false) => {
                let held = self.cause.reason(policy.interval);
                let state = if held.is_some() { State::Suspect } else { State::Unhealthy };
                reasons.extend(held);
                reasons.extend(self.probes.failing(policy).map(|reason| (state, reason)));
            }
            None => {
                let since = self.judged.unknown_since().unwrap_or(now);
                reasons.push((State::Unknown, self.probes.unknown(since)));
            }
        }
        reasons.extend(self.refused.reason(policy, &self.probes));
        reasons.extend(self.reports.reasons());
        reasons.extend(self.silence.reason(policy.asks()));
        reasons.extend(policy.outlier.as_ref().and_then(|outlier| self.outliers.reason(outlier)));
        reasons.extend(self.latency.reason());
        let base = |reasons: &[(State, Reason)]| reasons.iter().filter(|one| !is_soft(one)).map(|(state, _)| *state).min();
        if let Some(damping) = &policy.damping {
            let well = base(&reasons).is_none_or(State::is_well);
            self.damping.observe(well, damping, now);
            reasons.extend(self.damping.reason());
        }
        reasons.extend(policy.slow_start.as_ref().and_then(|slow_start| self.ramp.reason(slow_start)));
        self.vote = quorum::vote(base(&reasons), &reasons);
        if policy.quorum {
            self.quorum.consult(self.vote, &mut reasons, now);
        }
        reasons.sort_by_key(|(state, _)| *state);
        let base = base(&reasons).unwrap_or(State::Healthy);
        // While it is held for coming and going without being well, that is no claim: it is out by itself.
        let idle = self.damping.reason().is_some() && !self.damping.is_holding();
        let soft = reasons.iter().filter(|one| is_soft(one) && !(idle && one.1.code == Code::Damped));
        let claim = soft.map(|(state, reason)| (reason.since, *state)).reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)));
        let wish = self.wishes.reason();
        let wished = wish.as_ref().map(|(state, _)| *state);
        reasons.extend(wish);
        reasons.sort_by_key(|(state, _)| *state);
        self.judged = Judged { base, wish: wished, claim, reasons };
    }

    /// What the budget must know. An endpoint that is out for another cause asks for nothing.
    pub(super) fn wanted_stand(&self) -> Stand {
        let base = self.judged.base;
        let ready = self.ordered().is_none();
        let well = ready && base.is_well();
        let claim = self.judged.claim.filter(|_| well || (ready && base == State::Unknown)).map(|(since, _)| since);
        Stand { claim, well }
    }

    /// The state that the operator orders or the endpoint asks for, the stricter one.
    fn ordered(&self) -> Option<State> {
        self.operator.state().into_iter().chain(self.judged.wish).min()
    }

    /// The fold of everything.
    pub(super) fn wanted_state(&self) -> State {
        let base = self.judged.base;
        if let Some(ordered) = self.ordered() {
            return ordered;
        }
        match (base, self.soft) {
            (State::Unhealthy, _) if self.state == State::Ejected && self.is_stuck() => State::Ejected,
            (State::Unhealthy, _) => State::Unhealthy,
            (State::Ejected, _) => State::Ejected,
            (_, Soft::Granted) => self.judged.claim.map_or(State::Ejected, |(_, state)| state),
            (State::Healthy, Soft::Withheld) => State::Degraded,
            (base, _) => base,
        }
    }

    /// Whether it stays ejected though its probes fail: it is held for coming and going, or its probes are lost as its requests
    /// were. One that turned with each probe would say nothing new each time.
    fn is_stuck(&self) -> bool {
        self.damping.is_stuck() || (self.outliers.is_out() && self.probes.only_late() && !self.refused.is_out())
    }

    /// What admission must know, given the state in force.
    pub(super) fn wanted_seat(&self) -> Seat {
        let unhealthy = self.judged.reasons.iter().filter(|(state, _)| *state == State::Unhealthy);
        // One that fails while it is held out is as sick as it looks.
        let stuck = self.state == State::Ejected && self.judged.base == State::Unhealthy;
        let state = if stuck { State::Unhealthy } else { self.state };
        let rank = Rank::of(state, self.probes.tried(), unhealthy.map(|(_, reason)| &reason.code));
        Seat { rank, backup: self.member.backup, ready: self.ordered().is_none() }
    }

    /// The weight while it gets traffic, given the state in force.
    pub(super) fn wanted_weight(&self, mean: &weight::Mean) -> f64 {
        let by_state = if self.state == State::Degraded { self.degraded_weight() } else { 1.0 };
        let by_traffic = self.latency.weight().min(self.outliers.weight()).min(self.ramp.share());
        f64::from(self.member.weight) * by_state * by_traffic * mean.factor(self.free) * self.shares.factor()
    }

    /// Half, unless every reason for which it is degraded has a weight of its own.
    fn degraded_weight(&self) -> f64 {
        let own = |(state, reason): &(State, Reason)| {
            let trial = reason.code == Code::OutlierErrors && *state == State::Degraded;
            trial || matches!(reason.code, Code::OutlierLatency | Code::SlowStart)
        };
        if self.judged.reasons.iter().all(own) { 1.0 } else { weight::of_state(State::Degraded) }
    }

    /// Every reason, gravest first; `frozen` is since when the cluster is.
    pub(super) fn reasons(&self, frozen: Option<Timestamp>) -> Vec<Reason> {
        let mut reasons: Vec<(State, Reason)> = self.operator.reason().into_iter().collect();
        reasons.extend(self.judged.reasons.iter().map(|(state, reason)| self.shown(*state, reason)));
        reasons.sort_by_key(|(state, _)| *state);
        let frozen = frozen.map(|since| Reason {
            code: Code::Frozen,
            probe: None,
            detail: "no verdict of this cluster changes until it is thawed".to_owned(),
            since,
            until: None,
        });
        reasons.into_iter().map(|(_, reason)| reason).chain(frozen).collect()
    }

    fn shown(&self, state: State, reason: &Reason) -> (State, Reason) {
        let mut reason = reason.clone();
        if is_soft(&(state, reason.clone())) && self.soft == Soft::Withheld {
            reason.detail.push_str("; ejection withheld, too many are out already");
            return (State::Degraded, reason);
        }
        (state, reason)
    }

    /// The code of the first reason for which it should be ejected.
    pub(super) fn claim_code(&self) -> Option<Code> {
        self.judged.reasons.iter().find(|one| is_soft(one)).map(|(_, reason)| reason.code.clone())
    }

    /// How often it should be probed now.
    pub(super) fn pace(&self) -> Pace {
        let out = self.probes.well() == Some(false) || self.refused.is_out();
        let rising = if self.probes.well() == Some(false) { self.probes.is_rising() } else { self.probes.rising() > 0 };
        let question = self.silence.is_suspect()
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

/// Whether a reason asks for an ejection that is capped: by outliers, report rules, silence and coming and going.
fn is_soft((state, reason): &(State, Reason)) -> bool {
    (*state == State::Ejected && reason.code != Code::Quorum) || (*state == State::Suspect && reason.code == Code::Silence)
}

/// How long traffic may outweigh a probe that is lost again and again.
fn veto(policy: &Policy) -> Duration {
    policy.interval.saturating_mul(VETO)
}

impl Judged {
    fn unknown_since(&self) -> Option<Timestamp> {
        self.reasons.iter().find(|(state, _)| *state == State::Unknown).map(|(_, reason)| reason.since)
    }
}

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
use crate::health::changes::Member;
use crate::health::history::{Entry, History, Kind};
use crate::health::operator::Operator;
use crate::health::policy::Policy;
use crate::health::probes::Probes;
use crate::health::refused::Refused;
use crate::health::reports::Reports;
use crate::health::rules::Told;
use crate::health::schedule::Pace;
use crate::health::signal::{Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal};
use crate::health::verdict::{Code, Reason, State};
use crate::health::weight;

/// One endpoint.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) member: Member,
    pub(super) probes: Probes,
    pub(super) refused: Refused,
    pub(super) reports: Reports,
    pub(super) operator: Operator,
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
    pub(super) wake: Option<Timestamp>,
}

/// What the axes ask for, the operator and the cap on soft ejections left aside.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// Unhealthy, unknown, degraded or healthy.
    base: State,
    /// Since when it should be ejected, if it should.
    claim: Option<Timestamp>,
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
            operator: Operator::default(),
            history: History::default(),
            judged: Judged { base: State::Unknown, claim: None, reasons: Vec::new() },
            soft: Soft::default(),
            state: State::Unknown,
            since: now,
            weight: 0.0,
            free: None,
            stand: Stand::default(),
            seat,
            share: None,
            wake: None,
        };
        endpoint.judge(policy, now);
        endpoint.state = endpoint.wanted_state();
        endpoint
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
            Observation::Operator { state, until, reason } => self.order(*state, *until, reason.as_ref(), context.now),
        }
        true
    }

    fn observe_refused(&mut self, at: Timestamp, context: Context<'_>) -> bool {
        let out = self.refused.is_out();
        let counted = self.refused.refuse(at, context.policy, &mut self.probes);
        if counted && !out {
            self.history.push(Entry::new(at, Kind::Refused, "a connect of live traffic was refused"));
        }
        counted
    }

    fn observe_probe(&mut self, run: &ProbeRun, at: Timestamp, context: Context<'_>) {
        let remarkable = self.probes.record(run, context.policy, at);
        if run.result == ProbeResult::Pass {
            self.refused.pass(run.started, context.policy, &mut self.probes);
        }
        let Some(name) = self.probes.name(run.probe).filter(|_| remarkable) else { return };
        let detail = match &run.result {
            ProbeResult::Pass => String::new(),
            ProbeResult::Fail(failure) => failure.to_string(),
            ProbeResult::Void(why) => why.clone(),
        };
        let entry = Entry::new(at, Kind::Probe, detail);
        self.history.push(Entry { probe: Some(Arc::clone(name)), result: Some(run.result.as_str()), ..entry });
    }

    fn observe_report(&mut self, reading: &ReportReading, at: Timestamp, context: Context<'_>) {
        let told = self.reports.read(reading, at, context.policy, context.report_interval);
        self.tell(told, at);
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
        if self.operator.expire(now) {
            self.history.push(Entry::new(now, Kind::Operator, "the order ran out"));
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
        axes.into_iter().flatten().min()
    }

    /// When time alone would change anything.
    pub(super) fn next_wake(&self, policy: &Policy) -> Option<Timestamp> {
        let axes = [self.operator.next_change(), self.refused.next_change(&self.probes), self.reports.wake(policy)];
        axes.into_iter().flatten().min()
    }

    /// Folds the axes anew.
    pub(super) fn judge(&mut self, policy: &Policy, now: Timestamp) {
        let mut reasons: Vec<(State, Reason)> = Vec::new();
        match self.probes.well() {
            Some(true) => {}
            Some(false) => reasons.extend(self.probes.failing(policy).map(|reason| (State::Unhealthy, reason))),
            None => {
                let since = self.judged.unknown_since().unwrap_or(now);
                reasons.push((State::Unknown, self.probes.unknown(since)));
            }
        }
        reasons.extend(self.refused.reason(policy, &self.probes));
        reasons.extend(self.reports.reasons());
        reasons.sort_by_key(|(state, _)| *state);
        let base = reasons.iter().map(|(state, _)| *state).find(|state| *state != State::Ejected).unwrap_or(State::Healthy);
        let claims = reasons.iter().filter(|(state, _)| *state == State::Ejected);
        let claim = claims.map(|(_, reason)| reason.since).min();
        self.judged = Judged { base, claim, reasons };
    }

    /// What the budget must know. An endpoint that is out for another cause asks for nothing.
    pub(super) fn wanted_stand(&self) -> Stand {
        let base = self.judged.base;
        let ready = self.operator.state().is_none();
        let well = ready && matches!(base, State::Healthy | State::Degraded);
        let claim = self.judged.claim.filter(|_| well || (ready && base == State::Unknown));
        Stand { claim, well }
    }

    /// The fold of everything.
    pub(super) fn wanted_state(&self) -> State {
        let base = self.judged.base;
        if let Some(ordered) = self.operator.state() {
            return ordered;
        }
        match (base, self.soft) {
            (State::Unhealthy, _) => State::Unhealthy,
            (_, Soft::Granted) => State::Ejected,
            (State::Healthy, Soft::Withheld) => State::Degraded,
            (base, _) => base,
        }
    }

    /// What admission must know, given the state in force.
    pub(super) fn wanted_seat(&self) -> Seat {
        let unhealthy = self.judged.reasons.iter().filter(|(state, _)| *state == State::Unhealthy);
        let rank = Rank::of(self.state, self.probes.tried(), unhealthy.map(|(_, reason)| &reason.code));
        Seat { rank, backup: self.member.backup, ready: self.operator.state().is_none() }
    }

    /// The weight while it gets traffic, given the state in force.
    pub(super) fn wanted_weight(&self, mean: &weight::Mean) -> f64 {
        f64::from(self.member.weight) * weight::of_state(self.state) * mean.factor(self.free)
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
        if state == State::Ejected && self.soft == Soft::Withheld {
            reason.detail.push_str("; ejection withheld, too many are out already");
            return (State::Degraded, reason);
        }
        (state, reason)
    }

    /// The code of the first reason for which it should be ejected.
    pub(super) fn claim_code(&self) -> Option<Code> {
        self.judged.reasons.iter().find(|(state, _)| *state == State::Ejected).map(|(_, reason)| reason.code.clone())
    }

    /// How often it should be probed now.
    pub(super) fn pace(&self) -> Pace {
        let out = self.probes.well() == Some(false) || self.refused.is_out();
        let rising = if self.probes.well() == Some(false) { self.probes.is_rising() } else { self.probes.rising() > 0 };
        let question = self.probes.well().is_none() || self.probes.is_falling() || self.probes.is_rising();
        match (out, rising) {
            (true, false) => Pace::Down,
            (true, true) => Pace::Fast,
            (false, _) if question || self.refused.in_doubt() => Pace::Fast,
            (false, _) => Pace::Normal,
        }
    }
}

impl Judged {
    fn unknown_since(&self) -> Option<Timestamp> {
        self.reasons.iter().find(|(state, _)| *state == State::Unknown).map(|(_, reason)| reason.since)
    }
}

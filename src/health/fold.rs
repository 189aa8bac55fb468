//! Folds the axes of one endpoint into one state with ordered reasons.
//!
//! The fold is a pure function of the axes. It is kept apart from what is in force, because a frozen cluster goes on
//! listening without acting on what it hears.

use crate::base::time::Timestamp;
use crate::health::admission::{Rank, Seat};
use crate::health::budget::Stand;
use crate::health::endpoint::Endpoint;
use crate::health::policy::Policy;
use crate::health::quorum;
use crate::health::verdict::{Code, Reason, State};
use crate::health::weight;

/// What the axes ask for, the operator and the cap on soft ejections left aside.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// The state of the gravest reason that asks for nobody's leave.
    pub(super) base: State,
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

impl Judged {
    /// Nothing is known.
    pub(super) const fn unknown() -> Self {
        Self { base: State::Unknown, wish: None, claim: None, reasons: Vec::new() }
    }

    fn unknown_since(&self) -> Option<Timestamp> {
        self.reasons.iter().find(|(state, _)| *state == State::Unknown).map(|(_, reason)| reason.since)
    }
}

impl Endpoint {
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
        reasons.extend(self.reported(policy));
        if let Some(heartbeat) = &policy.heartbeat {
            let folded = policy.folds_beats();
            let said = self.heartbeat.reasons(heartbeat, self.probes.is_empty());
            reasons.extend(said.filter(|(_, reason)| !folded || self.blames_beats(&reason.code, policy)));
        }
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
        // Who is drained in order to be started anew fails meanwhile, and is another one when it comes back.
        self.cold |= base == State::Unhealthy && matches!(self.state, State::Draining | State::Maintenance);
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

    /// Whether silence or lateness of its heartbeats is held against it where probes may outvote them.
    fn blames_beats(&self, code: &Code, policy: &Policy) -> bool {
        match code {
            Code::HeartbeatExpired => self.probes.well() == Some(false),
            Code::HeartbeatLate => self.probes.leans_on_beats(policy),
            _ => true,
        }
    }

    /// What its reports ask for. What is held back only degrades.
    fn reported(&self, policy: &Policy) -> impl Iterator<Item = (State, Reason)> {
        let held = self.reports_cause.held_until(policy.interval);
        self.reports.reasons().into_iter().map(move |(state, mut reason)| {
            if held.is_none() || state != State::Ejected {
                return (state, reason);
            }
            reason.detail.push_str("; ejection withheld, half of the cluster or more turned at once");
            reason.until = held;
            (State::Degraded, reason)
        })
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
            (State::Draining, _) => State::Draining,
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
        let tried = self.probes.tried() || self.heartbeat.heard();
        let rank = Rank::of(state, tried, unhealthy.map(|(_, reason)| &reason.code));
        let ready = self.ordered().is_none() && self.judged.base != State::Draining;
        Seat { rank, backup: self.member.backup, ready }
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
}

/// Whether a reason asks for an ejection that is capped: by outliers, report rules, silence and coming and going.
fn is_soft((state, reason): &(State, Reason)) -> bool {
    (*state == State::Ejected && reason.code != Code::Quorum) || (*state == State::Suspect && reason.code == Code::Silence)
}

//! Follows one rule on one metric of the report: whether its levels are reached for long enough, and left again.
//!
//! A level is entered late and left early in opposite directions: only after `for`, so that one busy second ejects nobody,
//! and only on the good side of `recover`, so that an endpoint at the level does not come and go. Levels of one rule are
//! followed apart. A rule with `enforce: false` is followed just the same and acts on nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::policy::{For, Level, Rule, When};
use crate::health::verdict::{Code, Reason, State};
use crate::report::spec::is_share;

/// How one rule stands with one endpoint.
#[derive(Debug, Clone)]
pub(super) struct RuleState {
    rule: Arc<Rule>,
    degrade: Standing,
    eject: Standing,
    /// The last value of the metric, and when it was reported.
    value: Option<(f64, Timestamp)>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Standing {
    /// Distinct reports past the level, in a row.
    streak: u32,
    /// The first of them.
    past_since: Option<Timestamp>,
    /// Since when the level acts.
    held: Option<Timestamp>,
}

/// Something about a rule that is worth remembering, as a sentence.
pub(super) struct Told {
    /// Whether the rule acts, or only says what it would do.
    pub(super) enforced: bool,
    pub(super) text: String,
}

/// How a rule stood, without its figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RuleMemory {
    metric: Arc<str>,
    below: bool,
    degrade: Standing,
    eject: Standing,
    value: Option<(f64, Timestamp)>,
}

impl RuleState {
    pub(super) fn memory(&self) -> RuleMemory {
        let (metric, below) = (Arc::clone(&self.rule.metric), self.rule.when == When::Below);
        RuleMemory { metric, below, degrade: self.degrade, eject: self.eject, value: self.value }
    }

    /// Takes on how the rule stood, if it is this one; levels that are gone are not held.
    pub(super) fn remember(&mut self, memory: &RuleMemory) {
        if self.rule.metric == memory.metric && (self.rule.when == When::Below) == memory.below {
            (self.degrade, self.eject, self.value) = (memory.degrade, memory.eject, memory.value);
            let rule = Rule::clone(&self.rule);
            self.reconfigure(rule);
        }
    }

    pub(super) fn new(rule: Rule) -> Self {
        Self { rule: Arc::new(rule), degrade: Standing::default(), eject: Standing::default(), value: None }
    }

    /// Takes on a changed rule; what was counted stays, and levels that are gone let go.
    pub(super) fn reconfigure(&mut self, rule: Rule) {
        if rule.degrade.is_none() {
            self.degrade = Standing::default();
        }
        if rule.eject.is_none() {
            self.eject = Standing::default();
        }
        self.rule = Arc::new(rule);
    }

    /// Whether `rule` is this one with other figures.
    pub(super) fn continues_as(&self, rule: &Rule) -> bool {
        self.rule.metric == rule.metric && self.rule.when == rule.when
    }

    pub(super) fn metric(&self) -> &str {
        &self.rule.metric
    }

    /// Takes in a value. `distinct` says whether it came from a report interval of its own, so that it may count.
    pub(super) fn observe(&mut self, value: f64, at: Timestamp, distinct: bool, told: &mut Vec<Told>) {
        self.value = Some((value, at));
        let rule = Arc::clone(&self.rule);
        for (level, standing, verb) in self.levels() {
            if let Some(what) = standing.observe(&rule, level, value, at, distinct) {
                told.push(tell(&rule, level, verb, what, value));
            }
        }
    }

    /// Lets time pass: spans run out, and what rests on a value older than `max_age` is lifted.
    pub(super) fn expire(&mut self, now: Timestamp, max_age: Duration, told: &mut Vec<Told>) {
        let Some((value, seen)) = self.value else { return };
        let stale = now >= seen + max_age;
        let rule = Arc::clone(&self.rule);
        for (level, standing, verb) in self.levels() {
            let was_held = standing.held.is_some();
            if stale {
                *standing = Standing::default();
            } else {
                standing.ripen(&rule, now);
            }
            match (was_held, standing.held.is_some()) {
                (true, false) => told.push(tell(&rule, level, verb, What::Stale, value)),
                (false, true) => told.push(tell(&rule, level, verb, What::Entered, value)),
                (true, true) | (false, false) => {}
            }
        }
        if stale {
            self.value = None;
        }
    }

    /// When time alone would change something, unless another report comes.
    pub(super) fn next_change(&self, max_age: Duration) -> Option<Timestamp> {
        let (_, seen) = self.value?;
        let ripe = |standing: &Standing| match (self.rule.hold, standing.past_since, standing.held) {
            (For::Span(span), Some(since), None) => Some(since + span),
            _ => None,
        };
        let busy = |standing: &Standing| standing.held.is_some() || standing.past_since.is_some();
        let stale = (busy(&self.degrade) || busy(&self.eject)).then_some(seen + max_age);
        [ripe(&self.degrade), ripe(&self.eject), stale].into_iter().flatten().min()
    }

    /// The state the rule asks for and why, unless it is content or not enforced.
    pub(super) fn reason(&self) -> Option<(State, Reason)> {
        if !self.rule.enforce {
            return None;
        }
        let ejected = self.eject.held.zip(self.rule.eject).map(|(since, level)| (State::Ejected, since, level));
        let degraded = || self.degrade.held.zip(self.rule.degrade).map(|(since, level)| (State::Degraded, since, level));
        let (state, since, level) = ejected.or_else(degraded)?;
        let (value, _) = self.value?;
        let code = Code::Report(Arc::clone(&self.rule.metric));
        Some((state, Reason { code, probe: None, detail: explain(&self.rule, level, value), since, until: None }))
    }

    /// Since when its values have been past the level at which it ejects, whether it does so yet or not.
    pub(super) fn past_since(&self) -> Option<Timestamp> {
        self.eject.past_since.filter(|_| self.rule.enforce)
    }

    /// Whether it ejects.
    pub(super) fn ejects(&self) -> bool {
        self.rule.enforce && self.eject.held.is_some()
    }

    fn levels(&mut self) -> impl Iterator<Item = (Level, &mut Standing, &'static str)> {
        let degrade = self.rule.degrade.map(|level| (level, &mut self.degrade, "degrade"));
        let eject = self.rule.eject.map(|level| (level, &mut self.eject, "eject"));
        degrade.into_iter().chain(eject)
    }
}

#[derive(Clone, Copy)]
enum What {
    Counting(u32),
    Entered,
    Left,
    Stale,
}

impl Standing {
    fn observe(&mut self, rule: &Rule, level: Level, value: f64, at: Timestamp, distinct: bool) -> Option<What> {
        if self.held.is_some() {
            let left = rule.when.recovered(value, level.recover);
            if left {
                *self = Self::default();
            }
            return left.then_some(What::Left);
        }
        if !rule.when.past(value, level.level) {
            *self = Self::default();
            return None;
        }
        self.past_since.get_or_insert(at);
        let counted = distinct || self.streak == 0;
        self.streak = self.streak.saturating_add(u32::from(counted));
        self.ripen(rule, at);
        match (self.held, counted) {
            (Some(_), _) => Some(What::Entered),
            (None, true) => Some(What::Counting(self.streak)),
            (None, false) => None,
        }
    }

    fn ripen(&mut self, rule: &Rule, now: Timestamp) {
        let Some(since) = self.past_since.filter(|_| self.held.is_none()) else { return };
        let ripe = match rule.hold {
            For::Reports(wanted) => self.streak >= wanted.get(),
            For::Span(span) => now >= since + span,
        };
        if ripe {
            self.held = Some(now);
        }
    }
}

fn tell(rule: &Rule, level: Level, verb: &str, what: What, value: f64) -> Told {
    let text = match (what, rule.hold) {
        (What::Counting(n), For::Reports(wanted)) => format!("{}: {n} of {wanted} to {verb}", compare(rule, level, value)),
        (What::Counting(n), For::Span(span)) => {
            format!("{}: {n} in a row, {verb} after {}", compare(rule, level, value), format_duration(span))
        }
        (What::Entered, _) => format!("{verb}: {}", explain(rule, level, value)),
        (What::Left, _) => format!("no longer {verb}: {} {}", rule.metric, figure(&rule.metric, value)),
        (What::Stale, _) => format!("no longer {verb}: {} was not reported for too long", rule.metric),
    };
    Told { enforced: rule.enforce, text }
}

/// `cpu 97 % >= 95 %`
fn compare(rule: &Rule, level: Level, value: f64) -> String {
    let sign = if rule.when == When::Above { ">=" } else { "<=" };
    format!("{} {} {sign} {}", rule.metric, figure(&rule.metric, value), figure(&rule.metric, level.level))
}

/// `cpu 97 % >= 95 % in 3 reports, back below 70 %`
fn explain(rule: &Rule, level: Level, value: f64) -> String {
    let reached = if rule.when.past(value, level.level) {
        compare(rule, level, value)
    } else {
        let sign = if rule.when == When::Above { ">=" } else { "<=" };
        format!("{} {}, was {sign} {}", rule.metric, figure(&rule.metric, value), figure(&rule.metric, level.level))
    };
    let held = match rule.hold {
        For::Reports(n) if n.get() == 1 => "in a report".to_owned(),
        For::Reports(n) => format!("in {n} reports"),
        For::Span(span) => format!("for {}", format_duration(span)),
    };
    let side = if rule.when == When::Above { "below" } else { "above" };
    format!("{reached} {held}, back {side} {}", figure(&rule.metric, level.recover))
}

/// A value as its level is written: percent for shares, plain otherwise.
#[must_use]
pub fn figure(metric: &str, value: f64) -> String {
    let share = is_share(metric);
    let rounded = (value * if share { 1000.0 } else { 100.0 }).round();
    if share { format!("{} %", rounded / 10.0) } else { format!("{}", rounded / 100.0) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(10);

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn cpu(hold: For) -> RuleState {
        RuleState::new(Rule {
            metric: Arc::from("cpu"),
            when: When::Above,
            degrade: Some(Level { level: 0.8, recover: 0.72 }),
            eject: Some(Level { level: 0.95, recover: 0.7 }),
            hold,
            enforce: true,
        })
    }

    fn reports(n: u32) -> For {
        For::Reports(NonZeroU32::new(n).unwrap())
    }

    /// Feeds one value a second and compares the state after each.
    fn check(mut rule: RuleState, values: &[(f64, Option<State>)]) {
        for (second, (value, expected)) in (1..).zip(values) {
            rule.observe(*value, at(second), true, &mut Vec::new());
            assert_eq!(rule.reason().map(|(state, _)| state), *expected, "after {value} in second {second}");
        }
    }

    #[test]
    fn a_level_is_entered_after_so_many_reports_and_left_at_the_first_good_one() {
        let (degraded, ejected) = (Some(State::Degraded), Some(State::Ejected));
        check(cpu(reports(3)), &[(0.97, None), (0.97, None), (0.97, ejected), (0.9, ejected), (0.7, ejected), (0.69, None)]);
        check(cpu(reports(2)), &[(0.85, None), (0.97, degraded), (0.96, ejected), (0.71, ejected), (0.5, None)]);
        check(cpu(reports(2)), &[(0.95, None), (0.79, None), (0.95, None), (0.8, degraded), (0.72, degraded), (0.719, None)]);
    }

    #[test]
    fn below_is_the_mirror_of_above() {
        let rule = Rule {
            metric: Arc::from("free_slots"),
            when: When::Below,
            degrade: None,
            eject: Some(Level { level: 5.0, recover: 8.0 }),
            hold: reports(1),
            enforce: true,
        };
        let out = Some(State::Ejected);
        check(RuleState::new(rule), &[(6.0, None), (5.0, out), (8.0, out), (8.1, None)]);
    }

    #[test]
    fn a_span_ripens_by_time_alone() {
        let mut rule = cpu(For::Span(Duration::from_secs(6)));
        let mut told = Vec::new();
        rule.observe(0.97, at(1), true, &mut told);
        assert_eq!(rule.next_change(MAX_AGE), Some(at(7)));
        rule.expire(at(6), MAX_AGE, &mut told);
        assert!(rule.reason().is_none());
        rule.expire(at(7), MAX_AGE, &mut told);
        assert_eq!(rule.reason().map(|(state, _)| state), Some(State::Ejected));
        assert_eq!(rule.next_change(MAX_AGE), Some(at(11)), "then only age can change it");
    }

    #[test]
    fn what_an_old_report_caused_is_lifted() {
        let mut rule = cpu(reports(1));
        let mut told = Vec::new();
        rule.observe(0.97, at(1), true, &mut told);
        rule.expire(at(11) - Duration::from_nanos(1), MAX_AGE, &mut told);
        assert!(rule.reason().is_some());
        rule.expire(at(11), MAX_AGE, &mut told);
        assert!(rule.reason().is_none());
        assert_eq!(rule.next_change(MAX_AGE), None);
    }

    #[test]
    fn reports_of_the_same_interval_count_once_but_a_good_one_always_acts() {
        let mut rule = cpu(reports(2));
        let mut told = Vec::new();
        rule.observe(0.97, at(1), true, &mut told);
        rule.observe(0.97, at(1), false, &mut told);
        assert!(rule.reason().is_none());
        rule.observe(0.97, at(2), true, &mut told);
        assert!(rule.reason().is_some());
        rule.observe(0.1, at(2), false, &mut told);
        assert!(rule.reason().is_none());
    }

    #[test]
    fn a_reason_has_its_figures() {
        let mut rule = cpu(reports(3));
        for second in 1..4 {
            rule.observe(0.97, at(second), true, &mut Vec::new());
        }
        let detail = |rule: &RuleState| rule.reason().unwrap().1.detail;
        assert_eq!(detail(&rule), "cpu 97 % >= 95 % in 3 reports, back below 70 %");
        rule.observe(0.753, at(4), true, &mut Vec::new());
        assert_eq!(detail(&rule), "cpu 75.3 %, was >= 95 % in 3 reports, back below 70 %");
    }

    #[test]
    fn a_rule_that_is_not_enforced_only_talks() {
        let mut rule = cpu(reports(1));
        rule.reconfigure(Rule { enforce: false, ..(*rule.rule).clone() });
        let mut told = Vec::new();
        rule.observe(0.97, at(1), true, &mut told);
        assert!(rule.reason().is_none());
        assert!(told.iter().all(|told| !told.enforced) && told.iter().any(|told| told.text.starts_with("eject: cpu 97 %")));
    }
}

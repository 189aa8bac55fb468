//! Keeps what one endpoint last said about itself, and what the rules and the status word make of it.
//!
//! What could not be read changes nothing: a missing metric leaves its rule as it stands. But silence is no accusation for
//! ever: when a value is older than `max_age`, what rests on it alone is lifted.
//!
//! A warning word degrades at once, and so does a failing one. If the answer it stood in belongs to a voting probe, that
//! probe has failed besides, and `fall` of those make the endpoint unhealthy.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::health::history::clip;
use crate::health::policy::Policy;
use crate::health::rules::{RuleMemory, RuleState, Told};
use crate::health::seldom::Usual;
use crate::health::signal::ReportReading;
use crate::health::verdict::{Code, Reason, State};
use crate::report::{Report, StatusWord};

/// What one endpoint reports.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    rules: Vec<RuleState>,
    last: Option<(Report, Timestamp)>,
    /// What came with live traffic, and when: a report that does not mention it takes nothing of it back.
    live: Vec<(Arc<str>, f64, Timestamp)>,
    /// What the last reading lacked.
    voids: Vec<(Arc<str>, String)>,
    /// The last report that counted as one of an interval of its own.
    counted: Option<Timestamp>,
    /// The same of those that came with live traffic.
    counted_live: Option<Timestamp>,
    warning: Option<Warning>,
    /// The metric that scales the weight, and when it was reported.
    weigher: Option<(f64, Timestamp)>,
    /// Whether one has been looked for, whatever was found, or nobody waits for one any more.
    heard: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Warning {
    word: String,
    since: Timestamp,
}

/// What one endpoint last reported, and what came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ReportsMemory {
    rules: Vec<RuleMemory>,
    metrics: Vec<(Arc<str>, f64)>,
    at: Option<Timestamp>,
    counted: Option<Timestamp>,
    warning: Option<Warning>,
    weigher: Option<(f64, Timestamp)>,
}

impl Usual for Reports {
    const USUAL: &'static Self = &Self {
        rules: Vec::new(),
        last: None,
        live: Vec::new(),
        voids: Vec::new(),
        counted: None,
        counted_live: None,
        warning: None,
        weigher: None,
        heard: false,
    };
}

impl Reports {
    pub(super) fn memory(&self) -> ReportsMemory {
        ReportsMemory {
            rules: self.rules.iter().map(RuleState::memory).collect(),
            metrics: self.metrics(),
            at: self.at(),
            counted: self.counted,
            warning: self.warning.clone(),
            weigher: self.weigher,
        }
    }

    /// Takes on what was reported.
    pub(super) fn remember(&mut self, memory: ReportsMemory) {
        for rule in &mut self.rules {
            memory.rules.iter().for_each(|known| rule.remember(known));
        }
        self.heard = true;
        self.last = memory.at.map(|at| (Report { metrics: memory.metrics, ..Report::default() }, at));
        self.counted = memory.counted;
        self.warning = memory.warning;
        self.weigher = memory.weigher;
    }

    pub(super) fn new(policy: &Policy) -> Self {
        let rules = policy.rules.iter().cloned().map(RuleState::new).collect();
        Self { rules, ..Self::USUAL.clone() }
    }

    pub(super) fn reconfigure(&mut self, policy: &Policy, weigher_stays: bool) {
        let mut old = std::mem::take(&mut self.rules);
        for rule in &policy.rules {
            let kept = old.iter().position(|state| state.continues_as(rule)).map(|at| old.remove(at));
            self.rules.push(match kept {
                Some(mut state) => {
                    state.reconfigure(rule.clone());
                    state
                }
                None => RuleState::new(rule.clone()),
            });
        }
        if !weigher_stays {
            self.weigher = None;
        }
    }

    /// Takes in a reading. Reports closer together than half of `interval` count as one.
    pub(super) fn read(&mut self, reading: &ReportReading, at: Timestamp, policy: &Policy, interval: Duration) -> Vec<Told> {
        self.heard = true;
        match reading {
            ReportReading::Read(report) => self.take(report, at, policy, interval),
            ReportReading::Load(report) => self.take_load(report, at, policy, interval),
            ReportReading::Void(hint) => {
                self.voids = vec![(Arc::from(""), clip(hint.clone()))];
                Vec::new()
            }
            ReportReading::None => {
                let wanted = policy.rules.iter().map(|rule| &rule.metric).chain(&policy.weight_by);
                self.voids.clear();
                if wanted.into_iter().any(|metric| !self.comes_live(metric)) {
                    self.voids.push((Arc::from(""), "the answer carried no report".to_owned()));
                }
                Vec::new()
            }
        }
    }

    fn take(&mut self, report: &Report, at: Timestamp, policy: &Policy, interval: Duration) -> Vec<Told> {
        let distinct = is_distinct(&mut self.counted, at, interval);
        let mut report = report.clone();
        report.metrics.retain(|(_, value)| value.is_finite());
        let mut told = self.take_figures(&report, distinct, at, policy);
        self.take_word(&report, at, &mut told);
        let voids = report.voids.iter().filter(|void| !self.comes_live(&void.metric));
        self.voids = voids.map(|void| (Arc::clone(&void.metric), clip(void.hint.clone()))).collect();
        self.live.retain(|(metric, _, came)| at < *came + policy.report_max_age && report.metric(metric).is_none());
        report.metrics.extend(self.live.iter().map(|(metric, value, _)| (Arc::clone(metric), *value)));
        report.metrics.sort_by(|a, b| a.0.cmp(&b.0));
        self.last = Some((report, at));
        told
    }

    fn comes_live(&self, metric: &str) -> bool {
        self.live.iter().any(|(known, _, _)| **known == *metric)
    }

    /// What it tells goes before what was told before; the rest of that stays, its word included.
    fn take_load(&mut self, load: &Report, at: Timestamp, policy: &Policy, interval: Duration) -> Vec<Told> {
        let distinct = is_distinct(&mut self.counted_live, at, interval);
        let told = self.take_figures(load, distinct, at, policy);
        let finite = load.metrics.iter().filter(|(_, value)| value.is_finite());
        self.live.retain(|(metric, _, _)| load.metric(metric).is_none());
        self.live.extend(finite.clone().map(|(metric, value)| (Arc::clone(metric), *value, at)));
        let mut report = self.last.take().map(|(report, _)| report).unwrap_or_default();
        report.metrics.retain(|(metric, _)| load.metric(metric).is_none());
        report.metrics.extend(finite.cloned());
        report.metrics.sort_by(|a, b| a.0.cmp(&b.0));
        self.voids.retain(|(metric, _)| load.metric(metric).is_none());
        self.last = Some((report, at));
        told
    }

    fn take_figures(&mut self, report: &Report, distinct: bool, at: Timestamp, policy: &Policy) -> Vec<Told> {
        let mut told = Vec::new();
        let finite = |metric: &str| report.metric(metric).filter(|value| value.is_finite());
        for rule in &mut self.rules {
            if let Some(value) = finite(rule.metric()) {
                rule.observe(value, at, distinct, &mut told);
            }
        }
        if let Some(value) = policy.weight_by.as_ref().and_then(|name| finite(name)) {
            self.weigher = Some((value, at));
        }
        told
    }

    fn take_word(&mut self, report: &Report, at: Timestamp, told: &mut Vec<Told>) {
        let warns = matches!(report.status, Some(StatusWord::Degraded | StatusWord::Failing));
        let text = match (&mut self.warning, warns) {
            (None, false) => return,
            (Some(warning), true) => {
                warning.word = word(report);
                return;
            }
            (None, true) => {
                self.warning = Some(Warning { word: word(report), since: at });
                format!("degrade: its report says {:?}", word(report))
            }
            (Some(_), false) => {
                self.warning = None;
                format!("no longer degrade: its report says {:?}", word(report))
            }
        };
        told.push(Told { enforced: true, text });
    }

    /// Lets time pass.
    pub(super) fn expire(&mut self, now: Timestamp, policy: &Policy) -> Vec<Told> {
        let mut told = Vec::new();
        let max_age = policy.report_max_age;
        for rule in &mut self.rules {
            rule.expire(now, max_age, &mut told);
        }
        if self.weigher.is_some_and(|(_, at)| now >= at + max_age) {
            self.weigher = None;
        }
        self.live.retain(|(_, _, came)| now < *came + max_age);
        let Some((report, at)) = &mut self.last else { return told };
        if now >= *at + max_age {
            report.metrics.clear();
            if self.warning.take().is_some() {
                told.push(Told { enforced: true, text: "no longer degrade: no report for too long".to_owned() });
            }
        }
        told
    }

    /// When time alone would change the verdict.
    pub(super) fn next_change(&self, policy: &Policy) -> Option<Timestamp> {
        let max_age = policy.report_max_age;
        let rules = self.rules.iter().filter_map(|rule| rule.next_change(max_age));
        let warning = self.warning.as_ref().and(self.last.as_ref()).map(|(_, at)| *at + max_age);
        rules.chain(warning).min()
    }

    /// When time alone would change anything, weight and figures shown included.
    pub(super) fn wake(&self, policy: &Policy) -> Option<Timestamp> {
        let max_age = policy.report_max_age;
        let weigher = self.weigher.map(|(_, at)| at + max_age);
        let figures = self.last.as_ref().filter(|(report, _)| !report.metrics.is_empty()).map(|(_, at)| *at + max_age);
        [self.next_change(policy), weigher, figures].into_iter().flatten().min()
    }

    /// The states that rules and word ask for and why: one reason a metric, the graver one.
    pub(super) fn reasons(&self) -> Vec<(State, Reason)> {
        let mut reasons: Vec<(State, Reason)> = self.rules.iter().filter_map(RuleState::reason).collect();
        if let Some(warning) = &self.warning {
            let detail = clip(format!("its report says {:?}", warning.word));
            let reason = Reason { code: Code::ReportStatus, probe: None, detail, since: warning.since, until: None };
            reasons.push((State::Degraded, reason));
        }
        if reasons.len() > 1 {
            reasons.sort_by_key(|(state, _)| *state);
            let mut seen: Vec<Code> = Vec::new();
            reasons.retain(|(_, reason)| {
                let new = !seen.contains(&reason.code);
                if new {
                    seen.push(reason.code.clone());
                }
                new
            });
        }
        reasons
    }

    /// Since when what it reports has been past a level at which it is ejected; the latest of these.
    pub(super) fn past_since(&self) -> Option<Timestamp> {
        self.rules.iter().filter_map(RuleState::past_since).max()
    }

    /// Whether any rule ejects it.
    pub(super) fn eject(&self) -> bool {
        self.rules.iter().any(RuleState::ejects)
    }

    /// The value of the metric that scales the weight, if it is fresh.
    pub(super) fn weigher(&self) -> Option<f64> {
        self.weigher.map(|(value, _)| value)
    }

    /// The last report's metrics; none if it was older than `max_age` when time last passed.
    pub(super) fn metrics(&self) -> Vec<(Arc<str>, f64)> {
        self.last.as_ref().map(|(report, _)| report.metrics.clone()).unwrap_or_default()
    }

    pub(super) fn voids(&self) -> Vec<(Arc<str>, String)> {
        self.voids.clone()
    }

    /// Nobody waits for the first one any more.
    pub(super) const fn give_up(&mut self) {
        self.heard = true;
    }

    /// Whether a report has been looked for, whatever was found, or nobody waits for one any more.
    pub(super) const fn heard(&self) -> bool {
        self.heard
    }

    /// When the last report came.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|(_, at)| *at)
    }
}

/// Whether a report counts as one of an interval of its own, given the last one that did.
fn is_distinct(counted: &mut Option<Timestamp>, at: Timestamp, interval: Duration) -> bool {
    let distinct = counted.is_none_or(|counted| at.since(counted) >= interval / 2);
    if distinct {
        *counted = Some(at);
    }
    distinct
}

fn word(report: &Report) -> String {
    clip(report.word.clone().unwrap_or_default())
}

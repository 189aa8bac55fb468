//! Weighs down an endpoint that answers much more slowly than its siblings.
//!
//! A slow endpoint passes its probes and fails no request; with requests in turn it holds a third of all clients up. It is
//! told from its siblings by two figures, each beyond chance: its mean, which finds one that is slow at everything and one that
//! is very slow at some, and its p95. `against_siblings` times theirs is too much, one and a half times theirs is well again,
//! and a few milliseconds more are nobody's trouble. Where requests are many, a fraction of a second shows it: slow answers in
//! look after look, and not in one burst as after a pause, count at once, unless the siblings' are slow in the same moment. It is not taken out: at the weight (theirs / own)², at least 1 %, it goes on
//! being measured, and a cluster whose load made it slow does not lose it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::sketch::Sketch;
use crate::base::time::Timestamp;
use crate::health::policy::Outlier;
use crate::health::verdict::{Code, Reason, State};

/// From one judgement to the next.
pub(super) const PERIOD: Duration = Duration::from_millis(250);
/// What is judged: answers of so long, more if they are too few, less if they are many.
pub(super) const FRESH: Duration = Duration::from_secs(2);
pub(super) const FRESHER: Duration = Duration::from_secs(1);
/// Answers that are many.
pub(super) const MANY: u32 = 300;
/// In so many looks slow answers must have come to count at once.
pub(super) const LOOKS: usize = 3;

/// A difference in seconds below which nobody is slow.
const SLIGHT: f64 = 0.005;
/// So many times the siblings' is well again.
const WELL: f64 = 1.5;
/// How sure a difference is, in standard errors; what is judged fifty times a second must be surer.
const SURE: f64 = 2.0;
const SURER: f64 = 2.5;
/// The least weight.
const LEAST: f64 = 0.01;
/// The weight of one that nothing has been heard of for a whole window.
const UNHEARD: f64 = 0.5;
/// How long it must be well to be believed the first time; doubles each time.
const CALM: Duration = Duration::from_secs(3);
const CALM_MAX: Duration = Duration::from_secs(60);
/// After so long the next time counts as the first.
const FORGET: Duration = Duration::from_secs(120);

/// How slow one endpoint is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Latency {
    slow: Option<Box<Slow>>,
    /// Times that are not forgotten, and when the last one ended.
    times: u32,
    ended: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Slow {
    since: Timestamp,
    weight: f64,
    /// Since when it looks well.
    calm: Option<Timestamp>,
    /// What it took, and what theirs take, in seconds.
    own: f64,
    theirs: f64,
}

/// What came of a judgement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Judged {
    Same,
    /// Its weight or standing changed.
    Moved,
    /// It would, if that were enforced: own and theirs in seconds.
    WouldBe(f64, f64),
}

impl Latency {
    /// Judges `own` answers against `theirs`.
    pub(super) fn judge(&mut self, own: &Sketch, theirs: &Sketch, policy: &Outlier, now: Timestamp) -> Judged {
        if theirs.len() < policy.min_requests {
            return Judged::Same;
        }
        match &mut self.slow {
            None => self.accuse(own, theirs, SURE, policy, now),
            Some(slow) => {
                let needed = CALM.saturating_mul(1 << self.times.saturating_sub(1).min(8)).min(CALM_MAX);
                let before = (slow.weight, slow.calm.is_some());
                slow.follow(own, theirs, policy.window, now);
                if slow.calm.is_some_and(|calm| now.since(calm) >= needed) {
                    self.slow = None;
                    self.ended = now;
                    return Judged::Moved;
                }
                if before == (slow.weight, slow.calm.is_some()) { Judged::Same } else { Judged::Moved }
            }
        }
    }

    /// Judges what came in the last moment, unless it is slow already, against what the siblings usually take and against what
    /// they took `meanwhile`: what slows all of them down is not to be held against one.
    pub(super) fn judge_latest(
        &mut self,
        own: &Sketch,
        (theirs, meanwhile): (&Sketch, &Sketch),
        policy: &Outlier,
        now: Timestamp,
    ) -> Judged {
        if self.slow.is_some() || theirs.len() < policy.min_requests || meanwhile.len() < policy.min_requests {
            return Judged::Same;
        }
        if slower(own, meanwhile, SURER, policy).is_none() {
            return Judged::Same;
        }
        self.accuse(own, theirs, SURER, policy, now)
    }

    fn accuse(&mut self, own: &Sketch, theirs: &Sketch, sure: f64, policy: &Outlier, now: Timestamp) -> Judged {
        if own.len() < policy.min_requests {
            return Judged::Same;
        }
        let Some((slowest, normal)) = slower(own, theirs, sure, policy) else { return Judged::Same };
        if !policy.enforce {
            return Judged::WouldBe(slowest, normal);
        }
        if now.since(self.ended) > FORGET {
            self.times = 0;
        }
        self.times += 1;
        let slow = Slow { since: now, weight: weight(slowest, normal), calm: None, own: slowest, theirs: normal };
        self.slow = Some(Box::new(slow));
        Judged::Moved
    }

    /// The share of its weight.
    pub(super) fn weight(&self) -> f64 {
        self.slow.as_ref().map_or(1.0, |slow| slow.weight)
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.slow.as_ref().map(|slow| slow.since)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The state this axis asks for and why, unless it is content.
    pub(super) fn reason(&self) -> Option<(State, Reason)> {
        let slow = self.slow.as_ref()?;
        let detail = format!(
            "answers take {:.1}ms, the others' {:.1}ms; {:.0} % of its weight",
            slow.own * 1e3,
            slow.theirs * 1e3,
            slow.weight * 1e2
        );
        Some((State::Degraded, Reason { code: Code::OutlierLatency, probe: None, detail, since: slow.since, until: None }))
    }
}

impl Slow {
    fn follow(&mut self, own: &Sketch, theirs: &Sketch, window: Duration, now: Timestamp) {
        if own.is_empty() {
            // Nobody knows how it does by now: it gets enough to be measured again.
            if now.since(self.since) >= window {
                self.weight = self.weight.max(UNHEARD);
            }
            return;
        }
        let (mean, usual) = (own.mean().0, theirs.mean().0);
        let (p95, high) = (own.quantile(0.95), theirs.quantile(0.95));
        let well = mean <= (WELL * usual).max(usual + SLIGHT) && p95 <= (WELL * high).max(high + SLIGHT);
        if well {
            self.calm.get_or_insert(now);
            return;
        }
        self.calm = None;
        let (own, theirs) = if mean * high >= p95 * usual { (mean, usual) } else { (p95, high) };
        let wanted = weight(own, theirs);
        // Small steps are not worth a new picker.
        if wanted / self.weight > 1.5 || wanted / self.weight < 0.67 {
            (self.weight, self.own, self.theirs) = (wanted, own, theirs);
        }
    }
}

/// What its own answers and theirs take, in seconds, if its own take so much more that chance does not explain it.
fn slower(own: &Sketch, theirs: &Sketch, sure: f64, policy: &Outlier) -> Option<(f64, f64)> {
    let times = policy.against_siblings;
    let ((mean, error), (usual, spread)) = (own.mean(), theirs.mean());
    if sure.mul_add(-error, mean) > (times * sure.mul_add(spread, usual)).max(usual + SLIGHT) {
        return Some((mean, usual));
    }
    let (p95, high) = (own.quantile(beyond(own, -sure)), theirs.quantile(beyond(theirs, sure)));
    (p95 > (times * high).max(high + SLIGHT)).then(|| (own.quantile(0.95), theirs.quantile(0.95)))
}

/// The share of the weight that goes with a latency.
fn weight(own: f64, theirs: f64) -> f64 {
    (theirs / own).powi(2).clamp(LEAST, 1.0)
}

/// The rank of the p95 moved by so many standard errors of a rank.
fn beyond(sketch: &Sketch, errors: f64) -> f64 {
    (0.95 + errors * (0.95 * 0.05 / f64::from(sketch.len().max(1))).sqrt()).clamp(0.5, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// So many answers, each of so many milliseconds.
    fn answers(kinds: &[(u32, u64)]) -> Sketch {
        let mut sketch = Sketch::default();
        for (n, millis) in kinds {
            (0..*n).for_each(|_| sketch.observe(Duration::from_millis(*millis)));
        }
        sketch
    }

    #[test]
    fn slow_is_what_chance_does_not_explain() {
        let check = |own: &[(u32, u64)], theirs: &[(u32, u64)], slow: bool| {
            let mut latency = Latency::default();
            latency.judge(&answers(own), &answers(theirs), &Outlier::usual(), at(1000));
            assert_eq!(latency.reason().is_some(), slow, "{own:?} against {theirs:?}");
        };
        check(&[(100, 50)], &[(200, 5)], true);
        check(&[(19, 50)], &[(200, 5)], false);
        check(&[(100, 50)], &[(19, 5)], false);
        check(&[(100, 12)], &[(200, 5)], false);
        check(&[(100, 4)], &[(200, 1)], false);
        check(&[(90, 5), (10, 500)], &[(200, 5)], true);
        check(&[(99, 5), (1, 1000)], &[(198, 5), (2, 1000)], false);
        check(&[(39, 5), (1, 1000)], &[(80, 5)], false);
        check(&[(100, 50)], &[(100, 5), (100, 50)], false);
    }

    #[test]
    fn the_weight_falls_with_the_square_and_not_below_a_hundredth() {
        let weight = |own: u64| {
            let mut latency = Latency::default();
            latency.judge(&answers(&[(100, own)]), &answers(&[(100, 10)]), &Outlier::usual(), at(1000));
            latency.weight()
        };
        assert!((0.04..0.09).contains(&weight(40)), "{}", weight(40));
        assert!((weight(5000) - 0.01).abs() < 1e-9);
        assert!((weight(10) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn it_is_believed_well_after_some_calm_and_later_each_time() {
        let (mut latency, well, slow) = (Latency::default(), answers(&[(100, 5)]), answers(&[(100, 50)]));
        let mut now = 1000;
        let mut spans = Vec::new();
        for _ in 0..3 {
            latency.judge(&slow, &well, &Outlier::usual(), at(now));
            assert!(latency.reason().is_some());
            let begun = now;
            while latency.reason().is_some() {
                now += 250;
                latency.judge(&well, &well, &Outlier::usual(), at(now));
            }
            spans.push((now - begun - 250) / 1000);
        }
        assert_eq!(spans, [3, 6, 12]);
    }

    #[test]
    fn one_that_is_not_heard_of_gets_enough_to_be_measured() {
        let mut latency = Latency::default();
        latency.judge(&answers(&[(100, 5000)]), &answers(&[(100, 5)]), &Outlier::usual(), at(1000));
        assert_eq!(latency.judge(&Sketch::default(), &answers(&[(100, 5)]), &Outlier::usual(), at(20_000)), Judged::Moved);
        assert!((latency.weight() - 0.5).abs() < 1e-9);
    }
}

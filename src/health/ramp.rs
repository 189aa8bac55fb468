//! Gives an endpoint that returns its traffic back step by step, as far as it copes.
//!
//! A process that has just started is cold: its caches are empty and its code is not compiled. With its full share at once it
//! is slow, then late, then out again. So it begins with `floor` of its weight and reaches all of it after `window`, a fiftieth
//! each fiftieth of it, but only by success: a step in which requests failed, took twice as long as the siblings', or piled up
//! goes back by half, at least to the floor. Without requests time alone counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::sketch::Sketch;
use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::policy::SlowStart;
use crate::health::recent::Counts;
use crate::health::verdict::{Code, Reason, State};

/// Steps of a window.
const STEPS: u32 = 50;
/// Bounds of a step.
const STEP: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// More failures than this share are a bad step.
const FAILURES: f64 = 0.02;
/// So many times the siblings' latency is a bad step.
const SLOW: f64 = 2.0;
/// A difference in seconds that is nobody's trouble.
const SLIGHT: f64 = 0.005;
/// So many times the siblings' requests in flight, and some more, are a pile.
const PILE: f64 = 1.5;
const SOME: f64 = 4.0;

/// An endpoint on its way back. What most endpoints are not on takes no room in them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Ramp(Option<Box<Climb>>);

/// What a step has shown so far does not outlive the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Climb {
    since: Timestamp,
    stepped: Timestamp,
    share: f64,
    #[serde(skip)]
    seen: Counts,
    #[serde(skip)]
    latencies: Sketch,
    #[serde(skip)]
    in_flight: u32,
    /// The siblings' mean latency in seconds and mean requests in flight.
    #[serde(skip)]
    theirs: (f64, f64),
}

impl Ramp {
    /// Begins at the floor.
    pub(super) fn begin(&mut self, policy: &SlowStart, now: Timestamp) {
        self.0 = Some(Box::new(Climb {
            since: now,
            stepped: now,
            share: policy.floor.get(),
            seen: Counts::default(),
            latencies: Sketch::default(),
            in_flight: 0,
            theirs: (0.0, 0.0),
        }));
    }

    /// Ends: it is out again, or nothing of this is wanted any more.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    pub(super) const fn is_climbing(&self) -> bool {
        self.0.is_some()
    }

    /// Takes in what its requests came to.
    pub(super) fn see(&mut self, counts: Counts, latencies: &[(u8, u32)], in_flight: u32, theirs: (f64, f64)) {
        if let Some(climb) = &mut self.0 {
            climb.seen.add(counts);
            latencies.iter().for_each(|(bucket, n)| climb.latencies.add(usize::from(*bucket), *n));
            climb.in_flight = in_flight;
            climb.theirs = theirs;
        }
    }

    /// Lets time pass. Returns whether the share has changed.
    pub(super) fn expire(&mut self, policy: &SlowStart, now: Timestamp) -> bool {
        let Some(climb) = &mut self.0 else { return false };
        let span = step(policy);
        if now < climb.stepped + span {
            return false;
        }
        let before = climb.share;
        climb.step(policy, now);
        let done = climb.share >= 1.0;
        let moved = done || (climb.share - before).abs() > f64::EPSILON;
        if done {
            self.0 = None;
        }
        moved
    }

    pub(super) fn next_change(&self, policy: &SlowStart) -> Option<Timestamp> {
        self.0.as_ref().map(|climb| climb.stepped + step(policy))
    }

    /// The share of its weight.
    pub(super) fn share(&self) -> f64 {
        self.0.as_ref().map_or(1.0, |climb| climb.share)
    }

    /// When it has its full weight if nothing speaks against it.
    pub(super) fn full(&self, policy: &SlowStart) -> Option<Timestamp> {
        let climb = self.0.as_ref()?;
        let steps = ((1.0 - climb.share) / gain(policy)).ceil().max(1.0);
        Some(climb.stepped + step(policy).mul_f64(steps))
    }

    /// Why it has less than its weight.
    pub(super) fn reason(&self, policy: &SlowStart) -> Option<(State, Reason)> {
        let climb = self.0.as_ref()?;
        let detail = format!(
            "{:.0} % of its weight so far; all of it within {} if it copes",
            climb.share * 1e2,
            format_duration(policy.window)
        );
        let until = self.full(policy);
        Some((State::Healthy, Reason { code: Code::SlowStart, probe: None, detail, since: climb.since, until }))
    }
}

/// How long a step is.
fn step(policy: &SlowStart) -> Duration {
    (policy.window / STEPS).clamp(STEP.0, STEP.1)
}

/// By how much a good step raises the share.
fn gain(policy: &SlowStart) -> f64 {
    let steps = policy.window.as_secs_f64() / step(policy).as_secs_f64();
    ((1.0 - policy.floor.get()) / steps.max(1.0)).max(0.001)
}

impl Climb {
    fn step(&mut self, policy: &SlowStart, now: Timestamp) {
        // A step that comes late, as after a pause of ours, is still one step.
        self.stepped = now;
        self.share = if self.is_bad() { (self.share / 2.0).max(policy.floor.get()) } else { self.share + gain(policy) };
        self.seen = Counts::default();
        self.latencies = Sketch::default();
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a step")]
    fn is_bad(&self) -> bool {
        let (usual, load) = self.theirs;
        let failing = self.seen.errors as f64 > FAILURES * self.seen.requests as f64;
        let slow = !self.latencies.is_empty() && usual > 0.0 && self.latencies.mean().0 > (SLOW * usual).max(usual + SLIGHT);
        let piled = load > 0.0 && f64::from(self.in_flight) > PILE.mul_add(load, SOME);
        failing || slow || piled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sketch::bucket;
    use crate::base::units::Ratio;

    fn policy() -> SlowStart {
        SlowStart { window: Duration::from_secs(10), floor: Ratio::parse("10%").unwrap() }
    }

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Climbs from `from` on, step by step, and returns the shares.
    fn climb(ramp: &mut Ramp, from: u64, steps: u64, mut see: impl FnMut(&mut Ramp)) -> Vec<f64> {
        let step = |number: u64| {
            see(ramp);
            ramp.expire(&policy(), at(from + 200 * (number + 1)));
            ramp.share()
        };
        (0..steps).map(step).collect()
    }

    fn answers(ramp: &mut Ramp, n: u32, millis: u64) {
        let bucket = u8::try_from(bucket(Duration::from_millis(millis))).unwrap();
        ramp.see(Counts { requests: n.into(), errors: 0 }, &[(bucket, n)], 2, (0.005, 5.0));
    }

    #[test]
    fn time_alone_is_enough_where_nobody_asks() {
        let mut ramp = Ramp::default();
        ramp.begin(&policy(), at(0));
        assert_eq!(ramp.full(&policy()), Some(at(10_000)));
        assert!(!ramp.expire(&policy(), at(199)) && (ramp.share() - 0.1).abs() < 1e-9);
        let shares = climb(&mut ramp, 0, 50, |_| {});
        assert!((shares[24] - 0.55).abs() < 1e-6 && !ramp.is_climbing(), "{shares:?}");
    }

    #[test]
    fn it_stays_at_the_floor_while_it_is_slow_and_climbs_once_it_is_warm() {
        let mut ramp = Ramp::default();
        ramp.begin(&policy(), at(0));
        let cold = climb(&mut ramp, 0, 15, |ramp| answers(ramp, 10, 100));
        assert!(cold.iter().all(|share| (share - 0.1).abs() < 1e-9), "{cold:?}");
        let warm = climb(&mut ramp, 3000, 50, |ramp| answers(ramp, 10, 5));
        assert!(warm.windows(2).all(|pair| pair[0] < pair[1] + 1e-9) && !ramp.is_climbing(), "{warm:?}");
    }

    #[test]
    fn failures_and_piles_set_it_back_by_half() {
        let mut ramp = Ramp::default();
        ramp.begin(&policy(), at(0));
        let up = climb(&mut ramp, 0, 25, |_| {});
        let failing = climb(&mut ramp, 5000, 1, |ramp| ramp.see(Counts { requests: 20, errors: 1 }, &[], 1, (0.005, 5.0)));
        assert!((failing[0] - up[24] / 2.0).abs() < 1e-9);
        let piled = climb(&mut ramp, 5200, 1, |ramp| ramp.see(Counts::default(), &[], 12, (0.005, 5.0)));
        assert!((piled[0] - up[24] / 4.0).abs() < 1e-9);
    }
}

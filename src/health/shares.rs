//! Keeps how much traffic an endpoint asks for, and moves its weight there with caution.
//!
//! Two kinds ask: an agent for a part of the configured weight or for another one, and a load report by what it can do (requests
//! a second over utilization) against what the others can. Figures of this sort are wrong just after a start, stale after a
//! silence, and each of them moves the load that the next one is measured under. So, as gRFC A58 has it, nothing acts in the
//! first [`BLACKOUT`], nothing after [`EXPIRY`] without news, and weights move at most by [`SLEW`] every [`STEP`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::report::Share;

/// From the first figure after a start or a silence until figures act.
const BLACKOUT: Duration = Duration::from_secs(10);
/// A figure older than this is as good as none.
const EXPIRY: Duration = Duration::from_secs(180);
/// From one move to the next.
const STEP: Duration = Duration::from_secs(1);
/// The factor by which a weight moves at most at once, either way.
const SLEW: f64 = 1.25;
/// Bounds of the factor that a load report comes to.
const FACTOR: (f64, f64) = (0.1, 10.0);
/// The least factor that an agent's part comes to: what it wants to have none of is drained and not weighed.
const LEAST: f64 = 0.001;
/// A load report moves nothing that is closer than this share to where it is: they all tremble.
const TREMBLE: f64 = 0.05;

/// What one endpoint asks for, and the factor in use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shares {
    asked: Option<(Share, Timestamp)>,
    /// The first figure since a start or a silence.
    since: Timestamp,
    target: f64,
    factor: f64,
    moved: Timestamp,
}

impl Default for Shares {
    fn default() -> Self {
        Self { asked: None, since: Timestamp::ZERO, target: 1.0, factor: 1.0, moved: Timestamp::ZERO }
    }
}

impl Shares {
    /// Takes in what was asked for.
    pub(super) fn hear(&mut self, share: Share, at: Timestamp) {
        if self.asked.is_none_or(|(_, last)| at >= last + EXPIRY) {
            self.since = at;
        }
        self.asked = Some((share, at));
    }

    /// Lets time pass.
    pub(super) fn expire(&mut self, now: Timestamp) {
        if self.asked.is_some_and(|(_, at)| now >= at + EXPIRY) {
            self.asked = None;
        }
    }

    /// The endpoint came back into traffic: its figures have a blackout anew.
    pub(super) const fn begin(&mut self, now: Timestamp) {
        self.since = now;
    }

    fn trusted(&self, now: Timestamp) -> Option<Share> {
        let (share, at) = self.asked?;
        (now < at + EXPIRY && now >= self.since + BLACKOUT).then_some(share)
    }

    /// What it can do by its load report, as far as that is trusted.
    pub(super) fn capacity(&self, now: Timestamp) -> Option<f64> {
        match self.trusted(now)? {
            Share::Capacity(capacity) => Some(capacity),
            Share::Part(_) | Share::Weight(_) => None,
        }
    }

    /// Sets where the factor moves to. `mean` is what the others can do; `None` leaves load reports without effect.
    pub(super) fn aim(&mut self, configured: u32, mean: Option<f64>, now: Timestamp) {
        let target = match (self.trusted(now), mean) {
            (Some(Share::Part(part)), _) => part.max(LEAST),
            (Some(Share::Weight(weight)), _) => (f64::from(weight) / f64::from(configured.max(1))).max(LEAST),
            (Some(Share::Capacity(capacity)), Some(mean)) if mean > 0.0 => (capacity / mean).clamp(FACTOR.0, FACTOR.1),
            (Some(Share::Capacity(_)) | None, _) => 1.0,
        };
        let trembles = self.capacity(now).is_some() && (target - self.target).abs() <= self.target * TREMBLE;
        if !trembles {
            self.target = target;
        }
    }

    /// Moves the factor if it is time to.
    pub(super) fn step(&mut self, now: Timestamp) {
        if !self.is_there() && now >= self.moved + STEP {
            self.factor = self.target.clamp(self.factor / SLEW, self.factor * SLEW);
            self.moved = now;
        }
    }

    fn is_there(&self) -> bool {
        (self.factor - self.target).abs() <= f64::EPSILON
    }

    /// The factor in use.
    pub(super) const fn factor(&self) -> f64 {
        self.factor
    }

    /// When time alone would change anything after `now`.
    pub(super) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let step = (!self.is_there()).then(|| self.moved + STEP);
        let trust = self.asked.map(|_| self.since + BLACKOUT).filter(|end| *end > now);
        let expiry = self.asked.map(|(_, at)| at + EXPIRY);
        [step, trust, expiry].into_iter().flatten().min()
    }
}

/// The mean of what a cluster's available endpoints can do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    /// One endpoint's capacity goes from `before` to `after`; `None` while it does not count.
    pub(super) fn replace(&mut self, before: Option<f64>, after: Option<f64>) {
        self.sum += after.unwrap_or(0.0) - before.unwrap_or(0.0);
        self.count = self.count + u32::from(after.is_some()) - u32::from(before.is_some());
    }

    /// The mean; `None` if nobody counts.
    pub(super) fn get(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// Asks every second from `from` up to `to`, and returns the factors after each.
    fn ask(shares: &mut Shares, share: Share, from: u64, to: u64) -> Vec<f64> {
        (from..to)
            .map(|second| {
                shares.hear(share, at(second));
                shares.aim(1, Some(100.0), at(second));
                shares.step(at(second));
                (shares.factor() * 100.0).round() / 100.0
            })
            .collect()
    }

    #[test]
    fn nothing_acts_in_the_blackout_and_then_it_moves_in_steps() {
        let mut shares = Shares::default();
        assert_eq!(ask(&mut shares, Share::Part(0.5), 100, 110), [1.0; 10]);
        assert_eq!(ask(&mut shares, Share::Part(0.5), 110, 115), [0.8, 0.64, 0.51, 0.5, 0.5]);
        assert_eq!(ask(&mut shares, Share::Part(1.0), 115, 119), [0.63, 0.78, 0.98, 1.0]);
        let mut quick = Shares::default();
        ask(&mut quick, Share::Part(0.5), 0, 11);
        let before = quick.factor();
        quick.aim(1, None, at(10) + STEP / 2);
        quick.step(at(10) + STEP / 2);
        assert!((quick.factor() - before).abs() < f64::EPSILON, "one step a second");
    }

    #[test]
    fn a_silence_ends_it_and_begins_another_blackout() {
        let mut shares = Shares::default();
        ask(&mut shares, Share::Weight(2), 0, 20);
        assert!((shares.factor() - 2.0).abs() < 1e-9);
        assert_eq!(shares.wake(at(20)), Some(at(19) + EXPIRY));
        shares.expire(at(199));
        shares.aim(1, None, at(199));
        shares.step(at(199));
        assert!((shares.factor() - 1.6).abs() < 1e-9, "back to the configured weight, in steps");
        assert_eq!(ask(&mut shares, Share::Weight(2), 200, 204), [1.28, 1.02, 1.0, 1.0]);
    }

    #[test]
    fn load_reports_count_against_the_mean_and_do_not_tremble() {
        let mut shares = Shares::default();
        ask(&mut shares, Share::Capacity(200.0), 0, 20);
        assert!((shares.factor() - 2.0).abs() < 1e-9);
        ask(&mut shares, Share::Capacity(205.0), 20, 25);
        assert!((shares.factor() - 2.0).abs() < 1e-9);
        ask(&mut shares, Share::Capacity(1e9), 25, 60);
        assert!((shares.factor() - 10.0).abs() < 1e-9);
        shares.aim(1, None, at(60));
        assert!((shares.target - 1.0).abs() < f64::EPSILON, "somebody else decides the weights");
    }

    #[test]
    fn the_mean_is_over_those_that_count() {
        let mut mean = Mean::default();
        assert_eq!(mean.get(), None);
        mean.replace(None, Some(100.0));
        mean.replace(None, Some(300.0));
        assert_eq!(mean.get(), Some(200.0));
        mean.replace(Some(100.0), None);
        assert_eq!(mean.get(), Some(300.0));
    }
}

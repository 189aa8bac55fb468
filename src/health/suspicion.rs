//! Decides how improbable it is that a beat which has not come is only late: phi, a suspicion in decades.
//!
//! Phi from the scatter of arrivals alone (Hayashibara et al., SRDS 2004) takes every lost packet on a quiet network for a
//! death, since there the scatter is next to nothing. Here loss is part of the model. With `a` for the share of beats that are
//! lost after one that came, and `b` for those lost after one that was lost,
//!
//! ```text
//! P(later than t) = sum over j >= 0 of w_j · Q((t - j·h - m) / s)    w_0 = 1-a, w_j = a·b^(j-1)·(1-b)
//! phi = -log10 P
//! ```
//!
//! where `h` is the period, `m` and `s` mean and deviation of the time between two beats that follow each other. So each missed
//! beat adds `-log10 b`: two decades on a network that loses 1 %, a third of one where losses come in bursts of two. Phi reaches a
//! threshold falsely about `10^-phi` times a beat. What that rests on is learnt, from few losses where there are few; so one
//! more beat gets its chance before anybody is suspected, and then mistakes are rarer than the threshold says, never more frequent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;

/// Bounds of the share of beats lost after one that was lost.
const BURST: (f64, f64) = (1e-4, 0.7);
/// Least share of beats lost after one that came.
const FIRST: f64 = 1e-4;
/// Beats over which loss is remembered, as the base of an exponential decay.
const LOSS_MEMORY: f64 = 4096.0;
/// Gaps over which their mean and deviation are remembered.
const GAP_MEMORY: f64 = 256.0;
/// Least deviation, as a share of the period.
const MIN_DEVIATION: f64 = 0.01;
/// Deviation before anything is known, as a share of the period.
const FIRST_DEVIATION: f64 = 0.25;
/// Most terms of the sum; what is left after them counts as still to come.
const TERMS: u32 = 128;
/// The most that is told: beyond it numbers mean nothing.
const MAX_PHI: f64 = 99.0;

/// What is known of the arrivals of one sender's beats.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Arrivals {
    /// Seconds.
    period: f64,
    mean: f64,
    variance: f64,
    gaps: f64,
    /// Beats that came after one that came, and those that did not.
    came: f64,
    lost: f64,
    /// Of those that followed a lost one.
    burst_came: f64,
    burst_lost: f64,
    /// Of those that did not come in their turn, those that came later.
    #[serde(default)]
    belated: f64,
}

impl Arrivals {
    pub(super) fn new(period: Duration) -> Self {
        let period = period.as_secs_f64();
        let variance = (period * FIRST_DEVIATION).powi(2);
        Self { period, mean: period, variance, gaps: 1.0, came: 0.0, lost: 0.0, burst_came: 0.0, burst_lost: 0.0, belated: 0.0 }
    }

    /// Whether it was learnt from beats of about this period.
    pub(super) fn fits(&self, period: Duration) -> bool {
        (self.period - period.as_secs_f64()).abs() < 1e-6
    }

    /// Takes in a beat that came `gap` after the one before, with `missed` numbers between them.
    pub(super) fn learn(&mut self, gap: Duration, missed: u32) {
        let keep = 1.0 - 1.0 / LOSS_MEMORY;
        for count in [&mut self.came, &mut self.lost, &mut self.burst_came, &mut self.burst_lost, &mut self.belated] {
            *count *= keep;
        }
        if missed > 0 {
            self.lost += 1.0;
            self.burst_lost += f64::from(missed - 1);
            self.burst_came += 1.0;
            return;
        }
        self.came += 1.0;
        self.gaps = (self.gaps + 1.0).min(GAP_MEMORY);
        let apart = gap.as_secs_f64() - self.mean;
        self.mean += apart / self.gaps;
        self.variance += (apart * apart - self.variance) / self.gaps;
    }

    /// A beat came that later ones had overtaken. It was missing when it was due all the same, and phi goes by that.
    pub(super) fn overtaken(&mut self) {
        self.belated = (self.belated + 1.0).min(self.lost + self.burst_lost);
    }

    /// The share of beats that were lost, of those within memory.
    pub(super) fn loss(&self) -> f64 {
        let (missing, came) = (self.lost + self.burst_lost, self.came + self.burst_came);
        if missing > 0.0 { (missing - self.belated).max(0.0) / (missing + came) } else { 0.0 }
    }

    /// The suspicion as it grows from a beat that came at `last`.
    pub(super) fn since(&self, last: Timestamp) -> Suspicion {
        // Means of Beta(1/2, 1/2) posteriors: half a loss and half a success are presumed.
        let share = |bad: f64, good: f64| (bad + 0.5) / (bad + good + 1.0);
        Suspicion {
            last,
            period: self.period,
            mean: self.mean,
            deviation: self.variance.sqrt().max(self.period * MIN_DEVIATION),
            first: share(self.lost, self.came).max(FIRST),
            burst: share(self.burst_lost, self.burst_came).clamp(BURST.0, BURST.1),
        }
    }
}

/// The suspicion against one sender, as a function of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suspicion {
    /// When the last beat came.
    last: Timestamp,
    period: f64,
    mean: f64,
    deviation: f64,
    first: f64,
    burst: f64,
}

impl Suspicion {
    /// Phi at `now`: 0 right after a beat, at most 99.
    #[must_use]
    pub fn phi(&self, now: Timestamp) -> f64 {
        self.after(now.since(self.last).as_secs_f64())
    }

    /// Before this moment phi is next to nothing, whatever the threshold.
    pub(super) fn quiet_until(&self) -> Timestamp {
        self.last + Duration::from_secs_f64((self.mean + 2.0 * self.deviation).clamp(0.0, 1e9))
    }

    /// Whether phi had reached `threshold` a period ago, so that one more beat is missing since.
    pub(super) fn is_proved(&self, threshold: f64, now: Timestamp) -> bool {
        self.after(now.since(self.last).as_secs_f64() - self.period) >= threshold
    }

    /// When it is; `None` if not before `end`.
    pub(super) fn proved(&self, threshold: f64, end: Timestamp) -> Option<Timestamp> {
        let at = self.reaches(threshold, end)? + Duration::from_secs_f64(self.period);
        (at < end).then_some(at)
    }

    /// When phi reaches `threshold`; `None` if not before `end`.
    fn reaches(&self, threshold: f64, end: Timestamp) -> Option<Timestamp> {
        let (mut low, mut high) = (0.0, end.since(self.last).as_secs_f64());
        if self.after(high) < threshold {
            return None;
        }
        while high - low > 1e-3 {
            let middle = f64::midpoint(low, high);
            if self.after(middle) < threshold { low = middle } else { high = middle }
        }
        Some(self.last + Duration::from_secs_f64(high))
    }

    fn after(&self, elapsed: f64) -> f64 {
        let mut later = 0.0;
        let mut weight = 1.0 - self.first;
        let mut rest = 1.0;
        for term in 0..TERMS {
            let due = self.mean + f64::from(term) * self.period;
            later += weight * tail((elapsed - due) / self.deviation);
            rest = if term == 0 { self.first } else { rest * self.burst };
            weight = rest * (1.0 - self.burst);
            // Every term from here on is as good as certain to be still to come.
            if elapsed < due - 9.0 * self.deviation {
                break;
            }
        }
        // There is one zero.
        (-(later + rest).log10()).clamp(0.0, MAX_PHI) + 0.0
    }
}

/// The share of a normal distribution above `z` deviations.
fn tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(500);

    /// What a stream of beats with this loss leaves: loss after a beat that came, and after one that was lost.
    fn stream(beats: u32, first: f64, burst: f64, seed: u64) -> Arrivals {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut arrivals = Arrivals::new(PERIOD);
        for _ in 0..beats {
            let mut missed = 0;
            let mut chance = first;
            while rng.f64() < chance {
                missed += 1;
                chance = burst;
            }
            let jitter = Duration::from_micros(rng.u64(0..4000));
            arrivals.learn(PERIOD * (missed + 1) + jitter - Duration::from_millis(2), missed);
        }
        arrivals
    }

    /// Beats that must be missing before phi reaches the threshold.
    fn missing(arrivals: &Arrivals, threshold: f64) -> u32 {
        let suspicion = arrivals.since(Timestamp::ZERO);
        let at = suspicion.reaches(threshold, Timestamp::ZERO + PERIOD * 200).expect("within 200 periods");
        let periods = at.since(Timestamp::ZERO).as_secs_f64() / PERIOD.as_secs_f64();
        (0..200).filter(|n| f64::from(*n) + 1.0 < periods).count().try_into().unwrap()
    }

    #[test]
    fn the_beats_that_must_be_missing_follow_the_loss() {
        // Of the published checks of this formula: loss of 1 % needs 2, 3 and 5 missing beats at phi 3, 5 and 8.
        let even = stream(20_000, 0.01, 0.01, 1);
        assert_eq!([3.0, 5.0, 8.0].map(|phi| missing(&even, phi)), [2, 3, 5]);
        let bursts = stream(20_000, 0.01, 0.5, 1);
        let [low, middle, high] = [3.0, 5.0, 8.0].map(|phi| missing(&bursts, phi));
        assert!((4..=6).contains(&low) && (10..=13).contains(&middle) && (19..=24).contains(&high), "{low} {middle} {high}");
    }

    /// P12 of the properties of detection: a threshold of phi means about `10^-phi` false suspicions a beat.
    #[test]
    fn phi_is_as_improbable_as_it_says() {
        for (first, burst, threshold) in [(0.01, 0.01, 3.0), (0.05, 0.05, 3.0), (0.01, 0.5, 3.0), (0.05, 0.3, 2.0)] {
            let suspicion = stream(20_000, first, burst, 1).since(Timestamp::ZERO);
            let at = suspicion.reaches(threshold, Timestamp::ZERO + PERIOD * 200).unwrap().since(Timestamp::ZERO);
            let (mut rng, beats) = (fastrand::Rng::with_seed(2), 400_000);
            let mut falsely = 0_u32;
            for _ in 0..beats {
                let (mut gap, mut chance) = (PERIOD, first);
                while rng.f64() < chance {
                    (gap, chance) = (gap + PERIOD, burst);
                }
                falsely += u32::from(gap > at);
            }
            let most = f64::from(beats) * 10_f64.powf(-threshold);
            // Three standard errors of a count.
            assert!(f64::from(falsely) <= most + 3.0 * most.sqrt(), "{first} {burst}: {falsely}, at most about {most}");
        }
    }

    #[test]
    fn one_lost_beat_on_a_quiet_network_is_no_suspicion() {
        let quiet = stream(10_000, 0.0, 0.0, 1);
        assert!(missing(&quiet, 5.0) >= 2);
        let suspicion = quiet.since(Timestamp::ZERO);
        assert!(suspicion.phi(Timestamp::ZERO + PERIOD.mul_f64(1.5)) < 4.5);
    }

    #[test]
    fn nothing_is_suspected_before_the_quiet_end() {
        for arrivals in [Arrivals::new(PERIOD), stream(1000, 0.05, 0.05, 3)] {
            let suspicion = arrivals.since(Timestamp::from_millis(7));
            assert!(suspicion.phi(suspicion.quiet_until()) < 2.0);
            assert!(suspicion.phi(Timestamp::ZERO) < 1e-3);
        }
    }

    #[test]
    fn one_more_beat_gets_its_chance() {
        let suspicion = stream(20_000, 0.05, 0.05, 1).since(Timestamp::ZERO);
        let end = Timestamp::ZERO + PERIOD * 100;
        let (reached, proved) = (suspicion.reaches(5.0, end).unwrap(), suspicion.proved(5.0, end).unwrap());
        assert_eq!(proved, reached + PERIOD);
        assert!(suspicion.is_proved(5.0, proved) && !suspicion.is_proved(5.0, proved - Duration::from_millis(2)));
        assert_eq!(suspicion.proved(5.0, proved), None, "the end comes first");
        assert!(!suspicion.is_proved(5.0, Timestamp::ZERO));
    }

    #[test]
    fn what_was_overtaken_was_not_lost() {
        let mut arrivals = Arrivals::new(PERIOD);
        for missed in [0, 0, 2, 0] {
            arrivals.learn(PERIOD * (missed + 1), missed);
        }
        assert!((arrivals.loss() - 2.0 / 6.0).abs() < 1e-3, "{}", arrivals.loss());
        arrivals.overtaken();
        assert!((arrivals.loss() - 1.0 / 6.0).abs() < 1e-3, "{}", arrivals.loss());
        for _ in 0..10 {
            arrivals.overtaken();
        }
        assert!(arrivals.loss().abs() < 1e-9, "{}", arrivals.loss());
    }

    proptest! {
        #[test]
        fn phi_grows_with_time_and_is_bounded(
            loss in 0.0..0.9_f64, burst in 0.0..0.9_f64, seed: u64, times in proptest::collection::vec(0_u64..120_000, 2..20),
        ) {
            let suspicion = stream(300, loss, burst, seed).since(Timestamp::ZERO);
            let mut times = times;
            times.sort_unstable();
            let phis: Vec<f64> = times.iter().map(|millis| suspicion.phi(Timestamp::from_millis(*millis))).collect();
            prop_assert!(phis.iter().all(|phi| (0.0..=MAX_PHI).contains(phi)));
            prop_assert!(phis.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{phis:?}");
        }

        #[test]
        fn the_moment_told_is_the_moment_reached(loss in 0.0..0.3_f64, seed: u64, threshold in 0.5..8.0_f64) {
            let suspicion = stream(500, loss, loss, seed).since(Timestamp::ZERO);
            let end = Timestamp::ZERO + PERIOD * 100;
            if let Some(at) = suspicion.reaches(threshold, end) {
                prop_assert!(suspicion.phi(at) >= threshold);
                prop_assert!(suspicion.phi(at - Duration::from_millis(2)) < threshold);
            } else {
                prop_assert!(suspicion.phi(end) < threshold);
            }
        }
    }
}

//! What one worker has seen of one candidate lately: how long its answers take, and how many of them were failures.
//!
//! The latency is a peak-sensitive moving average: a slow answer counts in full at once, and is forgotten over
//! [`DECAY`]. An endpoint that fails fast would look like the best of all, so a failure counts as an answer that took at
//! least as long as usual, and stands as [`FAILURE`] requests in flight that fade as slowly. The more an endpoint
//! draws and fails, the fuller it looks.

use std::time::Duration;

use crate::base::time::Timestamp;

/// The span after which an observation counts about a third.
const DECAY: Duration = Duration::from_secs(10);
/// Requests in flight that one failure stands for.
const FAILURE: f64 = 10.0;
/// The most that failures may come to, so that who has recovered is back within two minutes.
const MOST: f64 = 100_000.0;

/// The latest about one candidate, or about a whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Standing {
    /// Seconds.
    latency: Option<f64>,
    strain: f64,
    at: Timestamp,
}

impl Standing {
    /// An answer came after so long.
    pub fn answered(&mut self, took: Duration, now: Timestamp) {
        let fade = self.fade_to(now);
        let took = took.as_secs_f64();
        self.latency = Some(match self.latency {
            Some(before) if took < before * fade => before * fade + took * (1.0 - fade),
            Some(_) | None => took,
        });
    }

    /// It failed after so long, where answers of its kind usually take `usual` seconds.
    pub fn failed(&mut self, took: Duration, usual: f64, now: Timestamp) {
        self.answered(took.max(Duration::try_from_secs_f64(usual).unwrap_or(took)), now);
        self.strain = (self.strain + FAILURE).min(MOST);
    }

    /// How long an answer takes, in seconds, as far as that is not forgotten; `None` if there was none.
    #[must_use]
    pub fn latency(&self, now: Timestamp) -> Option<f64> {
        self.latency.map(|latency| latency * fade(now.since(self.at)))
    }

    /// How many requests in flight the failures stand for.
    #[must_use]
    pub fn strain(&self, now: Timestamp) -> f64 {
        // Most have none, and an exponential is not free.
        if self.strain > 0.0 { self.strain * fade(now.since(self.at)) } else { 0.0 }
    }

    /// Lets the strain fade, and says how much of a latency is left.
    fn fade_to(&mut self, now: Timestamp) -> f64 {
        let fade = fade(now.since(self.at));
        self.strain *= fade;
        self.at = self.at.max(now);
        fade
    }
}

fn fade(span: Duration) -> f64 {
    (-span.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten() {
        let mut standing = Standing::default();
        assert_eq!(standing.latency(at(5)), None);
        standing.answered(10 * MS, at(5));
        standing.answered(500 * MS, at(5));
        assert_eq!(standing.latency(at(5)), Some(0.5));
        standing.answered(10 * MS, at(5));
        assert_eq!(standing.latency(at(5)), Some(0.5), "one quick answer proves nothing");
        let later = standing.latency(at(45)).unwrap();
        assert!((0.005..0.02).contains(&later), "{later}");
    }

    #[test]
    fn steady_answers_are_their_own_mean() {
        let mut standing = Standing::default();
        for second in 0..100 {
            standing.answered(20 * MS, at(second));
        }
        let latency = standing.latency(at(99)).unwrap();
        assert!((latency - 0.02).abs() < 1e-9, "{latency}");
    }

    #[test]
    fn a_failure_is_never_quick_and_strains_for_a_while() {
        let mut standing = Standing::default();
        standing.failed(MS / 10, 0.05, at(1));
        assert_eq!(standing.latency(at(1)), Some(0.05));
        assert!((standing.strain(at(1)) - FAILURE).abs() < 1e-9);
        assert!(standing.strain(at(121)) < 0.001);
        for _ in 0..1_000_000 {
            standing.failed(MS, f64::NAN, at(1));
        }
        assert!(standing.strain(at(1)) <= MOST);
    }
}

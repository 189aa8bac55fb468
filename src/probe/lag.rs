//! How late probes start against their slots: whether the checker itself keeps up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::base::time::Timestamp;

/// The most that late starts add up to.
const MOST: u64 = 8;
/// Late starts within this count once.
const RISE: Duration = Duration::from_millis(100);
/// So long without a late start takes one off.
const FALL: Duration = Duration::from_secs(1);

/// How late the latest probe started. Time for which it waited for its own last run does not count: that is the endpoint's.
#[derive(Debug, Default)]
pub struct ProbeLag {
    late: AtomicU64,
    burden: AtomicU64,
    /// When the burden last moved.
    moved: AtomicU64,
}

impl ProbeLag {
    /// In seconds, as metrics want it.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.late.load(Relaxed)).as_secs_f64()
    }

    pub(super) fn set(&self, late: Duration) {
        self.late.store(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A probe has started, late or not. Returns how heavy a burden the probes are, 0 to 8: each unit stretches the intervals
    /// by half, so that a checker which cannot keep up asks less instead of falling behind for ever.
    pub(super) fn burden(&self, late: bool, now: Timestamp) -> u32 {
        // One thread writes.
        let (burden, moved) = (self.burden.load(Relaxed), Timestamp::from_nanos(self.moved.load(Relaxed)));
        let since = now.since(moved);
        let next = match late {
            true if since >= RISE => (burden + 1).min(MOST),
            false if since >= FALL => burden.saturating_sub(1),
            _ => burden,
        };
        if next != burden || late {
            self.moved.store(now.as_nanos(), Relaxed);
        }
        self.burden.store(next, Relaxed);
        u32::try_from(next).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_starts_weigh_and_are_forgotten() {
        let lag = ProbeLag::default();
        let burden = |late: bool, millis: u64| lag.burden(late, Timestamp::from_millis(millis));
        assert_eq!((burden(false, 5000), burden(true, 5001), burden(true, 5050)), (0, 1, 1));
        for millis in (6000..=9800).step_by(200) {
            burden(true, millis);
        }
        assert_eq!((burden(false, 9900), burden(false, 10_801), burden(false, 12_000)), (8, 7, 6));
    }
}

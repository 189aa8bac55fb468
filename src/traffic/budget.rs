//! The retry budget: retries as a share of recent requests, so that a sick cluster is not asked more the sicker it is.
//!
//! A fixed number of retries multiplies the load exactly when there is least to spare; a share cannot. Each worker counts
//! its own seconds in cells that only it writes; the decision, which is rare, sums everybody's.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::base::time::Timestamp;
use crate::base::units::Ratio;

/// How many seconds count.
pub const WINDOW_SECONDS: u64 = 10;
/// So many retries in each second are always within the budget.
pub const FLOOR_PER_SECOND: u64 = 10;

const SLOTS: usize = 16;

/// Counts of recent seconds; one thread writes.
#[derive(Debug, Default)]
pub struct Recent([AtomicU64; SLOTS]);

impl Recent {
    /// Counts one, now.
    pub fn inc(&self, now: Timestamp) {
        let second = second(now);
        let slot = &self.0[usize::try_from(second).unwrap_or(0) % SLOTS];
        let held = slot.load(Relaxed);
        let count = if held >> 32 == second { held & u64::from(u32::MAX) } else { 0 };
        slot.store(second << 32 | (count + 1).min(u64::from(u32::MAX)), Relaxed);
    }

    /// The sum over the window that ends now.
    #[must_use]
    pub fn sum(&self, now: Timestamp) -> u64 {
        let second = second(now);
        let recent = |held: &u64| held >> 32 <= second && held >> 32 > second.saturating_sub(WINDOW_SECONDS);
        self.0.iter().map(|slot| slot.load(Relaxed)).filter(recent).map(|held| held & u64::from(u32::MAX)).sum()
    }
}

fn second(now: Timestamp) -> u64 {
    (now.as_nanos() / 1_000_000_000) & u64::from(u32::MAX)
}

/// Whether one more retry is within the budget, given the window's sums over all workers.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of ten seconds")]
pub fn allows(requests: u64, retries: u64, budget: Ratio) -> bool {
    let floor = (FLOOR_PER_SECOND * WINDOW_SECONDS) as f64;
    ((retries + 1) as f64) <= (requests as f64 * budget.get()).max(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_ten_seconds_count() {
        let recent = Recent::default();
        for second in 0..30 {
            recent.inc(Timestamp::from_millis(second * 1000));
        }
        assert_eq!(recent.sum(Timestamp::from_millis(29_999)), 10);
        assert_eq!(recent.sum(Timestamp::from_millis(60_000)), 0);
    }

    #[test]
    fn the_budget_is_a_share_with_a_floor() {
        let budget = Ratio::parse("20%").unwrap();
        assert!(allows(0, 99, budget));
        assert!(!allows(0, 100, budget));
        assert!(allows(10_000, 1999, budget));
        assert!(!allows(10_000, 2000, budget));
    }
}

//! How late probes start against their slots: whether the checker itself keeps up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How late the latest probe started. Time for which it waited for its own last run does not count: that is the endpoint's.
#[derive(Debug, Default)]
pub struct ProbeLag(AtomicU64);

impl ProbeLag {
    /// In seconds, as metrics want it.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.0.load(Relaxed)).as_secs_f64()
    }

    pub(super) fn set(&self, late: Duration) {
        self.0.store(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

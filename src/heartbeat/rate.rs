//! How often one sender may speak: a bucket that fills with time and empties with beats.

use std::time::Duration;

use crate::base::time::Timestamp;

/// What every sender may do, however long its period: a beat at once when its state changes, a few after a pause.
const LEAST_PER_SECOND: f64 = 20.0;
/// So many beats a period are more than any sender needs.
const PER_PERIOD: f64 = 4.0;

/// What is left to one sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    left: f64,
    at: Timestamp,
}

/// How fast buckets fill, and up to where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    per_second: f64,
}

impl Rate {
    /// The rate for senders of this period.
    pub(super) fn of(period: Duration) -> Self {
        Self { per_second: (PER_PERIOD / period.as_secs_f64().max(1e-3)).max(LEAST_PER_SECOND) }
    }

    pub(super) fn full(self, now: Timestamp) -> Bucket {
        Bucket { left: self.most(), at: now }
    }

    /// Two seconds' worth.
    fn most(self) -> f64 {
        2.0 * self.per_second
    }

    /// Takes one beat out; false if nothing is left.
    pub(super) fn take(self, bucket: &mut Bucket, now: Timestamp) -> bool {
        let filled = bucket.left + now.since(bucket.at).as_secs_f64() * self.per_second;
        bucket.left = filled.min(self.most());
        bucket.at = now;
        let enough = bucket.left >= 1.0;
        if enough {
            bucket.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_may_speak_as_often_as_it_needs_and_not_more() {
        let taken = |period: u64, every: u64| {
            let rate = Rate::of(Duration::from_millis(period));
            let mut bucket = rate.full(Timestamp::ZERO);
            (0..10_000 / every).filter(|n| rate.take(&mut bucket, Timestamp::from_millis(n * every))).count()
        };
        assert_eq!(taken(500, 100), 100, "ten a second are allowed to anybody");
        assert_eq!(taken(10, 10), 1000, "who is configured for a hundred a second may send them");
        let flood = taken(500, 1);
        assert!((230..=241).contains(&flood), "{flood} of 10000 in ten seconds");
    }
}

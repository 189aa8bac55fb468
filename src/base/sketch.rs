//! Durations counted in buckets of about a sixth of their size: what a percentile or a mean is read from.
//!
//! Keeping every latency costs memory with the traffic; keeping a mean alone hides the slow tenth. Four buckets an octave, from
//! 65 µs to over a minute, are a few hundred bytes and tell a percentile to within 13 %.

use std::time::Duration;

/// Buckets.
pub const BUCKETS: usize = 84;
/// The octave of the first bucket: 2^16 ns, 65 µs. Shorter durations count in it.
const FIRST: u32 = 16;

/// The bucket that a duration counts in.
#[must_use]
pub fn bucket(span: Duration) -> usize {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1 << FIRST);
    let octave = nanos.ilog2();
    let quarter = (nanos >> (octave - 2)) & 3;
    let number = u64::from(octave - FIRST) * 4 + quarter;
    usize::try_from(number).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The middle of a bucket, in seconds.
#[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
fn middle(bucket: usize) -> f64 {
    let (octave, quarter) = (bucket / 4, bucket % 4);
    let low = (2.0_f64).powf(octave as f64 + f64::from(FIRST)) * 1e-9;
    low * (1.0 + (quarter as f64 + 0.5) / 4.0)
}

/// Counts per bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Sketch {
    /// Counts `n` durations of a bucket.
    pub const fn add(&mut self, bucket: usize, n: u32) {
        self.counts[bucket] = self.counts[bucket].saturating_add(n);
        self.total = self.total.saturating_add(n);
    }

    /// Counts one duration.
    pub fn observe(&mut self, span: Duration) {
        self.add(bucket(span), 1);
    }

    /// What was counted, per bucket that has anything.
    #[must_use]
    pub fn counted(&self) -> Vec<(u8, u32)> {
        (0_u8..).zip(self.counts).filter(|(_, n)| *n > 0).collect()
    }

    /// Adds everything that another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, n) in other.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            self.add(bucket, *n);
        }
    }

    /// What is left without another one that was merged into this.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.counts.iter_mut().zip(&other.counts).for_each(|(n, less)| *n = n.saturating_sub(*less));
        rest.total = rest.counts.iter().sum();
        rest
    }

    /// Halves every count: what is old weighs less and less.
    pub fn halve(&mut self) {
        self.counts.iter_mut().for_each(|n| *n /= 2);
        self.total = self.counts.iter().sum();
    }

    /// How many durations were counted.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.total
    }

    /// Whether none was.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration in seconds below which the share `q` of all lies, 0 to 1; 0 if there are none.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank among a u32 of durations")]
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = (q.clamp(0.0, 1.0) * f64::from(self.total)).ceil().max(1.0) as u32;
        let mut seen = 0_u32;
        for (bucket, n) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*n);
            if seen >= rank {
                return middle(bucket);
            }
        }
        0.0
    }

    /// Mean and standard error of the mean, in seconds; zeros if there are none.
    #[must_use]
    pub fn mean(&self) -> (f64, f64) {
        let n = f64::from(self.total);
        if self.total == 0 {
            return (0.0, 0.0);
        }
        let each = || self.counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(bucket, n)| (middle(bucket), f64::from(*n)));
        let mean = each().map(|(value, n)| value * n).sum::<f64>() / n;
        let spread = each().map(|(value, n)| n * (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        (mean, (spread / n).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_bounded() {
        let mut last = 0;
        for exponent in 0..64 {
            for part in 0..8_u64 {
                let nanos = (1_u64 << exponent) + ((1_u64 << exponent) / 8) * part;
                let bucket = bucket(Duration::from_nanos(nanos));
                assert!((last..BUCKETS).contains(&bucket), "{nanos} ns is in {bucket} after {last}");
                last = bucket;
            }
        }
    }

    #[test]
    fn a_duration_is_told_to_within_an_eighth() {
        for micros in [70, 999, 5000, 123_456, 60_000_000] {
            let mut sketch = Sketch::default();
            let span = Duration::from_micros(micros);
            sketch.observe(span);
            let told = sketch.quantile(0.99);
            assert!((told / span.as_secs_f64() - 1.0).abs() < 0.13, "{span:?} is told as {told} s");
        }
    }

    #[test]
    fn quantiles_and_means_of_two_kinds() {
        let mut sketch = Sketch::default();
        (0..90).for_each(|_| sketch.observe(Duration::from_millis(5)));
        (0..10).for_each(|_| sketch.observe(Duration::from_millis(500)));
        assert!(sketch.quantile(0.9) < 0.006 && sketch.quantile(0.95) > 0.4);
        let (mean, error) = sketch.mean();
        assert!((0.045..0.07).contains(&mean) && (0.01..0.02).contains(&error), "{mean} {error}");
        let mut half = sketch.clone();
        half.halve();
        assert_eq!((sketch.len(), half.len()), (100, 50));
        half.merge(&sketch);
        assert_eq!((half.len(), half.without(&sketch).len()), (150, 50));
        assert_eq!((Sketch::default().quantile(0.5), Sketch::default().mean()), (0.0, (0.0, 0.0)));
    }
}

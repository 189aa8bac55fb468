//! Counters, gauges and histograms that one thread writes and any thread may read.
//!
//! A write is a load and a store, no locked instruction; two writers would lose counts, so a cell belongs to one worker,
//! to control or to the admin thread, never to two of them.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::base::sketch;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down, never below zero.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        self.0.store(self.0.load(Relaxed).saturating_add(1), Relaxed);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// Sets the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets of every duration histogram, in seconds: fine enough for a sidecar's sub-millisecond share.
pub const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// A histogram of durations over [`BUCKETS`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, span: Duration) {
        let seconds = span.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].inc();
        self.nanos.add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts per bucket, not cumulative; the last one is above every bound.
    pub fn counts(&self) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|i| self.buckets[i].get())
    }

    /// The sum of all durations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos.get()).as_secs_f64()
    }
}

/// Durations by bucket of [`sketch`], of which a reader takes what has come since it last looked.
#[derive(Debug)]
pub struct SketchCells([AtomicU32; sketch::BUCKETS]);

impl Default for SketchCells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl SketchCells {
    /// Counts one duration.
    pub fn observe(&self, span: Duration) {
        let cell = &self.0[sketch::bucket(span)];
        cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The counts so far; they wrap around.
    pub fn counts(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|cell| cell.load(Relaxed))
    }
}

/// How many different statuses one [`StatusCounters`] tells apart.
const STATUS_SLOTS: usize = 24;

/// Counts by status code. Codes beyond the first 24 different ones are counted together, so that an endpoint which
/// answers with every number there is cannot grow the label set.
#[derive(Debug, Default)]
pub struct StatusCounters {
    slots: [(AtomicU16, Counter); STATUS_SLOTS],
    others: Counter,
}

impl StatusCounters {
    /// Counts one answer.
    pub fn inc(&self, status: u16) {
        for (code, counter) in &self.slots {
            match code.load(Relaxed) {
                0 => {
                    counter.inc();
                    code.store(status, std::sync::atomic::Ordering::Release);
                    return;
                }
                found if found == status => return counter.inc(),
                _ => {}
            }
        }
        self.others.inc();
    }

    /// The counts by status; status 0 holds what did not fit.
    pub fn counts(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let known = self.slots.iter().map(|(code, counter)| (code.load(std::sync::atomic::Ordering::Acquire), counter.get()));
        known.take_while(|(code, _)| *code != 0).chain(Some((0, self.others.get())).filter(|(_, n)| *n > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart_up_to_a_bound() {
        let counters = StatusCounters::default();
        for status in 200..300 {
            counters.inc(status);
            counters.inc(status);
        }
        let counts: Vec<_> = counters.counts().collect();
        assert_eq!(counts[0], (200, 2));
        assert_eq!(counts.len(), STATUS_SLOTS + 1);
        assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), 200);
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_secs(60));
        assert_eq!(histogram.counts()[0], 1);
        assert_eq!(histogram.counts()[BUCKETS.len()], 1);
    }
}

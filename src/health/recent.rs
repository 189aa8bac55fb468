//! The recent past of one endpoint's live traffic: how many requests, how many of them failed, and how long answers took.
//!
//! Time is cut into slots that are forgotten whole, so that what is old costs neither memory nor a look. Slots hold only the
//! buckets that something fell into; an endpoint without traffic holds nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::sketch::{BUCKETS, Sketch};
use crate::base::time::Timestamp;
use crate::health::glance::Glance;
use crate::health::seldom::Usual;

/// Slots of a window.
const SLOTS: u32 = 20;

/// Samples from which on a p99 is taken from them alone.
const ENOUGH: u32 = 20;

/// Samples after which older ones weigh half.
const MANY: u32 = 4000;

/// What counts as the latest, for what must be found at once.
const LATEST: Duration = Duration::from_millis(160);

/// Requests and how many of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) errors: u64,
}

impl Counts {
    pub(super) const fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self { requests: self.requests.saturating_sub(other.requests), errors: self.errors.saturating_sub(other.errors) }
    }
}

#[derive(Debug, Clone)]
struct Slot {
    start: Timestamp,
    counts: Counts,
    latencies: Vec<(u8, u32)>,
}

/// The recent past.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    slots: VecDeque<Slot>,
    /// The latencies of each look of late.
    looks: VecDeque<(Timestamp, Vec<(u8, u32)>)>,
    /// All answers so far, older ones with less weight: what is usual.
    usual: Option<Box<Sketch>>,
    /// When anything was last heard, whatever the status.
    pub(super) heard: Timestamp,
    pub(super) in_flight: u32,
}

impl Usual for Recent {
    const USUAL: &'static Self =
        &Self { slots: VecDeque::new(), looks: VecDeque::new(), usual: None, heard: Timestamp::ZERO, in_flight: 0 };
}

impl Recent {
    /// Takes in a glance.
    pub(super) fn take(&mut self, glance: &Glance, window: Duration, now: Timestamp) {
        self.heard = self.heard.max(glance.heard);
        self.in_flight = glance.in_flight;
        self.forget(window, now);
        if glance.requests == 0 && glance.latencies.is_empty() {
            return;
        }
        let length = window / SLOTS;
        if self.slots.back().is_none_or(|slot| now >= slot.start + length) {
            self.slots.push_back(Slot { start: now, counts: Counts::default(), latencies: Vec::new() });
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.counts.add(Counts { requests: glance.requests.into(), errors: glance.errors.into() });
            for (bucket, n) in &glance.latencies {
                match slot.latencies.iter_mut().find(|(known, _)| known == bucket) {
                    Some((_, count)) => *count = count.saturating_add(*n),
                    None => slot.latencies.push((*bucket, *n)),
                }
            }
        }
        if !glance.latencies.is_empty() {
            self.looks.push_back((now, glance.latencies.clone()));
        }
        let usual = self.usual.get_or_insert_default();
        glance.latencies.iter().for_each(|(bucket, n)| usual.add(usize::from(*bucket), *n));
        if usual.len() > MANY {
            usual.halve();
        }
    }

    /// Forgets what is older than the window.
    pub(super) fn forget(&mut self, window: Duration, now: Timestamp) {
        while self.slots.front().is_some_and(|slot| slot.start + window <= now) {
            self.slots.pop_front();
        }
        while self.looks.front().is_some_and(|(at, _)| *at + LATEST <= now) {
            self.looks.pop_front();
        }
    }

    /// What is usual, for another process: answers per bucket.
    pub(super) fn usual(&self) -> Vec<(u8, u32)> {
        self.usual.as_deref().map(Sketch::counted).unwrap_or_default()
    }

    /// Believes what was usual in another process.
    pub(super) fn remember(&mut self, usual: &[(u8, u32)]) {
        let mut sketch = Sketch::default();
        usual
            .iter()
            .filter(|(bucket, _)| usize::from(*bucket) < BUCKETS)
            .for_each(|(bucket, n)| sketch.add((*bucket).into(), *n));
        self.usual = (!sketch.is_empty()).then(|| Box::new(sketch));
    }

    /// Forgets everything but what is usual: another life begins.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.looks.clear();
    }

    /// Whether nothing was asked of it within the window.
    pub(super) fn is_quiet(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.slots.iter().for_each(|slot| sum.add(slot.counts));
        sum
    }

    /// The latencies of what came since `from`.
    pub(super) fn latencies(&self, from: Timestamp) -> Sketch {
        let mut sum = Sketch::default();
        let since = self.slots.iter().filter(|slot| slot.start >= from);
        since.flat_map(|slot| &slot.latencies).for_each(|(bucket, n)| sum.add(usize::from(*bucket), *n));
        sum
    }

    /// The latencies of the last 160 ms.
    pub(super) fn latest(&self) -> Sketch {
        let mut sum = Sketch::default();
        self.looks.iter().flat_map(|(_, latencies)| latencies).for_each(|(bucket, n)| sum.add(usize::from(*bucket), *n));
        sum
    }

    /// In how many looks of the last 160 ms an answer was longer than this bucket.
    pub(super) fn slow_looks(&self, over: usize) -> usize {
        self.looks.iter().filter(|(_, latencies)| latencies.iter().any(|(bucket, _)| usize::from(*bucket) > over)).count()
    }

    /// Its p99, if it has answered often enough; otherwise the longest it took, and 0 if it never answered.
    pub(super) fn p99(&self) -> (Duration, bool) {
        match self.usual.as_ref().filter(|usual| !usual.is_empty()) {
            None => (Duration::ZERO, false),
            Some(usual) => {
                let enough = usual.len() >= ENOUGH;
                (Duration::from_secs_f64(usual.quantile(if enough { 0.99 } else { 1.0 })), enough)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sketch::bucket;

    const WINDOW: Duration = Duration::from_secs(10);

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn glance(requests: u32, errors: u32, millis: u64) -> Glance {
        let bucket = u8::try_from(bucket(Duration::from_millis(millis))).unwrap();
        Glance { requests, errors, latencies: vec![(bucket, requests)], ..Glance::default() }
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut recent = Recent::default();
        recent.take(&glance(10, 1, 5), WINDOW, at(1000));
        recent.take(&glance(10, 0, 5), WINDOW, at(1400));
        recent.take(&glance(30, 3, 50), WINDOW, at(9000));
        assert_eq!(recent.counts(), Counts { requests: 50, errors: 4 });
        assert_eq!((recent.latencies(at(0)).len(), recent.latencies(at(8000)).len()), (50, 30));
        recent.forget(WINDOW, at(11_000));
        assert_eq!(recent.counts(), Counts { requests: 30, errors: 3 });
        recent.forget(WINDOW, at(19_000));
        assert_eq!(recent.counts(), Counts::default());
    }

    #[test]
    fn what_is_usual_outlasts_the_window() {
        let mut recent = Recent::default();
        assert_eq!(recent.p99(), (Duration::ZERO, false));
        recent.take(&glance(3, 0, 5), WINDOW, at(0));
        assert!(!recent.p99().1);
        for millis in 0..5000 {
            recent.take(&glance(2, 0, 5), WINDOW, at(millis));
        }
        recent.forget(WINDOW, at(99_000));
        let (p99, enough) = recent.p99();
        assert!(enough && p99 < Duration::from_millis(6), "{p99:?}");
    }
}

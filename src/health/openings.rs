//! How many fresh connections probes make at a time: when those that begin together run for the first time, a few at once, the
//! others one after another; and how often they renew a connection that is kept.
//!
//! A start or a reload may bring thousands of endpoints, and whoever asked them all in one moment would run out of sockets, answer late
//! to what comes back, and hit a machine that many of them share. Spaced out, ten thousand are asked within five seconds,
//! which is half of what a start waits for first verdicts. Later, to connect costs several times as much as to ask: the more
//! probes there are, the rarer each renews, so that all of them together cost the same however many they are.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::health::schedule::STRIDE;

/// So many may run at once.
const AT_ONCE: u32 = 64;
/// From one to the next beyond those.
const APART: Duration = Duration::from_micros(500);

/// Fresh connections that probes which run regularly make in a second, all together.
const RENEWALS: u32 = 50;
/// How long runs are counted for.
const WINDOW: Duration = Duration::from_secs(1);

/// Places for first runs, and what there is to spend on later ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Openings {
    /// When all that have a place have run, were each given its time.
    taken: Timestamp,
    /// Since when runs are counted, how many there were, and how many in the second before.
    since: Timestamp,
    runs: u32,
    rate: u32,
}

impl Openings {
    /// When the next first run may start: now, unless too many others have begun lately.
    pub fn place(&mut self, now: Timestamp) -> Timestamp {
        let at = now.max(self.taken - APART * AT_ONCE);
        self.taken = self.taken.max(now) + APART;
        at
    }

    /// A run begins: one in how many takes a fresh connection.
    pub fn stride(&mut self, now: Timestamp) -> u32 {
        let counted = now.since(self.since);
        if counted >= WINDOW {
            // After a pause nobody knows how many there were.
            self.rate = if counted < WINDOW * 2 { self.runs } else { 0 };
            (self.since, self.runs) = (now, 0);
        }
        self.runs += 1;
        STRIDE.max(self.rate / RENEWALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_run_at_once_and_the_others_one_after_another() {
        let (mut openings, now) = (Openings::default(), Timestamp::from_millis(1_000_000));
        let places: Vec<Duration> = (0..10_000).map(|_| openings.place(now).since(now)).collect();
        let at_once = places.iter().filter(|place| place.is_zero()).count();
        assert_eq!(at_once, 65, "the one after them has waited its turn out");
        assert!(places.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] - pair[0] <= APART), "evenly");
        assert!(places[9_999] < Duration::from_secs(5), "{:?}", places[9_999]);
        // Whoever comes later waits only for what is still to come.
        let later = now + Duration::from_secs(60);
        assert_eq!(openings.place(later), later);
        assert_eq!(openings.place(later), later);
    }

    #[test]
    fn the_more_probes_run_the_rarer_each_renews_its_connection() {
        let check = |runs_a_second: u64, wanted: u32| {
            let mut openings = Openings::default();
            let strides: Vec<u32> = (0..runs_a_second * 5)
                .map(|number| openings.stride(Timestamp::from_millis(1_000_000 + number * 1000 / runs_a_second)))
                .collect();
            assert_eq!((strides[0], strides[strides.len() - 1]), (STRIDE, wanted), "{runs_a_second}");
            let after_a_pause = Timestamp::from_millis(2_000_000);
            assert_eq!(openings.stride(after_a_pause), STRIDE);
        };
        check(3, 5);
        check(250, 5);
        check(1000, 20);
        check(10_000, 200);
    }

    #[test]
    fn single_ones_never_wait() {
        let mut openings = Openings::default();
        for number in 0..1000 {
            let now = Timestamp::from_millis(1000 + number);
            assert_eq!(openings.place(now), now);
        }
    }
}

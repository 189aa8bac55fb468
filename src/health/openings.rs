//! When probes that begin together run for the first time: a few at once, the others one after another.
//!
//! A start or a reload may bring thousands of endpoints, and whoever asked them all in one moment would run out of sockets, answer late
//! to what comes back, and hit a machine that many of them share. Spaced out, ten thousand are asked within five seconds,
//! which is half of what a start waits for first verdicts.

use std::time::Duration;

use crate::base::time::Timestamp;

/// So many may run at once.
const AT_ONCE: u32 = 64;
/// From one to the next beyond those.
const APART: Duration = Duration::from_micros(500);

/// Places for first runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Openings {
    /// When all that have a place have run, were each given its time.
    taken: Timestamp,
}

impl Openings {
    /// When the next first run may start: now, unless too many others have begun lately.
    pub fn place(&mut self, now: Timestamp) -> Timestamp {
        let at = now.max(self.taken - APART * AT_ONCE);
        self.taken = self.taken.max(now) + APART;
        at
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
    fn single_ones_never_wait() {
        let mut openings = Openings::default();
        for number in 0..1000 {
            let now = Timestamp::from_millis(1000 + number);
            assert_eq!(openings.place(now), now);
        }
    }
}

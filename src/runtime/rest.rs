//! Rests of a thread that is woken thousands of times a second for one small thing each.
//!
//! To fall asleep and be woken costs the system more than such a thing costs us. So a thread on which they come fast stays asleep for a
//! moment, in which more of them come: what a network card does with packets. Whatever else the thread waits for may be that much
//! later, so nobody rests who has nothing but rare things to do, and each for as long as what it does allows.

use std::cell::RefCell;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::runtime::clock;

/// How a thread rests that does things of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// From one waking to the next, at the least, while they come fast.
    apart: Duration,
    /// So many in a second are fast.
    fast: f64,
}

/// Heartbeats are taken in: four for each time that the thread wakes, and nobody waits for an answer.
pub const BEATS: Pace = Pace { apart: Duration::from_millis(2), fast: 2000.0 };
/// Many clients connect, each for a request or two: what a connection needs comes in three pieces, some 20 µs from one to the next,
/// and here several connections come in that time.
pub const CONNECTIONS: Pace = Pace { apart: Duration::from_micros(50), fast: 4000.0 };

/// For how long they are counted before it is known how fast they come.
const COUNTED: Duration = Duration::from_millis(20);

thread_local! {
    static RESTS: RefCell<Rests> = RefCell::default();
}

/// One more small thing has been done on this thread. It does those of one kind.
pub fn did(kind: Pace) {
    RESTS.with_borrow_mut(|rests| {
        rests.pace = kind;
        rests.things += 1;
    });
}

/// This thread has nothing to do: rests, if what it has to do comes fast.
pub(super) fn rest() {
    if let Some(span) = RESTS.with_borrow_mut(|rests| if rests.is_idle() { None } else { rests.park(clock::now()) }) {
        std::thread::sleep(span);
    }
}

/// This thread has something to do again.
pub(super) fn wake() {
    RESTS.with_borrow_mut(|rests| {
        if rests.fast {
            rests.woke = clock::now();
        }
    });
}

/// How fast things come, and when the thread last woke.
#[derive(Debug)]
struct Rests {
    pace: Pace,
    things: u32,
    since: Timestamp,
    fast: bool,
    /// While they come fast.
    woke: Timestamp,
}

impl Default for Rests {
    fn default() -> Self {
        Self { pace: BEATS, things: 0, since: Timestamp::ZERO, fast: false, woke: Timestamp::ZERO }
    }
}

impl Rests {
    const fn is_idle(&self) -> bool {
        self.things == 0 && !self.fast
    }

    /// How long to rest now.
    fn park(&mut self, now: Timestamp) -> Option<Duration> {
        let counted = now.since(self.since);
        if counted >= COUNTED {
            self.fast = f64::from(self.things) >= self.pace.fast * counted.as_secs_f64();
            (self.things, self.since) = (0, now);
        }
        Some(self.pace.apart.saturating_sub(now.since(self.woke))).filter(|span| self.fast && !span.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the thread rests in a second in which so many things come, each waking it if it does not rest.
    fn rested(pace: Pace, things: u64) -> Duration {
        let mut rests = Rests { pace, ..Rests::default() };
        let (mut sum, start) = (Duration::ZERO, Timestamp::from_millis(1000));
        let mut asleep_until = start;
        for thing in 0..things {
            let came = start + Duration::from_secs(1) / u32::try_from(things).unwrap() * u32::try_from(thing).unwrap();
            rests.things += 1;
            if came < asleep_until {
                continue;
            }
            rests.woke = came;
            let span = rests.park(came).unwrap_or_default();
            (sum, asleep_until) = (sum + span, came + span);
        }
        sum
    }

    #[test]
    fn only_a_thread_on_which_things_come_fast_rests() {
        assert_eq!(rested(BEATS, 100), Duration::ZERO);
        assert_eq!(rested(BEATS, 1500), Duration::ZERO);
        assert!(rested(BEATS, 10_000) > Duration::from_millis(700));
        assert_eq!(rested(CONNECTIONS, 3500), Duration::ZERO);
        assert!(rested(CONNECTIONS, 20_000) > Duration::from_millis(300));
    }

    #[test]
    fn a_rest_is_short_and_ends_with_the_flood() {
        const APART: Duration = BEATS.apart;
        let mut rests = Rests { things: 1000, ..Rests::default() };
        let at = Timestamp::from_millis;
        assert_eq!(rests.park(at(1000)), None, "over a long time they are few");
        rests.things = 1000;
        assert_eq!(rests.park(at(1020)), None, "nobody knows when it woke");
        rests.woke = at(1021);
        assert_eq!(rests.park(at(1021) + APART / 4), Some(APART * 3 / 4), "work counts");
        assert_eq!(rests.park(at(1024)), None, "so much of it that there was no time");
        rests.things = 3;
        assert_eq!(rests.park(at(1045)), None);
        assert!(!rests.fast);
    }
}

//! The pulse of a thread: when it last ran, until when it last stood still, and until when it catches up.
//!
//! A worker or control that was kept from running has not read what endpoints answered. Whoever judges endpoints by how long something takes must
//! know, or a busy machine would look like a cluster of hung endpoints.
//!
//! A worker with nothing under way rests: it beats only now and then, and is not late, for nobody owes it anything. It ends its rest before
//! it sends anything, so whoever sees in its cells that a request waits finds a pulse that is not older than that request, and
//! one that stands still from there on is late as ever.

use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, fence};
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::health::Backlog;
use crate::telemetry::cell::{Counter, Gauge};

/// From one beat to the next.
pub const BEAT: Duration = Duration::from_millis(20);
/// A beat that is later than this is a stall.
const LATE: Duration = Duration::from_millis(20);

/// One thread's pulse. That thread writes it; it and control read it.
#[derive(Debug, Default)]
pub struct Pulse {
    beat: Gauge,
    caught_up: Gauge,
    /// The same as far as stalls left something to work off.
    worked_off: Gauge,
    stalled: Counter,
    resting: AtomicBool,
}

impl Pulse {
    /// The thread runs at `now`; it wanted to at `due`.
    pub fn beat(&self, due: Timestamp, now: Timestamp) {
        let late = now.since(due);
        if late > LATE {
            let before = Backlog::until(Timestamp::from_nanos(self.caught_up.get()));
            let done = before.after(late, now).done().as_nanos();
            self.caught_up.set(done);
            if Backlog::is_left_by(late) {
                self.worked_off.set(done);
            }
            self.stalled.add(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
        self.beat.set(now.as_nanos());
    }

    /// The thread has nothing under way, and is not late by beating no more.
    pub fn rest(&self) {
        self.resting.store(true, Release);
    }

    /// The thread ends its rest at `now`, in which it wanted to beat next at `due`. What it tells elsewhere from here on is seen by
    /// nobody who does not see this as well.
    pub fn end_rest(&self, due: Timestamp, now: Timestamp) {
        self.beat(due, now);
        self.resting.store(false, Release);
        fence(Release);
    }

    /// Whether the thread rests, or has not begun.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.resting.load(Acquire) || self.beat.get() == 0
    }

    /// Until when it works off what gathered in a stall that was long enough for that. Zero if there never was one.
    #[must_use]
    pub fn worked_off(&self) -> Timestamp {
        Timestamp::from_nanos(self.worked_off.get())
    }

    /// For how long it has stood still in all.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        Duration::from_nanos(self.stalled.get())
    }

    /// Until when the thread did not run or was catching up, as far as is known at `now`: at least `now` itself while it does not
    /// run. What began before is not judged by how long it takes. Zero if it always ran.
    #[must_use]
    pub fn excused_until(&self, now: Timestamp) -> Timestamp {
        // Whoever asks has just read in a cell that something waits.
        fence(Acquire);
        let resting = self.is_resting();
        let (beat, caught_up) = (Timestamp::from_nanos(self.beat.get()), Timestamp::from_nanos(self.caught_up.get()));
        let overdue = !resting && now.since(beat) > BEAT + LATE;
        if overdue { caught_up.max(now) } else { caught_up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_stall_excuses_while_it_lasts_and_for_as_long_afterwards() {
        let pulse = Pulse::default();
        assert_eq!(pulse.excused_until(at(5000)), Timestamp::ZERO, "a worker that has not begun is not late");
        pulse.beat(at(20), at(21));
        assert_eq!(pulse.excused_until(at(41)), Timestamp::ZERO);
        assert_eq!(pulse.excused_until(at(2000)), at(2000), "it is late now");
        pulse.beat(at(40), at(2040));
        assert_eq!(pulse.excused_until(at(2050)), at(4040));
        pulse.beat(at(2060), at(2079));
        assert_eq!(pulse.excused_until(at(2080)), at(4040), "19 ms are no stall");
        assert_eq!(pulse.excused_until(at(2130)), at(4040), "it is late again, and does not catch up any sooner");
        assert_eq!((pulse.stalled(), pulse.worked_off()), (Duration::from_secs(2), at(4040)));
        pulse.beat(at(9000), at(9050));
        assert_eq!((pulse.excused_until(at(9060)), pulse.worked_off()), (at(9050), at(4040)), "a short one only excuses");
    }

    #[test]
    fn who_rests_is_not_late_and_who_has_begun_and_stands_still_is() {
        let pulse = Pulse::default();
        assert!(pulse.is_resting(), "it has not begun");
        pulse.beat(at(20), at(21));
        assert!(!pulse.is_resting());
        pulse.rest();
        assert_eq!(pulse.excused_until(at(9000)), Timestamp::ZERO);
        pulse.end_rest(at(9050), at(9001));
        assert_eq!(pulse.excused_until(at(9041)), Timestamp::ZERO, "as fresh as the request that ended the rest");
        assert_eq!(pulse.excused_until(at(9042)), at(9042));
        pulse.beat(at(9021), at(9500));
        assert_eq!(pulse.excused_until(at(9501)), at(9979));
    }

    #[test]
    fn a_stall_in_a_rest_is_known_when_the_rest_ends() {
        let pulse = Pulse::default();
        pulse.beat(at(20), at(20));
        pulse.rest();
        pulse.beat(at(276), at(277));
        assert_eq!(pulse.excused_until(at(500)), Timestamp::ZERO);
        pulse.end_rest(at(533), at(2533));
        assert_eq!((pulse.excused_until(at(2540)), pulse.stalled()), (at(4533), Duration::from_secs(2)));
    }
}

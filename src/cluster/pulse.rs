//! The pulse of a thread: when it last ran, until when it last stood still, and until when it catches up.
//!
//! A worker or control that was kept from running has not read what endpoints answered. Whoever judges endpoints by how long something takes must
//! know, or a busy machine would look like a cluster of hung endpoints.

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
        let (beat, caught_up) = (Timestamp::from_nanos(self.beat.get()), Timestamp::from_nanos(self.caught_up.get()));
        let overdue = beat != Timestamp::ZERO && now.since(beat) > BEAT + LATE;
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
}

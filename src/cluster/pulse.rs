//! The pulse of a worker: when it last ran, and until when it last stood still.
//!
//! A worker that was kept from running has not read what endpoints answered. Whoever judges endpoints by their silence must
//! know, or a busy machine would look like a cluster of hung endpoints.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::telemetry::cell::Gauge;

/// From one beat to the next.
pub const BEAT: Duration = Duration::from_millis(20);
/// A beat that is later than this is a stall.
const LATE: Duration = Duration::from_millis(20);

/// One worker's pulse. The worker writes it, control reads it.
#[derive(Debug, Default)]
pub struct Pulse {
    beat: Gauge,
    stalled_until: Gauge,
}

impl Pulse {
    /// The worker runs at `now`; it wanted to at `due`.
    pub fn beat(&self, due: Timestamp, now: Timestamp) {
        if now.since(due) > LATE {
            self.stalled_until.set(now.as_nanos());
        }
        self.beat.set(now.as_nanos());
    }

    /// Until when the worker did not run, as far as is known at `now`: `now` itself while it does not. Zero if it always did.
    #[must_use]
    pub fn stalled_until(&self, now: Timestamp) -> Timestamp {
        let beat = Timestamp::from_nanos(self.beat.get());
        if beat != Timestamp::ZERO && now.since(beat) > BEAT + LATE {
            return now;
        }
        Timestamp::from_nanos(self.stalled_until.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_stall_is_known_while_it_lasts_and_afterwards() {
        let pulse = Pulse::default();
        assert_eq!(pulse.stalled_until(at(5000)), Timestamp::ZERO, "a worker that has not begun is not late");
        pulse.beat(at(20), at(21));
        assert_eq!(pulse.stalled_until(at(41)), Timestamp::ZERO);
        assert_eq!(pulse.stalled_until(at(2000)), at(2000), "it is late now");
        pulse.beat(at(40), at(2040));
        assert_eq!(pulse.stalled_until(at(2050)), at(2040));
        pulse.beat(at(2060), at(2079));
        assert_eq!(pulse.stalled_until(at(2080)), at(2040), "19 ms are no stall");
    }
}

//! Notices when control itself stood still.
//!
//! A process that was stopped wakes to deadlines long past while what would have met them waits in its sockets. So control
//! compares when it wakes with when it meant to, and nobody is judged for that time. Where heartbeats are judged it wakes often, so that it
//! knows of every stall that matters; a longer sleep that was planned is none.

use std::time::Duration;

use crate::base::time::Timestamp;

/// Control wakes at least so often where heartbeats are judged, for it looks at the cells.
const PULSE: Duration = Duration::from_millis(25);
/// A waking that is later than this is a stall.
const STALL: Duration = Duration::from_millis(25);

/// When control last woke.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Timestamp,
    /// When it means to wake next.
    planned: Timestamp,
    /// Whether another process hears what would be told to us.
    pub(super) deaf: bool,
}

impl Pulse {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { last: now, planned: now, deaf: false }
    }

    /// Control goes to sleep, and means to wake at `at` at the latest.
    pub(super) const fn plan(&mut self, at: Timestamp) {
        self.planned = at;
    }

    /// Control is awake. Returns for how long it heard nothing because it stood still, or was deaf. It may have been stopped as soon as it
    /// slept; but who was stopped in a long sleep, and not beyond its end, has read since what came meanwhile.
    pub(super) fn beat(&mut self, now: Timestamp) -> Option<Duration> {
        let last = std::mem::replace(&mut self.last, now);
        let from = if self.deaf { last } else { last.max(self.planned - PULSE) };
        let since = now.since(from);
        (self.deaf || since > PULSE + STALL).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1000 + millis)
    }

    #[test]
    fn a_waking_in_time_is_no_stall() {
        let mut pulse = Pulse::new(at(0));
        pulse.plan(at(20));
        assert_eq!(pulse.beat(at(25)), None);
        pulse.plan(at(45));
        assert_eq!(pulse.beat(at(70)), None);
        pulse.plan(at(90));
        assert_eq!(pulse.beat(at(2070)), Some(Duration::from_secs(2)));
        pulse.plan(at(2090));
        assert_eq!(pulse.beat(at(2071)), None);
        pulse.deaf = true;
        assert_eq!(pulse.beat(at(2072)), Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_long_sleep_that_was_planned_is_none_either() {
        let mut pulse = Pulse::new(at(0));
        pulse.plan(at(256));
        assert_eq!(pulse.beat(at(100)), None, "something else came");
        pulse.plan(at(256));
        assert_eq!(pulse.beat(at(281)), None);
        pulse.plan(at(512));
        assert_eq!(pulse.beat(at(1512)), Some(Duration::from_millis(1025)));
        pulse.plan(Timestamp::NEVER);
        assert_eq!(pulse.beat(at(9000)), None);
        pulse.deaf = true;
        pulse.plan(at(9256));
        assert_eq!(pulse.beat(at(9256)), Some(Duration::from_millis(256)), "all of it, for another one heard");
    }
}

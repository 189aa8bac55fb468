//! Notices when control itself stood still.
//!
//! A process that was stopped wakes to deadlines long past while what would have met them waits in its sockets. So control wakes
//! often enough to know for how long it did not run, and nobody is judged for that time.

use std::time::Duration;

use crate::base::time::Timestamp;

/// Control wakes at least so often, for it looks at the cells.
const PULSE: Duration = Duration::from_millis(25);
/// A waking that is later than this is a stall.
const STALL: Duration = Duration::from_millis(25);

/// When control last woke.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Timestamp,
    /// Whether another process hears what would be told to us.
    pub(super) deaf: bool,
}

impl Pulse {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { last: now, deaf: false }
    }

    /// Control is awake. Returns for how long it heard nothing because it stood still, or was deaf.
    pub(super) fn beat(&mut self, now: Timestamp) -> Option<Duration> {
        let since = now.since(std::mem::replace(&mut self.last, now));
        (self.deaf || since > PULSE + STALL).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waking_in_time_is_no_stall() {
        let at = |millis: u64| Timestamp::from_millis(1000 + millis);
        let mut pulse = Pulse::new(at(0));
        assert_eq!(pulse.beat(at(25)), None);
        assert_eq!(pulse.beat(at(70)), None);
        assert_eq!(pulse.beat(at(2070)), Some(Duration::from_secs(2)));
        assert_eq!(pulse.beat(at(2071)), None);
        pulse.deaf = true;
        assert_eq!(pulse.beat(at(2072)), Some(Duration::from_millis(1)));
    }
}

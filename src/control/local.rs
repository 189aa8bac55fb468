//! What control knows of its own health: whether it ran when it wanted to, and whether a check of ourselves passes.
//!
//! Who stood still has not heard what others said meanwhile. Control looks at the cells every 20 ms; how late a look is says for
//! how long nothing here ran. What gathered meanwhile is worked off before anybody is judged by his silence. While nothing passes there
//! is nothing to see in them: then it looks a few times a second, and at once when a worker has something under way again.

use std::sync::Arc;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::cluster::{BEAT, Pulse};
use crate::health::Local;
use crate::probe::SelfCheck;
use crate::runtime::grid;

/// A check of ourselves that has not passed for so long means that what times out may be our fault.
const DEAF: Duration = Duration::from_secs(2);

/// Our own health.
#[derive(Debug, Default)]
pub(super) struct Ourselves {
    next: Option<Timestamp>,
    pulse: Arc<Pulse>,
    check: Option<SelfCheck>,
}

impl Ourselves {
    /// Ourselves, whose looks at the cells beat this pulse.
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        Self { pulse, ..Self::default() }
    }

    /// Starts to check ourselves, on this thread, which must allow local tasks.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.next = Some(now);
        self.check = Some(SelfCheck::start());
    }

    /// When the next look is due.
    pub(super) const fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Whether to look now; the next look is then planned, much later if nothing is `expected` to be seen by it. What is expected from
    /// now on is not waited for.
    pub(super) fn take(&mut self, expected: bool, now: Timestamp) -> bool {
        let mut due = *self.next.get_or_insert(now);
        if expected && due > now + BEAT {
            due = now;
        }
        if now < due {
            return false;
        }
        self.pulse.beat(due, now);
        self.next = Some(if expected { now + BEAT } else { grid::from(now + grid::SPAN / 2) });
        true
    }

    /// What is known of us, at `now`.
    pub(super) fn known(&self, now: Timestamp) -> Local {
        Local { excused_until: self.pulse.excused_until(now), alive: self.alive() }
    }

    /// Whether a run of a probe that began at `started` may have waited for what gathered while we stood still.
    pub(super) fn held_up(&self, started: Timestamp) -> bool {
        started < self.pulse.worked_off()
    }

    /// Whether the check of ourselves has failed for a while.
    pub(super) fn is_deaf(&self, now: Timestamp) -> bool {
        let alive = self.alive();
        alive != Timestamp::ZERO && now.since(alive) > DEAF
    }

    fn alive(&self) -> Timestamp {
        self.check.as_ref().map_or(Timestamp::ZERO, SelfCheck::alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_late_look_is_a_stall_that_is_caught_up_with() {
        let mut ourselves = Ourselves::default();
        assert!(ourselves.take(true, at(1000)) && !ourselves.take(true, at(1019)));
        assert!(ourselves.take(true, at(1035)));
        assert_eq!(ourselves.known(at(1040)).excused_until, Timestamp::ZERO);
        assert_eq!(ourselves.known(at(3000)).excused_until, at(3000), "it is late already");
        assert!(ourselves.take(true, at(3055)));
        assert_eq!(ourselves.known(at(3060)).excused_until, at(5055));
    }

    #[test]
    fn who_expects_nothing_looks_seldom_and_at_once_when_that_changes() {
        let mut ourselves = Ourselves::default();
        assert!(ourselves.take(false, at(1000)) && !ourselves.take(false, at(1100)));
        assert!(ourselves.take(false, at(1128)), "on a thread without a grid");
        assert!(ourselves.take(true, at(1150)) && !ourselves.take(true, at(1169)));
        assert!(ourselves.take(false, at(1170)) && ourselves.take(true, at(3298)));
        assert_eq!(ourselves.known(at(3299)).excused_until, at(5298), "late in a rest is late as well");
    }
}

//! What control knows of its own health: whether it ran when it wanted to, and whether a check of ourselves passes.
//!
//! Who stood still has not heard what others said meanwhile. Control looks at the cells every 20 ms; how late a look is says for
//! how long nothing here ran. What gathered meanwhile is worked off before anybody is judged by his silence.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::health::{Backlog, Local};
use crate::probe::SelfCheck;

/// From one look at the cells to the next.
const LOOK: Duration = Duration::from_millis(20);
/// A look that is later than this is a stall.
const LATE: Duration = Duration::from_millis(20);
/// A check of ourselves that has not passed for so long means that what times out may be our fault.
const DEAF: Duration = Duration::from_secs(2);

/// Our own health.
#[derive(Debug, Default)]
pub(super) struct Ourselves {
    next: Option<Timestamp>,
    backlog: Backlog,
    /// For how long it has stood still in all.
    stalled: Duration,
    check: Option<SelfCheck>,
}

impl Ourselves {
    /// Starts to check ourselves, on this thread, which must allow local tasks.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.next = Some(now);
        self.check = Some(SelfCheck::start());
    }

    /// When the next look is due.
    pub(super) const fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Whether to look now; the next look is then planned.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let due = *self.next.get_or_insert(now);
        if now < due {
            return false;
        }
        let late = now.since(due);
        if late > LATE {
            self.backlog = self.backlog.after(late, now);
            self.stalled += late;
        }
        self.next = Some(now + LOOK);
        true
    }

    /// What is known of us, at `now`.
    pub(super) fn known(&self, now: Timestamp) -> Local {
        let overdue = self.next.is_some_and(|due| now.since(due) > LATE);
        let done = self.backlog.done();
        Local { excused_until: if overdue { done.max(now) } else { done }, alive: self.alive() }
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
        assert!(ourselves.take(at(1000)) && !ourselves.take(at(1019)));
        assert!(ourselves.take(at(1035)));
        assert_eq!(ourselves.known(at(1040)).excused_until, Timestamp::ZERO);
        assert_eq!(ourselves.known(at(3000)).excused_until, at(3000), "it is late already");
        assert!(ourselves.take(at(3055)));
        assert_eq!(ourselves.known(at(3060)).excused_until, at(5055));
        assert_eq!(ourselves.stalled, Duration::from_secs(2));
    }
}

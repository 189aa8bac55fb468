//! When the next snapshot of a cluster may be published: the first at once, later ones at most every 5 ms.
//!
//! A fault that takes a hundred endpoints out makes a hundred changes within a breath. The first must act at once, for
//! requests are failing; a snapshot for each of the others would only cost. None is ever lost: what is asked for while it
//! must wait is published together when the time has come.

use std::time::Duration;

use crate::base::time::Timestamp;

/// The least time between two snapshots of one cluster.
const SPACING: Duration = Duration::from_millis(5);

/// The pace of one cluster's publication.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    last: Option<Timestamp>,
    due: Option<Timestamp>,
}

impl Pacer {
    /// Asks for a publication.
    pub(super) fn ask(&mut self, now: Timestamp) {
        let earliest = self.last.map_or(now, |last| now.max(last + SPACING));
        self.due.get_or_insert(earliest);
    }

    /// Asks for a publication that does not wait: somebody is told that it has been made.
    pub(super) const fn ask_at_once(&mut self, now: Timestamp) {
        self.due = Some(now);
    }

    /// When the publication that was asked for is due.
    pub(super) const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Whether to publish now; it then counts as done.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn the_first_is_at_once_and_later_ones_wait_together() {
        let mut pacer = Pacer::default();
        assert!(!pacer.take(at(0)), "nobody asked");
        pacer.ask(at(10));
        assert!(pacer.take(at(10)));
        assert!(!pacer.take(at(10)), "it has been done");
        pacer.ask(at(11));
        pacer.ask(at(14));
        assert_eq!(pacer.due(), Some(at(15)));
        assert!(!pacer.take(at(14)));
        assert!(pacer.take(at(15)));
        assert_eq!(pacer.due(), None);
    }

    #[test]
    fn what_must_not_wait_does_not() {
        let mut pacer = Pacer::default();
        pacer.ask(at(10));
        assert!(pacer.take(at(10)));
        pacer.ask(at(11));
        pacer.ask_at_once(at(12));
        assert!(pacer.take(at(12)));
    }

    #[test]
    fn after_a_pause_it_is_at_once_again() {
        let mut pacer = Pacer::default();
        pacer.ask(at(0));
        assert!(pacer.take(at(0)));
        pacer.ask(at(100));
        assert!(pacer.take(at(100)));
    }

    #[test]
    fn no_request_is_lost_however_dense_they_come() {
        let mut pacer = Pacer::default();
        let published = (0..1000).filter(|millis| {
            pacer.ask(at(*millis));
            pacer.take(at(*millis))
        });
        assert_eq!(published.count(), 200);
        assert!(pacer.due().is_some(), "the last one is still to come");
    }
}

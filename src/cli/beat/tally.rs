//! Who has acknowledged, and whether that is enough.

use std::time::Duration;

use crate::base::time::Timestamp;

/// The acks of all proxies.
#[derive(Debug)]
pub(super) struct Tally {
    /// When the newest beat was sent that each has acknowledged; the beginning, before any.
    newest: Vec<Timestamp>,
    needed: usize,
    /// What counts until one of them has told its own.
    first: Duration,
    /// What each has told last.
    ttls: Vec<Option<Duration>>,
}

impl Tally {
    pub(super) fn new(proxies: usize, needed: usize, ttl: Duration, now: Timestamp) -> Self {
        Self { newest: vec![now; proxies], needed, first: ttl, ttls: vec![None; proxies] }
    }

    /// The first beat goes out now: nobody can have acknowledged one before.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.newest.fill(now);
    }

    /// A proxy has acknowledged the beat that was sent at `sent`.
    pub(super) fn acknowledged(&mut self, proxy: usize, sent: Timestamp, ttl: Duration) {
        self.newest[proxy] = sent;
        self.ttls[proxy] = Some(ttl);
    }

    /// How many have acknowledged within the ttl.
    pub(super) fn fresh(&self, now: Timestamp) -> usize {
        self.newest.iter().filter(|newest| now.since(**newest) < self.ttl()).count()
    }

    /// Whether fewer than needed have.
    pub(super) fn is_cut_off(&self, now: Timestamp) -> bool {
        self.fresh(now) < self.needed
    }

    /// When it is cut off unless somebody acknowledges.
    pub(super) fn deadline(&self) -> Timestamp {
        let mut newest = self.newest.clone();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest[self.needed - 1] + self.ttl()
    }

    pub(super) const fn needed(&self) -> usize {
        self.needed
    }

    /// The shortest that any of them has.
    pub(super) fn ttl(&self) -> Duration {
        self.ttls.iter().flatten().copied().min().unwrap_or(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_majority_must_have_acknowledged_within_the_ttl() {
        let ttl = Duration::from_millis(1000);
        let mut tally = Tally::new(3, 2, Duration::from_millis(500), at(0));
        assert!(!tally.is_cut_off(at(499)));
        assert!(tally.is_cut_off(at(500)), "nobody ever answered");
        tally.acknowledged(0, at(400), ttl);
        tally.acknowledged(1, at(600), ttl);
        assert_eq!((tally.fresh(at(1399)), tally.deadline()), (2, at(1400)));
        assert!(!tally.is_cut_off(at(1399)) && tally.is_cut_off(at(1400)));
        tally.acknowledged(2, at(1300), ttl);
        assert_eq!(tally.deadline(), at(1600));
        tally.acknowledged(2, at(1301), Duration::from_millis(200));
        assert!(tally.is_cut_off(at(1399)), "the shortest ttl counts");
        tally.acknowledged(2, at(1302), ttl);
        assert!(!tally.is_cut_off(at(1399)), "and no longer than it is told");
    }

    #[test]
    fn nobody_is_missed_before_the_first_beat() {
        let mut tally = Tally::new(2, 2, Duration::from_secs(1), at(0));
        tally.begin(at(5000));
        assert!(!tally.is_cut_off(at(5999)) && tally.is_cut_off(at(6000)));
    }

    #[test]
    fn one_is_enough_where_any_is() {
        let mut tally = Tally::new(3, 1, Duration::from_secs(1), at(0));
        tally.acknowledged(2, at(5000), Duration::from_secs(1));
        assert!(!tally.is_cut_off(at(5999)) && tally.is_cut_off(at(6000)));
    }
}

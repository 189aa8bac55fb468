//! Until when what gathered while a thread of ours stood still holds up what comes after it.
//!
//! A proxy that was stopped for two seconds finds two seconds' worth of requests when it goes on, and hands all of them to its
//! endpoints at once. Those that were under way look as if they had taken two seconds, those that come now wait for one another, here and
//! there, and connections time out in accept queues that nobody could have emptied so soon. None of that is an endpoint's
//! fault. So after a stall nothing is concluded from how long anything takes for as long as the stall lasted: who can serve twice what
//! comes has by then caught up. Stalls add up, since what they leave does; a thread that gets a tenth of the time is never done.
//!
//! A short stall leaves nothing worth the name: it excuses what it overlaps and no more. On a busy machine threads stand still for some
//! tens of milliseconds all the time, and slow endpoints are to be found there too.
//!
//! What an endpoint says counts at all times: a refusal, a status, the answer of a probe. A probe that runs out of time while control works off a
//! backlog is void.

use std::time::Duration;

use crate::base::time::Timestamp;

/// Nobody is excused for longer: who stood still for minutes must not be blind for minutes more.
const MOST: Duration = Duration::from_secs(5);
/// What gathers in a shorter stall is worked off at once.
const SHORT: Duration = Duration::from_millis(100);

/// What one thread has to catch up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    done: Timestamp,
}

impl Backlog {
    /// One that is worked off at `done`.
    #[must_use]
    pub const fn until(done: Timestamp) -> Self {
        Self { done }
    }

    /// The thread has stood still for `span` until `now`.
    #[must_use]
    pub fn after(self, span: Duration, now: Timestamp) -> Self {
        let takes = if Self::is_left_by(span) { span } else { Duration::ZERO };
        Self { done: (self.done.max(now) + takes).min(now + MOST) }
    }

    /// Whether a stall of that length leaves anything to work off.
    #[must_use]
    pub fn is_left_by(span: Duration) -> bool {
        span >= SHORT
    }

    /// When it is worked off: what began before is not judged by how long it took. At most 5 s ahead; zero if there never was
    /// any.
    #[must_use]
    pub const fn done(self) -> Timestamp {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_takes_as_long_as_the_stall_and_not_for_ever() {
        assert_eq!(Backlog::default().done(), Timestamp::ZERO);
        let backlog = Backlog::default().after(ms(2000), at(10_000));
        assert_eq!(backlog.done(), at(12_000));
        assert_eq!(backlog.after(ms(300), at(20_000)).done(), at(20_300), "it begins anew");
        assert_eq!(backlog.after(ms(99), at(20_000)).done(), at(20_000), "only what it overlaps");
        assert_eq!(Backlog::default().after(ms(600_000), at(700_000)).done(), at(705_000));
    }

    #[test]
    fn stalls_add_up() {
        let mut backlog = Backlog::default();
        for round in 1..=20 {
            backlog = backlog.after(ms(180), at(round * 200));
        }
        assert_eq!(backlog.done(), at(4180), "what has been worked off meanwhile is gone");
        for round in 0..20 {
            backlog = backlog.after(ms(180), at(4000 + round * 100));
        }
        assert!(backlog.done() > at(7000), "{backlog:?}");
    }
}

//! Holds out an endpoint that comes and goes.
//!
//! One that is up for two seconds and down for two passes its probes, gets requests, and fails them, for ever. From its second
//! ejection on it must be well for `hold` before it returns, twice as long each time, at most `hold_max`; one that fails while it
//! is held has failed once more, and the time begins anew. So an endpoint that flaps for ten minutes turns a few times in all.
//! It is held in one state, `ejected`, whether its probes pass or fail meanwhile, for as long as the hold lasts.
//! Who has been available for `hold_max`, or for ten seconds if that is longer, is forgiven.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::policy::Damping as Policy;
use crate::health::verdict::{Code, Reason, State};

/// The least time after which an endpoint that stays is forgiven, or one that fails in a hold is given up.
const FORGIVEN: Duration = Duration::from_secs(10);
/// A new process ends a hold at most so often: it may be what makes the endpoint come and go.
const NEW_PROCESS: Duration = Duration::from_secs(10);

/// How often an endpoint has gone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Damping {
    /// Ejections that are not forgiven.
    times: u32,
    /// Since when it has been available.
    up: Option<Timestamp>,
    hold: Option<Box<Hold>>,
    /// When a new process last ended a hold.
    skipped: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Hold {
    since: Timestamp,
    span: Duration,
    /// Since when it has been well; none while it is not.
    well: Option<Timestamp>,
    /// When it last failed while it was held, and stays where it is for that; none if it did not, or long ago.
    stuck: Option<Timestamp>,
}

impl Damping {
    /// It was available and has been taken out.
    pub(super) fn ejected(&mut self, policy: &Policy, now: Timestamp) {
        if self.up.is_some_and(|up| now.since(up) >= policy.hold_max.max(FORGIVEN)) {
            self.times = 0;
        }
        self.up = None;
        self.begin(policy, now, None);
    }

    fn begin(&mut self, policy: &Policy, now: Timestamp, stuck: Option<Timestamp>) {
        self.times = self.times.saturating_add(1);
        if self.times < 2 {
            return;
        }
        let span = policy.hold.saturating_mul(1_u32.checked_shl(self.times - 2).unwrap_or(u32::MAX)).min(policy.hold_max);
        let since = self.hold.as_ref().map_or(now, |hold| hold.since);
        self.hold = Some(Box::new(Hold { since, span, well: None, stuck }));
    }

    /// It is available again.
    pub(super) const fn returned(&mut self, now: Timestamp) {
        if self.up.is_none() {
            self.up = Some(now);
        }
    }

    /// Whether it is well, its holding aside. Failing in a hold is failing once more.
    pub(super) fn observe(&mut self, well: bool, policy: &Policy, now: Timestamp) {
        let Some(hold) = &mut self.hold else { return };
        match (hold.well, well) {
            (None, true) => (hold.well, hold.stuck) = (Some(now), None),
            (Some(_), false) => self.begin(policy, now, Some(now)),
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Another process answers now: what the last one did says little about it.
    pub(super) fn new_process(&mut self, now: Timestamp) {
        if self.hold.is_some() && self.skipped.is_none_or(|last| now.since(last) >= NEW_PROCESS) {
            self.skipped = Some(now);
            self.hold = None;
        }
    }

    /// Lets time pass. Returns whether a hold ends.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let over = self.next_change().is_some_and(|at| at <= now);
        if over {
            // One that stays dead is no longer coming and going; it must be well for as long if it returns.
            self.hold = self.hold.take().filter(|hold| hold.well.is_none()).map(|hold| Box::new(Hold { stuck: None, ..*hold }));
        }
        over
    }

    /// When the hold ends by itself: it has been well for long enough, or has not been for as long.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let hold = self.hold.as_ref()?;
        hold.well.map(|from| from + hold.span).or(hold.stuck.map(|from| from + hold.span.max(FORGIVEN)))
    }

    /// Whether it is held out while it is well.
    pub(super) fn is_holding(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.well.is_some())
    }

    /// Whether it has failed while it was held out, and stays where it is.
    pub(super) fn is_stuck(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.stuck.is_some())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The state this axis asks for and why, unless it is content.
    pub(super) fn reason(&self) -> Option<(State, Reason)> {
        let hold = self.hold.as_ref()?;
        let detail = format!("ejected {} times in short order; must be well for {}", self.times, format_duration(hold.span));
        let reason = Reason { code: Code::Damped, probe: None, detail, since: hold.since, until: self.next_change() };
        Some((State::Ejected, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { hold: Duration::from_secs(1), hold_max: Duration::from_secs(60) };

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn holds_begin_with_the_second_ejection_double_and_are_capped() {
        let mut damping = Damping::default();
        let mut now = 0;
        let mut holds = Vec::new();
        for _ in 0..9 {
            damping.ejected(&POLICY, at(now));
            damping.observe(true, &POLICY, at(now + 500));
            let until = damping.next_change().map_or(now + 500, |at| at.as_nanos() / 1_000_000);
            holds.push((until - now - 500) / 1000);
            damping.expire(at(until));
            damping.returned(at(until));
            now = until + 2000;
        }
        assert_eq!(holds, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        damping.ejected(&POLICY, at(now + 60_000));
        assert!(damping.reason().is_none(), "it has been up for long enough to be forgiven");
    }

    #[test]
    fn who_fails_in_a_hold_is_held_for_longer_and_not_for_ever() {
        let mut damping = Damping::default();
        damping.ejected(&POLICY, at(0));
        damping.returned(at(1000));
        damping.ejected(&POLICY, at(3000));
        damping.observe(true, &POLICY, at(4000));
        assert!(damping.is_holding() && damping.next_change() == Some(at(5000)));
        damping.observe(false, &POLICY, at(4500));
        assert!(damping.is_stuck() && damping.next_change() == Some(at(14_500)), "ten seconds from its failure");
        damping.observe(false, &POLICY, at(5500));
        assert_eq!(damping.next_change(), Some(at(14_500)), "failing on is no new failure");
        assert!(damping.expire(at(14_500)) && !damping.is_stuck() && damping.next_change().is_none());
        damping.observe(true, &POLICY, at(19_000));
        assert_eq!(damping.next_change(), Some(at(21_000)), "whenever it returns, it must be well for that long");
    }

    #[test]
    fn a_new_process_ends_a_hold_but_not_every_time() {
        let mut damping = Damping::default();
        damping.ejected(&POLICY, at(0));
        for (now, held) in [(1000, false), (5000, true), (11_000, false)] {
            damping.ejected(&POLICY, at(now));
            damping.new_process(at(now + 1));
            assert_eq!(damping.reason().is_some(), held, "{now}");
        }
    }
}

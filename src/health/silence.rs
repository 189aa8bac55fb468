//! Suspects an endpoint that answers none of its requests while others answer theirs.
//!
//! A process that hangs takes connections and requests and says nothing; a probe finds that out after a second or more, and
//! time-outs of requests are longer still. But its silence can be heard at once: a request waits, nothing has come back since
//! it was sent, and others do answer. Silence is measured from the later of three moments: when the oldest request that
//! nothing has overtaken was sent, when an answer last began, and when we had caught up after standing still ourselves.
//!
//! | from | to | when |
//! |---|---|---|
//! | heard | suspect | silent for max(`silence.min`, 2 · own p99), and another one answered since |
//! | suspect | heard | any answer begins, or a probe that asks for one passes |
//! | suspect | trial | after 5 s, where no probe asks for an answer: traffic alone can tell |
//! | trial | heard, suspect | as above |
//!
//! A suspicion alone takes nobody down. It asks for confirmations, and the probes decide. Requests that waited when a suspicion
//! was lifted are slow ones, and are not held against the endpoint again.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::policy;
use crate::health::verdict::{Code, Reason, State};

/// How long an endpoint that only traffic can judge stays suspect before it is tried again.
const HOLD: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    #[default]
    Heard,
    Suspect {
        since: Timestamp,
        waited: Duration,
        /// Whether those who wait have been called back.
        recalled: bool,
    },
    Trial(Timestamp),
}

/// Whether an endpoint can be heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Silence {
    standing: Standing,
    /// Requests sent before this are not held against it.
    forgiven: Timestamp,
}

/// What is known when an endpoint is listened to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    /// When the oldest request that waits was sent.
    pub(super) oldest: Option<Timestamp>,
    /// When an answer last began.
    pub(super) heard: Timestamp,
    /// When anybody else was last heard.
    pub(super) others: Timestamp,
    /// Until when we stood still ourselves, or were catching up.
    pub(super) excused_until: Timestamp,
    /// How long silence must last.
    pub(super) patience: Duration,
}

/// What listening brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// It is suspected from now on, having said nothing for so long.
    Suspected(Duration),
    /// It would be, if that were enforced.
    WouldBe(Duration),
    /// It was suspected, and has been heard.
    Lifted,
}

impl Silence {
    /// Listens once.
    pub(super) fn listen(&mut self, to: Listening, policy: policy::Silence, now: Timestamp) -> Heard {
        let since = match self.standing {
            Standing::Heard => None,
            Standing::Suspect { since, .. } | Standing::Trial(since) => Some(since),
        };
        if since.is_some_and(|since| to.heard > since) {
            self.lift(now);
            return Heard::Lifted;
        }
        if matches!(self.standing, Standing::Suspect { .. }) {
            return Heard::Nothing;
        }
        let Some(oldest) = to.oldest.filter(|sent| *sent > self.forgiven) else { return Heard::Nothing };
        let from = oldest.max(to.heard).max(to.excused_until);
        let waited = now.since(from);
        if waited < to.patience || to.others <= from {
            return Heard::Nothing;
        }
        if !policy.enforce {
            self.forgiven = now;
            return Heard::WouldBe(waited);
        }
        self.standing = Standing::Suspect { since: now, waited, recalled: false };
        Heard::Suspected(waited)
    }

    /// A probe that asks for an answer has passed. Returns whether that lifts a suspicion.
    pub(super) fn pass(&mut self, now: Timestamp) -> bool {
        let lifts = self.standing != Standing::Heard;
        if lifts {
            self.lift(now);
        }
        lifts
    }

    fn lift(&mut self, now: Timestamp) {
        self.standing = Standing::Heard;
        self.forgiven = now;
    }

    /// A confirmation is late as well. Returns whether those who wait are to be called back: at most once in a suspicion.
    pub(super) const fn is_late(&mut self) -> bool {
        match &mut self.standing {
            Standing::Suspect { recalled, .. } => !std::mem::replace(recalled, true),
            Standing::Heard | Standing::Trial(_) => false,
        }
    }

    pub(super) const fn is_suspect(&self) -> bool {
        matches!(self.standing, Standing::Suspect { .. })
    }

    /// Lets time pass. `confirmed` tells whether a probe asks for answers. Returns whether a trial begins.
    pub(super) fn expire(&mut self, now: Timestamp, confirmed: bool) -> bool {
        let over = self.next_change(confirmed).is_some_and(|at| at <= now);
        if over {
            self.standing = Standing::Trial(now);
            self.forgiven = now;
        }
        over
    }

    pub(super) fn next_change(&self, confirmed: bool) -> Option<Timestamp> {
        match self.standing {
            Standing::Suspect { since, .. } if !confirmed => Some(since + HOLD),
            _ => None,
        }
    }

    /// Nothing of this is watched any more.
    pub(super) const fn clear(&mut self) {
        self.standing = Standing::Heard;
    }

    /// The state this axis asks for and why, unless it is content.
    pub(super) fn reason(&self, confirmed: bool) -> Option<(State, Reason)> {
        let reason = |since, until, detail| Reason { code: Code::Silence, probe: None, detail, since, until };
        match self.standing {
            Standing::Heard => None,
            Standing::Suspect { since, waited, .. } => {
                let millis = Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
                let detail = format!("nothing came back for {} while others answered", format_duration(millis));
                Some((State::Suspect, reason(since, self.next_change(confirmed), detail)))
            }
            Standing::Trial(since) => Some((
                State::Degraded,
                reason(since, None, "on trial: an answer ends it, silence makes it suspect again".to_owned()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: policy::Silence = policy::Silence { min: Duration::from_millis(100), enforce: true };

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A request sent at `oldest`; the endpoint was heard at `heard`, others at `others`; we stood still until `stalled`.
    const fn at_all(oldest: u64, heard: u64, others: u64, stalled: u64) -> Listening {
        Listening {
            oldest: Some(at(oldest)),
            heard: at(heard),
            others: at(others),
            excused_until: at(stalled),
            patience: Duration::from_millis(100),
        }
    }

    #[test]
    fn silence_counts_from_the_last_thing_that_could_break_it() {
        let check = |listening: Listening, now: u64, suspected: bool| {
            let heard = Silence::default().listen(listening, POLICY, at(now));
            assert_eq!(matches!(heard, Heard::Suspected(_)), suspected, "{listening:?} at {now}");
        };
        check(at_all(1000, 900, 1050, 0), 1099, false);
        check(at_all(1000, 900, 1050, 0), 1100, true);
        check(at_all(1000, 1010, 1050, 0), 1100, false);
        check(at_all(1000, 1010, 1050, 0), 1110, true);
        check(at_all(1000, 900, 1000, 0), 5000, false);
        check(at_all(1000, 900, 3050, 3000), 3099, false);
        check(at_all(1000, 900, 3050, 3000), 3100, true);
        check(Listening { oldest: None, ..at_all(0, 900, 1050, 0) }, 9000, false);
    }

    #[test]
    fn an_answer_or_a_pass_lifts_it_and_what_waited_is_forgiven() {
        let mut silence = Silence::default();
        assert!(matches!(silence.listen(at_all(1000, 900, 1050, 0), POLICY, at(1100)), Heard::Suspected(_)));
        assert!(silence.is_late() && !silence.is_late(), "they are called back once");
        assert_eq!(silence.listen(at_all(1000, 900, 1150, 0), POLICY, at(1200)), Heard::Nothing);
        assert_eq!(silence.listen(at_all(1000, 1210, 1150, 0), POLICY, at(1220)), Heard::Lifted);
        assert_eq!(silence.listen(at_all(1000, 1210, 5000, 0), POLICY, at(9000)), Heard::Nothing, "it is a slow one");
        assert!(matches!(silence.listen(at_all(9000, 1210, 9050, 0), POLICY, at(9100)), Heard::Suspected(_)));
        assert!(silence.pass(at(9110)) && !silence.pass(at(9111)));
        assert_eq!(silence.reason(true), None);
    }

    #[test]
    fn without_a_probe_to_ask_it_is_tried_again() {
        let mut silence = Silence::default();
        assert!(matches!(silence.listen(at_all(1000, 900, 1050, 0), POLICY, at(1100)), Heard::Suspected(_)));
        assert_eq!((silence.next_change(true), silence.next_change(false)), (None, Some(at(6100))));
        assert!(!silence.expire(at(6099), false));
        assert!(silence.expire(at(6100), false));
        assert_eq!(silence.reason(false).unwrap().0, State::Degraded);
        assert_eq!(silence.listen(at_all(1000, 900, 6150, 0), POLICY, at(6300)), Heard::Nothing);
        assert!(matches!(silence.listen(at_all(6200, 900, 6250, 0), POLICY, at(6300)), Heard::Suspected(_)));
    }

    #[test]
    fn what_is_not_enforced_is_only_told() {
        let mut silence = Silence::default();
        let policy = policy::Silence { enforce: false, ..POLICY };
        assert!(matches!(silence.listen(at_all(1000, 900, 1050, 0), policy, at(1100)), Heard::WouldBe(_)));
        assert_eq!(silence.listen(at_all(1000, 900, 1150, 0), policy, at(1200)), Heard::Nothing, "once");
        assert_eq!(silence.reason(true), None);
    }
}

//! Keeps what the operator ordered for one endpoint, which outranks everything that is observed.
//!
//! An order may carry an end of its own, so that a host taken out for a night is not forgotten for a week.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::health::history::clip;
use crate::health::seldom::Usual;
use crate::health::signal::OperatorState;
use crate::health::verdict::{Code, Reason, State};

/// The order in force.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Operator {
    state: OperatorState,
    since: Timestamp,
    until: Option<Timestamp>,
    words: Option<Arc<str>>,
    /// What `ready` for a time only interrupts.
    after: Option<Box<Self>>,
}

impl Usual for Operator {
    const USUAL: &'static Self =
        &Self { state: OperatorState::Ready, since: Timestamp::ZERO, until: None, words: None, after: None };
}

impl Operator {
    /// Takes an order. One whose end has passed is the same as `ready`. A `ready` with an end interrupts the order that there
    /// is, which comes back then; where there is none, it has nothing to end.
    pub(super) fn order(&mut self, state: OperatorState, until: Option<Timestamp>, words: Option<&Arc<str>>, now: Timestamp) {
        let over = until.is_some_and(|end| end <= now);
        *self = match state {
            OperatorState::Ready if until.is_some() && !over => self.interrupted(until, now),
            OperatorState::Ready => Self { since: now, ..Self::default() },
            _ if over => Self { since: now, ..Self::default() },
            _ => {
                let since = if self.state == state { self.since } else { now };
                Self { state, since, until, words: words.cloned(), after: None }
            }
        };
    }

    fn interrupted(&mut self, until: Option<Timestamp>, now: Timestamp) -> Self {
        let held = std::mem::take(self);
        let after = if held.state == OperatorState::Ready { held.after } else { Some(Box::new(held)) };
        Self { since: now, until: until.filter(|_| after.is_some()), after, ..Self::default() }
    }

    /// Lets time pass. Returns whether the order ran out.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let over = self.until.is_some_and(|end| end <= now);
        if over {
            *self = match self.after.take() {
                Some(mut held) => {
                    held.expire(now);
                    *held
                }
                None => Self { since: now, ..Self::default() },
            };
        }
        over
    }

    pub(super) const fn next_change(&self) -> Option<Timestamp> {
        self.until
    }

    /// The state ordered, unless it is ready.
    pub(super) const fn state(&self) -> Option<State> {
        match self.state {
            OperatorState::Ready => None,
            OperatorState::Draining => Some(State::Draining),
            OperatorState::Maintenance => Some(State::Maintenance),
        }
    }

    /// The state ordered and why, unless it is ready.
    pub(super) fn reason(&self) -> Option<(State, Reason)> {
        let state = self.state()?;
        let code = if state == State::Draining { Code::Draining } else { Code::Maintenance };
        let detail = self.words.as_ref().map_or_else(|| "ordered by the operator".to_owned(), |words| clip(words.to_string()));
        Some((state, Reason { code, probe: None, detail, since: self.since, until: self.until }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_order_ends_when_it_says() {
        let mut operator = Operator::default();
        operator.order(OperatorState::Draining, Some(at(100)), None, at(0));
        assert!(!operator.expire(at(99)));
        assert_eq!((operator.state(), operator.next_change()), (Some(State::Draining), Some(at(100))));
        assert!(operator.expire(at(100)));
        assert_eq!((operator.state(), operator.next_change()), (None, None));
    }

    #[test]
    fn ready_for_a_time_interrupts_an_order() {
        let mut operator = Operator::default();
        operator.order(OperatorState::Maintenance, Some(at(100)), Some(&Arc::from("disk")), at(0));
        operator.order(OperatorState::Ready, Some(at(20)), None, at(10));
        assert_eq!((operator.state(), operator.next_change()), (None, Some(at(20))));
        operator.order(OperatorState::Ready, Some(at(30)), None, at(15));
        assert!(!operator.expire(at(20)) && operator.expire(at(30)));
        let (state, reason) = operator.reason().unwrap();
        assert_eq!((state, reason.since, reason.until, &*reason.detail), (State::Maintenance, at(0), Some(at(100)), "disk"));
        operator.order(OperatorState::Ready, Some(at(200)), None, at(50));
        assert!(operator.expire(at(200)));
        assert_eq!(operator.state(), None, "what would come back has ended meanwhile");
        operator.order(OperatorState::Ready, Some(at(300)), None, at(250));
        assert_eq!(operator.next_change(), None);
    }

    #[test]
    fn an_order_that_is_over_is_none() {
        let mut operator = Operator::default();
        operator.order(OperatorState::Maintenance, Some(at(5)), None, at(5));
        assert_eq!(operator.state(), None);
    }

    #[test]
    fn repeating_an_order_keeps_its_beginning_and_takes_its_new_end() {
        let mut operator = Operator::default();
        operator.order(OperatorState::Maintenance, None, None, at(1));
        operator.order(OperatorState::Maintenance, Some(at(9)), Some(&Arc::from("disk")), at(2));
        let (_, reason) = operator.reason().unwrap();
        assert_eq!((reason.since, reason.until, &*reason.detail), (at(1), Some(at(9)), "disk"));
    }
}

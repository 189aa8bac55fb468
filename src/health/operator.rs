//! Keeps what the operator ordered for one endpoint, which outranks everything that is observed.
//!
//! An order may carry an end of its own, so that a host taken out for a night is not forgotten for a week.

use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::health::history::clip;
use crate::health::signal::OperatorState;
use crate::health::verdict::{Code, Reason, State};

/// The order in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Operator {
    state: OperatorState,
    since: Timestamp,
    until: Option<Timestamp>,
    words: Option<Arc<str>>,
}

impl Operator {
    /// Takes an order. One whose end has passed is the same as `ready`; `ready` has no end.
    pub(super) fn order(&mut self, state: OperatorState, until: Option<Timestamp>, words: Option<&Arc<str>>, now: Timestamp) {
        let over = until.is_some_and(|end| end <= now);
        *self = if over || state == OperatorState::Ready {
            Self { since: now, ..Self::default() }
        } else {
            let since = if self.state == state { self.since } else { now };
            Self { state, since, until, words: words.cloned() }
        };
    }

    /// Lets time pass. Returns whether the order ran out.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let over = self.until.is_some_and(|end| end <= now);
        if over {
            *self = Self { since: now, ..Self::default() };
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

//! When a connection on which exchanges run side by side is seen to: not for each of its exchanges, while others are about to
//! have something to say as well.
//!
//! To look after a connection costs as much for one answer as for ten. A worker that has nothing else to do looks at once; one
//! that is busy lets a connection wait until nothing moves any more, but never for long. So an answer is late only where it
//! would have been later still if each had been written by itself.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::Context as TaskContext;
use std::time::Duration;

use crate::base::time::Timestamp;

/// Longest that a connection waits.
const LONGEST: Duration = Duration::from_millis(1);

/// How a connection waits for more of its exchanges.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Since when it does, if it does.
    since: Cell<Option<Timestamp>>,
    /// How many steps the worker's exchanges had made when it was asked last.
    steps: Cell<u64>,
}

impl Patience {
    /// Whether the connection waits a little longer; `steps` is how many the worker's exchanges have made so far. A task that
    /// waits is woken when all others that were ready have had their turn.
    pub(crate) fn waits(&self, cx: &mut TaskContext<'_>, steps: u64, now: impl FnOnce() -> Timestamp) -> bool {
        let waits = self.goes_on(steps, now);
        if waits {
            // The first look at it is what asks for the turn.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        waits
    }

    fn goes_on(&self, steps: u64, now: impl FnOnce() -> Timestamp) -> bool {
        let before = self.steps.replace(steps);
        let since = match self.since.get() {
            Some(_) if before == steps => None,
            Some(since) => Some(since).filter(|since| now().since(*since) < LONGEST),
            None => Some(now()),
        };
        self.since.set(since);
        since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_while_others_move_and_not_for_long() {
        let patience = Patience::default();
        let at = |micros: u64| move || Timestamp::ZERO + Duration::from_micros(micros);
        assert!(patience.goes_on(1, at(0)), "others may be about to answer");
        assert!(patience.goes_on(2, at(10)));
        assert!(!patience.goes_on(2, at(20)), "nobody has moved");
        assert!(patience.goes_on(2, at(30)), "a new one begins");
        assert!(patience.goes_on(3, at(1029)));
        assert!(!patience.goes_on(4, at(1030)));
    }
}

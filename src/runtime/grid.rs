//! Moments at which what a thread does now and then falls together.
//!
//! A thread that sleeps most of the time pays for each waking and hardly for what it does then. So who only wants something to be done
//! about so often has it done at these moments, with the others. They are where the runtime's timers take a moment that is far
//! off with one waking: elsewhere they wake the thread once more, on the eve, to look at it more closely.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::base::time::Timestamp;
use crate::runtime::clock;

/// From one to the next: four of the coarser slots of the runtime's timers, each of which has 64 ms.
pub const SPAN: Duration = Duration::from_millis(256);

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The timers of this thread count from this moment, or from one that is not a millisecond later.
pub(super) fn begin(at: Instant) {
    BEGAN.set(Some(at));
}

/// One of them, from which the others are whole spans away; the beginning of time on a thread that has none.
pub(super) fn origin() -> Timestamp {
    BEGAN.get().map_or(Timestamp::ZERO, clock::stamp)
}

/// The first of them that is not before `at`; `at` itself on a thread that has none.
#[must_use]
pub fn from(at: Timestamp) -> Timestamp {
    BEGAN.get().map_or(at, |began| first(clock::stamp(began), at))
}

fn first(began: Timestamp, at: Timestamp) -> Timestamp {
    let (span, passed) = (SPAN.as_nanos(), at.since(began).as_nanos());
    let ahead = (span - passed % span) % span;
    at + Duration::from_nanos(u64::try_from(ahead).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn moments_are_a_span_apart_and_none_is_early() {
        assert_eq!(first(at(100), at(100)), at(100));
        assert_eq!(first(at(100), at(101)), at(356));
        assert_eq!(first(at(100), at(356)), at(356));
        assert_eq!(first(at(100), at(357)), at(612));
        assert_eq!(first(at(100), at(50)), at(50), "before anything began");
    }

    #[test]
    fn a_thread_that_nobody_told_has_none() {
        std::thread::spawn(|| assert_eq!(from(at(1001)), at(1001))).join().unwrap();
    }
}

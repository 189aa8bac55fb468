//! Regular wakings that cost one system call each.
//!
//! A timer that becomes the next one of its thread has the event queue told, by a write to it and one more look at it, even when
//! the thread that sets it is the one that will wait. So there are two timers by turns: while one goes off the other is set already,
//! and the first is set anew behind it.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Sleep;

use crate::base::time::Timestamp;
use crate::runtime::clock;

/// Wakings a fixed time apart. Who comes late misses those that have passed but one.
#[derive(Debug)]
pub struct Beats {
    span: Duration,
    next: Timer,
    then: Timer,
}

#[derive(Debug)]
struct Timer {
    due: Timestamp,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    fn at(due: Timestamp) -> Self {
        let mut timer = Self { due, sleep: Box::pin(tokio::time::sleep_until(clock::instant(due))) };
        timer.set(due);
        timer
    }

    fn set(&mut self, due: Timestamp) {
        self.due = due;
        self.sleep.as_mut().reset(clock::instant(due));
    }
}

impl Beats {
    /// The first is one span after `start`.
    #[must_use]
    pub fn every(span: Duration, start: Timestamp) -> Self {
        let first = start + span;
        Self { span, next: Timer::at(first), then: Timer::at(first + span) }
    }

    /// Waits for the next one. Returns when it was due.
    pub async fn next(&mut self) -> Timestamp {
        self.next.sleep.as_mut().await;
        let due = self.next.due;
        self.next.set(self.then.due.max(clock::now()) + self.span);
        std::mem::swap(&mut self.next, &mut self.then);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::thread::block_on;

    #[test]
    fn beats_are_a_span_apart_and_never_early() {
        block_on(async {
            let span = Duration::from_millis(2);
            let start = clock::now();
            let mut beats = Beats::every(span, start);
            for number in 1..=5 {
                let due = beats.next().await;
                assert!(clock::now() >= due && due >= start + span * number, "{number}");
            }
        })
        .unwrap();
    }

    #[test]
    fn who_stood_still_is_told_when_it_was_due_and_goes_on_from_there() {
        block_on(async {
            let span = Duration::from_millis(2);
            let start = clock::now();
            let mut beats = Beats::every(span, start);
            std::thread::sleep(20 * span);
            let first = beats.next().await;
            assert!(clock::now().since(first) >= 18 * span && first.since(start) < 18 * span);
            let [_, third] = [beats.next().await, beats.next().await];
            assert!(third.since(start) >= 20 * span, "those between are gone");
        })
        .unwrap();
    }
}

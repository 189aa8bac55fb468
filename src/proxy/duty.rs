//! Whether a worker has anything under way; by that its pulse beats, or rests.
//!
//! A worker through which nothing passes need not show fifty times a second that it runs: nobody waits for what it has not read. After a
//! second without an exchange it rests, and beats only so often that a long stall is noticed. The next exchange ends the rest before anything
//! of it can be seen elsewhere, and wakes control, which rests when all workers do: once in a pause, so it may cost something.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::time::Timestamp;
use crate::cluster::{BEAT, Live, Pulse};
use crate::runtime::beats::Beats;
use crate::runtime::{clock, grid};

/// So long after the last exchange a worker rests.
const QUIET: Duration = Duration::from_secs(1);

/// What one worker has under way.
#[derive(Debug)]
pub(crate) struct Duty {
    live: Arc<Live>,
    worker: usize,
    /// How many pieces of work have begun, and how many of them have ended.
    begun: Cell<u64>,
    ended: Cell<u64>,
    /// How many exchanges are still sending their body.
    pub(crate) sending: Cell<usize>,
    /// When the next beat is due in a rest; `None` if there is none.
    resting: Cell<Option<Timestamp>>,
    /// When the last rest ended.
    since: Cell<Timestamp>,
    roused: Notify,
}

/// A piece of work; it has ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Work(Rc<Duty>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.ended.set(self.0.ended.get().wrapping_add(1));
    }
}

impl Duty {
    /// That of a worker which begins, perhaps in place of one that a bug ended.
    pub(crate) fn new(live: Arc<Live>, worker: usize) -> Self {
        let now = clock::now();
        live.pulses[worker].end_rest(now, now);
        Self {
            live,
            worker,
            begun: Cell::new(0),
            ended: Cell::new(0),
            sending: Cell::new(0),
            resting: Cell::new(None),
            since: Cell::new(now),
            roused: Notify::new(),
        }
    }

    /// Something begins at `now`. Whatever it tells in cells must come after this.
    pub(crate) fn begin(self: &Rc<Self>, now: Timestamp) -> Work {
        self.begun.set(self.begun.get().wrapping_add(1));
        if let Some(due) = self.resting.take() {
            self.pulse().end_rest(due, now);
            self.since.set(now);
            self.roused.notify_one();
            self.live.roused().notify_one();
        }
        Work(Rc::clone(self))
    }

    /// Beats until there has been nothing under way for a while. `look` is called with each beat, and says whether anything is left that
    /// it must be called for again.
    pub(crate) async fn work(&self, mut look: impl FnMut() -> bool) {
        let mut beats = Beats::every(BEAT, self.since.get());
        let (mut seen, mut quiet_since) = (self.begun.get(), self.since.get());
        loop {
            let due = beats.next().await;
            let now = clock::now();
            self.pulse().beat(due, now);
            let begun = self.begun.get();
            if look() || self.sending.get() > 0 || begun != self.ended.get() || std::mem::replace(&mut seen, begun) != begun {
                quiet_since = now;
            }
            if now.since(quiet_since) >= QUIET {
                return;
            }
        }
    }

    /// Rests until something begins.
    pub(crate) async fn rest(&self) {
        let mut due = next(clock::now());
        self.resting.set(Some(due));
        self.pulse().rest();
        let mut timer = Box::pin(tokio::time::sleep_until(clock::instant(due)));
        loop {
            tokio::select! {
                biased;
                () = self.roused.notified() => return,
                () = timer.as_mut() => {}
            }
            let now = clock::now();
            self.pulse().beat(due, now);
            due = next(now);
            self.resting.set(Some(due));
            timer.as_mut().reset(clock::instant(due));
        }
    }

    fn pulse(&self) -> &Pulse {
        &self.live.pulses[self.worker]
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        // A worker that has ended is not late.
        self.pulse().rest();
    }
}

/// The beat after this moment, in a rest.
fn next(now: Timestamp) -> Timestamp {
    grid::from(now + grid::SPAN / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::task;
    use crate::runtime::thread::block_on;

    #[test]
    fn who_has_nothing_under_way_rests_until_something_begins() {
        block_on(async {
            let live = Arc::new(Live::new());
            let duty = Rc::new(Duty::new(Arc::clone(&live), 0));
            let pulse = &live.pulses[0];
            let mut first = Some(duty.begin(clock::now()));
            let mut left = 3;
            duty.work(|| {
                assert!(!pulse.is_resting());
                left -= 1;
                // It ends while there is something to look after.
                if left == 0 {
                    first = None;
                }
                left > 0
            })
            .await;
            assert!(first.is_none() && left < -10, "a while has passed");
            let resting = task::spawn({
                let duty = Rc::clone(&duty);
                async move { duty.rest().await }
            });
            while !pulse.is_resting() {
                tokio::task::yield_now().await;
            }
            let work = duty.begin(clock::now());
            assert!(!pulse.is_resting(), "before anything of it can be seen");
            live.roused().notified().await;
            resting.await.unwrap();
            drop(work);
            drop(duty);
            assert!(pulse.is_resting(), "it is there no more");
        })
        .unwrap();
    }
}

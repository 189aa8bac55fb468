//! Coarse deadlines for a worker's connections and exchanges, on one tick per thread.
//!
//! Every request sets and clears several deadlines and hardly any is ever reached. A timer entry each would cost more
//! than the rest of the bookkeeping; here a [`Deadline`] is made once per connection and moved by writing a cell. The
//! tick visits an entry only when the deadline it was filed under has come, and files it again if that moved on.
//! Deadlines are late by up to two ticks, never early.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::runtime::{clock, task};

/// Length of a tick.
pub const TICK: Duration = Duration::from_millis(20);

/// How far ahead an entry is filed at most. It is visited then, so what was dropped meanwhile is forgotten soon: a flood of
/// short connections must not leave minutes' worth of dead entries behind.
const HORIZON: Duration = Duration::from_secs(2);

/// More than the ticks of a horizon: two ticks that share a slot are never both filed under while the wheel turns.
const SLOTS: usize = 128;

/// One deadline that can be moved at no cost.
#[derive(Debug)]
pub struct Deadline(Rc<Entry>);

#[derive(Debug)]
struct Entry {
    at: Cell<Timestamp>,
    filed: Cell<Timestamp>,
    /// Whether the tick found the moment reached; spares those who ask a look at the clock.
    reached: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Entries by the tick that they are filed under, modulo [`SLOTS`].
#[derive(Debug)]
struct Wheel {
    slots: [Vec<Weak<Entry>>; SLOTS],
    filed: usize,
    /// The tick whose slot was looked through last.
    turned: u64,
    ticking: bool,
}

thread_local! {
    static WHEEL: RefCell<Wheel> = const {
        RefCell::new(Wheel { slots: [const { Vec::new() }; SLOTS], filed: 0, turned: 0, ticking: false })
    };
}

impl Wheel {
    fn file(&mut self, entry: &Rc<Entry>, tick: u64) {
        self.slot(tick.max(self.turned + 1)).push(Rc::downgrade(entry));
        self.filed += 1;
    }

    /// Takes out all that is filed under ticks up to this one.
    fn turn(&mut self, to: u64) -> Vec<Weak<Entry>> {
        let mut taken = Vec::new();
        let oldest = to.saturating_sub(SLOTS as u64);
        for tick in self.turned.max(oldest)..to {
            taken.append(&mut std::mem::take(self.slot(tick + 1)));
        }
        self.turned = self.turned.max(to);
        self.filed -= taken.len();
        taken
    }

    fn slot(&mut self, tick: u64) -> &mut Vec<Weak<Entry>> {
        let number = usize::try_from(tick % SLOTS as u64).unwrap_or(0);
        &mut self.slots[number]
    }
}

impl Deadline {
    /// A deadline that is never reached until it is set.
    #[must_use]
    pub fn unset() -> Self {
        Self(Rc::new(Entry {
            at: Cell::new(Timestamp::NEVER),
            filed: Cell::new(Timestamp::NEVER),
            reached: Cell::new(false),
            waker: RefCell::new(None),
        }))
    }

    /// Moves it; [`Timestamp::NEVER`] clears it.
    pub fn set(&self, at: Timestamp) {
        if self.0.at.replace(at) == at {
            return;
        }
        self.0.reached.set(false);
        if at < self.0.filed.get() {
            file(&self.0, at);
        }
    }

    /// The moment it is set to.
    #[must_use]
    pub fn get(&self) -> Timestamp {
        self.0.at.get()
    }

    /// Ready once the moment has come; the calling task is woken then. One task at a time may wait.
    pub fn poll_reached(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.reached.get() {
            return Poll::Ready(());
        }
        let mut waker = self.0.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the moment has come.
    pub async fn reached(&self) {
        std::future::poll_fn(|cx| self.poll_reached(cx)).await;
    }
}

/// Waits a while; for what is rare. What is frequent keeps a [`Deadline`].
pub async fn sleep(span: Duration) {
    let deadline = Deadline::unset();
    deadline.set(clock::now() + span);
    deadline.reached().await;
}

fn file(entry: &Rc<Entry>, at: Timestamp) {
    let at = at.min(clock::now() + HORIZON);
    entry.filed.set(at);
    let start = WHEEL.with_borrow_mut(|wheel| {
        wheel.file(entry, tick_after(at));
        !std::mem::replace(&mut wheel.ticking, true)
    });
    if start {
        drop(task::spawn(tick()));
    }
}

/// The number of the first tick that is not before `at`.
fn tick_after(at: Timestamp) -> u64 {
    let nanos = u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX);
    at.as_nanos().div_ceil(nanos)
}

/// Ticks as long as anything is filed.
async fn tick() {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = clock::now();
        for entry in due(now) {
            visit(&entry, now);
        }
        let idle = WHEEL.with_borrow_mut(|wheel| {
            wheel.ticking = wheel.filed > 0;
            !wheel.ticking
        });
        if idle {
            return;
        }
    }
}

fn due(now: Timestamp) -> Vec<Rc<Entry>> {
    let taken = WHEEL.with_borrow_mut(|wheel| wheel.turn(tick_after(now)));
    taken.iter().filter_map(Weak::upgrade).collect()
}

fn visit(entry: &Rc<Entry>, now: Timestamp) {
    entry.filed.set(Timestamp::NEVER);
    let at = entry.at.get();
    if now >= at {
        entry.reached.set(true);
        if let Some(waker) = entry.waker.take() {
            waker.wake();
        }
    } else if at != Timestamp::NEVER {
        file(entry, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        crate::runtime::thread::block_on(future).unwrap()
    }

    #[test]
    fn a_deadline_is_never_early() {
        run(async {
            let start = clock::now();
            sleep(Duration::from_millis(30)).await;
            assert!(clock::now().since(start) >= Duration::from_millis(30));
        });
    }

    #[test]
    fn a_deadline_that_moves_nearer_is_kept() {
        run(async {
            let deadline = Deadline::unset();
            deadline.set(clock::now() + Duration::from_secs(3600));
            deadline.set(clock::now() + Duration::from_millis(1));
            deadline.reached().await;
        });
    }

    #[test]
    fn a_deadline_that_moves_on_does_not_fire_for_its_old_moment() {
        run(async {
            let deadline = Deadline::unset();
            let start = clock::now();
            deadline.set(start + Duration::from_millis(20));
            deadline.set(start + Duration::from_millis(120));
            deadline.reached().await;
            assert!(clock::now().since(start) >= Duration::from_millis(120));
        });
    }

    #[test]
    fn what_is_filed_is_taken_out_by_its_tick_and_once() {
        let mut wheel = Wheel { slots: [const { Vec::new() }; SLOTS], filed: 0, turned: 1000, ticking: true };
        let deadline = Deadline::unset();
        for tick in [3, 1001, 1001, 1100, 1002] {
            wheel.file(&deadline.0, tick);
        }
        assert_eq!(wheel.turn(1001).len(), 3, "what should have been before is due at once");
        assert_eq!(wheel.turn(1001).len(), 0);
        assert_eq!(wheel.turn(1099).len(), 1);
        assert_eq!((wheel.turn(900).len(), wheel.filed), (0, 1));
        assert_eq!(wheel.turn(1_000_000).len(), 1, "after a stall everything is looked at");
        assert_eq!(wheel.filed, 0);
    }

    #[test]
    fn the_tick_ends_when_nothing_is_left_to_wait_for() {
        run(async {
            sleep(Duration::from_millis(1)).await;
            while WHEEL.with_borrow(|wheel| wheel.ticking) {
                tokio::time::sleep(TICK).await;
            }
        });
    }
}

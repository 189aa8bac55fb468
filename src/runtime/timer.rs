//! Coarse deadlines for a worker's connections and exchanges, on one clock with coarse ticks per thread.
//!
//! Every request sets and clears several deadlines and hardly any is ever reached. A timer entry each would cost more
//! than the rest of the bookkeeping; here a [`Deadline`] is made once per connection and moved by writing a cell. The
//! clock ticks only when something is filed under a tick, visits an entry only when the deadline it was filed under has come, and files it
//! again if that moved on. What is far off is filed under the few ticks at which a thread wakes anyway. Deadlines are late by up to two ticks,
//! never early.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::runtime::{clock, grid, task};

/// Length of a tick.
pub const TICK: Duration = Duration::from_millis(16);
/// Every so many ticks comes one under which what is far off is filed: those are moments of the [`grid`].
const FAR: u64 = 16;
const _: () = assert!(TICK.as_nanos() * FAR as u128 == grid::SPAN.as_nanos());

/// How far ahead an entry is filed at most. It is visited then, so what was dropped meanwhile is forgotten soon: a flood of
/// short connections must not leave minutes' worth of dead entries behind.
const HORIZON: Duration = Duration::from_secs(2);

/// More than the ticks of a horizon. Two ticks that share a slot are both filed under only when the thread stood still; who is visited too
/// soon by that is filed again.
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
    /// The next one, under which something is filed; `None` while the clock stands.
    planned: Option<u64>,
    /// Whom to tell when another one comes before it.
    waker: Option<Waker>,
}

thread_local! {
    static WHEEL: RefCell<Wheel> = const { RefCell::new(Wheel::new()) };
}

/// What filing an entry calls for.
#[derive(Debug)]
enum Next {
    /// It is visited as things are.
    Planned,
    /// The clock stands, and is to be set going.
    Start,
    /// The clock is to tick sooner than it meant to.
    Sooner(Option<Waker>),
}

impl Wheel {
    const fn new() -> Self {
        Self { slots: [const { Vec::new() }; SLOTS], filed: 0, turned: 0, planned: None, waker: None }
    }

    /// Files an entry; `passed` is the last tick before now.
    fn file(&mut self, entry: &Rc<Entry>, tick: u64, passed: u64) -> Next {
        // Nothing is filed under those up to then.
        self.turned = self.turned.max(self.planned.map_or(passed, |planned| passed.min(planned.saturating_sub(1))));
        let tick = tick.max(self.turned + 1);
        self.slot(tick).push(Rc::downgrade(entry));
        self.filed += 1;
        match self.planned {
            None => {
                self.planned = Some(tick);
                Next::Start
            }
            Some(planned) if tick < planned => {
                self.planned = Some(tick);
                Next::Sooner(self.waker.take())
            }
            Some(_) => Next::Planned,
        }
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

    /// Plans the next tick under which something is filed.
    fn plan(&mut self) -> Option<u64> {
        let mut ahead = self.turned + 1..=self.turned + SLOTS as u64;
        self.planned = if self.filed > 0 { ahead.find(|tick| !self.slot(*tick).is_empty()) } else { None };
        self.planned
    }

    /// Whether that tick is the next one still. If it is, whoever is to be told otherwise is noted.
    fn is_planned(&mut self, tick: u64, waker: &Waker) -> bool {
        let still = self.planned == Some(tick);
        if still && !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        still
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
    let (now, origin) = (clock::now(), grid::origin());
    let tick = tick_for(at, now, origin);
    entry.filed.set(at.min(moment(tick, origin)));
    let next = WHEEL.with_borrow_mut(|wheel| wheel.file(entry, tick, last_tick(now, origin)));
    match next {
        Next::Planned | Next::Sooner(None) => {}
        Next::Sooner(Some(waker)) => waker.wake(),
        Next::Start => drop(task::spawn(tick_on())),
    }
}

/// The number of the last tick that is not after a moment.
fn last_tick(at: Timestamp, origin: Timestamp) -> u64 {
    u64::try_from(at.since(origin).as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
}

/// The first tick that is not before `at`; if that is far off, one before it.
fn tick_for(at: Timestamp, now: Timestamp, origin: Timestamp) -> u64 {
    if at > now + HORIZON {
        return last_tick(now + HORIZON, origin) / FAR * FAR;
    }
    last_tick(at + (TICK - Duration::from_nanos(1)), origin)
}

fn moment(tick: u64, origin: Timestamp) -> Timestamp {
    origin + Duration::from_nanos(tick.saturating_mul(u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX)))
}

/// Ticks as long as anything is filed.
async fn tick_on() {
    let origin = grid::origin();
    let mut timer = Box::pin(tokio::time::sleep(Duration::ZERO));
    while let Some(tick) = WHEEL.with_borrow_mut(Wheel::plan) {
        timer.as_mut().reset(clock::instant(moment(tick, origin)));
        let came = poll_fn(|cx| match WHEEL.with_borrow_mut(|wheel| wheel.is_planned(tick, cx.waker())) {
            true => timer.as_mut().poll(cx).map(|()| true),
            false => Poll::Ready(false),
        });
        if came.await {
            let now = clock::now();
            for entry in due(now, origin) {
                visit(&entry, now);
            }
        }
    }
}

fn due(now: Timestamp, origin: Timestamp) -> Vec<Rc<Entry>> {
    let taken = WHEEL.with_borrow_mut(|wheel| wheel.turn(last_tick(now, origin)));
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
        let mut wheel = Wheel { turned: 1000, planned: Some(1), ..Wheel::new() };
        let deadline = Deadline::unset();
        for tick in [3, 1001, 1001, 1100, 1002] {
            wheel.file(&deadline.0, tick, 1000);
        }
        assert_eq!(wheel.turn(1001).len(), 3, "what should have been before is due at once");
        assert_eq!(wheel.turn(1001).len(), 0);
        assert_eq!(wheel.plan(), Some(1002));
        assert_eq!(wheel.turn(1099).len(), 1);
        assert_eq!(wheel.plan(), Some(1100));
        assert_eq!((wheel.turn(900).len(), wheel.filed), (0, 1));
        assert_eq!(wheel.turn(1_000_000).len(), 1, "after a stall everything is looked at");
        assert_eq!((wheel.filed, wheel.plan()), (0, None));
    }

    #[test]
    fn the_clock_ticks_when_something_is_filed_and_sooner_if_it_must() {
        let mut wheel = Wheel::new();
        let deadline = Deadline::unset();
        assert!(matches!(wheel.file(&deadline.0, 9050, 9000), Next::Start));
        assert_eq!((wheel.turned, wheel.plan()), (9000, Some(9050)), "however long nothing was filed");
        assert!(matches!(wheel.file(&deadline.0, 9060, 9010), Next::Planned));
        assert!(matches!(wheel.file(&deadline.0, 9020, 9010), Next::Sooner(None)), "nobody waits yet");
        assert!(wheel.is_planned(9020, Waker::noop()) && !wheel.is_planned(9050, Waker::noop()));
        assert!(matches!(wheel.file(&deadline.0, 9019, 9018), Next::Sooner(Some(_))));
        assert_eq!((wheel.turn(9019).len(), wheel.plan()), (1, Some(9020)));
        assert!(matches!(wheel.file(&deadline.0, 9200, 9100), Next::Planned), "it stood still, and shares a slot now");
        assert_eq!((wheel.turned, wheel.turn(9100).len(), wheel.plan()), (9019, 4, None));
    }

    #[test]
    fn what_is_far_off_is_filed_where_the_thread_wakes_anyway() {
        let at = Timestamp::from_millis;
        let check = |millis: u64, tick: u64| assert_eq!(tick_for(at(1000 + millis), at(1500), at(1000)), tick, "{millis}");
        check(0, 0);
        check(16, 1);
        check(17, 2);
        check(2500, 157);
        check(2501, 144);
        check(80_000, 144);
        assert_eq!((moment(144, at(1000)), last_tick(at(3304), at(1000))), (at(3304), 144));
    }

    #[test]
    fn the_clock_stands_when_nothing_is_left_to_wait_for() {
        run(async {
            sleep(Duration::from_millis(1)).await;
            while WHEEL.with_borrow(|wheel| wheel.planned.is_some()) {
                tokio::time::sleep(TICK).await;
            }
        });
    }
}

//! What control and one probe share: what control wants of it, how it hears of that, and how long its runs usually take.
//!
//! Both are on one thread, so these are cells and whom to wake: thousands of endpoints have them, and hardly any of them is ever
//! told anything.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use crate::health::Pace;
use crate::probe::confirm::Usual;

/// The orders of one probe.
#[derive(Debug)]
pub(super) struct Orders {
    pace: Cell<Pace>,
    asked: Cell<u32>,
    listener: RefCell<Option<Waker>>,
    /// How long runs that passed took.
    pub(super) usual: Usual,
}

impl Default for Orders {
    fn default() -> Self {
        // Fast is the pace of an endpoint of which nothing is known.
        Self { pace: Cell::new(Pace::Fast), asked: Cell::new(0), listener: RefCell::default(), usual: Usual::default() }
    }
}

impl Orders {
    /// Changes how often the probe runs.
    pub(super) fn set_pace(&self, pace: Pace) {
        if self.pace.replace(pace) != pace {
            self.ring();
        }
    }

    /// Asks for a run at once.
    pub(super) fn ask(&self) {
        self.asked.set(self.asked.get().wrapping_add(1));
        self.ring();
    }

    pub(super) const fn pace(&self) -> Pace {
        self.pace.get()
    }

    /// How often a run at once has been asked for; may wrap around.
    pub(super) const fn asked(&self) -> u32 {
        self.asked.get()
    }

    /// Has a task woken by every order from now on.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut listener = self.listener.borrow_mut();
        if !listener.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *listener = Some(waker.clone());
        }
    }

    fn ring(&self) {
        if let Some(listener) = &*self.listener.borrow() {
            listener.wake_by_ref();
        }
    }
}

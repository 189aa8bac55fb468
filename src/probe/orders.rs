//! What control wants of the probes of one endpoint, and how they hear of it.
//!
//! All of them run on control's thread, so that is a cell and whom to wake: thousands of endpoints have one each, and hardly any of
//! them is ever told anything.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use crate::health::Pace;

/// The orders of one endpoint's probes.
#[derive(Debug)]
pub(super) struct Orders {
    pace: Cell<Pace>,
    asked: Cell<u64>,
    given: Cell<u32>,
    listeners: RefCell<Vec<Waker>>,
}

impl Default for Orders {
    fn default() -> Self {
        // Fast is the pace of an endpoint of which nothing is known.
        Self { pace: Cell::new(Pace::Fast), asked: Cell::new(0), given: Cell::new(0), listeners: RefCell::default() }
    }
}

impl Orders {
    /// Changes how often the probes run.
    pub(super) fn set_pace(&self, pace: Pace) {
        if self.pace.replace(pace) != pace {
            self.ring();
        }
    }

    /// Asks for a run at once.
    pub(super) fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
        self.ring();
    }

    pub(super) const fn pace(&self) -> Pace {
        self.pace.get()
    }

    /// How often a run at once has been asked for.
    pub(super) const fn asked(&self) -> u64 {
        self.asked.get()
    }

    /// How many orders have been given: who looks again later sees whether there was one meanwhile.
    pub(super) const fn given(&self) -> u32 {
        self.given.get()
    }

    /// Has a task woken by every order from now on.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut listeners = self.listeners.borrow_mut();
        if !listeners.iter().any(|known| known.will_wake(waker)) {
            listeners.reserve_exact(1);
            listeners.push(waker.clone());
        }
    }

    fn ring(&self) {
        self.given.set(self.given.get().wrapping_add(1));
        self.listeners.borrow().iter().for_each(Waker::wake_by_ref);
    }
}

//! What control wants of the probes of one endpoint, and how they hear of it.
//!
//! All of them run on control's thread, so that is a cell and a bell: thousands of endpoints have one each, and hardly any of them
//! is ever told anything.

use std::cell::Cell;

use tokio::sync::Notify;

use crate::health::Pace;

/// The orders of one endpoint's probes.
#[derive(Debug)]
pub(super) struct Orders {
    pace: Cell<Pace>,
    asked: Cell<u64>,
    bell: Notify,
}

impl Default for Orders {
    fn default() -> Self {
        // Fast is the pace of an endpoint of which nothing is known.
        Self { pace: Cell::new(Pace::Fast), asked: Cell::new(0), bell: Notify::new() }
    }
}

impl Orders {
    /// Changes how often the probes run.
    pub(super) fn set_pace(&self, pace: Pace) {
        if self.pace.replace(pace) != pace {
            self.bell.notify_waiters();
        }
    }

    /// Asks for a run at once.
    pub(super) fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
        self.bell.notify_waiters();
    }

    pub(super) const fn pace(&self) -> Pace {
        self.pace.get()
    }

    /// How often a run at once has been asked for.
    pub(super) const fn asked(&self) -> u64 {
        self.asked.get()
    }

    /// Waits for the next order. Those that were given before are seen by looking first, without a pause between the two.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }
}

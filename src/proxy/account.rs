//! What the other side of an HTTP/2 connection may make us do for nothing: an account that useful traffic and time fill again.
//!
//! Over HTTP/2 there are frames that must be read and answered and bring no request, answer or part of a body. The HTTP machinery
//! bounds the memory of that; here its amount is bounded. What well-behaved peers send never empties the account; who does is cut
//! off.

use std::cell::Cell;

use crate::base::time::Timestamp;
use crate::runtime::clock;

/// So many bytes written pay for one frame: whoever takes them says so in many small frames.
const BYTES_PER_FRAME: usize = 1024;

/// The account of one connection, in frames.
#[derive(Debug)]
pub(crate) struct Account {
    /// What it holds at most, and at first.
    most: u32,
    /// What a second adds.
    per_second: u32,
    left: Cell<u32>,
    filled: Cell<Timestamp>,
    /// Bytes that have been written since the last frame that they paid for.
    written: Cell<usize>,
    empty: Cell<bool>,
}

impl Account {
    /// A full one.
    pub(crate) fn new(most: u32, per_second: u32, now: Timestamp) -> Self {
        let (left, filled) = (Cell::new(most), Cell::new(now));
        Self { most, per_second, left, filled, written: Cell::new(0), empty: Cell::new(false) }
    }

    /// Whether more has been taken from it than it had.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.empty.get()
    }

    /// Takes so many frames.
    pub(crate) fn charge(&self, cost: u32) {
        if let Some(left) = self.left.get().checked_sub(cost) {
            return self.left.set(left);
        }
        // The clock is looked at only when the account is empty.
        let now = clock::now();
        let earned = now.since(self.filled.replace(now)).as_millis() * u128::from(self.per_second) / 1000;
        let earned = u32::try_from(earned).unwrap_or(self.most);
        match earned.min(self.most).checked_sub(cost) {
            Some(left) => self.left.set(left),
            None => self.empty.set(true),
        }
    }

    /// Adds so many frames.
    pub(crate) fn refund(&self, frames: u32) {
        self.left.set(self.left.get().saturating_add(frames).min(self.most));
    }

    /// Bytes have gone.
    pub(crate) fn wrote(&self, bytes: usize) {
        let written = self.written.get() + bytes;
        self.written.set(written % BYTES_PER_FRAME);
        self.refund(u32::try_from(written / BYTES_PER_FRAME).unwrap_or(self.most));
    }
}

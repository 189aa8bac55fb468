//! What the other side of an HTTP/2 connection may make us do for nothing: an account that useful traffic and time fill again.
//!
//! Over HTTP/2 there are frames that must be read and answered and bring no request, answer or part of a body. The HTTP machinery
//! bounds the memory of that; here its amount is bounded. What well-behaved peers send never empties the account; who does is cut
//! off.

use std::cell::Cell;

use crate::base::time::Timestamp;
use crate::runtime::clock;

/// So many bytes written pay for one frame: whoever takes them says so in many small frames.
pub(crate) const BYTES_PER_FRAME: usize = 1024;

/// How many times what it holds at first an account may hold of what was paid ahead. A few thousand small pieces of an answer are on
/// their way before the first of them has been taken.
const AHEAD: u32 = 64;

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
        self.add(frames, self.most);
    }

    /// Adds so many frames that will come for what has just been sent, however much there is: it may be long until they do.
    pub(crate) fn advance(&self, frames: u32) {
        self.add(frames, self.most.saturating_mul(AHEAD));
    }

    fn add(&self, frames: u32, most: u32) {
        let left = self.left.get();
        self.left.set(left.max(left.saturating_add(frames).min(most)));
    }

    /// Bytes have gone.
    pub(crate) fn wrote(&self, bytes: usize) {
        let written = self.written.get() + bytes;
        self.written.set(written % BYTES_PER_FRAME);
        self.refund(u32::try_from(written / BYTES_PER_FRAME).unwrap_or(self.most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Account {
        Account::new(10, 0, Timestamp::ZERO)
    }

    #[test]
    fn what_is_refunded_does_not_pile_up() {
        let account = full();
        account.refund(1000);
        account.charge(10);
        assert!(!account.is_overdrawn());
        account.charge(1);
        assert!(account.is_overdrawn());
    }

    #[test]
    fn what_is_sent_ahead_of_its_frames_pays_for_them_later_and_not_without_end() {
        let account = full();
        account.advance(100);
        account.refund(1);
        account.charge(110);
        assert!(!account.is_overdrawn());
        account.advance(1_000_000);
        account.charge(10 * AHEAD);
        assert!(!account.is_overdrawn());
        account.charge(1);
        assert!(account.is_overdrawn());
    }
}

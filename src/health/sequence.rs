//! Decides whether a numbered beat is the next one, one that was missed in between, one that came before, or comes late.
//!
//! Networks repeat and reorder. Neither is the sender's fault, and neither says that it lives now: such beats are counted
//! and judge nothing. Gaps in the numbers are what loss is estimated from.

use serde::{Deserialize, Serialize};

/// How far back single numbers are remembered.
const WINDOW: u64 = 64;

/// A leap of more numbers than this is a sender that counts anew, not loss.
const LEAP: u64 = 1000;

/// The numbers seen of one sender.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Sequence {
    newest: Option<u64>,
    /// Which of the numbers before the newest have come: bit n stands for newest - n.
    seen: u64,
    /// Of a sender without a boot id: the last number, if it came from before the newest.
    #[serde(default)]
    stray: Option<u64>,
}

/// Where a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// After every one before, of which so many have not come.
    Next {
        /// Numbers left out.
        missed: u32,
    },
    /// It has come before.
    Duplicate,
    /// A later one has come before it.
    Reordered,
    /// The sender counts anew.
    Restarted,
}

impl Sequence {
    /// Nothing has come yet.
    pub(super) const NEW: Self = Self { newest: None, seen: 0, stray: None };

    /// Takes in a number. `named` says whether the sender has a boot id: one without tells of its restart by its numbers, when two
    /// in a row go on from before the newest; a single one of them was delayed or repeated.
    pub(super) fn take(&mut self, seq: u64, named: bool) -> Place {
        let Some(newest) = self.newest else {
            *self = Self::beginning(seq);
            return Place::Next { missed: 0 };
        };
        if seq > newest {
            let ahead = seq - newest;
            self.seen = if ahead < WINDOW { (self.seen << ahead) | 1 } else { 1 };
            self.newest = Some(seq);
            self.stray = None;
            return match u32::try_from(ahead - 1) {
                Ok(missed) if u64::from(missed) <= LEAP => Place::Next { missed },
                _ => Place::Restarted,
            };
        }
        let behind = newest - seq;
        if !named && behind > 0 && self.stray.replace(seq).is_some_and(|stray| stray.checked_add(1) == Some(seq)) {
            *self = Self::beginning(seq);
            return Place::Restarted;
        }
        let bit = if behind < WINDOW { 1 << behind } else { 0 };
        if self.seen & bit != 0 {
            return Place::Duplicate;
        }
        self.seen |= bit;
        Place::Reordered
    }

    const fn beginning(seq: u64) -> Self {
        Self { newest: Some(seq), seen: 1, stray: None }
    }

    pub(super) const fn newest(&self) -> Option<u64> {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(named: bool, numbers: &[u64], wanted: &[Place]) {
        let mut sequence = Sequence::default();
        let got: Vec<Place> = numbers.iter().map(|seq| sequence.take(*seq, named)).collect();
        assert_eq!(got, wanted, "{numbers:?}");
    }

    const fn next(missed: u32) -> Place {
        Place::Next { missed }
    }

    #[test]
    fn numbers_find_their_place() {
        check(true, &[7, 8, 9], &[next(0), next(0), next(0)]);
        check(true, &[1, 4, 4, 2, 2, 5], &[next(0), next(2), Place::Duplicate, Place::Reordered, Place::Duplicate, next(0)]);
        check(true, &[1, 100, 30, 30], &[next(0), next(98), Place::Reordered, Place::Reordered]);
        check(true, &[5, 4, u64::MAX], &[next(0), Place::Reordered, Place::Restarted]);
        check(true, &[0, u64::MAX, 0], &[next(0), Place::Restarted, Place::Reordered]);
    }

    #[test]
    fn a_sender_without_a_name_that_counts_anew_was_restarted() {
        check(false, &[90, 91, 91, 1, 2, 3], &[next(0), next(0), Place::Duplicate, Place::Reordered, Place::Restarted, next(0)]);
        check(false, &[1, 2, 3, 2, 1, 4], &[next(0), next(0), next(0), Place::Duplicate, Place::Duplicate, next(0)]);
        check(false, &[1, 4, 3, 5, 2], &[next(0), next(2), Place::Reordered, next(0), Place::Reordered]);
        check(false, &[u64::MAX, 1, u64::MAX], &[next(0), Place::Reordered, Place::Duplicate]);
    }
}

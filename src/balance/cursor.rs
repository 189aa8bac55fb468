//! Where one worker stands in the rotation of one cluster.

/// A worker's place in a cluster's rotation. It survives new pickers: the rotation goes on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Times the rotation went around.
    pub(super) round: u32,
    /// The entry that is looked at next.
    pub(super) place: usize,
}

impl Cursor {
    /// A cursor somewhere in the rotation, so that workers that start together do not all begin at the first candidate.
    #[must_use]
    pub fn seeded(rng: &mut fastrand::Rng) -> Self {
        Self { round: rng.u32(..), place: rng.usize(..1 << 16) }
    }

    /// The entry to look at now, of `len`, and the round it belongs to; the cursor moves on to the next.
    pub(super) fn advance(&mut self, len: usize) -> (usize, u32) {
        if self.place >= len {
            self.place %= len;
            self.round = self.round.wrapping_add(1);
        }
        let here = (self.place, self.round);
        self.place += 1;
        here
    }
}

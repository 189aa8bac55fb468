//! Which endpoints workers have counted anything of since control last looked.
//!
//! Control reads the cells fifty times a second. Reading those of ten thousand endpoints each time, to find that a hundred have
//! moved, would cost as much as a worker's share of requests; so workers leave a mark, and control goes by the marks. A mark
//! that is already there costs a worker one load.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::base::ids::EndpointId;

/// Marks that there are. Endpoints whose ids are so far apart share one, and are then looked at together.
const SLOTS: u32 = 1 << 16;

/// The marks.
#[derive(Debug)]
pub struct Touched(Box<[AtomicU64]>);

impl Default for Touched {
    fn default() -> Self {
        Self((0..SLOTS / u64::BITS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Touched {
    /// The mark of an endpoint.
    #[must_use]
    pub const fn slot(id: EndpointId) -> u32 {
        id.0 % SLOTS
    }

    /// Something is being counted of an endpoint.
    pub fn mark(&self, id: EndpointId) {
        let slot = Self::slot(id);
        let (word, bit) = (&self.0[(slot / u64::BITS) as usize], 1 << (slot % u64::BITS));
        if word.load(Relaxed) & bit == 0 {
            word.fetch_or(bit, Relaxed);
        }
    }

    /// Takes all marks away up to the `last` that there can be; control only. What belongs to a mark may still be on its way, so it
    /// is to be looked for twice.
    pub fn take(&self, last: u32) -> Vec<u32> {
        let mut marked = Vec::new();
        let words = (last / u64::BITS) as usize + 1;
        for (word, first) in self.0.iter().take(words).zip((0..).step_by(u64::BITS as usize)) {
            let mut bits = if word.load(Relaxed) == 0 { 0 } else { word.swap(0, Relaxed) };
            while bits != 0 {
                marked.push(first + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_once_and_in_order() {
        let touched = Touched::default();
        for id in [70_000, 3, 64, 3, 65_535] {
            touched.mark(EndpointId(id));
        }
        assert_eq!((touched.take(2).len(), touched.take(SLOTS - 1)), (1, vec![64, 70_000 - SLOTS, 65_535]));
        assert_eq!(Touched::slot(EndpointId(70_000)), 70_000 - SLOTS);
        assert_eq!(touched.take(SLOTS - 1), [0; 0]);
    }
}

//! A value for each worker, however many there come to be.
//!
//! How many workers run may change while the process lives, and a table that moved when it grew would pull cells from under
//! whoever counts in them. So lanes come in blocks that are made when they are first asked for and never move again. There are tens of
//! thousands of such tables, most of which nobody ever counts in, so an empty one is small.

use std::ops::Index;
use std::sync::OnceLock;

use crossbeam_utils::CachePadded;

/// Blocks of 2, 4, 8 ... lanes behind the first one: 2047 in all, twice as many as there may be workers, since retiring ones keep theirs.
const BLOCKS: usize = 10;

/// A value for each worker, by its number from 0; made when it is first asked for.
#[derive(Debug)]
pub struct Lanes<T> {
    first: OnceLock<Box<CachePadded<T>>>,
    others: OnceLock<Box<Blocks<T>>>,
}

type Blocks<T> = [OnceLock<Box<[CachePadded<T>]>>; BLOCKS];

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { first: OnceLock::new(), others: OnceLock::new() }
    }
}

impl<T: Default> Lanes<T> {
    /// How many lanes there can be.
    pub const MOST: usize = (2 << BLOCKS) - 1;

    /// Every value that has been asked for, and its neighbours in the block.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.numbered().map(|(_, lane)| lane)
    }

    /// The same with the number of each one's worker.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &T)> {
        let first = self.first.get().map(|lane| (0, &***lane));
        let blocks = self.others.get().into_iter().flat_map(|blocks| blocks.iter().enumerate());
        let made = blocks.filter_map(|(block, lanes)| Some((block, lanes.get()?)));
        first.into_iter().chain(made.flat_map(|(block, lanes)| ((2 << block) - 1..).zip(lanes.iter().map(|lane| &**lane))))
    }
}

impl<T: Default> Index<usize> for Lanes<T> {
    type Output = T;

    /// The value of a worker.
    ///
    /// # Panics
    /// If the number is not below [`Lanes::MOST`].
    fn index(&self, worker: usize) -> &T {
        if worker == 0 {
            return self.first.get_or_init(Box::default);
        }
        let number = worker + 1;
        let block = number.ilog2() - 1;
        let lanes = 2 << block;
        let blocks = self.others.get_or_init(|| Box::new(std::array::from_fn(|_| OnceLock::new())));
        &blocks[block as usize].get_or_init(|| (0..lanes).map(|_| CachePadded::default()).collect())[number - lanes]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn every_worker_has_a_lane_of_its_own_that_stays() {
        let lanes = Lanes::<AtomicUsize>::default();
        let first: *const AtomicUsize = &raw const lanes[0];
        for worker in 0..Lanes::<AtomicUsize>::MOST {
            assert_eq!(lanes[worker].fetch_add(worker, Relaxed), 0, "{worker}");
        }
        assert_eq!(first, &raw const lanes[0]);
        assert_eq!(lanes.iter().map(|lane| lane.load(Relaxed)).sum::<usize>(), (0..Lanes::<AtomicUsize>::MOST).sum::<usize>());
    }

    #[test]
    fn what_nobody_asked_for_is_not_there() {
        let lanes = Lanes::<AtomicUsize>::default();
        assert_eq!(lanes.iter().count(), 0);
        lanes[3].store(1, Relaxed);
        assert_eq!(lanes.iter().count(), 4, "the block of workers 3 to 6");
        let numbers: Vec<usize> = lanes.numbered().map(|(number, _)| number).collect();
        assert_eq!(numbers, [3, 4, 5, 6]);
    }
}

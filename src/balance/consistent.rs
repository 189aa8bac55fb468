//! The same key to the same candidate, unless that one has far more than its share in flight.
//!
//! A hot key would drown the candidate that it belongs to while others idle. So nobody gets a request that would put him
//! over [`BOUND`] times the mean in flight, by weight; such a request goes on to the next point of the ring, which is the
//! same for every worker too (consistent hashing with bounded loads, Mirrokni, Thorup and Zadimoghaddam 2016).

use std::sync::Arc;

use crate::balance::{Loads, Ring, to_position};

/// The most that a candidate may have in flight, in multiples of the mean.
const BOUND: f64 = 1.25;
/// Points that are passed over in search of a candidate that may be taken.
const PATIENCE: usize = 4096;
/// Stands for an endpoint that is no candidate.
const NOBODY: u32 = u32::MAX;

/// Candidates on their cluster's ring.
#[derive(Debug, Clone)]
pub(super) struct Consistent {
    ring: Arc<Ring>,
    /// By number on the ring.
    seats: Box<[Seat]>,
    candidates: usize,
    /// One over the sum of the candidates' weights.
    unit: f64,
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    candidate: u32,
    /// How many of its points are in use.
    used: u32,
    weight: f64,
}

impl Consistent {
    /// Candidates in order, each with its number on the ring and its effective weight.
    pub(super) fn new(ring: Arc<Ring>, candidates: impl Iterator<Item = (usize, f64)>) -> Self {
        let mut seats = vec![Seat { candidate: NOBODY, used: 0, weight: 0.0 }; ring.len()].into_boxed_slice();
        let (mut count, mut sum) = (0, 0.0);
        for (candidate, (number, weight)) in (0_u32..).zip(candidates) {
            count += 1;
            if let Some(seat) = seats.get_mut(number) {
                let weight = if weight.is_finite() { weight.max(0.0) } else { 0.0 };
                *seat = Seat { candidate, used: ring.in_use(number, weight), weight };
                sum += weight;
            }
        }
        Self { ring, seats, candidates: count, unit: if sum > 0.0 { 1.0 / sum } else { 0.0 } }
    }

    pub(super) fn pick(&self, key: u64, loads: &(impl Loads + ?Sized), tried: &[usize]) -> Option<usize> {
        let used = |number: usize| self.seats[number].used;
        let first = self.ring.find(key, &used)?;
        let total = f64::from(loads.total()) + 1.0;
        let mut untried = None;
        let mut point = first;
        for _ in 0..PATIENCE {
            let seat = self.seats[self.ring.owner(point)];
            let candidate = to_position(seat.candidate);
            if !tried.contains(&candidate) {
                let bound = (BOUND * total * self.share(seat)).ceil();
                if f64::from(loads.in_flight(candidate)) < bound {
                    return Some(candidate);
                }
                untried = untried.or(Some(candidate));
            }
            let next = self.ring.after(point, &used)?;
            if next == first {
                break;
            }
            point = next;
        }
        untried.or_else(|| (0..self.candidates).find(|candidate| !tried.contains(candidate))).or_else(|| self.home(first))
    }

    /// Whose the point is that the key leads to.
    fn home(&self, point: usize) -> Option<usize> {
        Some(to_position(self.seats[self.ring.owner(point)].candidate))
    }

    fn share(&self, seat: Seat) -> f64 {
        if self.unit > 0.0 { seat.weight * self.unit } else { 1.0 }
    }
}

//! Picks one of the candidates: one file per algorithm.
//!
//! Candidates have been chosen before; a picker never asks whether an endpoint is well, only how much it should get. It is
//! made anew with every published snapshot, never changes, and is shared by all workers; what a pick leaves behind is in
//! the worker's own [`Cursor`], so that no worker waits for another and a new snapshot does not begin at the first again.

mod consistent;
mod cursor;
mod ring;
mod round_robin;
mod standing;
mod two_choices;

use std::sync::Arc;

pub use cursor::Cursor;
pub use ring::Ring;
pub use standing::Standing;

use consistent::Consistent;
use round_robin::RoundRobin;
use two_choices::TwoChoices;

/// How a cluster spreads its requests, where any candidate would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// By weight, in turn.
    #[default]
    RoundRobin,
    /// The less loaded, by weight, of two drawn at random.
    LeastRequest,
    /// The one with less to wait for, by weight, of two drawn at random: latency times requests in flight.
    PeakEwma,
}

/// What a picker asks about candidates, by their positions.
pub trait Loads {
    /// The requests that a candidate has now.
    fn in_flight(&self, candidate: usize) -> u32;

    /// The requests that all candidates have now. Only a picker with a ring asks for it.
    fn total(&self) -> u32 {
        0
    }

    /// How many requests a candidate's latest failures stand for.
    fn strain(&self, _candidate: usize) -> f64 {
        0.0
    }

    /// How long a candidate takes to answer, in any unit.
    fn latency(&self, _candidate: usize) -> f64 {
        1.0
    }
}

impl<F: Fn(usize) -> u32 + ?Sized> Loads for F {
    fn in_flight(&self, candidate: usize) -> u32 {
        self(candidate)
    }
}

/// Chooses among candidates, which it knows by their positions and weights.
#[derive(Debug, Clone)]
pub struct Picker(Kind);

#[derive(Debug, Clone)]
enum Kind {
    RoundRobin(RoundRobin),
    LeastRequest(TwoChoices),
    PeakEwma(TwoChoices),
    Consistent(Consistent),
}

impl Picker {
    /// A picker over candidates with these weights. A weight that is not above 0 gets nothing, unless there is none that
    /// is: then all are alike.
    #[must_use]
    pub fn new(algorithm: Algorithm, weights: &[f64]) -> Self {
        let weights = clean(weights);
        Self(match algorithm {
            Algorithm::RoundRobin => Kind::RoundRobin(RoundRobin::new(&weights)),
            Algorithm::LeastRequest => Kind::LeastRequest(TwoChoices::new(weights)),
            Algorithm::PeakEwma => Kind::PeakEwma(TwoChoices::new(weights)),
        })
    }

    /// A picker that leads the same key to the same candidate. Candidates come in order, each with its number on the ring and
    /// its effective weight; one with a weight of 0 gets next to nothing.
    #[must_use]
    pub fn consistent(ring: &Arc<Ring>, candidates: impl Iterator<Item = (usize, f64)>) -> Self {
        Self(Kind::Consistent(Consistent::new(Arc::clone(ring), candidates)))
    }

    /// Whether it asks for [`Loads::total`].
    #[must_use]
    pub const fn wants_total(&self) -> bool {
        matches!(self.0, Kind::Consistent(_))
    }

    /// The position of the candidate that gets the next request; `None` if there are no candidates.
    ///
    /// One that is in `tried` is taken only if all of them are. A picker without a ring does not look at the key, and one with
    /// a ring makes up a key for a request that has none.
    pub fn pick(
        &self,
        cursor: &mut Cursor,
        rng: &mut fastrand::Rng,
        loads: &(impl Loads + ?Sized),
        key: Option<u64>,
        tried: &[usize],
    ) -> Option<usize> {
        let waiting = |candidate: usize| f64::from(loads.in_flight(candidate)) + loads.strain(candidate) + 1.0;
        match &self.0 {
            Kind::RoundRobin(picker) => picker.pick(cursor, tried),
            Kind::LeastRequest(picker) => picker.pick(rng, waiting, tried),
            Kind::PeakEwma(picker) => picker.pick(rng, |candidate| loads.latency(candidate) * waiting(candidate), tried),
            Kind::Consistent(picker) => picker.pick(key.unwrap_or_else(|| rng.u64(..)), loads, tried),
        }
    }
}

fn to_position(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Candidates with a weight above 0, by position.
fn clean(weights: &[f64]) -> Vec<(usize, f64)> {
    let usable: Vec<(usize, f64)> =
        weights.iter().copied().enumerate().filter(|(_, weight)| weight.is_finite() && *weight > 0.0).collect();
    if usable.is_empty() { (0..weights.len()).map(|position| (position, 1.0)).collect() } else { usable }
}

#[cfg(test)]
mod tests;

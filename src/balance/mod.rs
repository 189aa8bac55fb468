//! Picks one of the candidates: one file per algorithm.
//!
//! Candidates have been chosen before; a picker never asks whether an endpoint is well, only how much it should get. It is
//! made anew with every published snapshot, never changes, and is shared by all workers; what a pick leaves behind is in
//! the worker's own [`Cursor`], so that no worker waits for another and a new snapshot does not begin at the first again.

mod cursor;
mod least_request;
mod round_robin;

pub use cursor::Cursor;

use least_request::LeastRequest;
use round_robin::RoundRobin;

/// How a cluster spreads its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// By weight, in turn.
    #[default]
    RoundRobin,
    /// The less loaded, by weight, of two drawn at random.
    LeastRequest,
}

/// Chooses among candidates, which it knows by their positions and weights.
#[derive(Debug, Clone)]
pub struct Picker(Kind);

#[derive(Debug, Clone)]
enum Kind {
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
}

impl Picker {
    /// A picker over candidates with these weights. A weight that is not above 0 gets nothing, unless there is none that
    /// is: then all are alike.
    #[must_use]
    pub fn new(algorithm: Algorithm, weights: &[f64]) -> Self {
        let weights = clean(weights);
        Self(match algorithm {
            Algorithm::RoundRobin => Kind::RoundRobin(RoundRobin::new(&weights)),
            Algorithm::LeastRequest => Kind::LeastRequest(LeastRequest::new(weights)),
        })
    }

    /// The position of the candidate that gets the next request; `None` if there are no candidates.
    ///
    /// `in_flight` tells the requests a candidate has now. One that is in `tried` is taken only if all of them are.
    pub fn pick(
        &self,
        cursor: &mut Cursor,
        rng: &mut fastrand::Rng,
        in_flight: &(impl Fn(usize) -> u32 + ?Sized),
        tried: &[usize],
    ) -> Option<usize> {
        match &self.0 {
            Kind::RoundRobin(picker) => picker.pick(cursor, tried),
            Kind::LeastRequest(picker) => picker.pick(rng, in_flight, tried),
        }
    }
}

/// Candidates with a weight above 0, by position.
fn clean(weights: &[f64]) -> Vec<(usize, f64)> {
    let usable: Vec<(usize, f64)> =
        weights.iter().copied().enumerate().filter(|(_, weight)| weight.is_finite() && *weight > 0.0).collect();
    if usable.is_empty() { (0..weights.len()).map(|position| (position, 1.0)).collect() } else { usable }
}

#[cfg(test)]
mod tests;

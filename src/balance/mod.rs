//! Picks one of the candidates: one file per algorithm.
//!
//! Candidates have been chosen before; a picker never asks whether an endpoint is well, only how much it should get.

/// How a cluster spreads its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// By weight, in turn.
    #[default]
    RoundRobin,
    /// The less loaded, by weight, of two drawn at random.
    LeastRequest,
}

/// Stands in until the pickers land.
#[derive(Debug)]
pub struct Picker;

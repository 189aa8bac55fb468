//! What we believe about every endpoint, and why: one file per axis, folded once into a verdict with ordered reasons.
//!
//! Everything here is pure: signals and `now` go in, transitions come out. It never forgets why an endpoint is out,
//! because the reason is the state.

pub mod check;
pub mod policy;
pub mod signal;
pub mod verdict;

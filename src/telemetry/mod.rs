//! Metric names, each once, the cells that the hot paths count in, and the log.
//!
//! Shared counters cost the request path a cache line per worker and request; here every cell has one writing thread and
//! is summed when somebody scrapes.

pub mod cell;
pub mod lanes;
pub mod log;
pub mod names;
pub mod series;

//! The only reader of the clock, and how threads and tasks are started.
//!
//! Everything that makes runs differ from one another lives here, so that every room above can be replayed in a test.

pub mod beats;
pub mod clock;
pub mod grid;
pub mod panics;
pub mod rest;
pub mod task;
pub mod thread;
pub mod timer;

//! The single writer of health: every signal and order comes here, every verdict is published from here.
//!
//! State that several threads may change needs locks on the request path, or is wrong for a moment. Here one task on a
//! thread of its own owns all of it; others read what it publishes and ask for changes through a [`Handle`].

#![expect(dead_code, reason = "the task that uses them lands next")]

mod events;
mod handle;
mod tallies;

pub use events::{Event, EventStream, KEPT, Unseen};
pub use handle::{Handle, NotFound, ReloadOutcome};
pub use tallies::Tallies;

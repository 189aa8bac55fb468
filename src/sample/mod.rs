//! Endpoints to try the proxy on: they report their real load, and turn sick when told to.
//!
//! The demo and the sample program stand on the same code, so that what one shows the other does. Nothing in the proxy
//! itself names this room.

mod endpoint;
mod mood;
pub mod usage;

pub use endpoint::Endpoint;
pub use mood::{BadMood, Mood};

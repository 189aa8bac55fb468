//! A seeded world with a clock of its own, in which the pure rooms run as they do in the process.
//!
//! What detection promises is about time and order: a dead endpoint is found within a bound, whatever else happens. With
//! real sockets that can be tried a few times; here a minute of a cluster's life takes milliseconds, and a seed replays it.
//! Endpoints misbehave on cue, probes run in their slots, requests go where the picker sends them, and every observation
//! goes through the engine. The world judges nothing: whoever runs it looks at each step.

mod arena;
mod fault;
mod host;
mod link;
mod mood;
mod node;
pub mod plan;
mod probes;
mod requests;
mod simulate;
mod weather;
mod world;

pub use arena::{Arena, Arrangement, Record};
pub use fault::Fault;
pub use host::{Behaviour, Host};
pub use link::Link;
pub use mood::Mood;
pub use requests::Done;
pub use simulate::{Life, Outcome, Plot, arrangement, live, simulate};
pub use weather::{Sky, Weather};
pub use world::{Setting, Step, What, World};

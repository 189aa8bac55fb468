//! Votes between proxies: each tells each, straight and in full, what it saw itself.
//!
//! Nothing is relayed and nothing is merged on the way, so a vote has one origin and one age, and a proxy that is cut off is
//! simply not heard. Every message is signed with a key of the fleet and carries a number that its receiver gave out less
//! than two seconds ago: what was recorded yesterday, or held back on the way, is worth nothing. What votes mean for an
//! endpoint is decided in `health`; this room only carries them.

mod ballot;
mod key;
mod mailbox;
mod nonce;
mod reception;
mod roll;
mod sender;
#[cfg(test)]
mod tests;

pub use ballot::Ballot;
pub use key::Keys;
pub use mailbox::{Counts, Mailbox, Setup, Word};

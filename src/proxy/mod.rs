//! The data plane: connection -> exchange -> attempt -> connection pool, and our own answers.
//!
//! One worker is one thread with a runtime, listening sockets, pools, a random source and cells of its own. A request
//! takes no lock and wakes no other thread; what it shares with other workers is the endpoint's in-flight counter. It
//! decides nothing about health: it reads the published snapshot and reports what it saw.

mod access;
mod access_line;
mod account;
mod admission;
mod answer;
mod attempt;
mod body;
mod client_socket;
mod connection;
mod context;
mod door;
mod downstream;
mod duty;
mod early;
mod exchange;
mod failure;
mod frames;
mod handshake;
mod inflow;
mod ledger;
mod lines;
mod metered;
mod one_by_one;
mod opening;
mod outbox;
mod outstanding;
mod parked;
mod patience;
mod place;
mod pool;
mod queue;
mod scribe;
mod side_by_side;
mod source;
mod streams;
#[cfg(test)]
mod tests;
mod trailers;
mod tunnel;
mod upstream;
mod view;
mod worker;

pub use access::AccessLog;
pub use door::{Doors, Leave, Opening};
pub use scribe::{Page, Scribe};
pub use worker::{Setup, Stage, worker};

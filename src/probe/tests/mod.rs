//! Probes against real sockets on loopback. What an endpoint did wrong is told by the signal that arrives.

mod connections;
mod endpoint;
mod failures;
mod kinds;
mod reports;
mod rig;
mod rounds;

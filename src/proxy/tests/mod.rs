//! The data plane against endpoints and clients over real sockets: one worker, a world made by hand.

mod affinity;
mod bodies;
mod capacity;
mod limits;
mod malformed;
mod parking;
mod retries;
mod rig;
mod routing;

//! Sockets: how we listen and how we dial.
//!
//! Options that everybody would have to remember (no delay, address reuse, both families) are set here once.

pub mod accept;
pub mod beginning;
pub mod conduit;
pub mod dial;
pub mod handover;
pub mod listen;
pub mod proxy_header;
pub mod resolve;
pub mod secure;
pub mod shared;
pub mod socket;
pub mod socket_file;
pub mod stream;
pub mod unwatched;

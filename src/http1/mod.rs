//! HTTP/1.1 towards endpoints: one request and its answer on one connection, inside the future of whoever asks.
//!
//! Two readers that take the same bytes differently are how one client's answer becomes another's, so what could be read
//! in two ways is refused here, and a connection is used again only if nothing at all is left on it. No task, no channel:
//! the connection belongs to the [`Conversation`] for as long as that lasts, and comes back at its end.
//!
//! | file | owns |
//! |---|---|
//! | `connection` | a connection with nothing on it |
//! | `brief` | a short request and a plain answer, each in one piece |
//! | `conversation` | one request and its answer: writing, reading, what is left |
//! | `request` | the request's head as bytes |
//! | `outflow` | the request's body as bytes, with one framing |
//! | `reply` | the answer's head: bytes to status, headers and framing |
//! | `inflow` | the answer's body: bytes to data and trailers |
//! | `chunks`, `trailers` | the chunked coding, and the fields after it |
//! | `piece`, `spare` | what one read brings, and header maps to put it in |
//! | `fault` | why there is no whole answer |

mod brief;
mod chunks;
mod connection;
mod conversation;
mod fault;
mod inflow;
mod outflow;
mod piece;
mod reply;
mod request;
mod spare;
#[cfg(test)]
mod tests;
mod trailers;

pub use brief::{Brief, Plain};
pub use connection::Connection;
pub use conversation::{Conversation, Heard};
pub use fault::Fault;
pub use reply::{MAX_HEAD_BYTES, MAX_HEAD_LINES, Reply, one_length};
pub use request::{RequestHead, decimal};
pub use spare::recycle;

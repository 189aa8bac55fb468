//! Heartbeats that endpoints push: taken in, checked, handed to control, and answered with how we see the sender.
//!
//! Whoever reaches this socket can say that an endpoint lives. So nothing is believed that no token vouches for, and what is
//! malformed, too large, too frequent or about somebody unknown costs an answer, a count and one line in the log, whoever
//! sends it and however often: no state is kept of senders that are neither configured nor admitted. What a beat means is for `health`; it
//! is taken in on control's own thread, so that what has come is read before anybody is judged by its absence.
//!
//! | file | owns |
//! |---|---|
//! | `serve` | sockets, connections and their bounds |
//! | `line` | a connection between two beats, and how far an answer on it has got |
//! | `plain` | a beat that has come whole, read and answered without the machinery of HTTP |
//! | `answer` | what is answered, whoever writes it |
//! | `service` | from a request to its answer |
//! | `message` | the bytes of a beat, and of its ack |
//! | `directory` | which endpoints may be spoken for, and by which token |
//! | `refusal` | why a beat is not taken, as answer, count and log line |
//! | `rate` | how often one sender may speak |

mod answer;
mod directory;
mod line;
mod message;
mod plain;
mod rate;
mod refusal;
mod serve;
mod service;
#[cfg(test)]
mod tests;

pub use directory::{Directory, Gate};
pub use message::{Identity, MAX_BEAT};
pub use refusal::Counts;
pub use serve::serve;
pub use service::{FirstBeat, Joined, Pushed, Service};

//! Why there is no answer, or not a whole one.

use std::io;

/// What went wrong on a connection to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It was closed before the answer was whole.
    #[error("the connection was closed {}", moment(*heard))]
    Closed {
        /// Whether any byte of an answer had come.
        heard: bool,
    },
    /// It broke before the answer was whole.
    #[error("the connection failed {}: {error}", moment(*heard))]
    Broken {
        /// What the system says.
        error: io::Error,
        /// Whether any byte of an answer had come.
        heard: bool,
    },
    /// What came is no HTTP/1.1, or could be read in two ways.
    #[error("{0}")]
    Malformed(&'static str),
    /// The answer's head, or one of its interim ones, is over a bound.
    #[error("the answer's head is too large")]
    HeadTooLarge,
    /// A transfer coding other than chunked, or one beside a length.
    #[error("the answer's framing is not a single, plain one")]
    TransferCoding,
    /// The request's body failed, which is not the endpoint's doing.
    #[error("the request's body failed")]
    RequestBody,
}

const fn moment(heard: bool) -> &'static str {
    if heard { "in the middle of the answer" } else { "before an answer" }
}

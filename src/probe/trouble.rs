//! Why there was no answer, and whose fault that is: the endpoint's, or ours.

use std::error::Error;
use std::io;

use crate::health::signal::{Failure, ProbeResult};
use crate::net::dial::DialError;

/// Why a probe got no answer, other than that its time ran out.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody listens there.
    Refused,
    /// It says nothing about the endpoint.
    Ours(String),
    /// TLS stood in the way.
    Tls(String),
    /// Anything else.
    Broken(String),
}

impl Trouble {
    /// What a run that ended so has found.
    pub(super) fn result(self) -> ProbeResult {
        match self {
            Self::Refused => ProbeResult::Fail(Failure::Refused),
            Self::Ours(why) => ProbeResult::Void(why),
            Self::Tls(what) => ProbeResult::Fail(Failure::Tls(what)),
            Self::Broken(what) => ProbeResult::Fail(Failure::Error(what)),
        }
    }
}

impl From<DialError> for Trouble {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Refused => Self::Refused,
            // A name that does not resolve leaves its endpoint unknown: who does not know where it is cannot call it sick.
            DialError::Certificate(_) | DialError::Tls(_) => Self::Tls(error.to_string()),
            DialError::Unresolved | DialError::Local(_) => Self::Ours(error.to_string()),
            DialError::Timeout(_) | DialError::Unroutable(_) | DialError::Other(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<http::Error> for Trouble {
    fn from(error: http::Error) -> Self {
        Self::Ours(format!("the request cannot be written: {error}"))
    }
}

impl Trouble {
    /// The trouble that HTTP had; `heard` says whether any byte of an answer had come.
    pub(super) fn of_http(error: &hyper::Error, heard: bool) -> Self {
        let moment = if heard { "in the middle of the answer" } else { "before an answer" };
        Self::Broken(if error.is_parse_too_large() {
            "the answer's head is too long".to_owned()
        } else if error.is_parse() {
            format!("the answer is not well-formed HTTP/1: {}", innermost(error))
        } else if error.is_incomplete_message() || error.is_canceled() {
            format!("the connection was closed {moment}")
        } else {
            match io_kind(error) {
                Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => format!("the connection was reset {moment}"),
                Some(io::ErrorKind::UnexpectedEof) => format!("the connection was closed {moment}"),
                _ => format!("the connection failed {moment}: {}", innermost(error)),
            }
        })
    }
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn innermost(error: &hyper::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn causes(error: &hyper::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| Error::source(*cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_could_not_try_says_nothing_about_the_endpoint() {
        let error = || io::Error::from_raw_os_error(24);
        let check = |error: DialError, void: bool| {
            let said = error.to_string();
            let result = Trouble::from(error).result();
            assert_eq!(matches!(result, ProbeResult::Void(_)), void, "{said}");
        };
        check(DialError::Local(error()), true);
        check(DialError::Unresolved, true);
        check(DialError::Refused, false);
        check(DialError::Unroutable(error()), false);
        check(DialError::Other(error()), false);
    }
}

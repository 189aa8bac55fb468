//! Why there was no answer, and whose fault that is: the endpoint's, or ours.

use std::error::Error;
use std::io;

use crate::health::signal::{Failure, ProbeResult};
use crate::http1::Fault;
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

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        use io::ErrorKind as Kind;
        let moment = |heard: bool| if heard { "in the middle of the answer" } else { "before an answer" };
        Self::Broken(match fault {
            Fault::HeadTooLarge => "the answer's head is too long".to_owned(),
            Fault::Malformed(what) => format!("the answer is not well-formed HTTP/1: {what}"),
            Fault::TransferCoding => format!("the answer is not well-formed HTTP/1: {fault}"),
            Fault::Broken { error, heard } if matches!(error.kind(), Kind::ConnectionReset | Kind::BrokenPipe) => {
                format!("the connection was reset {}", moment(heard))
            }
            Fault::Closed { .. } | Fault::Broken { .. } | Fault::RequestBody => fault.to_string(),
        })
    }
}

impl Trouble {
    /// The trouble that HTTP/2 had.
    pub(super) fn of_http2(error: &hyper::Error) -> Self {
        Self::Broken(match io_kind(error) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => "the connection was reset".to_owned(),
            Some(io::ErrorKind::UnexpectedEof) => "the connection was closed".to_owned(),
            _ => format!("the exchange over HTTP/2 failed: {}", innermost(error)),
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

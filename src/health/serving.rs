//! What an answer of a gRPC health service (grpc.health.v1) means.
//!
//! Only `SERVING` passes, as with every other client of that service: an endpoint that cannot say how it is does not serve.

use std::sync::Arc;

use crate::health::signal::{Failure, ProbeResult};

/// The status `UNIMPLEMENTED` of gRPC.
const UNIMPLEMENTED: u32 = 12;

/// A gRPC probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCheck {
    /// The service that is asked about; empty means the whole server.
    pub service: Arc<str>,
    /// Whether a server without a health service passes.
    pub unimplemented_passes: bool,
}

/// What a health service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// The number of its serving status; 0, `UNKNOWN`, if it left that out.
    Status(u64),
    /// A gRPC status other than OK.
    Error {
        /// The status.
        code: u32,
        /// What it says about it, for people.
        message: String,
    },
}

impl GrpcCheck {
    /// Judges an answer.
    #[must_use]
    pub fn judge(&self, served: &Served) -> ProbeResult {
        match served {
            Served::Status(1) => ProbeResult::Pass,
            Served::Status(status) => {
                let name = match status {
                    0 => "UNKNOWN",
                    2 => "NOT_SERVING",
                    3 => "SERVICE_UNKNOWN",
                    _ => "a serving status that nobody knows",
                };
                ProbeResult::Fail(Failure::Serving(name.to_owned()))
            }
            Served::Error { code: UNIMPLEMENTED, .. } if self.unimplemented_passes => ProbeResult::Pass,
            Served::Error { code, message } => {
                let said = if message.is_empty() { String::new() } else { format!(": {message}") };
                ProbeResult::Fail(Failure::Serving(format!("grpc-status {code} ({}){said}", name(*code))))
            }
        }
    }
}

/// The names of the statuses of gRPC.
fn name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("no status of gRPC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_passes() {
        let judge = |unimplemented_passes, served| GrpcCheck { service: "a.v1".into(), unimplemented_passes }.judge(&served);
        let error = |code, message: &str| Served::Error { code, message: message.to_owned() };
        let fails = |served, wanted: &str| match judge(false, served) {
            ProbeResult::Fail(failure) => {
                assert_eq!(failure.code().to_string(), "probe_status");
                assert_eq!(failure.to_string(), wanted);
            }
            other => panic!("{wanted}: {other:?}"),
        };
        assert_eq!(judge(false, Served::Status(1)), ProbeResult::Pass);
        fails(Served::Status(0), "it answers UNKNOWN");
        fails(Served::Status(2), "it answers NOT_SERVING");
        fails(Served::Status(3), "it answers SERVICE_UNKNOWN");
        fails(Served::Status(u64::MAX), "it answers a serving status that nobody knows");
        fails(error(5, "unknown service"), "it answers grpc-status 5 (NOT_FOUND): unknown service");
        fails(error(14, ""), "it answers grpc-status 14 (UNAVAILABLE)");
        fails(error(99, ""), "it answers grpc-status 99 (no status of gRPC)");
        fails(error(12, ""), "it answers grpc-status 12 (UNIMPLEMENTED)");
        assert_eq!(judge(true, error(12, "")), ProbeResult::Pass);
        assert_ne!(judge(true, error(5, "")), ProbeResult::Pass);
    }
}

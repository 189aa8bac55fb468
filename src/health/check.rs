//! What a probe asks and how its answer is judged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use crate::base::address::EndpointAddress;
use crate::health::policy::Timing;
use crate::health::serving::GrpcCheck;
use crate::health::signal::{Failure, ProbeResult};
use crate::report::{Report, StatusWord};

/// A range of statuses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// Lowest status.
    pub low: u16,
    /// Highest status.
    pub high: u16,
}

/// Whether the nonce that a probe sends must come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// None is sent.
    Off,
    /// An answer with another one says nothing; one without any is an answer.
    #[default]
    Optional,
    /// An answer without it, or with another one, fails.
    Required,
}

impl Acknowledge {
    /// The name used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }

    /// Judges the nonce in an answer by the one that was sent. `None` if it is no obstacle.
    ///
    /// Whoever answers with another nonce did not see this probe: a cache, or another instance. That the endpoint is well does
    /// not follow, and that it is not does not follow either.
    #[must_use]
    pub fn judge(self, sent: &str, answered: Option<&[u8]>) -> Option<ProbeResult> {
        let said = match answered {
            Some(answered) if answered.eq_ignore_ascii_case(sent.as_bytes()) => return None,
            Some(_) => "answered with a nonce that was not sent: a cache or another instance answered",
            None => "answered without the nonce that was sent",
        };
        match (self, answered) {
            (Self::Required, _) => Some(ProbeResult::Fail(Failure::Unacknowledged(said.to_owned()))),
            (Self::Optional, Some(_)) => Some(ProbeResult::Void(said.to_owned())),
            (Self::Off, _) | (Self::Optional, None) => None,
        }
    }
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCheck {
    /// Path and query.
    pub path: Arc<str>,
    /// The method, GET by default.
    pub method: Method,
    /// The Host header; the endpoint's address by default.
    pub host: Option<Arc<str>>,
    /// More headers.
    pub headers: HeaderMap,
    /// Statuses that pass.
    pub status: Vec<StatusRange>,
    /// Text that the body must contain.
    pub body_contains: Option<Arc<str>>,
    /// Whether the nonce must come back.
    pub acknowledge: Acknowledge,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// A request whose answer is judged.
    Http(HttpCheck),
    /// A connection that is accepted.
    Tcp,
    /// The line of an HAProxy agent. Until it has spoken it has no vote beside others: that there is no agent is no failure.
    Agent,
    /// The check of a gRPC health service.
    Grpc(GrpcCheck),
    /// A file that keeps changing.
    File(FileCheck),
}

impl Check {
    /// The kind, as the configuration calls it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp => "tcp",
            Self::Agent => "agent",
            Self::Grpc(_) => "grpc",
            Self::File(_) => "file",
        }
    }

    /// Whether each run by itself shows that somebody works. The kernel accepts connections for a process that hangs, an agent
    /// speaks for another process and says by most of its lines nothing of health, and a file tells of the time it was written.
    #[must_use]
    pub const fn asks(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Grpc(_))
    }
}

/// A file probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// The file, in which `{host}`, `{port}` and `{address}` stand for the endpoint's.
    pub path: Arc<str>,
    /// How old its last change may be.
    pub max_age: Duration,
}

/// One configured probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSpec {
    /// Its name, unique within the cluster.
    pub name: Arc<str>,
    /// What it does.
    pub check: Check,
    /// Another address than the endpoint's.
    pub address: Option<EndpointAddress>,
    /// Another port than the endpoint's; not beside `address`.
    pub port: Option<u16>,
    /// Whether it uses the cluster's TLS, if there is any.
    pub tls: bool,
    /// The address of ours that it is asked from; the system's choice by default.
    pub source: Option<IpAddr>,
    /// Its pace.
    pub timing: Timing,
}

impl ProbeSpec {
    /// Whether a run that passes has reached the endpoint itself.
    #[must_use]
    pub const fn reaches(&self) -> bool {
        !matches!(self.check, Check::Agent | Check::File(_)) && self.address.is_none()
    }

    /// Whether each run by itself shows that the endpoint works, and not somebody at another address.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.check.asks() && self.address.is_none()
    }
}

impl HttpCheck {
    /// Judges an answer that came whole and in time. `report` is what was read from its body, if reports are read from it.
    ///
    /// The status is looked at first, then the body, then the report's word: an endpoint may say `DOWN` with a 200, and
    /// that is a failed probe. An answer outside 2xx that the user lists as passing passes whatever its words say.
    #[must_use]
    pub fn judge(&self, status: u16, body: &[u8], report: Option<&Report>) -> ProbeResult {
        let passing = self.status.iter().any(|range| (range.low..=range.high).contains(&status));
        if !passing {
            return ProbeResult::Fail(Failure::Status(status));
        }
        if let Some(wanted) = self.body_contains.as_ref().filter(|wanted| !contains(body, wanted.as_bytes())) {
            return ProbeResult::Fail(Failure::Body(wanted.to_string()));
        }
        match report {
            Some(report) if report.status == Some(StatusWord::Failing) && (200..300).contains(&status) => {
                ProbeResult::Fail(Failure::ReportStatus(report.word.clone().unwrap_or_default()))
            }
            _ => ProbeResult::Pass,
        }
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Ratio;

    fn check(status: &[(u16, u16)], body_contains: Option<&str>) -> HttpCheck {
        HttpCheck {
            path: Arc::from("/health"),
            method: Method::GET,
            host: None,
            headers: HeaderMap::new(),
            status: status.iter().map(|(low, high)| StatusRange { low: *low, high: *high }).collect(),
            body_contains: body_contains.map(Arc::from),
            acknowledge: Acknowledge::default(),
        }
    }

    fn says(word: &str, status: StatusWord) -> Report {
        Report { status: Some(status), word: Some(word.to_owned()), ..Report::default() }
    }

    #[test]
    fn a_nonce_comes_back_or_does_not() {
        let unacknowledged = |acknowledge: Acknowledge, answered: Option<&[u8]>| match acknowledge.judge("0a1b", answered) {
            Some(ProbeResult::Fail(Failure::Unacknowledged(_))) => "fail",
            Some(ProbeResult::Void(_)) => "void",
            Some(other) => panic!("{other:?}"),
            None => "",
        };
        for (answered, wanted) in [
            (Some(b"0a1b".as_slice()), ["", "", ""]),
            (Some(b"0A1B"), ["", "", ""]),
            (Some(b"0a1c"), ["", "void", "fail"]),
            (Some(b""), ["", "void", "fail"]),
            (None, ["", "", "fail"]),
        ] {
            let got = [Acknowledge::Off, Acknowledge::Optional, Acknowledge::Required].map(|one| unacknowledged(one, answered));
            assert_eq!(got, wanted, "{answered:?}");
        }
    }

    #[test]
    fn only_a_request_for_an_answer_shows_that_the_endpoint_works() {
        let second = Duration::from_secs(1);
        let timing =
            Timing { interval: second, timeout: second, fast_interval: second, down_interval: second, jitter: Ratio::ZERO };
        let spec = |check, address: Option<&str>| ProbeSpec {
            name: "ready".into(),
            check,
            address: address.map(|text| EndpointAddress::parse(text).unwrap()),
            port: Some(9100),
            tls: true,
            source: None,
            timing,
        };
        let grpc = || Check::Grpc(GrpcCheck { service: "a".into(), unimplemented_passes: false });
        let file = Check::File(FileCheck { path: "/run/beat".into(), max_age: second });
        for (spec, asks) in [
            (spec(Check::Http(check(&[(200, 299)], None)), None), true),
            (spec(grpc(), None), true),
            (spec(Check::Tcp, None), false),
            (spec(Check::Agent, None), false),
            (spec(file, None), false),
            (spec(grpc(), Some("10.0.0.9:80")), false),
        ] {
            assert_eq!(spec.asks(), asks, "{spec:?}");
        }
    }

    #[test]
    fn the_status_is_within_a_range_or_fails() {
        let http = check(&[(200, 299), (404, 404)], None);
        for (status, passes) in [(199, false), (200, true), (299, true), (300, false), (404, true), (503, false)] {
            let expected = if passes { ProbeResult::Pass } else { ProbeResult::Fail(Failure::Status(status)) };
            assert_eq!(http.judge(status, b"", None), expected, "{status}");
        }
    }

    #[test]
    fn the_body_holds_the_text_or_fails() {
        let http = check(&[(200, 299)], Some("ok"));
        for (body, passes) in [("ok", true), ("all is ok here", true), ("OK", false), ("o k", false), ("", false), ("o", false)] {
            let expected = if passes { ProbeResult::Pass } else { ProbeResult::Fail(Failure::Body("ok".to_owned())) };
            assert_eq!(http.judge(200, body.as_bytes(), None), expected, "{body}");
        }
        assert_eq!(check(&[(200, 299)], Some("")).judge(200, b"\xff", None), ProbeResult::Pass);
    }

    #[test]
    fn a_failing_word_fails_a_2xx_answer() {
        let http = check(&[(200, 299), (503, 503)], None);
        let down = says("DOWN", StatusWord::Failing);
        assert_eq!(http.judge(200, b"", Some(&down)), ProbeResult::Fail(Failure::ReportStatus("DOWN".to_owned())));
        assert_eq!(http.judge(503, b"", Some(&down)), ProbeResult::Pass);
        assert_eq!(http.judge(500, b"", Some(&down)), ProbeResult::Fail(Failure::Status(500)));
        assert_eq!(http.judge(200, b"", Some(&says("warn", StatusWord::Degraded))), ProbeResult::Pass);
        assert_eq!(http.judge(200, b"", Some(&says("UP", StatusWord::Healthy))), ProbeResult::Pass);
        assert_eq!(http.judge(200, b"", Some(&Report::default())), ProbeResult::Pass);
    }
}

//! How an attempt fails, and what the client is told if nothing better comes of it.

use std::time::Duration;

use http::StatusCode;

use crate::base::units::format_duration;
use crate::cluster::Token;
use crate::health::verdict::{Code, Reason};
use crate::net::dial::DialError;
use crate::proxy::answer::Local;
use crate::proxy::source::Fault;
use crate::traffic::limits::{Limit, Limits};
use crate::traffic::retry::Ending;

/// Why an attempt ended without an answer that can be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection.
    #[error(transparent)]
    Dial(DialError),
    /// The connection broke before the answer's head.
    #[error("the connection broke before an answer: {0}")]
    Reset(String),
    /// The endpoint has not taken the request, and said so.
    #[error("the endpoint did not take the request")]
    NotTaken,
    /// What came is no HTTP answer.
    #[error("the answer is no HTTP: {0}")]
    Protocol(&'static str),
    /// The answer's head is over our bound.
    #[error("the answer's head is too large")]
    HeadTooLarge,
    /// The answer's body has a framing that cannot be passed on.
    #[error("the answer's framing is ambiguous")]
    TransferCoding,
    /// The endpoint switched protocols, which nobody had asked for.
    #[error("the endpoint switched protocols unasked")]
    Upgrade,
    /// The client wants to switch protocols, which an HTTP/2 connection cannot.
    #[error("HTTP/2 cannot switch protocols")]
    NoUpgrade,
    /// One try's time was over.
    #[error("no answer within {0:?}, the time of one try")]
    TryTimeout(Duration),
    /// The exchange's time was over.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The verdict on the endpoint forbids waiting any longer, and a retry has been paid for.
    #[error("recalled, since the verdict on the endpoint forbids waiting")]
    Recalled,
    /// It has waited at a slow endpoint for longer than others ever take, and a retry has been paid for.
    #[error("called back from a slow endpoint, for others answer sooner")]
    Overdue,
    /// The connection that was free when the endpoint was picked turned out not to be.
    #[error("no leave to open a connection: {0:?}")]
    Limit(Limit),
    /// The client's body failed; the endpoint is not to blame.
    #[error("the request's body failed: {0:?}")]
    Body(Fault),
}

impl Failure {
    /// How it counts for a retry; `None` if trying again cannot help.
    pub(crate) const fn ending(&self) -> Option<Ending> {
        match self {
            Self::Dial(_) => Some(Ending::Connect),
            Self::Reset(_) | Self::NotTaken | Self::Protocol(_) => Some(Ending::Reset),
            Self::TryTimeout(_) | Self::Recalled | Self::Overdue => Some(Ending::Silence),
            Self::HeadTooLarge
            | Self::TransferCoding
            | Self::Upgrade
            | Self::NoUpgrade
            | Self::Timeout(_)
            | Self::Body(_)
            | Self::Limit(_) => None,
        }
    }

    /// Whether the endpoint is at fault, as far as we can tell.
    pub(crate) const fn blames_endpoint(&self) -> bool {
        !matches!(self, Self::Body(_) | Self::NoUpgrade | Self::NotTaken | Self::Limit(_) | Self::Dial(DialError::Local(_)))
    }

    /// Whether it may have come of nothing but time: somebody would not wait for us any longer, or we for him.
    pub(crate) const fn may_be_a_delay(&self) -> bool {
        matches!(self, Self::Dial(DialError::Timeout(_)) | Self::Reset(_) | Self::TryTimeout(_) | Self::Timeout(_))
    }

    /// What the client is told.
    pub(crate) fn answer(&self) -> Local {
        let gateway = |token: Token, detail: String| Local::new(StatusCode::BAD_GATEWAY, token, detail);
        let timeout = |token: Token, detail: String| Local::new(StatusCode::GATEWAY_TIMEOUT, token, detail);
        match self {
            Self::Dial(DialError::Refused) => gateway(Token::ConnectionRefused, "the endpoint refuses connections".to_owned()),
            Self::Dial(DialError::Timeout(limit)) => {
                timeout(Token::ConnectionTimeout, format!("no connection within connect_timeout, {}", format_duration(*limit)))
            }
            Self::Dial(DialError::Unresolved) => gateway(Token::DnsError, "the endpoint's name does not resolve".to_owned()),
            Self::Dial(DialError::Unroutable(_)) => {
                gateway(Token::DestinationIpUnroutable, "there is no route to the endpoint".to_owned())
            }
            Self::Dial(DialError::Local(_)) => {
                Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::ProxyInternalError, "no connection could be tried".to_owned())
                    .retry_later()
            }
            // What exactly is wrong with it is for the log: clients need not learn who our endpoints are.
            Self::Dial(DialError::Certificate(_)) => {
                gateway(Token::TlsCertificateError, "the endpoint's certificate is not believed".to_owned())
            }
            Self::Dial(DialError::Tls(_)) => {
                gateway(Token::TlsProtocolError, "TLS with the endpoint could not be agreed on".to_owned())
            }
            Self::Dial(DialError::Other(_)) | Self::Reset(_) | Self::NotTaken => {
                gateway(Token::ConnectionTerminated, "the endpoint closed the connection before it answered".to_owned())
            }
            Self::Protocol(_) => gateway(Token::HttpProtocolError, "the endpoint's answer is no HTTP".to_owned()),
            Self::HeadTooLarge => {
                gateway(Token::HttpResponseHeaderSectionSize, "the head of the endpoint's answer is over 64 KiB".to_owned())
            }
            Self::TransferCoding => gateway(
                Token::HttpResponseTransferCoding,
                "the endpoint's answer has a transfer coding other than chunked".to_owned(),
            ),
            Self::NoUpgrade => gateway(
                Token::HttpUpgradeFailed,
                "endpoints that speak HTTP/2 cannot switch protocols; the cluster's protocol must be http1".to_owned(),
            ),
            Self::Upgrade => gateway(Token::HttpUpgradeFailed, "the endpoint switched protocols unasked".to_owned()),
            Self::TryTimeout(limit) => timeout(
                Token::HttpResponseTimeout,
                format!("no answer within retries.per_try_timeout, {}", format_duration(*limit)),
            ),
            Self::Timeout(limit) => {
                timeout(Token::HttpResponseTimeout, format!("no answer within timeout, {}", format_duration(*limit)))
            }
            Self::Recalled | Self::Overdue => {
                Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::DestinationUnavailable, "the endpoint went away".to_owned())
                    .retry_later()
            }
            Self::Limit(limit) => limit_reached(*limit, None),
            Self::Body(Fault::Gone) => {
                // Nobody reads it; the status is what the exchange is counted under.
                let left = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
                Local::new(left, Token::HttpRequestError, "the client left in the middle of its request".to_owned()).closing()
            }
            Self::Body(Fault::Broken) => {
                Local::new(StatusCode::BAD_REQUEST, Token::HttpRequestError, "the request's body is malformed".to_owned())
                    .closing()
            }
            Self::Body(Fault::Stalled) => Local::new(
                StatusCode::REQUEST_TIMEOUT,
                Token::HttpRequestError,
                "the request's body stood still for idle_timeout".to_owned(),
            )
            .closing(),
        }
    }
}

/// What the client is told that wants the leader of a cluster, where nobody leads. Who says that he does is for the status:
/// clients need not learn who our endpoints are.
pub(crate) fn no_leader(cluster: &str, reason: Option<&Reason>) -> Local {
    let (code, why) = match reason {
        Some(Reason { code: Code::LeaderConflict, .. }) => ("leader_conflict", "several endpoints say that they lead it"),
        _ => ("no_leader", "no endpoint that is available leads it"),
    };
    let detail = format!("{code} in cluster {cluster}: {why}, and a route with role: leader sends to no other");
    Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::DestinationUnavailable, detail).retry_later().because(code)
}

/// What the client is told that wants anybody but the leader, where nobody else is.
pub(crate) fn no_replica(cluster: &str) -> Local {
    let detail =
        format!("no replica of cluster {cluster} is available, and a route with role: replica sends nothing to its leader");
    Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::DestinationUnavailable, detail).retry_later()
}

/// What the client is told that a limit turned away.
pub(crate) fn limit_reached(limit: Limit, limits: Option<&Limits>) -> Local {
    let key = limit.as_str();
    let number = limits.and_then(|limits| match limit {
        Limit::Connections => limits.connections.map(|n| n.to_string()),
        Limit::Requests => limits.requests.map(|n| n.to_string()),
        Limit::Pending => Some(limits.pending.to_string()),
        Limit::QueueTimeout => Some(format_duration(limits.queue_timeout)),
        Limit::EndpointConnections => limits.endpoint_connections.map(|n| n.to_string()),
        Limit::EndpointRequests => limits.endpoint_requests.map(|n| n.to_string()),
    });
    let asked = limits.is_some_and(|limits| limit == Limit::EndpointRequests && limits.asked);
    let number = number.map(|n| format!(", {n}")).unwrap_or_default();
    let or = if asked { ", or what its agents ask for" } else { "" };
    let detail = format!("the cluster is at its limit: limits.{key}{number}{or}");
    Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::ConnectionLimitReached, detail).retry_later()
}

//! Answers of our own: problem+json (RFC 9457) with a Proxy-Status (RFC 9209), so that nobody takes them for an endpoint's.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::cluster::Token;
use crate::traffic::grpc;

static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// When to come back after a 503, in seconds: about as long as a probe takes to notice that somebody is back.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An answer of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) status: StatusCode,
    /// The failure that it tells of, if it tells of one.
    pub(crate) token: Option<Token>,
    detail: String,
    /// The code of the reason for which nobody is there, where it is one of a cluster.
    reason: Option<&'static str>,
    location: Option<HeaderValue>,
    retry: bool,
    close: bool,
}

impl Local {
    /// An answer; `detail` names the setting that caused it, if one did.
    pub(crate) const fn new(status: StatusCode, token: Token, detail: String) -> Self {
        Self { status, token: Some(token), detail, reason: None, location: None, retry: false, close: false }
    }

    /// Sends the client elsewhere.
    pub(crate) const fn redirect(location: HeaderValue) -> Self {
        let status = StatusCode::PERMANENT_REDIRECT;
        Self { status, token: None, detail: String::new(), reason: None, location: Some(location), retry: false, close: false }
    }

    /// Says whether traffic is wanted here: `why_not` in words, if it is not.
    pub(crate) fn readiness(why_not: Option<String>) -> Self {
        let (status, detail) = match why_not {
            None => (StatusCode::OK, "ready".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        };
        Self { status, token: None, detail, reason: None, location: None, retry: false, close: false }
    }

    /// Says when to come back.
    pub(crate) const fn retry_later(mut self) -> Self {
        self.retry = true;
        self
    }

    /// Names the reason for which nobody is there.
    pub(crate) const fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Closes the connection afterwards.
    pub(crate) const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The answer as it is sent.
    pub(crate) fn response(&self, request_id: Option<&HeaderValue>) -> (Response<()>, Bytes) {
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        self.add_proxy_status(headers);
        self.add_optional(headers);
        let (kind, body) = if self.status.is_success() {
            ("text/plain; charset=utf-8", format!("{}\n", self.detail))
        } else if self.location.is_some() {
            return (response, Bytes::new());
        } else {
            ("application/problem+json", self.problem(request_id.and_then(|id| id.to_str().ok())))
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        (response, Bytes::from(body))
    }

    /// The same to whoever called by gRPC: no body, and the status where its libraries look for it.
    pub(crate) fn to_grpc(&self) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.add_proxy_status(headers);
        let late = self.token == Some(Token::HttpResponseTimeout);
        let code = if late { grpc::DEADLINE_EXCEEDED } else { grpc::of_status(self.status) };
        headers.insert(&grpc::STATUS, HeaderValue::from(code));
        if let Ok(message) = HeaderValue::from_str(&grpc::message(&self.detail)) {
            headers.insert(&grpc::MESSAGE, message);
        }
        response
    }

    fn add_proxy_status(&self, headers: &mut HeaderMap) {
        let error = self.token.map(|token| format!("; error={}", token.as_str())).unwrap_or_default();
        let details = self.reason.map(|reason| format!("; details=\"{reason}\"")).unwrap_or_default();
        if let Ok(value) = HeaderValue::from_str(&format!("pulsegate{error}{details}")) {
            headers.insert(&PROXY_STATUS, value);
        }
    }

    fn add_optional(&self, headers: &mut HeaderMap) {
        if let Some(location) = &self.location {
            headers.insert(LOCATION, location.clone());
        }
        if self.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    fn problem(&self, request_id: Option<&str>) -> String {
        let mut problem = serde_json::json!({
            "type": self.token.map_or_else(|| "about:blank".to_owned(), |token| format!("urn:pulsegate:{}", token.as_str())),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(reason) = self.reason {
            problem["reason"] = reason.into();
        }
        if let Some(id) = request_id {
            problem["instance"] = id.into();
        }
        format!("{problem}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_answers_say_whose_they_are() {
        let local =
            Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::DestinationUnavailable, "panic is off".to_owned()).retry_later();
        let (response, body) = local.response(Some(&HeaderValue::from_static("r-1")));
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["proxy-status"], "pulsegate; error=destination_unavailable");
        assert_eq!(response.headers()["retry-after"], "1");
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["status"], 503);
        assert_eq!(problem["detail"], "panic is off");
        assert_eq!(problem["instance"], "r-1");
    }

    #[test]
    fn who_wants_a_leader_that_is_not_there_reads_why() {
        let local =
            Local::new(StatusCode::SERVICE_UNAVAILABLE, Token::DestinationUnavailable, "x".to_owned()).because("no_leader");
        let (response, body) = local.response(None);
        assert_eq!(response.headers()["proxy-status"], "pulsegate; error=destination_unavailable; details=\"no_leader\"");
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["reason"], "no_leader");
        assert_eq!(local.to_grpc().headers()["proxy-status"], response.headers()["proxy-status"]);
    }

    #[test]
    fn a_grpc_client_reads_the_status_where_it_looks_for_it() {
        let check = |status: StatusCode, token: Token, code: &str| {
            let response = Local::new(status, token, "100 % of app".to_owned()).to_grpc();
            assert_eq!(
                (response.status(), &response.headers()["grpc-status"]),
                (StatusCode::OK, &HeaderValue::from_str(code).unwrap())
            );
            assert_eq!(response.headers()["content-type"], "application/grpc");
            assert_eq!(response.headers()["grpc-message"], "100 %25 of app");
            assert_eq!(response.headers()["proxy-status"], format!("pulsegate; error={}", token.as_str()));
        };
        check(StatusCode::SERVICE_UNAVAILABLE, Token::DestinationUnavailable, "14");
        check(StatusCode::GATEWAY_TIMEOUT, Token::HttpResponseTimeout, "4");
        check(StatusCode::GATEWAY_TIMEOUT, Token::ConnectionTimeout, "14");
        check(StatusCode::NOT_FOUND, Token::DestinationNotFound, "12");
    }
}

//! What a request is answered with, whoever writes it out: the machinery of HTTP, or [`plain`](super::plain) without it.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The media type of the body.
    pub(super) kind: &'static str,
    /// What it has of headers besides.
    pub(super) headers: Vec<(HeaderName, &'static str)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The ack of a beat.
    pub(super) const fn ack(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, kind: "application/json", headers: Vec::new(), body }
    }

    /// Why there is none.
    pub(super) fn problem(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        let body = json!({ "status": status.as_u16(), "title": title, "detail": detail });
        Self { status, kind: "application/problem+json", headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    /// The same with this header.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// For the machinery of HTTP.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

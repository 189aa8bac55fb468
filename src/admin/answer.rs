//! Answers: JSON, text, and problems (RFC 9457), each with the headers that every answer here has.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use serde_json::{Value, json};

use super::guard::Denied;
use super::router::Refusal;

/// A body that is whole, or comes as events do.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub(super) type Answer = Response<Body>;

/// An answer with a body of this type. What is shown here is true for now only, so nobody may keep it.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn whole(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    with_body(status, content_type, Full::new(text.into()).boxed_unsync())
}

/// Plain text.
pub(super) fn text(text: impl Into<Bytes>) -> Answer {
    whole(StatusCode::OK, "text/plain; charset=utf-8", text)
}

/// A page in another text format.
pub(super) fn page(content_type: &'static str, text: String) -> Answer {
    whole(StatusCode::OK, content_type, text)
}

/// A failure, told in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        self::problem(problem.status, &problem.detail)
    }
}

/// JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(text) => whole(status, "application/json", text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("the answer cannot be written: {error}")),
    }
}

/// The answer that tells of a failure.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    problem_with(status, detail, Value::Null)
}

/// The answer that tells of a failure, with more members.
pub(super) fn problem_with(status: StatusCode, detail: &str, more: Value) -> Answer {
    let mut value = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Failed"),
        "status": status.as_u16(),
        "detail": detail,
    });
    if let (Some(members), Value::Object(more)) = (value.as_object_mut(), more) {
        members.extend(more);
    }
    whole(status, "application/problem+json", value.to_string())
}

fn with_header(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

/// The answer to what has no place here.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::NotFound => problem(StatusCode::NOT_FOUND, "there is no such path; / lists those there are"),
        Refusal::Method(allow) => {
            let detail = format!("this path takes {allow}");
            with_header(problem(StatusCode::METHOD_NOT_ALLOWED, &detail), ALLOW, allow)
        }
        Refusal::Malformed(detail) => problem(StatusCode::BAD_REQUEST, detail),
    }
}

/// The answer to who may not ask.
pub(super) fn denied(denied: Denied) -> Answer {
    match denied {
        Denied::BadHost => problem(StatusCode::BAD_REQUEST, "a request has one Host, which agrees with its target"),
        Denied::ForeignHost => problem(
            StatusCode::FORBIDDEN,
            "the Host is neither an address nor localhost nor a host that a route of the configuration names",
        ),
        Denied::ForeignOrigin => problem(StatusCode::FORBIDDEN, "a page from another origin may change nothing here"),
        Denied::Token => {
            let detail = "the bearer token of admin.token_file is missing or wrong";
            with_header(problem(StatusCode::UNAUTHORIZED, detail), WWW_AUTHENTICATE, "Bearer")
        }
    }
}

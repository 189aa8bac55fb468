//! What gRPC asks of whoever stands between its ends: to be told from other traffic, and failures in its own words.
//!
//! A gRPC library that gets a 503 guesses what it means, each in its own way; a `grpc-status` it takes as said
//! (gRPC over HTTP/2; the mapping of statuses is that of gRPC's `http-grpc-status-mapping`).

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The status of a call.
pub static STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Its explanation.
pub static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The call took too long; it may have been carried out.
pub const DEADLINE_EXCEEDED: u16 = 4;
const UNKNOWN: u16 = 2;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// What a message must not contain as it is: all but space and visible ASCII, and the percent sign.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Whether a request is a gRPC call. gRPC-Web is something else.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// What a status of HTTP means to a gRPC client.
#[must_use]
pub fn of_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 501 => UNIMPLEMENTED,
        408 => DEADLINE_EXCEEDED,
        413 | 431 => RESOURCE_EXHAUSTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// A text as `grpc-message` carries it.
#[must_use]
pub fn message(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn calls_are_told_by_their_content_type() {
        let check = |kind: &'static str, wanted: bool| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), wanted, "{kind}");
        };
        check("application/grpc", true);
        check("application/grpc+proto", true);
        check("application/grpc;x=1", true);
        for other in ["application/grpc-web", "application/grpc-web+proto", "application/grpcx", "application/json", ""] {
            check(other, false);
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn messages_read_back() {
        assert_eq!(message("no endpoint of clüster 100% is ready\n"), "no endpoint of cl%C3%BCster 100%25 is ready%0A");
    }
}

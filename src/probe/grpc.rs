//! A run of a gRPC probe: `grpc.health.v1.Health/Check` over HTTP/2.
//!
//! Both messages have one field each, so they are written and read here by hand; a code generator and its runtime would weigh more
//! than the whole prober. What the service says is judged by `health::serving`; here it is only fetched.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use crate::health::serving::Served;
use crate::health::signal::{Failure, ProbeResult};
use crate::probe::http2::{Body, Connection};
use crate::probe::target::Target;
use crate::probe::trouble::Trouble;
use crate::tls::Application;

/// Most bytes of an answer that are read: the message has two or three.
const MAX_MESSAGE: usize = 4 * 1024;
/// Longest explanation of a status that is kept, in bytes.
const MAX_TEXT: usize = 200;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The line to one health service: a connection that is kept between runs.
#[derive(Debug, Default)]
pub(super) struct GrpcLine {
    warm: Option<Connection>,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Answered {
    /// The service's word.
    Served(Served),
    /// Something that is no answer of a gRPC server, judged already.
    Other(ProbeResult),
}

/// The request of one run.
///
/// # Errors
/// If the host cannot be written in a request.
pub(super) fn request(service: &str, target: &Target, timeout: Duration, stamp: HeaderMap) -> http::Result<Request<Body>> {
    let mut request = Request::new(Full::new(message(service)));
    *request.method_mut() = Method::POST;
    let scheme = if target.is_secured() { "https" } else { "http" };
    *request.uri_mut() = format!("{scheme}://{}/grpc.health.v1.Health/Check", target.host).parse::<http::Uri>()?;
    let headers = request.headers_mut();
    headers.extend(stamp);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // Eight digits at most; a run is never as long as a day.
    headers.insert(TIMEOUT, HeaderValue::from_str(&format!("{}m", timeout.as_millis().min(99_999_999)))?);
    Ok(request)
}

/// `HealthCheckRequest { service = 1 }` with the five bytes before a message.
fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        field.put_u8(0x0a);
        put_varint(&mut field, service.len());
        field.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(field.len()).unwrap_or(u32::MAX));
    message.put(field);
    message.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(0x80 | u8::try_from(value & 0x7f).unwrap_or(0));
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).unwrap_or(0));
}

impl GrpcLine {
    /// Asks over a fresh connection or the warm one.
    ///
    /// # Errors
    /// If no whole answer comes. There is no time-out in here: who drops the future closes the connection.
    pub(super) async fn ask(&mut self, target: &Target, request: Request<Body>, fresh: bool) -> Result<Answered, Trouble> {
        let known = target.is_known();
        let warm = self.warm.take().filter(|connection| !fresh && known && connection.is_ready());
        if let Some(mut connection) = warm {
            // One that closes before any answer was idle for too long; that is no failure.
            if let Ok(answered) = exchange(&mut connection, request.clone()).await {
                self.warm = Some(connection);
                return Ok(answered);
            }
        }
        let mut connection = Connection::open(target.connect(Application::Http2).await?).await?;
        let answered = exchange(&mut connection, request).await?;
        self.warm = Some(connection);
        Ok(answered)
    }
}

async fn exchange(connection: &mut Connection, request: Request<Body>) -> Result<Answered, Trouble> {
    let trouble = |error: hyper::Error| Trouble::of_http2(&error);
    let response = connection.ask(request).await.map_err(trouble)?;
    if let Some(other) = refuse(&response) {
        return Ok(Answered::Other(other));
    }
    read(response).await.map_err(trouble)
}

/// What is wrong with the head of an answer, if it cannot be a gRPC server's.
fn refuse(response: &Response<Incoming>) -> Option<ProbeResult> {
    if response.status() != StatusCode::OK {
        return Some(ProbeResult::Fail(Failure::Status(response.status().as_u16())));
    }
    let grpc = response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    (!grpc).then(|| ProbeResult::Fail(Failure::Error("the answer is not gRPC's".to_owned())))
}

async fn read(response: Response<Incoming>) -> hyper::Result<Answered> {
    let (head, mut rest) = response.into_parts();
    let mut message = Vec::new();
    let mut end = head.headers;
    while let Some(frame) = rest.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                if message.len() + data.len() > MAX_MESSAGE {
                    return Ok(broken("the answer is too long"));
                }
                message.extend_from_slice(&data);
            }
            Err(frame) => end.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(answered(&end, &message))
}

fn answered(end: &HeaderMap, message: &[u8]) -> Answered {
    let code = end.get(STATUS).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    match code {
        Some(0) => status(message)
            .map_or_else(|| broken("the answer is no HealthCheckResponse"), |status| Answered::Served(Served::Status(status))),
        Some(code) => Answered::Served(Served::Error { code, message: text(end) }),
        None => broken("the answer has no grpc-status"),
    }
}

fn broken(why: &str) -> Answered {
    Answered::Other(ProbeResult::Fail(Failure::Error(why.to_owned())))
}

fn text(end: &HeaderMap) -> String {
    let said = end.get(MESSAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut text = percent_decode_str(said).decode_utf8_lossy().into_owned();
    text.retain(|c| !c.is_control());
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

/// The field `status = 1` of a message that is not compressed; 0 if it is left out, `None` if this is no such message.
fn status(message: &[u8]) -> Option<u64> {
    let (head, mut rest) = message.split_at_checked(5)?;
    let length = u32::from_be_bytes(head.get(1..5)?.try_into().ok()?);
    if head[0] != 0 || usize::try_from(length).ok()? != rest.len() {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => {
                varint(&mut rest)?;
            }
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("a.v1")[..], b"\0\0\0\0\x06\x0a\x04a.v1");
        let long = message(&"s".repeat(200));
        assert_eq!(&long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn the_status_of_a_message() {
        let check = |message: &[u8], wanted: Option<u64>| assert_eq!(status(message), wanted, "{message:?}");
        check(b"\0\0\0\0\0", Some(0));
        check(b"\0\0\0\0\x02\x08\x01", Some(1));
        check(b"\0\0\0\0\x03\x08\xac\x02", Some(300));
        check(b"\0\0\0\0\x06\x12\x02ab\x08\x02", Some(2));
        check(b"\0\0\0\0\x10\x19abcdefgh\x25abcd\x08\x01", Some(1));
        for bad in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02\x08",
            b"\0\0\0\0\x01\x08\x01",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x01\x08",
            b"\0\0\0\0\x03\x12\x05a",
            b"\0\0\0\0\x02\x0b\x01",
            b"\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\0\xff\xff\xff\xff",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn ends() {
        let end = |code: Option<&'static str>, text: &'static str| {
            let mut end = HeaderMap::new();
            if let Some(code) = code {
                end.insert(STATUS, HeaderValue::from_static(code));
            }
            end.insert(MESSAGE, HeaderValue::from_static(text));
            end
        };
        let served = |end: &HeaderMap, message: &[u8]| match answered(end, message) {
            Answered::Served(served) => Some(served),
            Answered::Other(_) => None,
        };
        assert_eq!(served(&end(Some("0"), ""), b"\0\0\0\0\x02\x08\x01"), Some(Served::Status(1)));
        let error = Served::Error { code: 5, message: "unknown ä".to_owned() };
        assert_eq!(served(&end(Some("5"), "unknown%20%C3%A4%0A"), b""), Some(error));
        for bad in [None, Some(""), Some("x"), Some("-1")] {
            assert_eq!(served(&end(bad, ""), b"\0\0\0\0\x02\x08\x01"), None);
        }
        assert_eq!(served(&end(Some("0"), ""), b"?"), None);
    }

    proptest! {
        /// Whatever a server answers with is a status or none.
        #[test]
        fn no_message_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            prop_assert!(bytes.len() >= 5 || status(&bytes).is_none());
            let read = status(&[&[0][..], &length, &bytes].concat());
            prop_assert!(!bytes.is_empty() || read == Some(0));
        }
    }
}

//! An endpoint's answer as probes see it: status, headers, and as much of the body as is ever looked at.

use std::future::poll_fn;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;

use crate::health::MAX_BOOT_ID;
use crate::health::signal::Stamps;
use crate::http1::{self, Conversation, Fault, Reply};
use crate::net::stream::Stream;
use crate::probe::request::{BOOT_ID, NONCE, TIME};
use crate::report::spec::Format;
use crate::report::{Said, max_body};

/// Most bytes of a body that `explain` shows.
const EXCERPT: usize = 256;

/// The load report of ORCA in an answer's head.
const LOAD: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
    /// Most bytes of it that are looked at.
    most: usize,
}

impl Answer {
    /// Reads a body up to one byte more than is looked at, so that a longer one is known as such. In `format` a report is
    /// read from it.
    ///
    /// # Errors
    /// If the body breaks off.
    pub(super) async fn read(head: Reply, rest: &mut Conversation<Stream, Empty<Bytes>>, format: Format) -> Result<Self, Fault> {
        let mut answer = Self::begin(head.status, head.headers, format);
        while !answer.is_cut()
            && let Some(frame) = poll_fn(|cx| rest.poll_frame(cx)).await
        {
            if let Ok(data) = frame?.into_data() {
                take(&mut answer.body, &data, answer.most);
            }
        }
        Ok(answer)
    }

    /// The same of an answer over HTTP/2.
    ///
    /// # Errors
    /// If the body breaks off.
    pub(super) async fn read_http2(response: Response<Incoming>, format: Format) -> hyper::Result<Self> {
        let (head, mut rest) = response.into_parts();
        let mut answer = Self::begin(head.status, head.headers, format);
        while !answer.is_cut()
            && let Some(frame) = rest.frame().await
        {
            if let Ok(data) = frame?.into_data() {
                take(&mut answer.body, &data, answer.most);
            }
        }
        Ok(answer)
    }

    fn begin(status: StatusCode, headers: HeaderMap, format: Format) -> Self {
        let mut answer = Self { status, headers, body: Vec::new(), most: 0 };
        answer.most = max_body(format, answer.content_type());
        answer
    }

    /// Gives its headers' room to the next answer.
    pub(super) fn recycle(self) {
        http1::recycle(self.headers);
    }

    /// The body as far as it is looked at: 64 KiB, or 1 MiB of a page of metrics.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body[..self.body.len().min(self.most)]
    }

    /// The answer as `report` wants it: the body with one byte more if it is longer than is looked at.
    #[must_use]
    pub fn said(&self) -> Said<'_> {
        let load = self.headers.get(LOAD).map(|value| value.to_str().unwrap_or("?"));
        Said { content_type: self.content_type(), load, body: &self.body }
    }

    /// Whether the body went on after what was read of it.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.body.len() > self.most
    }

    /// Its Content-Type, if that is text.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// The nonce in it.
    pub(super) fn nonce(&self) -> Option<&[u8]> {
        self.headers.get(NONCE).map(|value| value.as_bytes().trim_ascii())
    }

    /// What it says of who gave it. What is malformed is not there.
    pub(super) fn stamps(&self) -> Stamps {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let boot_id = text(BOOT_ID).filter(|id| (1..=MAX_BOOT_ID).contains(&id.len()));
        let mut times = text(TIME).unwrap_or_default().split_ascii_whitespace().map(|millis| millis.parse().ok());
        let (received_at_ms, answered_at_ms) = match (times.next().flatten(), times.next().flatten()) {
            (received, Some(answered)) => (received, Some(answered)),
            (answered, None) => (None, answered),
        };
        Stamps { boot_id: boot_id.map(Into::into), answered_at_ms, received_at_ms }
    }

    /// The first bytes of the body as people may read them, at most 256: control characters are escaped.
    #[must_use]
    pub fn excerpt(&self) -> String {
        excerpt(&self.body)
    }
}

fn take(body: &mut Vec<u8>, data: &Bytes, most: usize) {
    let room = (most + 1).saturating_sub(body.len());
    body.extend_from_slice(&data[..data.len().min(room)]);
}

/// The first bytes of an answer as people may read them.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]);
    if text.len() <= EXCERPT && !text.contains(char::is_control) {
        return text.into_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        let escaped: String = if c.is_control() { c.escape_default().collect() } else { c.to_string() };
        if shown.len() + escaped.len() > EXCERPT {
            break;
        }
        shown.push_str(&escaped);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::MAX_BODY;

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        let check = |body: &[u8], wanted: &str| assert_eq!(excerpt(body), wanted);
        check(b"", "");
        check(b"{\"status\":\n\"UP\"}", "{\"status\":\\n\"UP\"}");
        check(b"\x1b[2J\x00", "\\u{1b}[2J\\u{0}");
        check("zwölf".as_bytes(), "zwölf");
        check(b"a\xffb", "a\u{fffd}b");
        check(&[b'x'; 1000], &"x".repeat(256));
        assert!(excerpt(&[0; 1000]).len() <= 256);
        assert!(excerpt("ö".repeat(200).as_bytes()).len() <= 256);
    }

    #[test]
    fn a_body_is_kept_up_to_one_byte_over_the_cap() {
        let mut body = Vec::new();
        take(&mut body, &Bytes::from(vec![0; MAX_BODY - 1]), MAX_BODY);
        take(&mut body, &Bytes::from_static(b"abcd"), MAX_BODY);
        assert_eq!((body.len(), &body[MAX_BODY - 1..]), (MAX_BODY + 1, b"ab".as_slice()));
    }
}

//! An endpoint's answer as probes see it: status, headers, and as much of the body as is ever looked at.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::report::MAX_BODY;

/// Most bytes of a body that `explain` shows.
const EXCERPT: usize = 256;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Reads a body up to one byte more than is looked at, so that a longer one is known as such.
    ///
    /// # Errors
    /// If the body breaks off.
    pub(super) async fn read(response: http::Response<Incoming>) -> hyper::Result<Self> {
        let (head, mut rest) = response.into_parts();
        let mut body = Vec::new();
        while body.len() <= MAX_BODY
            && let Some(frame) = rest.frame().await
        {
            if let Ok(data) = frame?.into_data() {
                take(&mut body, &data);
            }
        }
        Ok(Self { status: head.status, headers: head.headers, body })
    }

    /// The body, at most 64 KiB of it.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body[..self.body.len().min(MAX_BODY)]
    }

    /// The body with one byte more if it is longer than 64 KiB: as `report` wants it, which refuses such a one.
    #[must_use]
    pub fn report_body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the body went on after what was read of it.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.body.len() > MAX_BODY
    }

    /// Its Content-Type, if that is text.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// The first bytes of the body as people may read them, at most 256: control characters are escaped.
    #[must_use]
    pub fn excerpt(&self) -> String {
        excerpt(&self.body)
    }
}

fn take(body: &mut Vec<u8>, data: &Bytes) {
    let room = (MAX_BODY + 1).saturating_sub(body.len());
    body.extend_from_slice(&data[..data.len().min(room)]);
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]);
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
        take(&mut body, &Bytes::from(vec![0; MAX_BODY - 1]));
        take(&mut body, &Bytes::from_static(b"abcd"));
        assert_eq!((body.len(), &body[MAX_BODY - 1..]), (MAX_BODY + 1, b"ab".as_slice()));
    }
}

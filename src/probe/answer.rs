//! An endpoint's answer as probes see it: status, the few headers that mean anything to them, and as much of the body as is ever
//! looked at.

use std::future::poll_fn;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;

use crate::health::MAX_BOOT_ID;
use crate::health::signal::Stamps;
use crate::http1::{self, Conversation, Fault, Plain, Reply};
use crate::net::stream::Stream;
use crate::probe::trouble::Trouble;
use crate::report::spec::Format;
use crate::report::{Said, max_body};

/// Most bytes of a body that `explain` shows.
const EXCERPT: usize = 256;

/// The headers that are looked at.
const KEPT: [&str; 5] = ["content-type", "endpoint-load-metrics", "pulsegate-nonce", "pulsegate-boot-id", "pulsegate-time"];
const TYPE: usize = 0;
/// The load report of ORCA in an answer's head.
const LOAD: usize = 1;
const NONCES: usize = 2;
const BOOT_IDS: usize = 3;
const TIMES: usize = 4;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The values of the headers that are looked at, and the body behind them.
    bytes: Vec<u8>,
    /// Where the value of each of [`KEPT`] is, if it came.
    values: [Option<(u32, u32)>; KEPT.len()],
    /// Where the body begins.
    body: usize,
    /// Most bytes of it that are looked at.
    most: usize,
}

impl Answer {
    /// Of a plain answer; `None` if its body is longer than is looked at. In `format` a report is read from it.
    pub(super) fn of(plain: &Plain<'_>, format: Format) -> Option<Self> {
        let mut found = [None; KEPT.len()];
        for (name, value) in plain.lines() {
            if let Some(which) = KEPT.iter().position(|kept| kept.eq_ignore_ascii_case(name)) {
                found[which].get_or_insert(value);
            }
        }
        let answer = Self::begin(plain.status, plain.body.len(), found, format);
        (plain.body.len() <= answer.most).then(|| {
            let mut answer = answer;
            answer.bytes.extend_from_slice(plain.body);
            answer
        })
    }

    /// Reads a body up to one byte more than is looked at, so that a longer one is known as such. In `format` a report is
    /// read from it.
    ///
    /// # Errors
    /// If the body breaks off.
    pub(super) async fn read(head: Reply, rest: &mut Conversation<Stream, Empty<Bytes>>, format: Format) -> Result<Self, Fault> {
        let found = KEPT.map(|name| head.headers.get(name).map(HeaderValue::as_bytes));
        let mut answer = Self::begin(head.status, 0, found, format);
        http1::recycle(head.headers);
        while !answer.is_cut()
            && let Some(frame) = poll_fn(|cx| rest.poll_frame(cx)).await
        {
            if let Ok(data) = frame?.into_data() {
                answer.take(&data);
            }
        }
        Ok(answer)
    }

    /// The same of an answer over HTTP/2.
    ///
    /// # Errors
    /// If the body breaks off.
    pub(super) async fn read_http2(response: Response<Incoming>, format: Format) -> Result<Self, Trouble> {
        let (head, mut rest) = response.into_parts();
        let found = KEPT.map(|name| head.headers.get(name).map(HeaderValue::as_bytes));
        let mut answer = Self::begin(head.status, 0, found, format);
        while !answer.is_cut()
            && let Some(frame) = rest.frame().await
        {
            if let Ok(data) = frame.map_err(|error| Trouble::of_http2(&error))?.into_data() {
                answer.take(&data);
            }
        }
        // To hyper a stream that is reset without an error has ended.
        if !answer.is_cut() && !rest.is_end_stream() {
            return Err(Trouble::Broken("the stream was reset in the middle of the answer".to_owned()));
        }
        Ok(answer)
    }

    /// One with room for so many bytes of a body.
    fn begin(status: StatusCode, room: usize, found: [Option<&[u8]>; KEPT.len()], format: Format) -> Self {
        let mut bytes = Vec::with_capacity(found.iter().flatten().map(|value| value.len()).sum::<usize>() + room);
        let values = found.map(|value| {
            let start = bytes.len();
            bytes.extend_from_slice(value?);
            // A head is far shorter.
            u32::try_from(start).ok().zip(u32::try_from(bytes.len()).ok())
        });
        let mut answer = Self { status, body: bytes.len(), bytes, values, most: 0 };
        answer.most = max_body(format, answer.content_type());
        answer
    }

    fn take(&mut self, data: &[u8]) {
        let room = (self.body + self.most + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn read_so_far(&self) -> &[u8] {
        &self.bytes[self.body..]
    }

    fn value(&self, which: usize) -> Option<&[u8]> {
        self.values[which].map(|(start, end)| &self.bytes[start as usize..end as usize])
    }

    fn text(&self, which: usize) -> Option<&str> {
        let value = self.value(which)?;
        let visible = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        std::str::from_utf8(value).ok().filter(|_| visible)
    }

    /// The body as far as it is looked at: 64 KiB, or 1 MiB of a page of metrics.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        let body = self.read_so_far();
        &body[..body.len().min(self.most)]
    }

    /// The answer as `report` wants it: the body with one byte more if it is longer than is looked at.
    #[must_use]
    pub fn said(&self) -> Said<'_> {
        let load = self.value(LOAD).map(|_| self.text(LOAD).unwrap_or("?"));
        Said { content_type: self.content_type(), load, body: self.read_so_far() }
    }

    /// Whether the body went on after what was read of it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.read_so_far().len() > self.most
    }

    /// Its Content-Type, if that is text.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.text(TYPE)
    }

    /// The nonce in it.
    pub(super) fn nonce(&self) -> Option<&[u8]> {
        self.value(NONCES).map(<[u8]>::trim_ascii)
    }

    /// What it says of who gave it. What is malformed is not there.
    pub(super) fn stamps(&self) -> Stamps {
        let text = |which| self.text(which).map(str::trim);
        let boot_id = text(BOOT_IDS).filter(|id| (1..=MAX_BOOT_ID).contains(&id.len()));
        let mut times = text(TIMES).unwrap_or_default().split_ascii_whitespace().map(|millis| millis.parse().ok());
        let (received_at_ms, answered_at_ms) = match (times.next().flatten(), times.next().flatten()) {
            (received, Some(answered)) => (received, Some(answered)),
            (answered, None) => (None, answered),
        };
        Stamps { boot_id: boot_id.map(Into::into), answered_at_ms, received_at_ms }
    }

    /// Whether [`Self::excerpt`] would be this, which is one of an answer before it: such a text has nothing in it to escape.
    pub(super) fn begins(&self, excerpt: &str) -> bool {
        let body = self.read_so_far();
        &body[..body.len().min(EXCERPT)] == excerpt.as_bytes()
    }

    /// The first bytes of the body as people may read them, at most 256: control characters are escaped.
    #[must_use]
    pub fn excerpt(&self) -> String {
        excerpt(self.read_so_far())
    }
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
        let found = [None, None, Some(b" n ".as_slice()), None, None];
        let mut answer = Answer::begin(StatusCode::OK, 0, found, Format::None);
        answer.take(&vec![0; MAX_BODY - 1]);
        assert!(!answer.is_cut());
        answer.take(b"abcd");
        assert_eq!((answer.read_so_far().len(), answer.body().len(), answer.is_cut()), (MAX_BODY + 1, MAX_BODY, true));
        assert_eq!((&answer.read_so_far()[MAX_BODY - 1..], answer.nonce()), (b"ab".as_slice(), Some(b"n".as_slice())));
    }

    #[test]
    fn what_is_no_text_is_not_there() {
        let answer = |value: &'static [u8]| Answer::begin(StatusCode::OK, 0, [Some(value); 5], Format::None);
        let good = answer(b" 17\t18 ");
        assert_eq!((good.content_type(), good.said().load), (Some(" 17\t18 "), Some(" 17\t18 ")));
        assert_eq!((good.stamps().received_at_ms, good.stamps().answered_at_ms), (Some(17), Some(18)));
        assert_eq!(good.stamps().boot_id.as_deref(), Some("17\t18"));
        let bad = answer(b"\xff");
        assert_eq!((bad.content_type(), bad.said().load, bad.stamps()), (None, Some("?"), Stamps::default()));
    }
}

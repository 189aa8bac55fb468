//! An answer's head: from bytes to status, headers and framing, or a refusal.
//!
//! The parser refuses what is no HTTP; this refuses what is HTTP and still ambiguous, and puts into one plain form what is
//! only unusual, so that nobody behind us can read it differently.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::{Error, ParserConfig, Status};

use crate::http1::chunks::Chunks;
use crate::http1::fault::Fault;
use crate::http1::inflow::Inflow;
use crate::http1::spare;

/// Bound of an answer's head, in bytes.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Bound of its header lines.
pub const MAX_HEAD_LINES: usize = 256;

/// The head of an answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status, 100 to 999.
    pub status: StatusCode,
    /// The words after the status, if they are not the usual ones.
    pub reason: Option<Bytes>,
    /// Its headers as they came, but for Content-Length, which is one plain number. Transfer-Encoding is `chunked` alone,
    /// or not there; a line of Connection is not there if all it says is whether this connection stays.
    pub headers: HeaderMap,
    pub(super) keep_alive: bool,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    None,
}

impl Reply {
    /// Reads a head from the beginning of `bytes`: it and its length, or nothing if its end has not come.
    pub(super) fn read(bytes: &Bytes) -> Result<Option<(Self, usize)>, Fault> {
        let mut table = [const { MaybeUninit::uninit() }; MAX_HEAD_LINES];
        let mut head = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut table);
        let length = match parsed {
            Ok(Status::Complete(length)) if length <= MAX_HEAD_BYTES => length,
            Ok(Status::Partial) if bytes.len() <= MAX_HEAD_BYTES => return Ok(None),
            Ok(_) | Err(Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Err(error) => return Err(Fault::Malformed(words(error))),
        };
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Fault::Malformed("the status is none"))?;
        let (headers, seen) = collect(bytes, head.headers)?;
        let reason = head.reason.filter(|reason| Some(*reason) != status.canonical_reason());
        let reason = reason.map(|reason| bytes.slice_ref(reason.as_bytes()));
        let reply = Self::checked(status, reason, headers, head.version == Some(1), seen)?;
        Ok(Some((reply, length)))
    }

    fn checked(
        status: StatusCode,
        reason: Option<Bytes>,
        mut headers: HeaderMap,
        modern: bool,
        seen: Seen,
    ) -> Result<Self, Fault> {
        let framing = match seen.framed {
            Framed::Not => Framing::None,
            Framed::Plainly(length) => Framing::Length(length),
            Framed::Otherwise => framing(&mut headers)?,
        };
        if framing == Framing::Chunked && !modern {
            return Err(Fault::Malformed("an answer of HTTP/1.0 has a transfer coding"));
        }
        if status.is_informational() && !matches!(framing, Framing::None | Framing::Length(0)) {
            return Err(Fault::Malformed("an interim answer has a body"));
        }
        let stays = modern || seen.stays == Some(true);
        let keep_alive = seen.stays != Some(false) && if seen.connection { keeps_alive(&headers, stays) } else { stays };
        Ok(Self { status, reason, headers, keep_alive, framing })
    }

    /// The body that follows the head, given whether it answers HEAD.
    pub(super) fn inflow(&self, to_head: bool) -> Inflow {
        let bodyless =
            to_head || self.status.is_informational() || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match self.framing {
            _ if bodyless => Inflow::Length(0),
            Framing::Length(length) => Inflow::Length(length),
            Framing::Chunked => Inflow::Chunked(Chunks::new()),
            Framing::None => Inflow::ToEnd,
        }
    }
}

const fn words(error: Error) -> &'static str {
    match error {
        Error::HeaderName => "a header's name is malformed",
        Error::HeaderValue => "a header's value is malformed",
        Error::NewLine => "a line's end is malformed",
        Error::Status => "the status is malformed",
        Error::Version => "the version is not HTTP/1.1",
        _ => "the head is malformed",
    }
}

/// Which lines have come that matter here: one look at each costs less than looking each of them up.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Whether a plain Connection says that this one stays.
    stays: Option<bool>,
    /// One that says more.
    connection: bool,
    framed: Framed,
}

/// What lines of Content-Length and Transfer-Encoding there are.
#[derive(Debug, Clone, Copy, Default)]
enum Framed {
    #[default]
    Not,
    /// One line of Content-Length, which is one plain number, as nearly everybody sends it.
    Plainly(u64),
    /// Anything else.
    Otherwise,
}

impl Framed {
    /// A Content-Length comes.
    fn length(&mut self, value: &[u8]) {
        *self = match (*self, plain_length(value)) {
            (Self::Not, Some(length)) => Self::Plainly(length),
            _ => Self::Otherwise,
        };
    }
}

/// The headers, which go on to share the bytes they came in.
fn collect(bytes: &Bytes, lines: &[httparse::Header<'_>]) -> Result<(HeaderMap, Seen), Fault> {
    let mut headers = spare::take(lines.len());
    let mut seen = Seen::default();
    for line in lines {
        if line.name.eq_ignore_ascii_case("connection")
            && let Some(stay) = plain_stay(line.value)
        {
            seen.stays = Some(stay && seen.stays != Some(false));
            continue;
        }
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Fault::Malformed(words(Error::HeaderName)))?;
        seen.connection |= name == CONNECTION;
        if name == CONTENT_LENGTH {
            seen.framed.length(line.value);
        } else if name == TRANSFER_ENCODING {
            seen.framed = Framed::Otherwise;
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value));
        headers.append(name, value.map_err(|_| Fault::Malformed(words(Error::HeaderValue)))?);
    }
    Ok((headers, seen))
}

fn plain_stay(value: &[u8]) -> Option<bool> {
    if value.eq_ignore_ascii_case(b"keep-alive") {
        return Some(true);
    }
    value.eq_ignore_ascii_case(b"close").then_some(false)
}

/// The one framing that the headers give; lengths become one plain number.
fn framing(headers: &mut HeaderMap) -> Result<Framing, Fault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let plain = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        let alone = plain && !headers.contains_key(CONTENT_LENGTH);
        return if alone { Ok(Framing::Chunked) } else { Err(Fault::TransferCoding) };
    }
    let Some(length) = one_length(headers)? else { return Ok(Framing::None) };
    Ok(Framing::Length(length))
}

/// What all lines of Content-Length agree on, which become one with one plain number; they may be repeated, in one line or in
/// several.
///
/// # Errors
/// If they differ, or one of them is no number.
pub fn one_length(headers: &mut HeaderMap) -> Result<Option<u64>, Fault> {
    const DIFFERENT: Fault = Fault::Malformed("the lengths differ");
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let length = agreed(first.as_bytes())?;
    for line in lines {
        if agreed(line.as_bytes())? != length {
            return Err(DIFFERENT);
        }
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(Some(length))
}

/// The number of a line that is nothing but its digits, without a zero in front.
pub(super) fn plain_length(line: &[u8]) -> Option<u64> {
    let plain = line.iter().all(u8::is_ascii_digit) && (line.len() == 1 || line.first() != Some(&b'0'));
    number(line).filter(|_| plain)
}

fn agreed(line: &[u8]) -> Result<u64, Fault> {
    let mut numbers = line.split(|byte| *byte == b',').map(number);
    let first = numbers.next().flatten();
    let same = numbers.all(|number| number == first);
    first.filter(|_| same).ok_or(Fault::Malformed("the length is no single, plain number"))
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(value)
    };
    digits.iter().try_fold(0, add)
}

fn keeps_alive(headers: &HeaderMap, modern: bool) -> bool {
    let mut keep = false;
    for value in headers.get_all(CONNECTION) {
        for word in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if word.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep |= word.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    modern || keep
}

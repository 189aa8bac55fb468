//! Fields after a chunked body: how they are read and written. Those that may not stand there are passed over.

use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Status};

use crate::http1::fault::Fault;
use crate::traffic::forward;

/// Bound of all trailers of an answer, in bytes.
pub(super) const MAX_BYTES: usize = 16 * 1024;
/// Bound of their lines.
const MAX_LINES: usize = 64;

/// Reads trailers up to their empty line: they and their length in bytes, or nothing if their end has not come.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(HeaderMap, usize)>, Fault> {
    let mut table = [EMPTY_HEADER; MAX_LINES];
    let (length, fields) = match httparse::parse_headers(bytes, &mut table) {
        Ok(Status::Complete(found)) => found,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(Fault::Malformed("the trailers are malformed")),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Fault::Malformed("a trailer is malformed")) };
        if forward::may_trail(&name) {
            trailers.append(name, value);
        }
    }
    Ok(Some((trailers, length)))
}

/// The names that a Trailer header announces.
pub(super) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    names.filter(forward::may_trail).collect()
}

/// Appends those trailers that were announced.
pub(super) fn write(trailers: &HeaderMap, announced: &[HeaderName], out: &mut Vec<u8>) {
    for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_read_whole_and_without_what_has_no_place_there() {
        let read = |text: &str| read(text.as_bytes()).map(|found| found.map(|(map, length)| (map.len(), length)));
        assert_eq!(read("\r\n").unwrap(), Some((0, 2)));
        assert_eq!(read("X: 1\r\nY: 2\r\n\r\nrest").unwrap(), Some((2, 14)));
        assert_eq!(read("X: 1\r\nContent-Length: 2\r\nSet-Cookie: a\r\n\r\n").unwrap(), Some((1, 42)));
        for partial in ["", "X", "X: 1", "X: 1\r\n", "X: 1\r\n\r"] {
            assert_eq!(read(partial).unwrap(), None, "{partial:?}");
        }
        for bad in
            ["X : 1\r\n\r\n", "X: 1\r\n Y: 1\r\n\r\n", "no colon\r\n\r\n", ": 1\r\n\r\n", "X: a\0b\r\n\r\n", "X: a\rb\r\n\r\n"]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(&format!("{}\r\n", "X: 1\r\n".repeat(MAX_LINES + 1))).is_err());
    }

    #[test]
    fn only_announced_trailers_are_written() {
        let mut headers = HeaderMap::new();
        headers.append(TRAILER, HeaderValue::from_static("X-A, host"));
        headers.append(TRAILER, HeaderValue::from_static("x-b"));
        let mut trailers = HeaderMap::new();
        for name in ["x-a", "x-b", "x-c", "host"] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }
        let mut out = Vec::new();
        write(&trailers, &announced(&headers), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "x-a: 1\r\nx-b: 1\r\n");
    }
}

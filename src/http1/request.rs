//! A request's head as bytes, written straight from the headers that the exchange goes on to own.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method};

use crate::http1::outflow::Framing;

/// What a head is written from.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target as it is sent: origin form, or `*`.
    pub target: &'a str,
    /// The headers, without those of the body's framing: these are passed over, and written as the body demands.
    pub headers: &'a HeaderMap,
    /// Whole lines that follow them, each with its end.
    pub more: &'a [u8],
    /// The Host if the headers have none; HTTP/1.1 may not come without one.
    pub host: Option<&'a str>,
    /// Whether names are written `Like-This`, for the simplest of servers, which compare letter by letter.
    pub title_case: bool,
}

impl RequestHead<'_> {
    /// Appends the whole of a request that has no body; `more` appends lines of its own behind the others.
    pub fn write_alone(&self, more: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        self.write_lines(Framing::None, out);
        more(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the head, its empty line included.
    pub(super) fn write(&self, framing: Framing, out: &mut Vec<u8>) {
        self.write_lines(framing, out);
        out.extend_from_slice(b"\r\n");
    }

    fn write_lines(&self, framing: Framing, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(host) = self.host.filter(|_| !self.headers.contains_key(HOST)) {
            self.write_line(&HOST, host.as_bytes(), out);
        }
        for (name, value) in self.headers {
            // Without a body a length can only be 0, which some methods are expected to say.
            let framed = *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && framing != Framing::None);
            if !framed {
                self.write_line(name, value.as_bytes(), out);
            }
        }
        out.extend_from_slice(self.more);
        match framing {
            Framing::None => {}
            Framing::Length(length) => {
                self.write_line(&CONTENT_LENGTH, decimal(length, &mut [0; 20]), out);
            }
            Framing::Chunked => self.write_line(&TRANSFER_ENCODING, b"chunked", out),
        }
    }

    fn write_line(&self, name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(name.as_str().as_bytes());
        if self.title_case {
            title(&mut out[start..]);
        }
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

fn title(name: &mut [u8]) {
    let mut first = true;
    for byte in name {
        if first {
            byte.make_ascii_uppercase();
        }
        first = *byte == b'-';
    }
}

/// The digits of a number, at the end of `room`.
pub fn decimal(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn written(lines: &[(&'static str, &'static str)], host: Option<&str>, title_case: bool, framing: Framing) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut out = Vec::new();
        let head = RequestHead { method: &Method::POST, target: "/a?b", headers: &headers, more: b"", host, title_case };
        head.write(framing, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_has_one_framing_whatever_the_headers_say() {
        let lines = [("host", "a"), ("content-length", "5"), ("content-length", "5"), ("transfer-encoding", "chunked")];
        let check = |framing: Framing, wanted: &str| {
            assert_eq!(written(&lines, None, false, framing), format!("POST /a?b HTTP/1.1\r\nhost: a\r\n{wanted}\r\n"));
        };
        check(Framing::Length(12_345), "content-length: 12345\r\n");
        check(Framing::Length(u64::MAX), "content-length: 18446744073709551615\r\n");
        check(Framing::Chunked, "transfer-encoding: chunked\r\n");
        let none = written(&[("host", "a"), ("content-length", "0")], None, false, Framing::None);
        assert_eq!(none, "POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn a_missing_host_is_added_and_names_may_be_capitalized() {
        let head = written(&[("x-request-id", "1")], Some("shop:80"), true, Framing::None);
        assert_eq!(head, "POST /a?b HTTP/1.1\r\nHost: shop:80\r\nX-Request-Id: 1\r\n\r\n");
        let head = written(&[("host", "own")], Some("shop:80"), false, Framing::None);
        assert_eq!(head, "POST /a?b HTTP/1.1\r\nhost: own\r\n\r\n");
    }
}

//! What a request is given on its way: where it came from, whom it has passed, and ids by which it is found again.
//!
//! Most requests bring nothing of the kind. To put six lines into their headers only to write them out again would cost as
//! much as all else that is done with a head, so these lines are kept apart and written behind the headers. Whoever has to see
//! them among the headers (a rule that changes them, HTTP/2) puts them there. What is done about lines that a request
//! brings of its own is the business of `forward`.

use std::net::IpAddr;

use http::header::VIA;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::base::hex::digits;

/// The header that tells whom a request came from.
pub static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The header that tells by which scheme a request came.
pub static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) static CLIENT_CERT: HeaderName = HeaderName::from_static("x-client-cert-subject");
/// The header that names a request in logs on every side.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Whose trace a request belongs to (W3C Trace Context).
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Room for a client's lines, in bytes; a certificate's subject may need more.
const LINES: usize = 128;

/// The longest address, in bytes: one of the sixth version that holds one of the fourth.
const LONGEST_ADDRESS: usize = 45;

/// Our name in Via.
pub(super) const PSEUDONYM: &str = "pulsegate";

/// What is known of the client that a request came from, made once for a connection.
#[derive(Debug)]
pub struct Client {
    /// Its address, ready to be sent; none if it has come in by a socket in the file system.
    pub address: Option<HeaderValue>,
    /// Whether its X-Forwarded-* are believed.
    pub trusted: bool,
    /// Whether its requests come over TLS.
    pub secure: bool,
    /// The subject of its verified certificate, if it has shown one.
    pub certificate: Option<HeaderValue>,
    /// All this as lines of a head.
    lines: Vec<u8>,
}

impl Client {
    /// The client at this address, if it has one; `certificate` is the subject of the one that has been verified.
    #[must_use]
    pub fn new(ip: Option<IpAddr>, trusted: bool, secure: bool, certificate: Option<HeaderValue>) -> Self {
        let address = ip.map(written);
        let mut lines = Vec::with_capacity(LINES);
        if let Some(address) = &address {
            line(&FORWARDED_FOR, address.as_bytes(), &mut lines);
        }
        line(&FORWARDED_PROTO, scheme(secure).as_bytes(), &mut lines);
        if let Some(subject) = &certificate {
            line(&CLIENT_CERT, subject.as_bytes(), &mut lines);
        }
        Self { address, trusted, secure, certificate, lines }
    }
}

/// An address as it is written. That of the fourth version is put together here, for the usual way of writing numbers costs as much as
/// a system call, for each connection.
fn written(ip: IpAddr) -> HeaderValue {
    let mut text = Vec::with_capacity(LONGEST_ADDRESS);
    match ip {
        IpAddr::V4(ip) => {
            for (index, byte) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                if byte >= 100 {
                    text.push(b'0' + byte / 100);
                }
                if byte >= 10 {
                    text.push(b'0' + byte / 10 % 10);
                }
                text.push(b'0' + byte % 10);
            }
        }
        IpAddr::V6(ip) => text.extend_from_slice(ip.to_string().as_bytes()),
    }
    HeaderValue::try_from(text).expect("an IP address is a header value")
}

pub(super) const fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// Via for a request that came in this version.
pub(super) const fn pseudonym(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0 pulsegate",
        Version::HTTP_2 => "2.0 pulsegate",
        _ => "1.1 pulsegate",
    }
}

/// What is added to one request.
#[derive(Debug, Clone)]
pub struct Added {
    pub(super) host: Option<HeaderValue>,
    /// The version that the request came in.
    pub(super) version: Version,
    /// Its ids.
    pub ids: Ids,
}

impl Added {
    /// Appends it as lines of a head.
    pub fn write(&self, client: &Client, out: &mut Vec<u8>) {
        out.extend_from_slice(&client.lines);
        if let Some(host) = &self.host {
            line(&FORWARDED_HOST, host.as_bytes(), out);
        }
        line(&VIA, pseudonym(self.version).as_bytes(), out);
        line(&REQUEST_ID, &digits(self.ids.request), out);
        line(&TRACEPARENT, &self.ids.trace_context(), out);
    }

    /// Puts it among headers, in the place of whatever has the same names.
    pub fn insert(self, client: &Client, headers: &mut HeaderMap) {
        if let Some(address) = &client.address {
            headers.insert(&FORWARDED_FOR, address.clone());
        }
        headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(scheme(client.secure)));
        if let Some(subject) = &client.certificate {
            headers.insert(&CLIENT_CERT, subject.clone());
        }
        if let Some(host) = self.host {
            headers.insert(&FORWARDED_HOST, host);
        }
        headers.insert(VIA, HeaderValue::from_static(pseudonym(self.version)));
        headers.insert(&REQUEST_ID, self.ids.request_id());
        headers.insert(&TRACEPARENT, self.ids.traceparent());
    }
}

fn line(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// A request id and a trace of its own.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    request: u128,
    /// Not 0.
    trace: u128,
    /// Not 0.
    span: u64,
}

impl Ids {
    pub(super) fn new(rng: &mut fastrand::Rng) -> Self {
        Self { request: rng.u128(..), trace: rng.u128(1..), span: rng.u64(1..) }
    }

    /// The value of X-Request-Id: 32 hexadecimal digits.
    #[must_use]
    pub fn request_id(self) -> HeaderValue {
        hex_value(&digits(self.request))
    }

    /// The value of traceparent: version 00, not sampled.
    #[must_use]
    pub fn traceparent(self) -> HeaderValue {
        hex_value(&self.trace_context())
    }

    fn trace_context(self) -> [u8; 55] {
        let mut value = *b"00-................................-................-00";
        value[3..35].copy_from_slice(&digits(self.trace));
        value[36..52].copy_from_slice(&digits(u128::from(self.span))[16..]);
        value
    }
}

fn hex_value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).expect("hexadecimal digits and dashes are a header value")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        let wide = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
        for text in ["0.0.0.0", "9.10.99.100", "127.0.0.1", "255.255.255.255", "101.200.249.109", "::1", "2001:db8::7", wide] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(written(ip).to_str().unwrap(), ip.to_string());
            assert!(text.len() <= LONGEST_ADDRESS);
        }
    }

    #[test]
    fn lines_and_headers_say_the_same() {
        for (secure, host, version) in [(false, None, Version::HTTP_10), (true, Some("shop:80"), Version::HTTP_2)] {
            let certificate = secure.then(|| HeaderValue::from_static("CN=a"));
            let client = Client::new(secure.then(|| Ipv6Addr::LOCALHOST.into()), false, secure, certificate);
            let ids = Ids::new(&mut fastrand::Rng::with_seed(3));
            let added = Added { host: host.map(HeaderValue::from_static), version, ids };
            let (mut text, mut headers) = (Vec::new(), HeaderMap::new());
            added.write(&client, &mut text);
            added.insert(&client, &mut headers);
            let mut lines: Vec<String> = String::from_utf8(text).unwrap().split_terminator("\r\n").map(str::to_owned).collect();
            let mut expected: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            lines.sort();
            expected.sort();
            assert_eq!(lines, expected);
        }
    }
}

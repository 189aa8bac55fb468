//! Whether a request is one that every server would read the same way, and what it asks for.
//!
//! Requests that two servers could read differently are how one client's bytes become another client's request. The
//! parser has refused what is no HTTP; this refuses what is HTTP and still ambiguous: two hosts, a transfer coding that
//! not everybody knows, a path that some would resolve and others not.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

/// Why a request is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// What is wrong with the request.
    pub detail: &'static str,
}

const fn bad(detail: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, detail }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The host in lower case, without port; empty if the request names none.
    pub host: Cow<'a, str>,
    /// The value of the one Host header to send; `None` only for HTTP/1.0 without one.
    pub host_header: Option<HeaderValue>,
    /// The path as received, or `*`.
    pub path: &'a str,
}

impl Asked<'_> {
    /// The port that the request names with its host; 80 if it names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        let named = self.host_header.as_ref().and_then(|value| value.to_str().ok()).and_then(|text| text.rsplit_once(':'));
        named.and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
    }
}

/// Checks the head of a request. The parser of HTTP/2 has turned `:authority` and `:path` into the target.
///
/// # Errors
/// 501 for CONNECT, 400 for everything that could be read in two ways.
pub fn check<'a>(method: &Method, uri: &'a Uri, headers: &'a HeaderMap, version: Version) -> Result<Asked<'a>, Refusal> {
    if method == Method::CONNECT {
        return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, detail: "CONNECT is not supported" });
    }
    let named = check_lines(headers)?;
    let nameless = match version {
        Version::HTTP_2 => named.is_none() && uri.authority().is_none(),
        version => named.is_none() && version == Version::HTTP_11,
    };
    if nameless {
        return Err(bad("the Host header is missing"));
    }
    let host_header = match uri.authority() {
        Some(authority) => Some(reconcile(authority, named, default_port(uri))?),
        None => named.cloned(),
    };
    let path = check_path(method, uri)?;
    let text = match (uri.authority(), named) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(value)) => value.to_str().unwrap_or_default(),
        (None, None) => "",
    };
    Ok(Asked { host: lower(without_port(text)), host_header, path })
}

/// A body has one framing, or none: the parser keeps one of two, so what is left must be a single, plain one. Hosts are at
/// most one, which is given back. All in one look at the headers, since every request passes here.
fn check_lines(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Refusal> {
    let (mut host, mut coded, mut measured) = (None, false, false);
    for (name, value) in headers {
        if *name == HOST {
            if host.replace(value).is_some() {
                return Err(bad("there are several Host headers"));
            }
        } else if *name == CONTENT_LENGTH {
            measured = true;
            if value.is_empty() || !value.as_bytes().iter().all(u8::is_ascii_digit) {
                return Err(bad("Content-Length is no plain number"));
            }
        } else if *name == TRANSFER_ENCODING && (coded || !value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(bad("Transfer-Encoding must be the single word chunked"));
        } else {
            coded |= *name == TRANSFER_ENCODING;
        }
    }
    if coded && measured {
        return Err(bad("Content-Length stands beside Transfer-Encoding"));
    }
    match host {
        Some(value) if !value.to_str().is_ok_and(is_host) => Err(bad("the Host header is malformed")),
        host => Ok(host),
    }
}

/// An absolute target and the Host header must agree; the target's spelling is sent.
fn reconcile(authority: &Authority, named: Option<&HeaderValue>, port: &str) -> Result<HeaderValue, Refusal> {
    if !is_host(authority.as_str()) {
        return Err(bad("the target's authority is malformed"));
    }
    let same = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        comparable(value, port).eq_ignore_ascii_case(comparable(authority.as_str(), port))
    };
    if named.is_some_and(|value| !same(value)) {
        return Err(bad("the Host header contradicts the target"));
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_| bad("the target's authority is malformed"))
}

/// What a scheme means without a port.
fn default_port(uri: &Uri) -> &'static str {
    if uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { ":443" } else { ":80" }
}

fn comparable<'a>(authority: &'a str, port: &str) -> &'a str {
    authority.strip_suffix(port).unwrap_or(authority)
}

fn check_path<'a>(method: &Method, uri: &'a Uri) -> Result<&'a str, Refusal> {
    let path = uri.path();
    if path == "*" {
        return if method == Method::OPTIONS { Ok(path) } else { Err(bad("the target * is for OPTIONS only")) };
    }
    if !path.starts_with('/') || uri.path_and_query().is_none() {
        return Err(bad("the target is no path"));
    }
    if uri.scheme_str().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https")) {
        return Err(bad("the target's scheme is neither http nor https"));
    }
    // A dot segment starts with a dot or a percent sign right after a slash; hardly any path has that.
    let suspicious = path.as_bytes().windows(2).any(|pair| matches!(pair, b"/." | b"/%"));
    if suspicious && path.split('/').any(is_dot_segment) {
        return Err(bad("the path has a . or .. segment"));
    }
    Ok(path)
}

/// Whether a segment is `.` or `..`, with each dot plain or as `%2e`.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return false,
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

/// `uri-host [":" port]` of RFC 9110, section 7.2; empty is allowed. Userinfo is not.
fn is_host(text: &str) -> bool {
    let host = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((inner, port)) = rest.split_once(']') else { return false };
            return inner.parse::<std::net::Ipv6Addr>().is_ok() && is_port_suffix(port);
        }
        None => without_port(text),
    };
    is_port_suffix(&text[host.len()..]) && host.bytes().all(is_host_byte)
}

fn is_port_suffix(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Unreserved and sub-delims of RFC 3986, and percent signs; no `@`, no slash, no colon, and no comma, for that is how two
/// Host lines look once somebody has joined them.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

fn without_port(authority: &str) -> &str {
    let end = match authority.bytes().rposition(|byte| byte == b']') {
        Some(bracket) => bracket + 1,
        None => authority.bytes().position(|byte| byte == b':').unwrap_or(authority.len()),
    };
    &authority[..end]
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
}

/// The path and query to send, with the first `prefix` bytes of the path taken off.
#[must_use]
pub fn stripped(uri: &Uri, prefix: usize) -> String {
    let rest = &uri.path_and_query().map_or("/", |both| both.as_str())[prefix..];
    if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(method: &str, uri: &str, lines: &[(&'static str, &str)]) -> Result<(String, String), u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let uri: Uri = uri.parse().unwrap();
        let asked =
            check(&method.parse().unwrap(), &uri, &headers, Version::HTTP_11).map_err(|refusal| refusal.status.as_u16())?;
        Ok((asked.host.into_owned(), asked.path.to_owned()))
    }

    fn host(value: &str) -> Result<String, u16> {
        check_with("GET", "/", &[("host", value)]).map(|(host, _)| host)
    }

    #[test]
    fn hosts() {
        assert_eq!(host("Shop.Example"), Ok("shop.example".to_owned()));
        assert_eq!(host("shop:8080"), Ok("shop".to_owned()));
        assert_eq!(host("[::1]:80"), Ok("[::1]".to_owned()));
        assert_eq!(host(""), Ok(String::new()));
        for bad in ["a b", "user@shop", "shop:80:80", "shop:port", "[::1", "[zz]", "a/b", "a,b:x", "a,b", "shop:123456"] {
            assert_eq!(host(bad), Err(400), "{bad}");
        }
        assert_eq!(check_with("GET", "/", &[]), Err(400));
        assert_eq!(check_with("GET", "/", &[("host", "a"), ("host", "a")]), Err(400));
    }

    #[test]
    fn an_absolute_target_and_host_agree() {
        assert_eq!(check_with("GET", "http://Shop/a", &[("host", "shop")]), Ok(("shop".to_owned(), "/a".to_owned())));
        assert_eq!(check_with("GET", "http://shop:80/a", &[("host", "shop")]), Ok(("shop".to_owned(), "/a".to_owned())));
        assert_eq!(check_with("GET", "http://shop/a", &[("host", "other")]), Err(400));
        assert_eq!(check_with("GET", "http://me@shop/a", &[("host", "shop")]), Err(400));
        assert_eq!(check_with("GET", "ftp://shop/a", &[("host", "shop")]), Err(400));
    }

    #[test]
    fn paths_with_dot_segments_are_refused() {
        let path = |path: &str| check_with("GET", path, &[("host", "a")]).map(|(_, path)| path);
        for good in ["/", "/a", "/a.b/..c", "/...", "/%2e%2e%2e", "/a%2fb", "/.well-known/x"] {
            assert_eq!(path(good), Ok(good.to_owned()));
        }
        for bad in ["/.", "/..", "/a/../b", "/a/./b", "/%2e", "/%2E%2e/x", "/.%2e", "/a/%2e."] {
            assert_eq!(path(bad), Err(400), "{bad}");
        }
        assert_eq!(path("*"), Err(400));
        assert_eq!(check_with("OPTIONS", "*", &[("host", "a")]), Ok(("a".to_owned(), "*".to_owned())));
        assert_eq!(check_with("CONNECT", "a:80", &[("host", "a:80")]), Err(501));
        assert_eq!(check_with("GET", "a:80", &[("host", "a:80")]), Err(400));
    }

    #[test]
    fn framing_is_single_and_plain() {
        let with = |lines: &[(&'static str, &str)]| {
            let lines: Vec<_> = [("host", "a")].into_iter().chain(lines.iter().copied()).collect();
            check_with("POST", "/", &lines).map(|_| ())
        };
        assert_eq!(with(&[("transfer-encoding", "chunked")]), Ok(()));
        assert_eq!(with(&[("content-length", "5")]), Ok(()));
        for bad in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", ""] {
            assert_eq!(with(&[("transfer-encoding", bad)]), Err(400), "{bad}");
        }
        assert_eq!(with(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]), Err(400));
        assert_eq!(with(&[("transfer-encoding", "chunked"), ("content-length", "5")]), Err(400));
        assert_eq!(with(&[("content-length", "+5")]), Err(400));
    }

    #[test]
    fn a_prefix_is_taken_off() {
        let check = |uri: &str, prefix: usize, wanted: &str| assert_eq!(stripped(&uri.parse().unwrap(), prefix), wanted);
        check("/orders/1?x=2", 7, "/1?x=2");
        check("/orders", 7, "/");
        check("/orders?x", 7, "/?x");
        check("/orders/", 7, "/");
    }
}

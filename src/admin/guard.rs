//! Who may ask: the Host and Origin of a request, and its token.
//!
//! An interface on loopback is open to every page in the operator's browser: a page may post to it (hence the check of
//! Origin), or may have its own name resolve to 127.0.0.1 and then read what it likes (hence the check of Host).

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::config::Config;
use crate::config::model::Secret;
use crate::traffic::bearer;
use crate::traffic::policy::HostPattern;

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is no Host, or more than one, or it cannot be read.
    BadHost,
    /// The Host is none of ours.
    ForeignHost,
    /// A change was asked for by a page from elsewhere.
    ForeignOrigin,
    /// The token is missing or wrong.
    Token,
}

/// Checks where a request was sent to and where it comes from.
///
/// Hosts that are ours are addresses, `localhost` and what `is_configured` says: a name in an attacker's hands is none.
///
/// # Errors
/// If Host or Origin are foreign, or Host is missing though the protocol demands it.
pub(super) fn check_source(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    is_configured: impl Fn(&str) -> bool,
) -> Result<(), Denied> {
    let Some(host) = authority(uri, version, headers)? else {
        return if headers.contains_key(ORIGIN) { Err(Denied::ForeignOrigin) } else { Ok(()) };
    };
    let name = host.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let ours = name.parse::<IpAddr>().is_ok() || name == "localhost" || is_configured(&name);
    if !ours {
        return Err(Denied::ForeignHost);
    }
    let same = |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| is_same_origin(origin, &host));
    if *method == Method::POST && !headers.get_all(ORIGIN).iter().all(same) {
        return Err(Denied::ForeignOrigin);
    }
    Ok(())
}

/// Where the request was sent to. Only HTTP/1.0 may leave it open; no browser speaks that.
fn authority(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<Option<Authority>, Denied> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, more) = (hosts.next(), hosts.next().is_some());
    let Some(host) = first else {
        return if version == Version::HTTP_10 && uri.authority().is_none() { Ok(None) } else { Err(Denied::BadHost) };
    };
    let host: Authority = host.as_bytes().try_into().map_err(|_| Denied::BadHost)?;
    let contradicted = uri.authority().is_some_and(|target| *target != host);
    if more || contradicted || host.as_str().contains('@') { Err(Denied::BadHost) } else { Ok(Some(host)) }
}

/// Whether a page of this origin was served by the host that it posts to.
fn is_same_origin(origin: &str, host: &Authority) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let port = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let port_of = |authority: &Authority| authority.port_u16().unwrap_or(port);
    origin.authority().is_some_and(|from| from.host().eq_ignore_ascii_case(host.host()) && port_of(from) == port_of(host))
}

/// Checks the bearer token.
///
/// # Errors
/// If it is missing or wrong.
pub(super) fn check_token(token: &Secret, headers: &HeaderMap) -> Result<(), Denied> {
    if bearer::given(headers).is_some_and(|given| token.is(given)) { Ok(()) } else { Err(Denied::Token) }
}

/// Whether the configuration has a route for this host: then the name is the operator's own.
pub(super) fn is_routed(config: &Config, host: &str) -> bool {
    let routes = config.listeners.iter().flat_map(|listener| &listener.routes);
    routes.flat_map(|route| &route.matches.hosts).any(|pattern| match pattern {
        HostPattern::Exact(name) => **name == *host,
        HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
    })
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    fn check(method: &Method, target: &str, version: Version, headers: &[(&str, &str)]) -> Result<(), Denied> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        check_source(method, &target.parse().unwrap(), version, &map, |name| name == "pulse.example.com")
    }

    #[test]
    fn a_host_is_an_address_localhost_or_a_configured_name() {
        let host = |value: &str| check(&Method::GET, "/", Version::HTTP_11, &[("host", value)]);
        for ours in
            ["127.0.0.1:9900", "10.1.2.3", "[::1]:9900", "[fe80::1]", "localhost", "LOCALHOST:9900", "pulse.example.com:80"]
        {
            assert_eq!(host(ours), Ok(()), "{ours}");
        }
        for foreign in ["evil.example.com", "localhost.evil.com", "127.0.0.1.nip.io:9900", "pulse.example.com.evil.com", "1"] {
            assert_eq!(host(foreign), Err(Denied::ForeignHost), "{foreign}");
        }
        for bad in ["", "a b", "me@127.0.0.1", "127.0.0.1:9900/x"] {
            assert_eq!(host(bad), Err(Denied::BadHost), "{bad}");
        }
    }

    #[test]
    fn a_host_is_there_once_and_agrees_with_the_target() {
        let get = |target: &str, version, headers: &[(&str, &str)]| check(&Method::GET, target, version, headers);
        let twice = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        assert_eq!(get("/", Version::HTTP_11, &[]), Err(Denied::BadHost));
        assert_eq!(get("/", Version::HTTP_10, &[]), Ok(()));
        assert_eq!(get("/", Version::HTTP_11, &twice), Err(Denied::BadHost));
        assert_eq!(get("http://127.0.0.1/", Version::HTTP_11, &twice[..1]), Ok(()));
        assert_eq!(get("http://evil.com/", Version::HTTP_11, &twice[..1]), Err(Denied::BadHost));
        assert_eq!(get("http://evil.com/", Version::HTTP_10, &[]), Err(Denied::BadHost));
    }

    #[test]
    fn a_change_is_not_taken_from_a_page_from_elsewhere() {
        let post = |host: &str, origin: &str| check(&Method::POST, "/", Version::HTTP_11, &[("host", host), ("origin", origin)]);
        assert_eq!(check(&Method::POST, "/", Version::HTTP_11, &[("host", "localhost:9900")]), Ok(()));
        assert_eq!(post("localhost:9900", "http://localhost:9900"), Ok(()));
        assert_eq!(post("localhost", "http://localhost"), Ok(()));
        assert_eq!(post("localhost:80", "http://LOCALHOST"), Ok(()));
        assert_eq!(post("pulse.example.com", "https://pulse.example.com"), Ok(()));
        assert_eq!(post("[::1]:9900", "http://[::1]:9900"), Ok(()));
        for (host, origin) in [
            ("localhost:9900", "http://localhost:3000"),
            ("localhost:9900", "http://localhost"),
            ("127.0.0.1:9900", "http://localhost:9900"),
            ("localhost:9900", "https://evil.com"),
            ("localhost:9900", "null"),
            ("localhost:9900", ""),
            ("localhost:9900", "file://"),
        ] {
            assert_eq!(post(host, origin), Err(Denied::ForeignOrigin), "{host} {origin}");
        }
        let old = check(&Method::POST, "/", Version::HTTP_10, &[("origin", "http://localhost")]);
        assert_eq!(old, Err(Denied::ForeignOrigin));
        let reading = check(&Method::GET, "/", Version::HTTP_11, &[("host", "localhost"), ("origin", "http://evil.com")]);
        assert_eq!(reading, Ok(()));
    }

    #[test]
    fn a_configured_name_is_one_that_a_route_has() {
        let config = crate::admin::fixture::config();
        for ours in ["pulse.example.com", "a.pulse.internal"] {
            assert!(is_routed(&config, ours), "{ours}");
        }
        for foreign in ["", "example.com", "pulse.internal", ".pulse.internal", "xpulse.example.com", "app", "web"] {
            assert!(!is_routed(&config, foreign), "{foreign}");
        }
    }

    #[test]
    fn the_token_must_be_the_very_one() {
        let token = Secret("s3cret".into());
        let check = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (AUTHORIZATION, HeaderValue::try_from(value).unwrap())));
            check_token(&token, &headers)
        };
        assert_eq!(check(Some("Bearer s3cret")), Ok(()));
        assert_eq!(check(Some("bearer s3cret")), Ok(()));
        for wrong in
            [None, Some(""), Some("s3cret"), Some("Bearer"), Some("Bearer "), Some("Bearer s3cre"), Some("Bearer s3cret1")]
        {
            assert_eq!(check(wrong), Err(Denied::Token), "{wrong:?}");
        }
        for wrong in ["Basic s3cret", "Bearer s3 cret", "Bearer S3cret"] {
            assert_eq!(check(Some(wrong)), Err(Denied::Token), "{wrong}");
        }
    }
}

//! Owns addresses, hosts and paths: what common slips in them would need.

use std::sync::Arc;

use crate::base::address::{AddressError, EndpointAddress, ListenAddress, Site, SocketPath};
use crate::config::lower::At;
use crate::traffic::policy::HostPattern;

/// Where a listener listens.
pub(super) fn listen_site(at: &At<'_>, text: &str) -> Option<Site> {
    let parsed = Site::parse_listen(text);
    parsed.map_err(|error| at.wrong(error.to_string(), unix_hint(text).or_else(|| listen_hint(text)))).ok()
}

/// Where everything else listens, which is on the network alone.
pub(super) fn listen_address(at: &At<'_>, text: &str) -> Option<ListenAddress> {
    let network_only = || "only listeners can be sockets in the file system".to_owned();
    let hint = || if SocketPath::is_meant(text) { Some(network_only()) } else { listen_hint(text) };
    ListenAddress::parse(text).map_err(|error| at.wrong(error.to_string(), hint())).ok()
}

/// What a path needs that was meant as a socket in the file system.
fn unix_hint(text: &str) -> Option<String> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    let meant = format!("unix:/{}", path.trim_start_matches('/'));
    let is_path = SocketPath::is_meant(text) || text.starts_with('/');
    (is_path && meant != text && SocketPath::parse(&meant).is_ok()).then(|| format!("did you mean {meant:?}?"))
}

fn listen_hint(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "8080"));
    if text.parse::<u16>().is_ok() {
        return Some(format!("did you mean \":{text}\"?"));
    }
    match host {
        "localhost" => Some(format!("a name cannot be listened on; did you mean \"127.0.0.1:{port}\"?")),
        "*" => Some(format!("did you mean \":{port}\"?")),
        ip if text.parse::<std::net::IpAddr>().is_ok() => Some(format!("the port is missing: {}", bracketed(text, ip))),
        _ => None,
    }
}

fn bracketed(text: &str, host: &str) -> String {
    if host.contains(':') || text.contains("::") { format!("[{text}]:8080") } else { format!("{text}:8080") }
}

/// The address of an endpoint.
pub(super) fn endpoint_address(at: &At<'_>, text: &str) -> Option<EndpointAddress> {
    address(at, text, EndpointAddress::parse(text))
}

/// The address of something that is on the network alone.
pub(super) fn network_address(at: &At<'_>, text: &str) -> Option<EndpointAddress> {
    address(at, text, EndpointAddress::parse_network(text))
}

fn address(at: &At<'_>, text: &str, parsed: Result<EndpointAddress, AddressError>) -> Option<EndpointAddress> {
    parsed.map_err(|error| at.wrong(error.to_string(), endpoint_hint(text))).ok()
}

fn endpoint_hint(text: &str) -> Option<String> {
    if SocketPath::is_meant(text) || text.starts_with('/') {
        return unix_hint(text);
    }
    let good = |text: &str| EndpointAddress::parse_network(text).is_ok();
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split('/').next().unwrap_or(rest);
        let hint = if good(authority) { format!("did you mean {authority:?}?") } else { "leave out the scheme".to_owned() };
        return Some(hint);
    }
    if text.starts_with(':') && good(&format!("127.0.0.1{text}")) {
        return Some(format!("did you mean \"127.0.0.1{text}\"?"));
    }
    if text.parse::<std::net::IpAddr>().is_ok() || good(&format!("{text}:80")) {
        return Some("the port is missing".to_owned());
    }
    None
}

/// A pattern for hosts: a name or address without a port, or `*.` and a name.
pub(super) fn host_pattern(at: &At<'_>, text: &str) -> Option<HostPattern> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    if is_host(name) && !(name.len() < lower.len() && is_address(name)) {
        return Some(if name.len() < lower.len() {
            HostPattern::Suffix(Arc::from(&lower[1..]))
        } else {
            HostPattern::Exact(name.into())
        });
    }
    at.wrong("a host such as api.example.com, or *.example.com for every name below it", host_hint(&lower));
    None
}

/// Whether this is a name or an address as it stands in a Host header, without a port.
fn is_host(text: &str) -> bool {
    !text.ends_with('.') && EndpointAddress::parse_network(&format!("{text}:80")).is_ok()
}

fn is_address(text: &str) -> bool {
    EndpointAddress::parse_network(&format!("{text}:80")).is_ok_and(|address| address.socket().is_some())
}

fn host_hint(text: &str) -> Option<String> {
    if text == "*" {
        return Some("leave host out to match every host".to_owned());
    }
    if text.contains('*') {
        return Some("a wildcard stands only at the beginning of a name: *.example.com".to_owned());
    }
    if EndpointAddress::parse_network(text).is_ok() {
        return Some("leave out the port".to_owned());
    }
    (!text.is_ascii()).then(|| "write it as it goes over the wire, xn--...".to_owned())
}

/// A path to ask for, with its query.
pub(super) fn path_and_query(at: &At<'_>, text: &str) -> Option<Arc<str>> {
    let good = text.starts_with('/') && is_visible(text) && !text.contains('#');
    check(at, text, good, "a path that begins with a slash, such as /health")
}

/// A path, or its beginning, to compare with.
pub(super) fn match_path(at: &At<'_>, text: &str) -> Option<Arc<str>> {
    if text.starts_with('/') && text.split('/').any(is_dot_segment) {
        at.wrong("a path without . and .. segments", "requests with such segments are refused".to_owned());
        return None;
    }
    let good = text.starts_with('/') && is_visible(text) && !text.contains(['?', '#']);
    check(at, text, good, "a path that begins with a slash, without a query, such as /orders")
}

fn check(at: &At<'_>, text: &str, good: bool, wanted: &str) -> Option<Arc<str>> {
    if good {
        return Some(text.into());
    }
    let hint = if !text.starts_with('/') && is_visible(text) && !text.contains("://") && !text.is_empty() {
        Some(format!("did you mean \"/{text}\"?"))
    } else if text.starts_with('/') && !is_visible(text) {
        Some("write other characters as they go over the wire, such as %20".to_owned())
    } else {
        None
    };
    at.wrong(wanted, hint);
    None
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a segment is `.` or `..`, however it is written.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_without_a_port() {
        for good in ["example.com", "a_b", "127.0.0.1", "[::1]", "xn--bcher-kva.de"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "*", "a.", "a b", "a:80", "::1", "300.1.1.1", "bücher.de", "-a", "a..b", "a/b", "me@a"] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn dot_segments_are_seen_however_they_are_written() {
        for dots in [".", "..", "%2e", "%2E.", ".%2e", "%2e%2E"] {
            assert!(is_dot_segment(dots), "{dots}");
        }
        for other in ["", "...", "a.", ".a", "%2f", "%252e"] {
            assert!(!is_dot_segment(other), "{other}");
        }
    }
}

//! Addresses as users write them, valid once parsed.
//!
//! An endpoint keeps its spelling: it is the label, the path segment and the key of its state, so `localhost:80` and
//! `127.0.0.1:80` are two names even where they lead to one socket. Names are looked up elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Why a text is not an address: a sentence that says what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted}")]
pub struct AddressError {
    wanted: &'static str,
}

/// Where a listener listens.
///
/// Written `ip:port`, `[ipv6]:port`, or `:port` for every address of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// Reads a listen address. Port 0 asks the system for a free one.
    ///
    /// # Errors
    /// If there is no port, or the host is a name.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let wanted = AddressError { wanted: "an address to listen on: ip:port, [ipv6]:port, or :port for every interface" };
        if let Some(port) = text.strip_prefix(':') {
            let port = parse_port(port).ok_or(wanted)?;
            return Ok(Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)));
        }
        let (host, port) = split_host_port(text).ok_or_else(|| wanted.clone())?;
        let port = parse_port(port).ok_or_else(|| wanted.clone())?;
        host.parse().map(|ip| Self(SocketAddr::new(ip, port))).map_err(|_| wanted)
    }

    /// The socket address; `[::]` means both families.
    #[must_use]
    pub const fn socket(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }

    /// Whether two listeners could not both listen: the same port on the same or on every address. Port 0 never clashes.
    #[must_use]
    pub fn clashes_with(self, other: Self) -> bool {
        let everywhere = |a: Self| a.0.ip().is_unspecified();
        let same_family = |a: Self, b: Self| {
            a.0.is_ipv4() == b.0.is_ipv4() || (a.0.is_ipv6() && everywhere(a)) || (b.0.is_ipv6() && everywhere(b))
        };
        self.0.port() != 0
            && self.0.port() == other.0.port()
            && (self.0.ip() == other.0.ip() || ((everywhere(self) || everywhere(other)) && same_family(self, other)))
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(socket: SocketAddr) -> Self {
        Self(socket)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The host of an endpoint: an address, or a name to look up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name, in lower case.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    /// Without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One address in a cluster, `ip:port`, `[ipv6]:port` or `name:port`, with the spelling that the configuration has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointAddress {
    text: Arc<str>,
    host: Host,
    port: u16,
}

impl EndpointAddress {
    /// Reads an endpoint's address.
    ///
    /// # Errors
    /// If the port is missing or 0, or the host is neither an address nor a name by RFC 1123 (underscores are let through).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let wanted = AddressError { wanted: "an endpoint: ip:port, [ipv6]:port or name:port, port 1 to 65535" };
        let (host, port) = split_host_port(text).ok_or_else(|| wanted.clone())?;
        let port = parse_port(port).filter(|port| *port != 0).ok_or_else(|| wanted.clone())?;
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => Host::Ip(ip),
            Err(_) if is_name(host) => Host::Name(host.to_ascii_lowercase().into()),
            Err(_) => return Err(wanted),
        };
        Ok(Self { text: text.into(), host, port })
    }

    /// The address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address as it was written, shared.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, unless the host is a name.
    #[must_use]
    pub const fn socket(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits at the last colon; an IPv6 address must stand in brackets, and only such a one may.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok().then_some((inner, port)),
        None => (!host.contains(':')).then_some((host, port)),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// RFC 1123 labels, and underscores, which container platforms put into names. What looks like an IPv4 address that
/// failed to parse is no name.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let bare = host.strip_suffix('.').unwrap_or(host);
    let numeric = bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    bare.len() <= 253 && bare.split('.').all(label) && !numeric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        let check = |text: &str, wanted: Option<&str>| {
            assert_eq!(ListenAddress::parse(text).ok().map(|a| a.to_string()).as_deref(), wanted, "{text}");
        };
        check("0.0.0.0:8080", Some("0.0.0.0:8080"));
        check(":8080", Some("[::]:8080"));
        check("[::1]:80", Some("[::1]:80"));
        check("127.0.0.1:0", Some("127.0.0.1:0"));
        for bad in ["8080", "localhost:80", "127.0.0.1", "::1:80", "1.2.3.4:65536", "1.2.3.4:+1", "", ":"] {
            check(bad, None);
        }
    }

    #[test]
    fn listeners_clash_on_the_same_or_on_every_address() {
        let clash = |a: &str, b: &str| ListenAddress::parse(a).unwrap().clashes_with(ListenAddress::parse(b).unwrap());
        assert!(clash("127.0.0.1:80", "127.0.0.1:80"));
        assert!(clash("0.0.0.0:80", "127.0.0.1:80"));
        assert!(clash(":80", "127.0.0.1:80"));
        assert!(!clash("0.0.0.0:80", "[::1]:80"));
        assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!clash("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn endpoints() {
        for good in ["127.0.0.1:80", "[::1]:80", "orders.internal:9000", "orders_1:80", "a.:1"] {
            assert_eq!(EndpointAddress::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "127.0.0.1",
            "127.0.0.1:0",
            "::1:80",
            "[a]:80",
            "a b:80",
            "-a:80",
            "300.1.1.1:80",
            ":80",
            "http://a:80",
            "a:b",
            "a..b:1",
        ] {
            assert!(EndpointAddress::parse(bad).is_err(), "{bad}");
        }
    }
}

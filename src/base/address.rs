//! Addresses as users write them, valid once parsed.
//!
//! An endpoint keeps its spelling: it is the label, the path segment and the key of its state, so `localhost:80` and
//! `127.0.0.1:80` are two names even where they lead to one socket. Names are looked up elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// What stands before the path of a socket in the file system.
const SCHEME: &str = "unix:";
/// Longest path of a socket, in bytes; the system has room for one more, which ends it (unix(7)).
const LONGEST_PATH: usize = 107;

/// Why a text is not an address: a sentence that says what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted}")]
pub struct AddressError {
    wanted: &'static str,
}

/// A socket in the file system, written `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SocketPath(Arc<str>);

impl SocketPath {
    /// Reads the address of a socket.
    ///
    /// # Errors
    /// If it does not begin with `unix:`, or its path is not absolute, is too long, names a folder, or has blanks or control
    /// characters in it, which would end a line of a file that names endpoints.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let wanted = "a socket in the file system: unix: and its absolute path, without blanks, at most 107 bytes";
        let path =
            text.strip_prefix(SCHEME).filter(|path| path.starts_with('/') && !path.starts_with("//") && !path.ends_with('/'));
        let path =
            path.filter(|path| path.len() <= LONGEST_PATH && !path.contains(|c: char| c.is_control() || c.is_whitespace()));
        path.map(|path| Self(path.into())).ok_or(AddressError { wanted })
    }

    /// Whether a text means a socket in the file system, well written or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

/// Where a connection can lead, or come in: no name left to look up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Site {
    /// On the network.
    Ip(SocketAddr),
    /// On this machine, in the file system.
    Unix(SocketPath),
}

impl Site {
    /// Reads where a listener listens: what [`ListenAddress`] reads, or `unix:/path`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse_listen(text: &str) -> Result<Self, AddressError> {
        if SocketPath::is_meant(text) {
            return SocketPath::parse(text).map(Self::Unix);
        }
        let wanted = "an address to listen on: ip:port, [ipv6]:port, :port for every interface, or unix:/path";
        ListenAddress::parse(text).map(|address| Self::Ip(address.socket())).map_err(|_| AddressError { wanted })
    }

    /// The address on the network, if it is there.
    #[must_use]
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether the system is to choose its port.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Ip(address) if address.port() == 0)
    }

    /// Whether two could not both be listened on.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(one), Self::Ip(other)) => ListenAddress(*one).clashes_with(ListenAddress(*other)),
            (one, other) => one == other,
        }
    }
}

impl From<SocketAddr> for Site {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<ListenAddress> for Site {
    fn from(address: ListenAddress) -> Self {
        Self::Ip(address.0)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

/// Where something listens on the network.
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

/// The host of an endpoint: an address, a name to look up, or this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name, in lower case.
    Name(Arc<str>),
    /// This machine, and the socket in its file system.
    Unix(SocketPath),
}

impl fmt::Display for Host {
    /// Without brackets; that of this machine is `localhost`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Unix(_) => f.write_str("localhost"),
        }
    }
}

/// One address in a cluster, `ip:port`, `[ipv6]:port`, `name:port` or `unix:/path`, with the spelling that the configuration has.
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
    /// If it is neither on the network nor a socket in the file system.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if SocketPath::is_meant(text) {
            return SocketPath::parse(text).map(|path| Self { text: text.into(), host: Host::Unix(path), port: 0 });
        }
        let wanted = "an endpoint: ip:port, [ipv6]:port or name:port, port 1 to 65535, or unix:/path";
        Self::parse_network(text).map_err(|_| AddressError { wanted })
    }

    /// Reads an address on the network.
    ///
    /// # Errors
    /// If the port is missing or 0, or the host is neither an address nor a name by RFC 1123 (underscores are let through).
    pub fn parse_network(text: &str) -> Result<Self, AddressError> {
        let wanted = AddressError { wanted: "an address: ip:port, [ipv6]:port or name:port, port 1 to 65535" };
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

    /// The port; 0 for a socket in the file system, and for nothing else.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, if the host is an address.
    #[must_use]
    pub const fn socket(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) | Host::Unix(_) => None,
        }
    }

    /// Where it is, unless the host is a name.
    #[must_use]
    pub fn site(&self) -> Option<Site> {
        match &self.host {
            Host::Ip(ip) => Some(Site::Ip(SocketAddr::new(*ip, self.port))),
            Host::Unix(path) => Some(Site::Unix(path.clone())),
            Host::Name(_) => None,
        }
    }

    /// What a request that is meant for it names in Host: itself, or `localhost` where a path could not be written.
    #[must_use]
    pub fn authority(&self) -> Arc<str> {
        match self.host {
            Host::Unix(_) => self.host.to_string().into(),
            Host::Ip(_) | Host::Name(_) => self.text(),
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
    fn sockets_in_the_file_system() {
        let longest = format!("unix:/{}", "x".repeat(LONGEST_PATH - 1));
        for good in ["unix:/run/a.sock", "unix:/a:80", "unix:/run/@b", longest.as_str()] {
            assert_eq!(Site::parse_listen(good).unwrap().to_string(), good);
            let endpoint = EndpointAddress::parse(good).unwrap();
            assert_eq!((endpoint.as_str(), &*endpoint.authority(), endpoint.port()), (good, "localhost", 0));
            assert_eq!(endpoint.site(), Some(Site::parse_listen(good).unwrap()));
            assert!(EndpointAddress::parse_network(good).is_err() && ListenAddress::parse(good).is_err());
        }
        let longer = format!("{longest}x");
        for bad in [
            "unix:",
            "unix:a.sock",
            "unix:/",
            "unix:/run/",
            "unix:///a",
            "unix:@a",
            "unix:/a b",
            "unix:/a\0",
            "/a",
            longer.as_str(),
        ] {
            assert!(Site::parse_listen(bad).is_err() && EndpointAddress::parse(bad).is_err(), "{bad}");
        }
        let clash = |a: &str, b: &str| Site::parse_listen(a).unwrap().clashes_with(&Site::parse_listen(b).unwrap());
        assert!(clash("unix:/a", "unix:/a"));
        assert!(!clash("unix:/a", "unix:/b") && !clash("unix:/a", ":80"));
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

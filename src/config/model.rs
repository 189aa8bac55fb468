//! The configuration after lowering: valid, complete, free of serde.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::address::{EndpointAddress, ListenAddress, Site};
use crate::health::check::ProbeSpec;
use crate::health::policy::{Policy, Timing};
use crate::report;
use crate::tls::{Application, Identity, Terms, Towards, Trust};
use crate::traffic::affinity::{Balance, Sticky};
use crate::traffic::limits::Limits;
use crate::traffic::policy::RoutePolicy;

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The admin interface.
    pub admin: Admin,
    /// The metrics listener, if there is one.
    pub metrics: Option<ListenAddress>,
    /// Data-plane threads; `None`: as many as there are CPUs.
    pub workers: Option<usize>,
    /// How long readyz is already 503 while connections are still accepted.
    pub drain_delay: Duration,
    /// How long exchanges may take to finish.
    pub drain_timeout: Duration,
    /// Whether a change of the file is a reload.
    pub watch: bool,
    /// Where operators' orders are kept over a restart.
    pub state_file: Option<PathBuf>,
    /// Where every exchange is told, if anywhere.
    pub access_log: Option<AccessLog>,
    /// What is logged, and how.
    pub log: Log,
    /// Sockets that heartbeats come in by.
    pub heartbeats: Vec<Heartbeats>,
    /// Sockets that requests come in by.
    pub listeners: Vec<Listener>,
    /// Groups of endpoints.
    pub clusters: Vec<Cluster>,
    /// The proxies that agree on health, if there are others.
    pub fleet: Option<Fleet>,
}

/// The proxies that agree on health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The fleet's name.
    pub name: Arc<str>,
    /// This proxy's own name.
    pub own: Arc<str>,
    /// Where votes of the others come in.
    pub address: ListenAddress,
    /// Where the others listen.
    pub peers: Vec<EndpointAddress>,
    /// How many proxies there are in all, at least one more than there are peers.
    pub size: usize,
    /// What votes are signed with: the first one signs, all are believed. At least one.
    pub keys: Arc<[Secret]>,
}

/// The admin interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,
    /// The bearer token, read from `token_file`; `Debug` of it is never shown.
    pub token: Option<Secret>,
}

/// A secret that no `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Arc<str>);

impl Secret {
    /// Whether this was given. How long that takes tells the length alone.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let wanted = self.0.as_bytes();
        let differing = given.iter().zip(wanted).fold(0, |differing, (a, b)| std::hint::black_box(differing | (a ^ b)));
        given.len() == wanted.len() && differing == 0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it is written.
    pub target: AccessTarget,
    /// How lines look.
    pub format: AccessFormat,
}

/// Where the access log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, which is made if it is not there, and added to if it is.
    File(PathBuf),
}

/// How lines of the access log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessFormat {
    /// An object each.
    #[default]
    Json,
    /// The combined format of web servers.
    Combined,
}

/// A socket that heartbeats come in by.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeats {
    /// Where it listens.
    pub address: ListenAddress,
    /// TLS towards who sends them, if there is any.
    pub tls: Option<ListenerTls>,
}

/// The tokens that may send heartbeats of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatTokens(pub Arc<[HeartbeatToken]>);

/// A token, and what it may speak for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatToken {
    /// The bearer token.
    pub token: Secret,
    /// Endpoints by their address as configured; none means every endpoint of the cluster.
    pub endpoints: Vec<Arc<str>>,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// error, warn, info, debug or trace.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Failures of our own.
    Error,
    /// And what needs attention.
    Warn,
    /// And every transition.
    #[default]
    Info,
    /// And decisions.
    Debug,
    /// And everything.
    Trace,
}

impl LogLevel {
    /// The name used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// Stands among trusted proxies for all who come in by a socket in the file system.
pub const UNIX: &str = "unix:";

/// A listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its name, the label in metrics.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Site,
    /// The bits of the mode of its file, where it has one: 0o000 to 0o777.
    pub socket_mode: u32,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// TLS, if there is any.
    pub tls: Option<ListenerTls>,
    /// Whether trusted proxies say in a header of the PROXY protocol who connects.
    pub proxy_protocol: bool,
    /// Whose X-Forwarded-* is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether that of clients is believed who come in by a socket in the file system, and have no address.
    pub trusts_unix: bool,
    /// The path that is answered here as readyz is, if there is one.
    pub health_path: Option<Arc<str>>,
    /// Bounds of what clients may do.
    pub limits: ListenerLimits,
    /// Its routes; the first that matches wins.
    pub routes: Vec<RoutePolicy>,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/2, by ALPN or by the first bytes.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

impl Protocol {
    /// The name used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// The binary one.
    V2,
}

impl ProxyVersion {
    /// The name used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A file that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// As written.
    pub name: Arc<str>,
    /// Where that is.
    pub path: PathBuf,
}

/// TLS towards clients, as its files had it when they were read.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// Its certificates, at least one; the first is the default.
    pub certificates: Vec<Certificate>,
    /// Whose client certificates are believed, if any.
    pub clients: Option<Clients>,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// The certificate's file.
    pub cert: NamedFile,
    /// The key's file.
    pub key: NamedFile,
    /// What stands in them.
    pub identity: Identity,
}

/// Whose client certificates are believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Clients {
    /// The file of the authorities.
    pub file: NamedFile,
    /// What stands in it, and whether a certificate is required.
    pub trust: Trust,
}

impl Protocol {
    /// What is offered where it is spoken under TLS.
    #[must_use]
    pub const fn application(self) -> Application {
        match self {
            Self::Auto => Application::Any,
            Self::Http1 => Application::Http1,
            Self::Http2 => Application::Http2,
        }
    }
}

impl ListenerTls {
    /// What a listener that speaks this protocol offers.
    #[must_use]
    pub fn terms(&self, protocol: Protocol) -> Terms {
        Terms {
            identities: self.certificates.iter().map(|certificate| certificate.identity.clone()).collect(),
            clients: self.clients.as_ref().map(|clients| clients.trust.clone()),
            application: protocol.application(),
        }
    }
}

/// Bounds of what clients may do on one listener, for the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open connections.
    pub connections: usize,
    /// TLS handshakes under way.
    pub handshakes: usize,
    /// Exchanges at once on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub head_count: usize,
    /// From the first byte of a head, or from accept, to the head's end.
    pub head_timeout: Duration,
    /// Between two requests.
    pub keepalive_timeout: Duration,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its name, the label in metrics.
    pub name: Arc<str>,
    /// Its endpoints, at least one; if they are discovered, those found so far. There may be thousands, and several copies of
    /// the settings.
    pub endpoints: Arc<[Endpoint]>,
    /// What is spoken to them.
    pub protocol: Protocol,
    /// TLS towards them, if there is any.
    pub tls: Option<ClusterTls>,
    /// The header that connections to them begin with, if there is one.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Where they are found, if they are not listed.
    pub discovery: Option<Discovery>,
    /// How requests are spread.
    pub balance: Balance,
    /// The cookie that keeps a client with its endpoint, if there is one.
    pub sticky: Option<Sticky>,
    /// For a connection to an endpoint.
    pub connect_timeout: Duration,
    /// Idle connections kept.
    pub pool: Pool,
    /// How much may go there at once.
    pub limits: Limits,
    /// How health is judged.
    pub health: Policy,
    /// The probes, shared by all endpoints; names and order are those of `health.probes`.
    pub probes: Vec<Arc<ProbeSpec>>,
    /// The report, unless `report` is off.
    pub report: Option<report::spec::Spec>,
    /// The pace of a report that is fetched from a path of its own.
    pub report_timing: Timing,
    /// Addresses that tell our own link from an endpoint.
    pub references: Vec<EndpointAddress>,
    /// Who may send heartbeats of it; `None`: anybody who reaches the socket, which is then on loopback.
    pub heartbeat_tokens: Option<HeartbeatTokens>,
}

/// TLS towards endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterTls {
    /// The file of the authorities; `None`: the system's.
    pub ca: Option<NamedFile>,
    /// The files of our own certificate and its key.
    pub own: Option<Certificate>,
    /// The name that certificates must have, as written.
    pub server_name: Option<Arc<str>>,
    /// What these come to.
    pub towards: Arc<Towards>,
}

/// Where endpoints are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// Behind a name.
    Dns(DnsName),
    /// In a file with a list of them.
    File(Arc<Path>),
    /// They come by themselves, with their first heartbeat.
    Heartbeat,
}

/// A name whose records are endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName {
    /// The name.
    pub name: Arc<str>,
    /// The port of every endpoint; `None` if SRV records tell.
    pub port: Option<u16>,
    /// The name server to ask; `None` for those of the system.
    pub nameserver: Option<SocketAddr>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its address.
    pub address: EndpointAddress,
    /// Its share of traffic against the others', 1 to 1000.
    pub weight: u32,
    /// Gets traffic only when no primary is available.
    pub backup: bool,
}

impl Endpoint {
    /// One that nothing is configured of but its address; `None` if that is none on the network.
    #[must_use]
    pub fn joined(address: &str) -> Option<Self> {
        let address = EndpointAddress::parse_network(address).ok()?;
        Some(Self { address, weight: super::defaults::WEIGHT, backup: false })
    }
}

/// Idle connections, per endpoint and worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// How long one may be idle.
    pub idle_timeout: Duration,
    /// How many are kept.
    pub idle_connections: usize,
}

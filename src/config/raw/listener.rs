//! Owns the shape of a listener.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::raw::{List, Route, Size, Span};

/// A socket that requests come in by. It has a cluster for everything, or routes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Listener {
    /// Its name, the label in metrics; by default its address.
    #[schemars(regex(pattern = super::scalar::NAME), extend("errorMessage" = super::scalar::NAME_WANTED))]
    pub(in crate::config) name: Option<String>,
    /// Where it listens: ip:port (IPv6 in brackets), :port for every interface, or unix:/path for a socket in the file system.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// Who may connect to a socket in the file system, as the mode of its file; its folder may keep others out as well.
    #[schemars(regex(pattern = "^0?[0-7]{3}$"), extend("default" = defaults::SOCKET_MODE, "errorMessage" = "a mode of a file in quotes, such as \"0660\""))]
    pub(in crate::config) socket_mode: Option<String>,
    /// What is spoken on it: auto tells HTTP/1.1 from HTTP/2 by ALPN, or by the first bytes where there is no TLS.
    #[schemars(extend("default" = "auto"))]
    pub(in crate::config) protocol: Option<Protocol>,
    /// TLS with these certificates; without it, requests come in the clear.
    pub(in crate::config) tls: Option<ListenerTls>,
    /// Whether proxies in trusted_proxies begin a connection with a header of the PROXY protocol, version 1 or 2. Who is not
    /// among them speaks for himself.
    #[schemars(extend("default" = defaults::PROXY_PROTOCOL))]
    pub(in crate::config) proxy_protocol: Option<bool>,
    /// Addresses and networks of proxies whose X-Forwarded-* headers are believed; unix: for whoever connects to a socket in the
    /// file system.
    pub(in crate::config) trusted_proxies: Option<List<String>>,
    /// A path that is answered here as /readyz is on the admin interface, before any route.
    pub(in crate::config) health_path: Option<String>,
    /// Bounds of what clients may do, for the whole process.
    pub(in crate::config) limits: Option<Limits>,
    /// The cluster that every request goes to: short for one route that matches all.
    #[schemars(length(min = 1))]
    pub(in crate::config) cluster: Option<String>,
    /// Where requests go; the first route that matches wins.
    #[schemars(length(min = 1))]
    pub(in crate::config) routes: Option<List<Route>>,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Protocol {
    /// Either.
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

/// TLS towards clients: one certificate with its key, or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListenerTls {
    /// The file with the certificate and what leads from it to its authority, in PEM. Files are read again when they change.
    #[schemars(length(min = 1))]
    pub(in crate::config) cert: Option<String>,
    /// The file with its private key, in PEM, unencrypted.
    #[schemars(length(min = 1))]
    pub(in crate::config) key: Option<String>,
    /// Instead of cert and key: several, chosen by the name that the client asks for (SNI). The first is the default.
    #[schemars(length(min = 1))]
    pub(in crate::config) certificates: Option<List<CertificateFiles>>,
    /// The file with the authorities whose client certificates are believed, in PEM.
    #[schemars(length(min = 1))]
    pub(in crate::config) client_ca: Option<String>,
    /// Whether a client without a certificate is refused; only with client_ca.
    #[schemars(extend("default" = "required"))]
    pub(in crate::config) client_auth: Option<ClientAuth>,
}

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CertificateFiles {
    /// The file with the certificate and what leads from it to its authority, in PEM.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) cert: Option<String>,
    /// The file with its private key, in PEM, unencrypted.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) key: Option<String>,
}

/// Whether a client without a certificate is refused.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ClientAuth {
    /// It is refused.
    Required,
    /// It is let in; a certificate that it shows must be good all the same.
    Optional,
}

/// Bounds of what clients may do on one listener, for the whole process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// Open connections.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::CONNECTIONS))]
    pub(in crate::config) connections: Option<u32>,
    /// TLS handshakes under way.
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::HANDSHAKES))]
    pub(in crate::config) handshakes: Option<u32>,
    /// Requests at once on one HTTP/2 connection.
    #[schemars(range(min = 1, max = 10_000), extend("default" = defaults::STREAMS))]
    pub(in crate::config) streams: Option<u32>,
    /// Size of a request's head, 8KiB to 1MiB.
    #[schemars(extend("default" = defaults::HEAD_BYTES))]
    pub(in crate::config) head_bytes: Option<Size>,
    /// Header lines of a request.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::HEAD_COUNT))]
    pub(in crate::config) head_count: Option<u32>,
    /// For a request's head, from its first byte or from the connection's start; for a TLS handshake too.
    #[schemars(extend("default" = format_duration(defaults::HEAD_TIMEOUT)))]
    pub(in crate::config) head_timeout: Option<Span>,
    /// Between two requests on one connection.
    #[schemars(extend("default" = format_duration(defaults::KEEPALIVE_TIMEOUT)))]
    pub(in crate::config) keepalive_timeout: Option<Span>,
}

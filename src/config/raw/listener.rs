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
    /// Where it listens: ip:port (IPv6 in brackets), or :port for every interface.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// Addresses and networks of proxies whose X-Forwarded-* headers are believed.
    pub(in crate::config) trusted_proxies: Option<List<String>>,
    /// Bounds of what clients may do, for the whole process.
    pub(in crate::config) limits: Option<Limits>,
    /// The cluster that every request goes to: short for one route that matches all.
    #[schemars(length(min = 1))]
    pub(in crate::config) cluster: Option<String>,
    /// Where requests go; the first route that matches wins.
    #[schemars(length(min = 1))]
    pub(in crate::config) routes: Option<List<Route>>,
}

/// Bounds of what clients may do on one listener, for the whole process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// Open connections.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::CONNECTIONS))]
    pub(in crate::config) connections: Option<u32>,
    /// Size of a request's head, 8KiB to 1MiB.
    #[schemars(extend("default" = defaults::HEAD_BYTES))]
    pub(in crate::config) head_bytes: Option<Size>,
    /// Header lines of a request.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::HEAD_COUNT))]
    pub(in crate::config) head_count: Option<u32>,
    /// For a request's head, from its first byte or from the connection's start.
    #[schemars(extend("default" = format_duration(defaults::HEAD_TIMEOUT)))]
    pub(in crate::config) head_timeout: Option<Span>,
    /// Between two requests on one connection.
    #[schemars(extend("default" = format_duration(defaults::KEEPALIVE_TIMEOUT)))]
    pub(in crate::config) keepalive_timeout: Option<Span>,
}

//! Owns the shape of a cluster, but for its health.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::raw::{CountOrNone, Health, List, OrOff, Protocol, Span};

/// A named group of interchangeable endpoints with one policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cluster {
    /// Its name, the label in metrics.
    #[schemars(required, regex(pattern = super::scalar::NAME), extend("errorMessage" = super::scalar::NAME_WANTED))]
    pub(in crate::config) name: Option<String>,
    /// Its endpoints: addresses, or blocks with an address.
    #[schemars(length(min = 1))]
    pub(in crate::config) endpoints: Option<List<Endpoint>>,
    /// What is spoken to them: auto takes HTTP/2 where TLS offers it.
    #[schemars(extend("default" = "http1"))]
    pub(in crate::config) protocol: Option<Protocol>,
    /// TLS towards them, for requests and probes; {} believes the system's authorities.
    pub(in crate::config) tls: Option<ClusterTls>,
    /// The header of the PROXY protocol that each connection to them begins with: who the client is, and which address of ours
    /// it came to. Then no two clients share a connection, none outlasts its client's, and auto means http1. Probes on the
    /// endpoint's own port, but for an agent's, speak for themselves.
    #[schemars(extend("default" = "none"))]
    pub(in crate::config) proxy_protocol: Option<ProxyProtocol>,
    /// Where its endpoints are found, in place of a list.
    pub(in crate::config) discovery: Option<Discovery>,
    /// How requests are spread.
    #[schemars(extend("default" = "round_robin"))]
    pub(in crate::config) balance: Option<Balance>,
    /// A cookie that keeps a client with its endpoint while that gets traffic.
    pub(in crate::config) sticky: Option<Sticky>,
    /// For a connection to an endpoint.
    #[schemars(extend("default" = format_duration(defaults::CONNECT_TIMEOUT)))]
    pub(in crate::config) connect_timeout: Option<Span>,
    /// Idle connections that are kept, per endpoint and worker.
    pub(in crate::config) pool: Option<Pool>,
    /// How much may go there at once, for the whole process.
    pub(in crate::config) limits: Option<ClusterLimits>,
    /// How health is judged; without it, or with off, only traffic judges.
    pub(in crate::config) health: Option<OrOff<Health>>,
}

/// The header of the PROXY protocol that a connection begins with.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ProxyProtocol {
    /// No header.
    None,
    /// A line of text.
    V1,
    /// The binary one.
    V2,
}

/// TLS towards endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClusterTls {
    /// The file with the authorities whose certificates are believed, in PEM; by default those of the system.
    #[schemars(length(min = 1))]
    pub(in crate::config) ca: Option<String>,
    /// The file with the certificate that we show, in PEM.
    #[schemars(length(min = 1))]
    pub(in crate::config) cert: Option<String>,
    /// The file with its private key, in PEM, unencrypted.
    #[schemars(length(min = 1))]
    pub(in crate::config) key: Option<String>,
    /// The name that an endpoint's certificate must have; by default the host of its address.
    #[schemars(length(min = 1))]
    pub(in crate::config) server_name: Option<String>,
}

/// Where endpoints are found: a name, a file, or whoever sends heartbeats.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Discovery {
    /// A name and a port, such as app.internal:9000, whose A and AAAA records are the endpoints; or a name without a port, such
    /// as _http._tcp.app.internal, whose SRV records are. Looked up anew when the records expire.
    #[schemars(length(min = 1))]
    pub(in crate::config) dns: Option<String>,
    /// The name server to ask, ip:port; by default those of the system.
    pub(in crate::config) nameserver: Option<String>,
    /// A file with a list of endpoints in YAML or JSON, read anew when it changes. Relative to this file's folder.
    #[schemars(length(min = 1))]
    pub(in crate::config) file: Option<String>,
    /// With true, endpoints join by their first heartbeat and leave by saying bye or by long silence.
    pub(in crate::config) heartbeat: Option<bool>,
}

/// One endpoint.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Endpoint {
    /// Its address.
    Address(String),
    /// Its address and more.
    Block(EndpointBlock),
}

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "an endpoint: ip:port, [ipv6]:port or name:port, or a mapping with its address",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<EndpointBlock>()],
        })
    }
}

/// An endpoint's address and more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct EndpointBlock {
    /// Its address: ip:port (IPv6 in brackets) or name:port.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// Its share of traffic against the others'.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::WEIGHT))]
    pub(in crate::config) weight: Option<u32>,
    /// Whether it gets traffic only when no other one is available.
    #[schemars(extend("default" = false))]
    pub(in crate::config) backup: Option<bool>,
}

/// How requests are spread.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Balance {
    /// Any endpoint will do.
    Word(BalanceWord),
    /// The same one for the same key.
    Hash(HashBlock),
}

impl JsonSchema for Balance {
    fn schema_name() -> Cow<'static, str> {
        "Balance".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "round_robin, least_request, peak_ewma, or a mapping such as {hash: source}",
            "anyOf": [generator.subschema_for::<BalanceWord>(), generator.subschema_for::<HashBlock>()],
        })
    }
}

/// How requests are spread where any endpoint will do.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum BalanceWord {
    /// By weight, in turn.
    RoundRobin,
    /// The less loaded, by weight, of two drawn at random.
    LeastRequest,
    /// Of two drawn at random the one with less to wait for: latency times requests in flight.
    PeakEwma,
}

/// The same endpoint for the same key, while it has at most 1.25 times the mean in flight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HashBlock {
    /// What of a request is its key.
    #[schemars(required)]
    pub(in crate::config) hash: Option<HashOn>,
}

/// What of a request is its key.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum HashOn {
    /// Something that every request has.
    Word(HashWord),
    /// Something by name.
    Named(HashName),
}

impl JsonSchema for HashOn {
    fn schema_name() -> Cow<'static, str> {
        "HashOn".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "source, path, {header: NAME} or {cookie: NAME}",
            "anyOf": [generator.subschema_for::<HashWord>(), generator.subschema_for::<HashName>()],
        })
    }
}

/// What every request has.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum HashWord {
    /// The client's address; behind trusted_proxies, that which they tell.
    Source,
    /// The path as received, without the query.
    Path,
}

/// A header or a cookie by its name. A request without it goes anywhere.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HashName {
    /// A header; its first line counts.
    pub(in crate::config) header: Option<String>,
    /// A cookie.
    pub(in crate::config) cookie: Option<String>,
}

/// A cookie that keeps a client with its endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sticky {
    /// Its name.
    #[schemars(required)]
    pub(in crate::config) cookie: Option<String>,
    /// A file with the key that it is signed with: one line of at least 16 characters. Further lines are older keys, which are
    /// still accepted. Relative to this file's folder.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) key_file: Option<String>,
}

/// Idle connections that are kept, per endpoint and worker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pool {
    /// How long one may be idle.
    #[schemars(extend("default" = format_duration(defaults::POOL_IDLE_TIMEOUT)))]
    pub(in crate::config) idle_timeout: Option<Span>,
    /// How many are kept; 0 means that none is used twice.
    #[schemars(range(min = 0, max = 10_000), extend("default" = defaults::POOL_IDLE_CONNECTIONS))]
    pub(in crate::config) idle_connections: Option<u32>,
}

/// How much may go to a cluster at once, for the whole process. What exceeds a limit waits, or is answered 503.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClusterLimits {
    /// Connections to all endpoints, idle ones included, or none.
    #[schemars(extend("default" = "none"))]
    pub(in crate::config) connections: Option<CountOrNone>,
    /// Requests in flight, or none.
    #[schemars(extend("default" = "none"))]
    pub(in crate::config) requests: Option<CountOrNone>,
    /// Requests that wait because another limit has been met.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = defaults::PENDING))]
    pub(in crate::config) pending: Option<u32>,
    /// The longest that one waits.
    #[schemars(extend("default" = format_duration(defaults::QUEUE_TIMEOUT)))]
    pub(in crate::config) queue_timeout: Option<Span>,
    /// Connections to one endpoint, idle ones included, or none.
    #[schemars(extend("default" = "none"))]
    pub(in crate::config) endpoint_connections: Option<CountOrNone>,
    /// Requests in flight at one endpoint, or none.
    #[schemars(extend("default" = "none"))]
    pub(in crate::config) endpoint_requests: Option<CountOrNone>,
}

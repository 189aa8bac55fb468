//! Owns the shape of a cluster, but for its health.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::raw::{Health, List, OrOff, Span};

/// A named group of interchangeable endpoints with one policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cluster {
    /// Its name, the label in metrics.
    #[schemars(required, regex(pattern = super::scalar::NAME), extend("errorMessage" = super::scalar::NAME_WANTED))]
    pub(in crate::config) name: Option<String>,
    /// Its endpoints: addresses, or blocks with an address.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) endpoints: Option<List<Endpoint>>,
    /// How requests are spread.
    #[schemars(extend("default" = "round_robin"))]
    pub(in crate::config) balance: Option<Balance>,
    /// For a connection to an endpoint.
    #[schemars(extend("default" = format_duration(defaults::CONNECT_TIMEOUT)))]
    pub(in crate::config) connect_timeout: Option<Span>,
    /// Idle connections that are kept, per endpoint and worker.
    pub(in crate::config) pool: Option<Pool>,
    /// How health is judged; without it, or with off, only traffic judges.
    pub(in crate::config) health: Option<OrOff<Health>>,
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
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Balance {
    /// By weight, in turn.
    RoundRobin,
    /// The less loaded, by weight, of two drawn at random.
    LeastRequest,
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

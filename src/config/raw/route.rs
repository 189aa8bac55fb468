//! Owns the shape of a route.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::raw::{List, OneOrMany, OrOff, Pairs, Percent, SpanOrNone};

/// A rule from request to cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// Its name, the label in metrics; by default the listener's name, a slash, and its position from 1.
    #[schemars(regex(pattern = super::scalar::NAME), extend("errorMessage" = super::scalar::NAME_WANTED))]
    pub(in crate::config) name: Option<String>,
    /// Which requests; by default all.
    #[serde(rename = "match")]
    pub(in crate::config) matches: Option<Match>,
    /// The cluster they go to.
    #[schemars(length(min = 1))]
    pub(in crate::config) cluster: Option<String>,
    /// The clusters they go to in place of one, each with its share against the others'.
    pub(in crate::config) split: Option<Pairs<Share>>,
    /// Where the client is sent in place of any cluster: https, with the same host and path.
    pub(in crate::config) redirect: Option<Redirect>,
    /// Who of the cluster may get them: any, its leader alone, or everybody but the leader.
    #[schemars(extend("default" = "any"))]
    pub(in crate::config) role: Option<Role>,
    /// Until the answer's head, or none.
    #[schemars(extend("default" = format_duration(defaults::ROUTE_TIMEOUT)))]
    pub(in crate::config) timeout: Option<SpanOrNone>,
    /// Between bytes of a body, either way, or none.
    #[schemars(extend("default" = format_duration(defaults::IDLE_TIMEOUT)))]
    pub(in crate::config) idle_timeout: Option<SpanOrNone>,
    /// Between bytes of a connection that has left HTTP behind, such as a WebSocket, either way, or none.
    #[schemars(extend("default" = format_duration(defaults::UPGRADE_IDLE_TIMEOUT)))]
    pub(in crate::config) upgrade_idle_timeout: Option<SpanOrNone>,
    /// Whether the matched path_prefix is taken off the path.
    #[schemars(extend("default" = false))]
    pub(in crate::config) strip_prefix: Option<bool>,
    /// Changes to headers.
    pub(in crate::config) headers: Option<Headers>,
    /// What is tried again, or off.
    pub(in crate::config) retries: Option<OrOff<Retries>>,
}

/// A cluster's share of requests against the others'; with 0 it gets none.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(in crate::config) struct Share(pub(in crate::config) u32);

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": 1000 })
    }
}

/// Where a client is sent.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Redirect {
    /// To the same host and path by https, with status 308.
    Https,
}

/// Who of a cluster may get a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RouteRole")]
pub(in crate::config) enum Role {
    /// Whoever gets traffic.
    Any,
    /// The leader alone.
    Leader,
    /// Everybody but the leader.
    Replica,
}

/// What a request must be like: one of each list, and all that are given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Match {
    /// Hosts: a name such as api.example.com, or *.example.com for every name below it; one or a list.
    pub(in crate::config) host: Option<OneOrMany<String>>,
    /// Whole paths; one or a list.
    pub(in crate::config) path: Option<OneOrMany<String>>,
    /// Beginnings of paths that end on a segment border: /a matches /a and /a/b, not /ab; one or a list.
    pub(in crate::config) path_prefix: Option<OneOrMany<String>>,
    /// Methods.
    #[schemars(length(min = 1))]
    pub(in crate::config) methods: Option<List<String>>,
    /// Headers, and the whole value that each must have.
    pub(in crate::config) headers: Option<Pairs<String>>,
}

/// Changes to headers in both directions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Headers {
    /// Towards the endpoint.
    pub(in crate::config) request: Option<HeaderChanges>,
    /// Towards the client.
    pub(in crate::config) response: Option<HeaderChanges>,
}

/// Changes to the headers of one direction: removals first, then settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeaderChanges {
    /// Set to these values, whatever was there.
    pub(in crate::config) set: Option<Pairs<String>>,
    /// Taken away.
    pub(in crate::config) remove: Option<List<String>>,
}

/// What is tried again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Retries {
    /// Tries in all, the first one included.
    #[schemars(range(min = 1, max = 10), extend("default" = defaults::ATTEMPTS))]
    pub(in crate::config) attempts: Option<u32>,
    /// Until one try's head, or none.
    #[schemars(extend("default" = "none"))]
    pub(in crate::config) per_try_timeout: Option<SpanOrNone>,
    /// What is tried again: connect, reset, silence, and statuses of answers.
    #[schemars(length(min = 1), extend("default" = defaults::RETRY_WHEN))]
    pub(in crate::config) when: Option<List<WhenEntry>>,
    /// Retries as a share of the requests of the last 10 s, with a floor of 10 a second.
    #[schemars(extend("default" = defaults::RETRY_BUDGET))]
    pub(in crate::config) budget: Option<Percent>,
}

/// One kind of failure that is tried again.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum WhenEntry {
    /// A status.
    Status(u16),
    /// A word, or a status as text.
    Word(String),
}

impl JsonSchema for WhenEntry {
    fn schema_name() -> Cow<'static, str> {
        "RetryWhen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "connect, reset, silence, or a status from 400 to 599",
            "anyOf": [
                { "type": "string", "enum": ["connect", "reset", "silence"] },
                { "type": "string", "pattern": "^[45][0-9][0-9]$" },
                { "type": "integer", "minimum": 400, "maximum": 599 },
            ],
        })
    }
}

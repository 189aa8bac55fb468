//! Owns the shape of a cluster's leader block.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::defaults;
use crate::config::raw::List;

/// How endpoints say which of them leads, for routes with a role. {} means the defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Leader {
    /// Where they say it; heartbeats have fields of their own, which count in either case.
    #[schemars(extend("default" = "report"))]
    pub(in crate::config) from: Option<LeaderFrom>,
    /// The dotted path of the word for what an endpoint is, in a report.
    #[schemars(length(min = 1), extend("default" = defaults::ROLE_FIELD))]
    pub(in crate::config) role_field: Option<String>,
    /// The words that mean that it leads, in upper or lower case.
    #[schemars(length(min = 1), extend("default" = defaults::LEADER_VALUES))]
    pub(in crate::config) leader_values: Option<List<String>>,
    /// The dotted path of the number that grows with every new leader, in a report; a report without it says 0.
    #[schemars(length(min = 1), extend("default" = defaults::EPOCH_FIELD))]
    pub(in crate::config) epoch_field: Option<String>,
}

/// Where endpoints say which of them leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum LeaderFrom {
    /// In their reports, those in heartbeats included, and in the role and epoch of heartbeats.
    Report,
    /// In the role and epoch of heartbeats alone.
    Heartbeat,
}

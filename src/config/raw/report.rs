//! Owns the shape of a cluster's report block and its rules.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::base::units::{DURATION_PATTERN, RATIO_PATTERN};
use crate::config::defaults;
use crate::config::raw::{List, Pairs, Span};

/// Load and state that endpoints state about themselves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Report {
    /// A path to fetch the report from, without a vote; by default it is read from the first http probe's answer.
    pub(in crate::config) path: Option<String>,
    /// Another port than the endpoint's for that path.
    #[schemars(range(min = 1))]
    pub(in crate::config) port: Option<u16>,
    /// Its format.
    #[schemars(extend("default" = "auto"))]
    pub(in crate::config) format: Option<Format>,
    /// How cpu, memory and other shares are written in it.
    #[schemars(extend("default" = "ratio"))]
    pub(in crate::config) unit: Option<Unit>,
    /// When a report is too old to hold anything against its endpoint; by default 3 times the slowest interval, at least 10s.
    pub(in crate::config) max_age: Option<Span>,
    /// Names of metrics, and the dotted path or Prometheus selector of each.
    pub(in crate::config) map: Option<Pairs<String>>,
    /// Levels that degrade or eject.
    pub(in crate::config) rules: Option<List<Rule>>,
    /// The share by which fuller endpoints get less traffic, such as cpu.
    #[schemars(regex(pattern = super::scalar::METRIC), extend("errorMessage" = super::scalar::METRIC_WANTED))]
    pub(in crate::config) weight_by: Option<String>,
}

/// The format of a report.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ReportFormat")]
pub(in crate::config) enum Format {
    /// Told from the content type and the shape of the body.
    Auto,
    /// Any JSON object; numbers are found by dotted path.
    Json,
    /// application/health+json.
    HealthJson,
    /// Spring Boot actuator health.
    Spring,
    /// An ORCA load report, in the header endpoint-load-metrics or as the body.
    Orca,
    /// The line of an HAProxy agent.
    Agent,
    /// Prometheus text.
    Prometheus,
    /// Answers are not read.
    None,
}

/// How shares are written in a report.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Unit {
    /// 0 to 1.
    Ratio,
    /// 0 to 100.
    Percent,
}

/// A rule on one metric: at least one of degrade and eject.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Rule {
    /// The metric's name.
    #[schemars(required, regex(pattern = super::scalar::METRIC), extend("errorMessage" = super::scalar::METRIC_WANTED))]
    pub(in crate::config) metric: Option<String>,
    /// The level at which an endpoint gets half its traffic: percent for a share, a plain number otherwise.
    pub(in crate::config) degrade: Option<Level>,
    /// The level at which an endpoint gets none: percent for a share, a plain number otherwise.
    pub(in crate::config) eject: Option<Level>,
    /// The level at which it is well again; by default nine tenths of each level.
    pub(in crate::config) recover: Option<Level>,
    /// How long it must last: a number of reports, or a duration.
    #[serde(rename = "for")]
    #[schemars(extend("default" = defaults::RULE_REPORTS))]
    pub(in crate::config) hold: Option<For>,
    /// Which side of a level is bad.
    #[schemars(extend("default" = "above"))]
    pub(in crate::config) when: Option<Side>,
    /// False: say what would happen, and do nothing.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enforce: Option<bool>,
}

/// Which side of a level is bad.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Side {
    /// Values at or over it.
    Above,
    /// Values at or under it.
    Below,
}

/// A level.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Level {
    /// A plain number.
    Number(f64),
    /// A share in percent.
    Percent(String),
}

impl JsonSchema for Level {
    fn schema_name() -> Cow<'static, str> {
        "Level".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "a share in percent such as 80%, or a plain number",
            "anyOf": [{ "type": "number" }, { "type": "string", "pattern": RATIO_PATTERN }],
        })
    }
}

/// How long a value must be past its level.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum For {
    /// A number of reports.
    Reports(u32),
    /// A duration.
    Span(Span),
}

impl JsonSchema for For {
    fn schema_name() -> Cow<'static, str> {
        "For".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "a number of reports from 1 to 1000, or a duration with a unit, such as 6s",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": 1000 },
                { "type": "string", "pattern": DURATION_PATTERN },
            ],
        })
    }
}

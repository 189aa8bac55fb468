//! Owns the shapes of what concerns the whole process: the admin interface, metrics, and logs.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::defaults;

/// The admin interface.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// Where it listens: ip:port (IPv6 in brackets), or :port for every interface. Off loopback it needs a token.
    #[schemars(extend("default" = defaults::ADMIN_ADDRESS))]
    pub(in crate::config) address: Option<String>,
    /// A file with the bearer token that every request must carry. Relative to this file's folder.
    #[schemars(length(min = 1))]
    pub(in crate::config) token_file: Option<String>,
}

/// The metrics listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Metrics {
    /// Where it listens: ip:port (IPv6 in brackets), or :port for every interface.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
}

/// A line for every exchange.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccessLog {
    /// stdout, stderr, or a file, relative to this file's folder. A file that was renamed is made anew.
    #[schemars(length(min = 1), extend("default" = defaults::ACCESS_LOG))]
    pub(in crate::config) path: Option<String>,
    /// How lines look.
    #[schemars(extend("default" = "json"))]
    pub(in crate::config) format: Option<AccessFormat>,
}

/// How lines of the access log look.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AccessFormat {
    /// An object each.
    Json,
    /// The combined format of web servers, and after it the request's id and its traceparent.
    Combined,
}

/// What is logged, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Log {
    /// How much is logged.
    #[schemars(extend("default" = "info"))]
    pub(in crate::config) level: Option<Level>,
    /// How lines look.
    #[schemars(extend("default" = "auto"))]
    pub(in crate::config) format: Option<LogFormat>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogLevel")]
pub(in crate::config) enum Level {
    /// Failures of our own.
    Error,
    /// And what needs attention.
    Warn,
    /// And every transition.
    Info,
    /// And decisions.
    Debug,
    /// And everything.
    Trace,
}

/// How lines look.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

//! Owns the shapes of what live traffic does to an endpoint: outliers, silence, and how it returns.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::raw::{Percent, Span};

/// When the results of live traffic take an endpoint out or weigh it down.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Outlier {
    /// Failures in a row that eject: no connection, a reset, a time-out, 502 to 504.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::CONSECUTIVE))]
    pub(in crate::config) consecutive: Option<u32>,
    /// The share of failed requests that ejects, every 5xx included.
    #[schemars(extend("default" = defaults::ERROR_RATIO))]
    pub(in crate::config) error_ratio: Option<Percent>,
    /// So many times the siblings' share of failures ejects, and so many times their latency weighs down.
    #[schemars(extend("default" = defaults::AGAINST_SIBLINGS))]
    pub(in crate::config) against_siblings: Option<f64>,
    /// Below so many requests within the window no share is judged.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::MIN_REQUESTS))]
    pub(in crate::config) min_requests: Option<u32>,
    /// The requests of so long count.
    #[schemars(extend("default" = format_duration(defaults::OUTLIER_WINDOW)))]
    pub(in crate::config) window: Option<Span>,
    /// How long the first ejection lasts; each further one lasts twice as long.
    #[schemars(extend("default" = format_duration(defaults::EJECTION)))]
    pub(in crate::config) ejection: Option<Span>,
    /// How long an ejection lasts at most.
    #[schemars(extend("default" = format_duration(defaults::EJECTION_MAX)))]
    pub(in crate::config) ejection_max: Option<Span>,
    /// False: say what would happen, and do nothing.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enforce: Option<bool>,
}

/// When an endpoint that answers nothing while others answer is suspected.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Silence {
    /// It must be silent for at least this, and for twice its own p99.
    #[schemars(extend("default" = format_duration(defaults::SILENCE_MIN)))]
    pub(in crate::config) min: Option<Span>,
    /// False: say what would happen, and do nothing.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enforce: Option<bool>,
}

/// How an endpoint that returns gets its traffic back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SlowStart {
    /// From its return to its full weight, if nothing speaks against it.
    #[schemars(extend("default" = format_duration(defaults::SLOW_START_WINDOW)))]
    pub(in crate::config) window: Option<Span>,
    /// The share of its weight with which it begins.
    #[schemars(extend("default" = defaults::SLOW_START_FLOOR))]
    pub(in crate::config) floor: Option<Percent>,
}

/// How an endpoint that comes and goes is held out, from its second ejection on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Damping {
    /// How long it must be well before it returns; doubles with every further ejection.
    #[schemars(extend("default" = format_duration(defaults::HOLD)))]
    pub(in crate::config) hold: Option<Span>,
    /// How long that is at most.
    #[schemars(extend("default" = format_duration(defaults::HOLD_MAX)))]
    pub(in crate::config) hold_max: Option<Span>,
}

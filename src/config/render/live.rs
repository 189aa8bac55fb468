//! Owns what live traffic does to an endpoint as JSON: outliers, silence, and how it returns.

use serde_json::{Value, json};

use crate::base::units::format_duration;
use crate::config::render::number;
use crate::health::policy::{Damping, Outlier, Silence, SlowStart};

/// A block, or `off`.
fn or_off<T>(block: Option<&T>, shown: impl FnOnce(&T) -> Value) -> Value {
    block.map_or_else(|| json!("off"), shown)
}

pub(super) fn silence(silence: Option<&Silence>) -> Value {
    or_off(silence, |silence| json!({ "min": format_duration(silence.min), "enforce": silence.enforce }))
}

pub(super) fn outlier(outlier: Option<&Outlier>) -> Value {
    or_off(outlier, |outlier| {
        json!({
            "consecutive": outlier.consecutive,
            "error_ratio": outlier.error_ratio.to_string(),
            "against_siblings": number(outlier.against_siblings),
            "min_requests": outlier.min_requests,
            "window": format_duration(outlier.window),
            "ejection": format_duration(outlier.ejection),
            "ejection_max": format_duration(outlier.ejection_max),
            "enforce": outlier.enforce,
        })
    })
}

pub(super) fn slow_start(slow_start: Option<&SlowStart>) -> Value {
    or_off(slow_start, |slow| json!({ "window": format_duration(slow.window), "floor": slow.floor.to_string() }))
}

pub(super) fn damping(damping: Option<&Damping>) -> Value {
    or_off(damping, |damping| json!({ "hold": format_duration(damping.hold), "hold_max": format_duration(damping.hold_max) }))
}

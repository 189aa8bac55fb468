//! Owns the lowering of what live traffic does to an endpoint: outliers, silence, and how it returns.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::base::address::EndpointAddress;
use crate::base::units::{Ratio, format_duration};
use crate::config::defaults;
use crate::config::lower::At;
use crate::config::lower::host::network_address;
use crate::config::lower::scalar::{PACE, WAIT, ratio_or, span_or};
use crate::config::raw::{self, OneOrMany, OrOff};
use crate::health::policy::{Damping, Outlier, Silence, SlowStart};

/// A window holds requests of some seconds; with more than an hour nothing would ever be forgotten.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// A block that is there by default: its settings, or `None` if it is off.
fn block<R, T>(raw: Option<&OrOff<R>>, default: impl FnOnce() -> T, lower: impl FnOnce(&R) -> T) -> Option<T> {
    match raw {
        None => Some(default()),
        Some(OrOff::Off) => None,
        Some(OrOff::Block(raw)) => Some(lower(raw)),
    }
}

/// When an endpoint that answers nothing is suspected.
pub(super) fn silence(at: &At<'_>, raw: Option<&OrOff<raw::Silence>>) -> Option<Silence> {
    block(raw, defaults::silence, |raw| Silence {
        min: span_or(&at.key("min"), raw.min.as_ref(), WAIT, defaults::SILENCE_MIN),
        enforce: raw.enforce.unwrap_or(true),
    })
}

/// When the results of live traffic count.
pub(super) fn outlier(at: &At<'_>, raw: Option<&OrOff<raw::Outlier>>) -> Option<Outlier> {
    block(raw, defaults::outlier, |raw| {
        let ejection = span_or(&at.key("ejection"), raw.ejection.as_ref(), PACE, defaults::EJECTION);
        let default_max = defaults::EJECTION_MAX.max(ejection);
        let ejection_max = span_or(&at.key("ejection_max"), raw.ejection_max.as_ref(), PACE, default_max);
        at_least(&at.key("ejection_max"), ejection_max, "ejection", ejection);
        Outlier {
            consecutive: raw.consecutive.and_then(NonZeroU32::new).unwrap_or(defaults::CONSECUTIVE),
            error_ratio: some_of(&at.key("error_ratio"), raw.error_ratio.as_ref(), defaults::ERROR_RATIO),
            against_siblings: against_siblings(&at.key("against_siblings"), raw.against_siblings),
            min_requests: raw.min_requests.unwrap_or(defaults::MIN_REQUESTS),
            window: span_or(&at.key("window"), raw.window.as_ref(), WINDOW, defaults::OUTLIER_WINDOW),
            ejection,
            ejection_max,
            enforce: raw.enforce.unwrap_or(true),
        }
    })
}

fn against_siblings(at: &At<'_>, raw: Option<f64>) -> f64 {
    let times = raw.unwrap_or(defaults::AGAINST_SIBLINGS);
    if !(1.5..=1000.0).contains(&times) {
        at.wrong("a number from 1.5 to 1000", "endpoints are never all alike".to_owned());
    }
    times
}

/// How an endpoint that returns gets its traffic back.
pub(super) fn slow_start(at: &At<'_>, raw: Option<&OrOff<raw::SlowStart>>) -> Option<SlowStart> {
    block(raw, defaults::slow_start, |raw| SlowStart {
        window: span_or(&at.key("window"), raw.window.as_ref(), WAIT, defaults::SLOW_START_WINDOW),
        floor: some_of(&at.key("floor"), raw.floor.as_ref(), defaults::SLOW_START_FLOOR),
    })
}

/// How an endpoint that comes and goes is held out.
pub(super) fn damping(at: &At<'_>, raw: Option<&OrOff<raw::Damping>>) -> Option<Damping> {
    block(raw, defaults::damping, |raw| {
        let hold = span_or(&at.key("hold"), raw.hold.as_ref(), WAIT, defaults::HOLD);
        let hold_max = span_or(&at.key("hold_max"), raw.hold_max.as_ref(), WAIT, defaults::HOLD_MAX.max(hold));
        at_least(&at.key("hold_max"), hold_max, "hold", hold);
        Damping { hold, hold_max }
    })
}

/// Addresses that tell our own link from an endpoint.
pub(super) fn references(at: &At<'_>, raw: Option<&OneOrMany<String>>) -> Vec<EndpointAddress> {
    let each = raw.into_iter().flat_map(OneOrMany::iter);
    each.filter_map(|(index, text)| network_address(&at.maybe_item(index), text)).collect()
}

fn at_least(at: &At<'_>, span: Duration, name: &str, least: Duration) {
    if span < least {
        at.wrong(format!("at least the {name}, which is {}", format_duration(least)), None);
    }
}

/// A share that is not nothing.
fn some_of(at: &At<'_>, raw: Option<&raw::Percent>, default: &str) -> Ratio {
    let share = ratio_or(at, raw, default);
    if share.get() < 0.01 {
        at.wrong("a share of at least 1%", None);
    }
    share
}

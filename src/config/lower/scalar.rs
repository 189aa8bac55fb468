//! Owns quantities: text with a unit into a value within its range.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::base::units::{MAX_DURATION, Ratio, format_duration, parse_duration};
use crate::config::defaults;
use crate::config::lower::At;
use crate::config::raw::{Percent, Span, SpanOrNone};

/// Any duration, zero included.
pub(super) const ANY: RangeInclusive<Duration> = Duration::ZERO..=MAX_DURATION;
/// What is waited for: not zero, which would end before it began.
pub(super) const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=MAX_DURATION;
/// From one probe to the next: below, a probe is load; above, it is no check.
pub(super) const PACE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(86_400);

/// The duration that stands at `at`, if it is one and in range.
pub(super) fn span(at: &At<'_>, text: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
    let span = at.parsed(parse_duration(text))?;
    if span < *range.start() {
        at.wrong(format!("a duration of at least {}", format_duration(*range.start())), None);
        return None;
    }
    if span > *range.end() {
        at.wrong(format!("a duration of at most {}", format_duration(*range.end())), None);
        return None;
    }
    Some(span)
}

/// The duration that stands at `at`, or its default.
pub(super) fn span_or(at: &At<'_>, raw: Option<&Span>, range: RangeInclusive<Duration>, default: Duration) -> Duration {
    raw.and_then(|raw| span(at, &raw.0, range)).unwrap_or(default)
}

/// The time-out that stands at `at`, or its default; `None` is the word `none`.
pub(super) fn wait_or(at: &At<'_>, raw: Option<&SpanOrNone>, default: Option<Duration>) -> Option<Duration> {
    match raw {
        Some(raw) if raw.0 == "none" => None,
        Some(raw) => span(at, &raw.0, WAIT).or(default),
        None => default,
    }
}

/// The share that stands at `at`, or its default.
pub(super) fn ratio_or(at: &At<'_>, raw: Option<&Percent>, default: &str) -> Ratio {
    raw.and_then(|raw| at.parsed(Ratio::parse(&raw.0))).unwrap_or_else(|| defaults::constant(default))
}

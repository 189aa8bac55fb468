//! Owns how spans of time look to people: how long ago, how long still.

use std::time::{Duration, UNIX_EPOCH};

use crate::base::time::WallTime;

/// A span as people say it: the two largest units, and tenths below ten seconds.
pub(super) fn span(span: Duration) -> String {
    let tenths = span.as_millis() / 100;
    if tenths < 100 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A short time as people say it: seconds from one second on, milliseconds below.
pub(super) fn latency(seconds: f64) -> String {
    if seconds >= 1.0 { format!("{seconds:.2}s") } else { format!("{:.1}ms", seconds * 1000.0) }
}

/// Reads a time of the API; `None` if it is not RFC 3339.
pub(super) fn moment(text: &str) -> Option<WallTime> {
    let since_epoch = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(WallTime::from_unix_millis(u64::try_from(since_epoch.as_millis()).ok()?))
}

/// How long ago a time of the API was; the text itself if it is none. A moment that lies ahead, as another machine's clock
/// may have it, is now.
pub(super) fn ago(text: &str, now: WallTime) -> String {
    moment(text).map_or_else(|| text.to_owned(), |at| span(between(at, now)))
}

/// From one moment to another, zero if that lies before.
pub(super) fn between(from: WallTime, to: WallTime) -> Duration {
    Duration::from_millis(to.unix_millis().saturating_sub(from.unix_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_two_largest_units() {
        let check = |millis: u64, wanted: &str| assert_eq!(span(Duration::from_millis(millis)), wanted);
        check(0, "0.0s");
        check(1250, "1.2s");
        check(9_999, "9.9s");
        check(12_345, "12s");
        check(130_000, "2m 10s");
        check(7_260_000, "2h 1m");
        check(90_000_000, "1d 1h");
    }

    #[test]
    fn an_age_counts_from_a_time_of_the_api() {
        let now = moment("2026-11-24T00:01:00.500Z").unwrap();
        assert_eq!(ago("2026-11-24T00:00:00.000Z", now), "1m 0s");
        assert_eq!(ago("2026-11-24T00:02:00.000Z", now), "0.0s");
        assert_eq!(ago("yesterday", now), "yesterday");
    }

    #[test]
    fn latencies_below_a_second_are_milliseconds() {
        assert_eq!(latency(0.000_84), "0.8ms");
        assert_eq!(latency(1.5), "1.50s");
    }
}

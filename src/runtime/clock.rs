//! The clock: the one place that reads it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::{Timestamp, WallTime};

/// The origin lies an hour back, so that "an hour before start" is still a moment.
const HEADSTART: Duration = Duration::from_secs(3600);

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
    *ORIGIN.get_or_init(Instant::now)
}

/// Now, on the process's monotonic clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::ZERO + HEADSTART + origin().elapsed()
}

/// Now, on the calendar.
#[must_use]
pub fn wall() -> WallTime {
    #[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How far the calendar may move against the monotonic clock before its new reading counts.
const STEP: i64 = 100;

/// The calendar's time at a moment of the monotonic clock.
///
/// One moment always has one time, whoever asks and however often, unless the calendar is set anew meanwhile: what is
/// shown as "since" must not flicker by a millisecond from one reading to the next.
#[must_use]
pub fn wall_at(at: Timestamp) -> WallTime {
    let wall = i64::try_from(wall().unix_millis()).unwrap_or(i64::MAX);
    let apart = anchored(wall.saturating_sub(millis(now())));
    WallTime::from_unix_millis(u64::try_from(millis(at).saturating_add(apart)).unwrap_or(0))
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// The distance between the clocks that is in force, given the one just measured.
fn anchored(measured: i64) -> i64 {
    static APART: AtomicI64 = AtomicI64::new(i64::MIN);
    let known = APART.load(Relaxed);
    if measured.saturating_sub(known).abs() <= STEP {
        return known;
    }
    // Two threads that find the same step at once must agree on it: the first one's reading counts.
    match APART.compare_exchange(known, measured, Relaxed, Relaxed) {
        Ok(_) => measured,
        Err(other) => other,
    }
}

/// The moment as tokio's timers want it.
#[must_use]
pub fn instant(at: Timestamp) -> tokio::time::Instant {
    let span = at.since(Timestamp::ZERO + HEADSTART).min(Duration::from_secs(20 * 365 * 86_400));
    tokio::time::Instant::from_std(origin() + span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_one_time_on_the_calendar() {
        let at = now() - Duration::from_secs(60);
        let first = wall_at(at);
        assert!((0..10_000).all(|_| wall_at(at) == first));
        assert_eq!(wall_at(at + Duration::from_secs(60)).unix_millis() - first.unix_millis(), 60_000);
    }
}

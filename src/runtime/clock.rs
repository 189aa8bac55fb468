//! The clock: the one place that reads it.

use std::sync::OnceLock;
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

/// The calendar's time at a moment of the monotonic clock.
#[must_use]
pub fn wall_at(at: Timestamp) -> WallTime {
    let now = now();
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let wall = wall().unix_millis();
    WallTime::from_unix_millis(wall.saturating_add(millis(at.since(now))).saturating_sub(millis(now.since(at))))
}

/// The moment as tokio's timers want it.
#[must_use]
pub fn instant(at: Timestamp) -> tokio::time::Instant {
    let span = at.since(Timestamp::ZERO + HEADSTART).min(Duration::from_secs(20 * 365 * 86_400));
    tokio::time::Instant::from_std(origin() + span)
}

//! The clock: the one place that reads it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::base::time::{Timestamp, WallTime};

/// The first reading, so that days before it are still moments: orders of an operator outlast the process that heard them.
const HEADSTART: Duration = Duration::from_secs(400 * 86_400);

static ORIGIN: OnceLock<Origin> = OnceLock::new();
/// The distance between the clocks that is in force, in milliseconds.
static APART: AtomicI64 = AtomicI64::new(i64::MIN);

/// A moment, in the system's words and in ours.
#[derive(Debug, Clone, Copy)]
struct Origin {
    instant: Instant,
    stamp: Timestamp,
}

fn origin() -> &'static Origin {
    ORIGIN.get_or_init(|| Origin { instant: instant_now(), stamp: Timestamp::ZERO + HEADSTART })
}

#[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
pub(super) fn instant_now() -> Instant {
    Instant::now()
}

/// A moment of the system's as ours; one from before the first is the first.
pub(super) fn stamp(instant: Instant) -> Timestamp {
    let origin = origin();
    origin.stamp + instant.saturating_duration_since(origin.instant)
}

/// One moment on this process's clock and on that which all processes of the machine share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    stamp: Timestamp,
    shared_nanos: u64,
    /// How far the calendar is from the clock, so that a moment is shown as the same time by both.
    #[serde(default)]
    apart: Option<i64>,
}

/// Reads both clocks, for another process to go on with.
#[must_use]
pub fn reading() -> Reading {
    let apart = i64::try_from(wall().unix_millis()).unwrap_or(i64::MAX).saturating_sub(millis(now()));
    Reading { stamp: now(), shared_nanos: shared_nanos(), apart: Some(anchored(apart)) }
}

/// Has the clock of this process go on from another one's, so that moments mean the same in both. Once, and before anything
/// reads the clock; later it changes nothing, and says so.
#[must_use]
pub fn go_on_from(other: Reading) -> bool {
    let passed = Duration::from_nanos(shared_nanos().saturating_sub(other.shared_nanos));
    let taken = ORIGIN.set(Origin { instant: instant_now(), stamp: other.stamp + passed }).is_ok();
    if let Some(apart) = other.apart.filter(|_| taken) {
        APART.store(apart, Relaxed);
    }
    taken
}

fn shared_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Now, on the process's monotonic clock.
#[must_use]
pub fn now() -> Timestamp {
    let origin = origin();
    origin.stamp + origin.instant.elapsed()
}

/// Now, on the calendar.
#[must_use]
pub fn wall() -> WallTime {
    #[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The moment at which the calendar shows a time, as well as the two clocks agree now.
#[must_use]
pub fn at_wall(time: WallTime) -> Timestamp {
    let (now, wall) = (now(), wall());
    let span = |later: u64, earlier: u64| Duration::from_millis(later.saturating_sub(earlier));
    now + span(time.unix_millis(), wall.unix_millis()) - span(wall.unix_millis(), time.unix_millis())
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
    let span = at.since(origin().stamp).min(Duration::from_secs(20 * 365 * 86_400));
    tokio::time::Instant::from_std(origin().instant + span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_and_the_clock_lead_to_each_other() {
        let at = now() - Duration::from_secs(86_400);
        assert!(at_wall(wall_at(at)).since(at - Duration::from_millis(5)) < Duration::from_millis(10));
    }

    #[test]
    fn a_clock_that_runs_goes_on_from_nobody() {
        let before = now();
        assert!(!go_on_from(Reading { stamp: Timestamp::ZERO, shared_nanos: 0, apart: None }));
        assert!(now() >= before);
    }

    #[test]
    fn a_moment_has_one_time_on_the_calendar() {
        let at = now() - Duration::from_secs(60);
        let first = wall_at(at);
        assert!((0..10_000).all(|_| wall_at(at) == first));
        assert_eq!(wall_at(at + Duration::from_secs(60)).unix_millis() - first.unix_millis(), 60_000);
    }
}

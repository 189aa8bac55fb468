//! Time as an argument: a monotonic [`Timestamp`] for every decision and a [`WallTime`] for what people read.
//!
//! Detectors that read the clock themselves cannot be tested and cannot be told that the process was stopped; here they
//! never see one. The clock itself is read in `runtime::clock` alone.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment on this process's monotonic clock, in nanoseconds since an origin of the process's own.
///
/// It is kept as one more than that: never zero, so that a moment that may be missing takes no more room than one. There are
/// dozens of those for each endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The origin of the clock.
    pub const ZERO: Self = Self(NonZeroU64::MIN);
    /// Later than every moment that is reached: the deadline of what has none.
    pub const NEVER: Self = Self(NonZeroU64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// The moment `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_nanos(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// The time that has passed since `earlier`, zero if that lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_nanos()).finish()
    }
}

impl From<u64> for Timestamp {
    fn from(nanos: u64) -> Self {
        Self::from_nanos(nanos)
    }
}

impl From<Timestamp> for u64 {
    fn from(at: Timestamp) -> Self {
        at.as_nanos()
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self::from_nanos(self.as_nanos().saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A moment on the calendar: milliseconds since 1970-01-01 UTC. Its `Display` is RFC 3339 UTC with milliseconds.
///
/// It is for reports to people only; no verdict depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(u64);

impl WallTime {
    /// The moment `millis` milliseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Seconds since 1970-01-01 UTC, as Prometheus wants them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit in 53 bits")]
    pub fn unix_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The year 9999 is the last one that RFC 3339 can write.
        let at = UNIX_EPOCH + Duration::from_millis(self.0.min(253_402_300_799_999));
        humantime::format_rfc3339_millis(at).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_rfc_3339_with_milliseconds() {
        assert_eq!(WallTime::from_unix_millis(1_795_478_400_007).to_string(), "2026-11-24T00:00:00.007Z");
    }

    #[test]
    fn a_timestamp_never_wraps() {
        assert_eq!(Timestamp::NEVER + Duration::from_secs(1), Timestamp::NEVER);
        assert_eq!(Timestamp::ZERO - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::ZERO.since(Timestamp::NEVER), Duration::ZERO);
        assert_eq!(Timestamp::from_nanos(u64::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp::from_nanos(Timestamp::NEVER.as_nanos()), Timestamp::NEVER);
    }

    #[test]
    fn a_timestamp_is_told_in_nanoseconds_and_one_that_is_missing_takes_no_room() {
        let at = Timestamp::from_nanos(5);
        assert_eq!((at.as_nanos(), format!("{at:?}"), Timestamp::default().as_nanos()), (5, "Timestamp(5)".to_owned(), 0));
        assert_eq!(
            (serde_json::to_string(&at).unwrap(), serde_json::from_str::<Timestamp>("0").unwrap()),
            ("5".to_owned(), Timestamp::ZERO)
        );
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<u64>());
    }
}

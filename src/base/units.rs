//! Units as users write them: durations (`500ms`), shares (`50%`) and sizes (`64KiB`).
//!
//! A bare number is refused: the reader of `timeout: 5` and its writer seldom mean the same unit.

use std::fmt;
use std::time::Duration;

/// Why a text is not the quantity that was wanted: a sentence that says what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted}")]
pub struct UnitError {
    wanted: String,
}

impl UnitError {
    fn new(wanted: &str) -> Self {
        Self { wanted: wanted.to_owned() }
    }
}

/// The pattern of a duration, for the published schema.
pub const DURATION_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$";
/// The pattern of a share in percent, for the published schema.
pub const RATIO_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?%$";
/// The pattern of a size, for the published schema.
pub const SIZE_PATTERN: &str = r"^[0-9]+(B|KiB|MiB|GiB|kB|MB|GB)$";

/// Longest duration that a setting may have: 10 years, far from every overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Reads a duration: a number, whole or with a fraction, and one of `ms s m h d`.
///
/// # Errors
/// If the unit is missing or unknown, or the value is over ten years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wanted = || UnitError::new("a duration with a unit, such as 500ms, 2s, 1m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wanted)?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wanted()),
    };
    let value = parse_number(number).ok_or_else(wanted)?;
    let seconds = value * scale;
    if seconds > MAX_DURATION.as_secs_f64() {
        return Err(UnitError::new("a duration of at most 10 years"));
    }
    Ok(Duration::from_nanos(round_nanos(seconds)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by MAX_DURATION, never negative")]
fn round_nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// Digits, and a fraction if there is one: the numbers that a unit may stand behind.
fn parse_number(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| text.parse().ok()).flatten()
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that leaves a whole number.
#[must_use]
pub fn format_duration(span: Duration) -> String {
    let millis = span.as_millis();
    if !span.subsec_nanos().is_multiple_of(1_000_000) {
        return format!("{}ms", span.as_secs_f64() * 1000.0);
    }
    for (scale, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis > 0 && millis.is_multiple_of(scale) {
            return format!("{}{unit}", millis / scale);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

/// A share between 0 and 1, written in percent.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Ratio(f64);

impl Ratio {
    /// Nothing of it.
    pub const ZERO: Self = Self(0.0);
    /// All of it.
    pub const ONE: Self = Self(1.0);

    /// The share `value`, which is 1 for all of it.
    ///
    /// # Errors
    /// If it is not between 0 and 1.
    pub fn try_new(value: f64) -> Result<Self, UnitError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(UnitError::new("a share between 0% and 100%")) }
    }

    /// Reads a share in percent, `0%` to `100%`.
    ///
    /// # Errors
    /// If the percent sign is missing or the value is over 100.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let wanted = "a share in percent, such as 50%";
        let number = text.strip_suffix('%').and_then(parse_number).ok_or_else(|| UnitError::new(wanted))?;
        Self::try_new(number / 100.0)
    }

    /// The share as a number between 0 and 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// How many of `n` this share is at most: `floor(n × share)`.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a count of endpoints"
    )]
    pub fn floor_of(self, n: usize) -> usize {
        // A tiny excess makes 0.29 × 100 the 29 that the user wrote.
        (n as f64 * self.0 + 1e-9).floor() as usize
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

/// Reads a size in bytes: a whole number and one of `B kB KiB MB MiB GB GiB`.
///
/// # Errors
/// If the unit is missing or unknown, or the size does not fit in 63 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let wanted = || UnitError::new("a size with a unit, such as 512B, 64KiB or 1MiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "B" => 1,
        "kB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(wanted()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).ok_or_else(wanted)?;
    if i64::try_from(bytes).is_err() { Err(wanted()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check =
            |text: &str, millis: Option<u64>| assert_eq!(parse_duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        check("500ms", Some(500));
        check("1.5s", Some(1500));
        check("0s", Some(0));
        check("2m", Some(120_000));
        check("1h", Some(3_600_000));
        check("1d", Some(86_400_000));
        for bad in ["", "5", "s", "-1s", "1 s", "1S", "1e3s", ".5s", "5.s", "1.2.3s", "1us", "99999d", "½s", "+1s"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_written_duration_reads_back() {
        for text in ["0s", "500ms", "2s", "90s", "2m", "3h", "1d", "0.5ms"] {
            let span = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(span)), Ok(span), "{text}");
        }
    }

    #[test]
    fn shares() {
        let check = |text: &str, value: Option<f64>| assert_eq!(Ratio::parse(text).ok().map(Ratio::get), value, "{text}");
        check("50%", Some(0.5));
        check("0%", Some(0.0));
        check("12.5%", Some(0.125));
        for bad in ["50", "101%", "-1%", "%", "0.5", "50 %", "NaN%"] {
            check(bad, None);
        }
        assert_eq!(Ratio::parse("29%").unwrap().floor_of(100), 29);
        assert_eq!(Ratio::parse("50%").unwrap().floor_of(3), 1);
        assert_eq!(Ratio::parse("12.5%").unwrap().to_string(), "12.5%");
    }

    #[test]
    fn sizes() {
        let check = |text: &str, value: Option<u64>| assert_eq!(parse_size(text).ok(), value, "{text}");
        check("64KiB", Some(65_536));
        check("1MB", Some(1_000_000));
        check("0B", Some(0));
        for bad in ["64", "64K", "1.5MiB", "-1B", "99999999999GiB", "KiB"] {
            check(bad, None);
        }
    }
}

//! Owns how long a number is: as many figures as say something.

use std::time::Duration;

/// A number to three or four figures.
pub(super) fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        tiny if tiny < 0.001 => format!("{tiny:.1e}"),
        small if small < 9.995 => format!("{small:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        middle if middle < 99.95 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

/// A time in its unit.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.9995 { format!("{} ms", figure(seconds * 1000.0)) } else { format!("{} s", figure(seconds)) }
}

/// Bytes in their unit.
pub(super) fn bytes(value: f64) -> String {
    let (scaled, unit) = if value < 1e3 {
        (value, "B")
    } else if value < 1e6 {
        (value / 1e3, "kB")
    } else {
        (value / 1e6, "MB")
    };
    format!("{} {unit}", figure(scaled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_long_as_they_need_to_be() {
        for (value, wanted) in
            [(0.0, "0"), (0.000_02, "2.0e-5"), (0.15, "0.15"), (1.0, "1"), (1.25, "1.25"), (12.34, "12.3"), (904.4, "904")]
        {
            assert_eq!(figure(value), wanted);
        }
        assert_eq!(span(Duration::from_millis(250)), "250 ms");
        assert_eq!(span(Duration::from_millis(1250)), "1.25 s");
        assert_eq!(bytes(2094.0), "2.094 kB");
    }
}

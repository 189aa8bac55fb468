//! What a number means: a share of a whole, brought to 0 to 1, or a plain number.
//!
//! The unit is known or it is not; it is never guessed from the size of the number, because 0.9 may be 90 % or just under
//! one per cent, and the difference ejects a well endpoint or keeps a sick one. A number that cannot be in its unit is void.

use super::spec::{Unit, is_share};

/// How far over a whole a share may be: what rounding leaves, so that a full machine is not void for 1.0000000000000002.
const ROUNDING: f64 = 1e-9;

/// A number as it was found, with all that tells its unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    /// The number.
    pub(super) value: f64,
    /// The last part of the name it was found under.
    pub(super) key: &'a str,
    /// The unit that stands beside it.
    pub(super) unit: Option<&'a str>,
}

/// The value of `metric`; an error is a hint for people.
///
/// The unit of a share is, first that applies: percent if the metric's name or the key it was found under ends in
/// `percent` or `pct`; the unit stated beside the number; `configured`.
pub(super) fn value_of(metric: &str, written: Written<'_>, configured: Unit) -> Result<f64, String> {
    let Written { value, .. } = written;
    if !value.is_finite() {
        return Err(format!("is {value}, which is no quantity"));
    }
    // There is one zero.
    let value = value + 0.0;
    if !is_share(metric) {
        return Ok(value);
    }
    let (unit, certain) = match unit_of(metric, written)? {
        Some(unit) => (unit, true),
        None => (configured, false),
    };
    let share = match unit {
        Unit::Ratio => value,
        Unit::Percent => value / 100.0,
    };
    if (0.0..=1.0 + ROUNDING).contains(&share) {
        return Ok(share.min(1.0));
    }
    Err(match unit {
        Unit::Ratio if !certain && (0.0..=100.0).contains(&value) => {
            format!("is {value}, but a share in `unit: ratio` is 0 to 1; if it is in percent, set `unit: percent` in `report`")
        }
        Unit::Ratio => format!("is {value}, but a share in ratio is 0 to 1; map `{metric}` to a share of a whole"),
        Unit::Percent => format!("is {value}, but a share in percent is 0 to 100; map `{metric}` to a share of a whole"),
    })
}

/// The unit that the names or the page itself tell.
fn unit_of(metric: &str, written: Written<'_>) -> Result<Option<Unit>, String> {
    if is_percent(metric) || is_percent(written.key) {
        return Ok(Some(Unit::Percent));
    }
    match written.unit.map(str::trim) {
        None | Some("") => Ok(None),
        Some(unit) if unit == "%" || unit.eq_ignore_ascii_case("percent") || unit.eq_ignore_ascii_case("pct") => {
            Ok(Some(Unit::Percent))
        }
        Some(unit) if unit == "1" || unit.eq_ignore_ascii_case("ratio") => Ok(Some(Unit::Ratio)),
        Some(unit) => Err(format!(
            "is {} in {}, which is no share; report it in percent, or map `{metric}` to a share",
            written.value,
            super::hint::shown(unit)
        )),
    }
}

fn is_percent(name: &str) -> bool {
    let ends =
        |end: &str| name.len() >= end.len() && name.as_bytes()[name.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes());
    ends("percent") || ends("pct")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metric: &str, key: &str, value: f64, unit: Option<&str>, configured: Unit) -> Result<f64, String> {
        value_of(metric, Written { value, key, unit }, configured)
    }

    #[test]
    fn shares_become_0_to_1() {
        let check = |metric, key, value, unit, configured, wanted: f64| {
            let got = read(metric, key, value, unit, configured).unwrap();
            assert!((got - wanted).abs() < 1e-12, "{metric} {key} {value} {unit:?} {configured:?}: {got}");
        };
        check("cpu", "cpu", 0.37, None, Unit::Ratio, 0.37);
        check("cpu", "cpu", 37.0, None, Unit::Percent, 0.37);
        check("cpu", "cpu", 0.9, None, Unit::Percent, 0.009);
        check("cpu", "cpu_percent", 37.0, None, Unit::Ratio, 0.37);
        check("cpu", "cpuPct", 37.0, None, Unit::Ratio, 0.37);
        check("disk_percent", "disk.used", 37.0, None, Unit::Ratio, 0.37);
        check("cpu", "cpu:utilization", 85.0, Some("percent"), Unit::Ratio, 0.85);
        check("cpu", "cpu:utilization", 0.85, Some("ratio"), Unit::Percent, 0.85);
        check("cpu", "cpu", 0.5, Some(""), Unit::Ratio, 0.5);
        check("cpu", "cpu", 1.000_000_000_000_000_2, None, Unit::Ratio, 1.0);
        check("cpu", "cpu", 0.0, None, Unit::Ratio, 0.0);
        check("queue", "queue", 5000.0, None, Unit::Ratio, 5000.0);
        for metric in ["cpu", "queue"] {
            assert!(read(metric, metric, -0.0, None, Unit::Ratio).unwrap().is_sign_positive(), "{metric}");
        }
        check("queue", "queue_percent", 50.0, Some("GiB"), Unit::Ratio, 50.0);
    }

    #[test]
    fn what_cannot_be_in_its_unit_says_so() {
        let check = |metric, key, value, unit, configured, wanted: &str| {
            let got = read(metric, key, value, unit, configured).unwrap_err();
            assert!(got.contains(wanted), "{metric} {key} {value} {unit:?} {configured:?}: {got}");
        };
        check("cpu", "cpu", 37.0, None, Unit::Ratio, "unit: percent");
        check("cpu", "cpu", 1.01, None, Unit::Ratio, "unit: percent");
        check("cpu", "cpu", 1e9, None, Unit::Ratio, "map `cpu`");
        check("cpu", "cpu", -0.1, None, Unit::Ratio, "map `cpu`");
        check("cpu", "cpu", 101.0, None, Unit::Percent, "0 to 100");
        check("cpu", "cpu_pct", 101.0, None, Unit::Ratio, "0 to 100");
        check("memory", "memory:utilization", 8.5, Some("GiB"), Unit::Ratio, "GiB");
        check("cpu", "cpu", f64::NAN, None, Unit::Ratio, "no quantity");
        check("queue", "queue", f64::INFINITY, None, Unit::Ratio, "no quantity");
    }
}

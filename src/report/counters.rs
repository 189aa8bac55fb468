//! Rates: what a counter gained from one page to the next, over the time between them.
//!
//! A place may be written `rate(NAME)`, and either as it stands or divided: `rate(process_cpu_seconds_total) / 4`,
//! `process_resident_memory_bytes / 536870912`, `used / total`. The blanks around the `/` tell it from one in a name.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::time::Timestamp;

/// Pages closer together than this are one: their times are not known well enough to divide by.
const MIN_SPAN: Duration = Duration::from_millis(50);

/// What counters stood at on the page before.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// By place, which comes from the configuration and so is one of few.
    before: BTreeMap<String, (f64, Timestamp)>,
    /// The rates that were last found, for pages that come too soon.
    rates: BTreeMap<String, f64>,
}

impl Counters {
    /// How fast a counter goes, a second, given what it stands at; an error is a hint.
    pub(super) fn rate(&mut self, place: &str, value: f64, now: Timestamp) -> Result<f64, &'static str> {
        let Some((before, at)) = self.before.get(place).copied() else {
            self.before.insert(place.to_owned(), (value, now));
            return Err("has been read once; a rate needs two pages");
        };
        let span = now.since(at);
        if span < MIN_SPAN {
            return self.rates.get(place).copied().ok_or("has been read once; a rate needs two pages");
        }
        self.before.insert(place.to_owned(), (value, now));
        self.rates.remove(place);
        if !value.is_finite() || value < before {
            return Err("went back: it was reset");
        }
        let rate = (value - before) / span.as_secs_f64();
        self.rates.insert(place.to_owned(), rate);
        Ok(rate)
    }
}

/// A place with what is done to the number there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expression<'a> {
    /// Where the number stands.
    pub(super) place: &'a str,
    /// Whether its rate is meant.
    pub(super) rate: bool,
    /// What it is divided by.
    pub(super) over: Option<&'a str>,
}

impl<'a> Expression<'a> {
    /// Reads a place. Anything is one: what it does not understand stands in `place`.
    pub(super) fn parse(text: &'a str) -> Self {
        let (left, over) = match split(text) {
            Some((left, right)) => (left.trim(), Some(right.trim())),
            None => (text, None),
        };
        let inside = left.strip_prefix("rate").map(str::trim_start).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
        Self { place: inside.unwrap_or(left).trim(), rate: inside.is_some(), over }
    }
}

/// Splits at the first ` / ` that is in no quotes.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find(" / ").map(|at| from + at) {
        if text[..at].matches('"').count().is_multiple_of(2) {
            return Some((&text[..at], &text[at + 3..]));
        }
        from = at + 3;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let check = |text: &str, place: &str, rate: bool, over: Option<&str>| {
            assert_eq!(Expression::parse(text), Expression { place, rate, over }, "{text}");
        };
        check("jobs.waiting", "jobs.waiting", false, None);
        check("rate(a)", "a", true, None);
        check("rate ( sum(a{b=\"c\"}) ) / 4", "sum(a{b=\"c\"})", true, Some("4"));
        check("used / total", "used", false, Some("total"));
        check("a{path=\"/x / y\"} / 2", "a{path=\"/x / y\"}", false, Some("2"));
        check("a/b", "a/b", false, None);
        check("rate", "rate", false, None);
        check("rated(a)", "rated(a)", false, None);
        check("rate(a", "rate(a", false, None);
        check("", "", false, None);
    }

    #[test]
    fn rates_need_two_pages_and_a_counter_that_goes_on() {
        let mut counters = Counters::default();
        let at = Timestamp::from_millis;
        assert!(counters.rate("a", 10.0, at(1000)).is_err());
        assert_eq!(counters.rate("a", 11.0, at(3000)), Ok(0.5));
        assert_eq!(counters.rate("a", 12.0, at(3010)), Ok(0.5), "too soon");
        assert!(counters.rate("b", 1.0, at(3010)).is_err());
        assert!(counters.rate("b", 1.0, at(3020)).is_err());
        assert!(counters.rate("a", 3.0, at(4000)).is_err(), "reset");
        assert_eq!(counters.rate("a", 3.0, at(5000)), Ok(0.0));
        assert!(counters.rate("a", f64::NAN, at(6000)).is_err());
    }
}

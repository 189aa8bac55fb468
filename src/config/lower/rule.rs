//! Owns the lowering of report rules: levels in the unit of their metric, and in an order that makes sense.

use std::num::NonZeroU32;

use crate::base::units::Ratio;
use crate::config::defaults;
use crate::config::lower::At;
use crate::config::lower::scalar::{PACE, span};
use crate::config::raw;
use crate::health::policy::{For, Level, Rule, When};
use crate::report::spec::is_share;

/// All rules of a report.
pub(super) fn rules(at: &At<'_>, raw: &[Option<raw::Rule>]) -> Vec<Rule> {
    let each = raw.iter().enumerate().filter_map(|(index, raw)| Some((index, raw.as_ref()?)));
    each.filter_map(|(index, raw)| rule(&at.item(index), raw)).collect()
}

fn rule(at: &At<'_>, raw: &raw::Rule) -> Option<Rule> {
    if !at.has("degrade") && !at.has("eject") {
        at.wrong_as("neither degrade nor eject", "at least one of them", None);
    }
    let metric = raw.metric.as_deref()?;
    let when = match raw.when {
        None | Some(raw::Side::Above) => When::Above,
        Some(raw::Side::Below) => When::Below,
    };
    let value = |key: &str, raw: Option<&raw::Level>| raw.and_then(|raw| level(&at.key(key), metric, raw));
    let degrade = value("degrade", raw.degrade.as_ref());
    let eject = value("eject", raw.eject.as_ref());
    let recover = value("recover", raw.recover.as_ref());
    if at.knows("when", raw.when.as_ref()) {
        check_order(at, when, degrade, eject);
    }
    let checked = at.knows("when", raw.when.as_ref()) && at.knows("recover", recover.as_ref());
    let whole = |key, level: Option<f64>| level.map(|level| with_recover(at, key, (metric, when), level, recover, checked));
    Some(Rule {
        metric: metric.into(),
        when,
        degrade: whole("degrade", degrade),
        eject: whole("eject", eject),
        hold: hold(&at.key("for"), raw.hold.as_ref()),
        enforce: raw.enforce.unwrap_or(true),
    })
}

/// A level as a number: the share that a percentage is, or the number that stands there.
fn level(at: &At<'_>, metric: &str, raw: &raw::Level) -> Option<f64> {
    match (raw, is_share(metric)) {
        (raw::Level::Percent(text), true) => at.parsed(Ratio::parse(text)).map(Ratio::get),
        (raw::Level::Number(value), false) => Some(*value),
        (raw::Level::Number(value), true) => {
            let share = Ratio::try_new(*value).or_else(|_| Ratio::try_new(value / 100.0));
            let hint = share.ok().map(|share| format!("did you mean {share}?"));
            at.wrong(format!("a share in percent, such as 80%, since {metric} is a share"), hint);
            None
        }
        (raw::Level::Percent(_), false) => {
            let hint = "shares are cpu, memory, disk, and names that end in percent, pct, ratio or utilization".to_owned();
            at.wrong(format!("a plain number, since {metric} is not a share"), hint);
            None
        }
    }
}

/// Degrading must come before ejecting, or it never comes.
fn check_order(at: &At<'_>, when: When, degrade: Option<f64>, eject: Option<f64>) {
    let Some((degrade, eject)) = degrade.zip(eject) else { return };
    if !is_better(when, degrade, eject) {
        let side = side(when);
        at.key("degrade").wrong(format!("a level {side} eject"), "otherwise ejecting always comes first".to_owned());
    }
}

fn with_recover(at: &At<'_>, key: &str, (metric, when): (&str, When), level: f64, recover: Option<f64>, checked: bool) -> Level {
    let value = recover.unwrap_or_else(|| default_recover(when, level, is_share(metric)));
    if checked && !is_better(when, value, level) {
        let wanted = format!("a level {} {key}, where the endpoint is well again", side(when));
        let hint = recover.is_none().then(|| "nine tenths of this level is none, so it has no default".to_owned());
        at.key("recover").wrong(wanted, hint);
    }
    Level { level, recover: value }
}

/// Nine tenths of the level towards the good side; a share is never over one.
fn default_recover(when: When, level: f64, share: bool) -> f64 {
    let good = match (when, level < 0.0) {
        (When::Above, false) | (When::Below, true) => level * defaults::RECOVER,
        (When::Above, true) | (When::Below, false) => level / defaults::RECOVER,
    };
    // Nine tenths of 80% is 72%, whatever binary fractions make of it.
    if share { (good.min(1.0) * 1e12).round() / 1e12 } else { good }
}

/// Whether a value is on the good side of another.
fn is_better(when: When, value: f64, than: f64) -> bool {
    match when {
        When::Above => value < than,
        When::Below => value > than,
    }
}

const fn side(when: When) -> &'static str {
    match when {
        When::Above => "below",
        When::Below => "above",
    }
}

fn hold(at: &At<'_>, raw: Option<&raw::For>) -> For {
    match raw {
        None => For::Reports(defaults::RULE_REPORTS),
        Some(raw::For::Reports(number)) => For::Reports(NonZeroU32::new(*number).unwrap_or(defaults::RULE_REPORTS)),
        Some(raw::For::Span(text)) => span(at, &text.0, PACE).map_or(For::Reports(defaults::RULE_REPORTS), For::Span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recover_is_nine_tenths_towards_the_good_side() {
        let check = |when, level: f64, share, wanted: f64| {
            let found = default_recover(when, level, share);
            assert!((found - wanted).abs() < 1e-9, "{when:?} {level}: {found}");
        };
        check(When::Above, 0.8, true, 0.72);
        check(When::Below, 0.09, true, 0.1);
        check(When::Below, 0.95, true, 1.0);
        check(When::Above, 500.0, false, 450.0);
        check(When::Below, 9.0, false, 10.0);
        check(When::Above, -9.0, false, -10.0);
        check(When::Below, -10.0, false, -9.0);
    }
}

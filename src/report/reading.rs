//! The wanted metrics, taken off a page: what is read is kept, what is not becomes a void with a hint.
//!
//! Kept are the metrics of `map`, those that rules or `weight_by` need, and `cpu` and `memory` where they have their usual
//! names; nothing else, whatever an answer holds, so that an endpoint cannot make labels. A metric that is needed and not
//! mapped is looked for under its own name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::detect::{self, Opened};
use super::hint::{nearest, shown};
use super::page::{Fold, Lookup, Page, Pair};
use super::spec::{Format, Spec, is_share};
use super::units::{self, Written};
use super::usual::Usual;
use super::value::{Found, Report, Unreadable, Void};
use super::words;

/// Most numbers that [`found_metrics`] tells of.
pub const MAX_FOUND: usize = 200;

/// Reads the report in an answer; `None` if there is none in it.
///
/// `body` is at most [`MAX_BODY`](super::MAX_BODY) bytes; whoever fetches it reads one byte more, so that a longer one is
/// refused here and not read as if it ended there.
///
/// # Errors
/// If the answer is meant to be a report and cannot be read as one: broken, cut short, too long or nested too deep.
pub fn read(spec: &Spec, content_type: Option<&str>, body: &[u8]) -> Result<Option<Report>, Unreadable> {
    let Some(Opened { page, .. }) = detect::open(spec.format, content_type, body)? else { return Ok(None) };
    let word = page.word();
    let mut report = Report { status: word.and_then(words::meaning), word: word.map(words::shown), ..Report::default() };
    let usual = Usual::find(&*page);
    for (metric, place) in wanted(spec) {
        let value = match &place {
            Place::Mapped(place) => Some(mapped(spec, &*page, &metric, place)),
            Place::Usual { needed } => usually(spec, &*page, &usual, &metric, *needed),
        };
        match value {
            Some(Ok(value)) => report.metrics.push((metric, value)),
            Some(Err(hint)) => report.voids.push(Void { metric, hint }),
            None => {}
        }
    }
    Ok(Some(report))
}

/// The format that an answer is in; `None` if there is no report in it.
///
/// # Errors
/// As [`read`].
pub fn format_of(spec: &Spec, content_type: Option<&str>, body: &[u8]) -> Result<Option<Format>, Unreadable> {
    Ok(detect::open(spec.format, content_type, body)?.map(|opened| opened.format))
}

/// Every number in an answer with the place that `map` would give it, as it is written there; at most [`MAX_FOUND`].
///
/// # Errors
/// As [`read`].
pub fn found_metrics(spec: &Spec, content_type: Option<&str>, body: &[u8]) -> Result<Vec<Found>, Unreadable> {
    let mut found = Vec::new();
    if let Some(Opened { page, .. }) = detect::open(spec.format, content_type, body)? {
        page.visit(&mut |number| {
            if number.value.is_finite() {
                found.push(Found { path: number.path.to_owned(), value: number.value });
            }
            found.len() < MAX_FOUND
        });
    }
    Ok(found)
}

/// Where a metric is looked for.
enum Place {
    Mapped(Arc<str>),
    /// Under its usual names.
    Usual {
        /// Whether a rule or `weight_by` needs it.
        needed: bool,
    },
}

/// Every wanted metric once, in order of name.
fn wanted(spec: &Spec) -> BTreeMap<Arc<str>, Place> {
    let mut wanted = BTreeMap::new();
    for (metric, place) in &spec.map {
        wanted.entry(Arc::clone(metric)).or_insert_with(|| Place::Mapped(Arc::clone(place)));
    }
    for metric in &spec.needed {
        wanted.entry(Arc::clone(metric)).or_insert_with(|| match &**metric {
            "cpu" | "memory" => Place::Usual { needed: true },
            _ => Place::Mapped(Arc::clone(metric)),
        });
    }
    for metric in ["cpu", "memory"] {
        wanted.entry(metric.into()).or_insert(Place::Usual { needed: false });
    }
    wanted
}

/// The value of a metric at one place, or a hint.
fn mapped(spec: &Spec, page: &dyn Page, metric: &str, place: &str) -> Result<f64, String> {
    let fold = if is_share(metric) { Fold::Max } else { Fold::Sum };
    let at = shown(place);
    match page.lookup(place, fold) {
        Lookup::Number { value, key, unit } => {
            let written = Written { value, key: &key, unit: unit.as_deref() };
            units::value_of(metric, written, spec.unit).map_err(|hint| format!("`{at}` {hint}"))
        }
        Lookup::Other(kind) => Err(format!("`{at}` is {kind}")),
        Lookup::Missing => Err(format!("no number at `{at}`; {}", nearest(page, place))),
        Lookup::BadPlace(wanted) => {
            Err(format!("`{at}` selects nothing from a Prometheus page: {wanted}; {}", nearest(page, place)))
        }
    }
}

/// The value of cpu or memory under its usual names, or a hint; `None` if it is neither there nor needed.
fn usually(spec: &Spec, page: &dyn Page, usual: &Usual, metric: &str, needed: bool) -> Option<Result<f64, String>> {
    let (name, pair) = if metric == "cpu" { (&usual.cpu, &None) } else { (&usual.memory, &usual.memory_pair) };
    match (name, pair) {
        (Some(name), _) => Some(mapped(spec, page, metric, name)),
        (None, Some(pair)) => Some(quotient(pair)),
        (None, None) => needed
            .then(|| Err(format!("no `{metric}` under its usual names; name its place in `map`; {}", nearest(page, metric)))),
    }
}

fn quotient(pair: &Pair) -> Result<f64, String> {
    let share = pair.used / pair.limit;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(format!("`{}` is {} of {}, which is no share", shown(&pair.place), pair.used, pair.limit))
    }
}

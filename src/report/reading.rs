//! The wanted metrics, taken off a page: what is read is kept, what is not becomes a void with a hint.
//!
//! Kept are the metrics of `map`, those that rules or `weight_by` need, and `cpu` and `memory` where they have their usual
//! names; nothing else, whatever an answer holds, so that an endpoint cannot make labels. A metric that is needed and not
//! mapped is looked for under its own name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::{Counters, Expression};
use super::detect::{self, Opened};
use super::hint::{nearest, shown};
use super::page::{Fold, Lookup, Page, Pair};
use super::role;
use super::spec::{Format, Spec, is_share};
use super::units::{self, Written};
use super::usual::Usual;
use super::value::{Asks, Found, Report, Said, Unreadable, Void};
use super::words;
use crate::base::time::Timestamp;

/// The counter of processor time that the usual libraries for Prometheus have.
const CPU_SECONDS: &str = "process_cpu_seconds_total";
/// Where some of them say how many processors there are.
const CORES: [&str; 2] = ["go_sched_gomaxprocs_threads", "system_cpu_count"];

/// Most numbers that [`found_metrics`] tells of.
pub const MAX_FOUND: usize = 200;

/// Reads the report in an answer; `None` if there is none in it.
///
/// A load report in the answer's head goes before its body for what both tell; the status word is the body's.
///
/// # Errors
/// If the answer is meant to be a report and cannot be read as one: broken, cut short, too long or nested too deep.
pub fn read(spec: &Spec, said: &Said<'_>) -> Result<Option<Report>, Unreadable> {
    read_on(spec, said, &mut Counters::default(), Timestamp::ZERO)
}

/// The same for one of many answers of an endpoint, so that counters have rates.
///
/// # Errors
/// As [`read`].
pub fn read_on(spec: &Spec, said: &Said<'_>, counters: &mut Counters, now: Timestamp) -> Result<Option<Report>, Unreadable> {
    let pages = Pages::open(spec, said)?;
    if pages.all.is_empty() {
        return pages.spoiled.map_or(Ok(None), Err);
    }
    let word = pages.all.iter().find_map(|opened| Some((opened.page.word()?, opened.page.comment())));
    let asks = pages.all.iter().map(|opened| opened.page.asks()).find(|asks| *asks != Asks::default());
    let mut report = Report {
        status: word.and_then(|(word, _)| words::meaning(word)),
        word: word.map(|(word, comment)| words::shown(word, comment)),
        asks: asks.unwrap_or_default(),
        ..Report::default()
    };
    let found: Vec<(&dyn Page, Usual)> = pages.all.iter().map(|opened| (&*opened.page, Usual::find(&*opened.page))).collect();
    for (metric, place) in wanted(spec) {
        let mut values = found.iter().filter_map(|(page, usual)| {
            let mut look = Look { spec, page: *page, counters: &mut *counters, now };
            look.value(usual, &metric, &place)
        });
        match best(&mut values) {
            Some(Ok(value)) => report.metrics.push((metric, value)),
            Some(Err(hint)) => report.voids.push(Void { metric, hint }),
            None => {}
        }
    }
    if let Some(fields) = &spec.role {
        match role::read(fields, found.iter().map(|(page, _)| *page)) {
            Ok(claim) => report.claim = Some(claim),
            Err(void) => report.voids.push(void),
        }
    }
    if let Some(Unreadable { why, hint }) = pages.spoiled {
        report.voids.push(Void { metric: "".into(), hint: format!("{why}; {hint}") });
    }
    Ok(Some(report))
}

/// The first that could be read, else the last that could not.
fn best(values: &mut dyn Iterator<Item = Result<f64, String>>) -> Option<Result<f64, String>> {
    let mut last = None;
    for value in values {
        let read = value.is_ok();
        last = Some(value);
        if read {
            break;
        }
    }
    last
}

/// The format that an answer is in; `None` if there is no report in it.
///
/// # Errors
/// As [`read`].
pub fn format_of(spec: &Spec, said: &Said<'_>) -> Result<Option<Format>, Unreadable> {
    let pages = Pages::open(spec, said)?;
    match (pages.all.last(), pages.spoiled) {
        (Some(opened), _) => Ok(Some(opened.format)),
        (None, Some(spoiled)) => Err(spoiled),
        (None, None) => Ok(None),
    }
}

/// Every number in an answer with the place that `map` would give it, as it is written there; at most [`MAX_FOUND`].
///
/// # Errors
/// As [`read`].
pub fn found_metrics(spec: &Spec, said: &Said<'_>) -> Result<Vec<Found>, Unreadable> {
    let mut found = Vec::new();
    for Opened { page, .. } in &Pages::open(spec, said)?.all {
        page.visit(&mut |number| {
            if number.value.is_finite() {
                found.push(Found { path: number.path.to_owned(), value: number.value });
            }
            found.len() < MAX_FOUND
        });
    }
    found.truncate(MAX_FOUND);
    Ok(found)
}

/// What an answer holds: a load report in its head, a page as its body, or both, in this order.
struct Pages<'a> {
    all: Vec<Opened<'a>>,
    /// Why the load report could not be read.
    spoiled: Option<Unreadable>,
}

impl<'a> Pages<'a> {
    fn open(spec: &Spec, said: &Said<'a>) -> Result<Self, Unreadable> {
        let (load, spoiled) = match detect::open_load(spec.format, said) {
            Ok(load) => (load, None),
            Err(unreadable) => (None, Some(unreadable)),
        };
        let body = detect::open(spec.format, said)?;
        Ok(Self { all: load.into_iter().chain(body).collect(), spoiled })
    }
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

/// One look for metrics on a page.
struct Look<'a> {
    spec: &'a Spec,
    page: &'a dyn Page,
    counters: &'a mut Counters,
    now: Timestamp,
}

impl Look<'_> {
    /// The value of a metric, or a hint; `None` if it is neither there nor needed.
    fn value(&mut self, usual: &Usual, metric: &str, place: &Place) -> Option<Result<f64, String>> {
        match place {
            Place::Mapped(place) => Some(self.mapped(metric, place)),
            Place::Usual { needed } => self.usually(usual, metric, *needed),
        }
    }

    /// The value of a metric at one place, or a hint.
    fn mapped(&mut self, metric: &str, place: &str) -> Result<f64, String> {
        // A key may look like an expression; what is there goes before what could be meant.
        let plain = Expression { place, rate: false, over: None };
        let Expression { place: inner, rate, over } = if self.has(place) { plain } else { Expression::parse(place) };
        let (fold, at) = (if is_share(metric) && !rate { Fold::Max } else { Fold::Sum }, shown(place));
        if !rate && over.is_none() {
            let (value, key, unit) = self.number(inner, fold)?;
            let written = Written { value, key: &key, unit: unit.as_deref() };
            return units::value_of(metric, written, self.spec.unit).map_err(|hint| format!("`{at}` {hint}"));
        }
        let mut value = self.number(inner, fold)?.0;
        if rate {
            value = self.counters.rate(inner, value, self.now).map_err(|hint| format!("`{}` {hint}", shown(inner)))?;
        }
        if let Some(over) = over {
            value /= match over.parse() {
                Ok(number) => number,
                Err(_) => self.number(over, fold)?.0,
            };
        }
        // What has been divided by a whole is a share of it, whatever the numbers were.
        units::value_of(metric, Written { value, key: "", unit: Some("ratio") }, self.spec.unit)
            .map_err(|hint| format!("`{at}` {hint}"))
    }

    /// The number at one place with the key and unit that it has there, or a hint.
    fn number(&self, place: &str, fold: Fold) -> Result<(f64, String, Option<String>), String> {
        let at = shown(place);
        match self.page.lookup(place, fold) {
            Lookup::Number { value, key, unit } => Ok((value, key, unit)),
            Lookup::Other(kind) => Err(format!("`{at}` is {kind}")),
            Lookup::Missing => Err(format!("no number at `{at}`; {}", nearest(self.page, place))),
            Lookup::BadPlace(wanted) => {
                Err(format!("`{at}` selects nothing from a Prometheus page: {wanted}; {}", nearest(self.page, place)))
            }
        }
    }

    /// The value of cpu or memory under its usual names, or a hint; `None` if it is neither there nor needed.
    fn usually(&mut self, usual: &Usual, metric: &str, needed: bool) -> Option<Result<f64, String>> {
        let (name, pair) = if metric == "cpu" { (&usual.cpu, &None) } else { (&usual.memory, &usual.memory_pair) };
        match (name, pair) {
            (Some(name), _) => Some(self.mapped(metric, name)),
            (None, Some(pair)) => Some(quotient(pair)),
            (None, None) if metric == "cpu" && self.has(CPU_SECONDS) => self.cpu_seconds(needed),
            (None, None) => needed.then(|| {
                let nearest = nearest(self.page, metric);
                Err(format!("no `{metric}` under its usual names; name its place in `map`; {nearest}"))
            }),
        }
    }

    /// The share of its processors that a process used since the page before, if it says how many it has.
    fn cpu_seconds(&mut self, needed: bool) -> Option<Result<f64, String>> {
        let cores = CORES.iter().find(|cores| self.has(cores));
        let share = match cores {
            Some(cores) => self.mapped("cpu", &format!("rate({CPU_SECONDS}) / {cores}")),
            None => Err(format!(
                "the answer does not say how many processors it has; map `cpu` to `rate({CPU_SECONDS}) / N` for N of them"
            )),
        };
        (needed || share.is_ok()).then_some(share)
    }

    fn has(&self, place: &str) -> bool {
        matches!(self.page.lookup(place, Fold::Sum), Lookup::Number { .. })
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

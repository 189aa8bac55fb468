//! Owns the lowering of a report block: where the report comes from, its format, and the metrics it must have.

use std::sync::Arc;
use std::time::Duration;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::lower::At;
use crate::config::lower::host::path_and_query;
use crate::config::lower::rule::rules;
use crate::config::lower::scalar::{WAIT, span};
use crate::config::raw::{self, OrOff, Pairs};
use crate::health::check::{Check, ProbeSpec};
use crate::health::policy::Rule;
use crate::report::spec::{Format, Source, Spec, Unit, is_share};

/// What a report block comes to.
pub(super) struct Judged {
    /// What is read; `None` if nothing is.
    pub(super) spec: Option<Spec>,
    /// What it is judged by.
    pub(super) rules: Vec<Rule>,
    /// When it is too old.
    pub(super) max_age: Duration,
    /// The share that takes weight away.
    pub(super) weight_by: Option<Arc<str>>,
}

/// Lowers a report block. By default the first http probe's answer is read, whatever its format, and what stands in heartbeats.
pub(super) fn report(
    at: &At<'_>,
    raw: Option<&OrOff<raw::Report>>,
    probes: &[ProbeSpec],
    pushed: bool,
    slowest: Duration,
) -> Judged {
    let http = pushed || probes.iter().any(|probe| matches!(probe.check, Check::Http(_)));
    let max_age = defaults::max_age(slowest);
    let nothing = || Judged { spec: None, rules: Vec::new(), max_age, weight_by: None };
    let raw = match raw {
        Some(OrOff::Block(raw)) => raw,
        Some(OrOff::Off) => return nothing(),
        None if http => return Judged { spec: Some(Spec::default()), ..nothing() },
        None => return nothing(),
    };
    let source = source(at, raw, http);
    let rules = rules(&at.key("rules"), raw.rules.as_deref().unwrap_or_default());
    let weight_by = raw.weight_by.as_deref().and_then(|metric| weight_by(&at.key("weight_by"), metric));
    let max_age = raw.max_age.as_ref().and_then(|raw| own_max_age(&at.key("max_age"), raw, slowest)).unwrap_or(max_age);
    if matches!(raw.format, Some(raw::Format::None)) {
        refuse_unread(at);
        return nothing();
    }
    let spec = Spec {
        source,
        format: format(raw.format),
        unit: match raw.unit {
            None | Some(raw::Unit::Ratio) => Unit::Ratio,
            Some(raw::Unit::Percent) => Unit::Percent,
        },
        map: raw.map.as_ref().map(|pairs| map(&at.key("map"), pairs)).unwrap_or_default(),
        needed: needed(&rules, weight_by.as_ref()),
        role: None,
    };
    Judged { spec: Some(spec), rules, max_age, weight_by }
}

fn source(at: &At<'_>, raw: &raw::Report, http: bool) -> Source {
    if at.has("port") && !at.has("path") {
        at.key("port").wrong_key("port without path", "a path beside it, which it is the port of", None);
    }
    if !at.has("path") && !at.has("port") && !http && !matches!(raw.format, Some(raw::Format::None)) {
        let hint = "no http probe is there to read it from".to_owned();
        at.wrong_as("a report without path", "the path that it is fetched from", hint);
    }
    let path = raw.path.as_deref().and_then(|path| path_and_query(&at.key("path"), path));
    path.map_or(Source::FirstHttpProbe, |path| Source::Own { path, port: raw.port })
}

const fn format(raw: Option<raw::Format>) -> Format {
    match raw {
        None | Some(raw::Format::Auto) => Format::Auto,
        Some(raw::Format::Json) => Format::Json,
        Some(raw::Format::HealthJson) => Format::HealthJson,
        Some(raw::Format::Spring) => Format::Spring,
        Some(raw::Format::Orca) => Format::Orca,
        Some(raw::Format::Agent) => Format::Agent,
        Some(raw::Format::Prometheus) => Format::Prometheus,
        Some(raw::Format::None) => Format::None,
    }
}

/// Nothing can be judged by what is not read.
fn refuse_unread(at: &At<'_>) {
    for key in ["rules", "weight_by", "map"] {
        if at.has(key) {
            at.key(key).wrong_key(format!("{key} beside format: none"), "a format that is read, such as auto", None);
        }
    }
}

/// Only of a share is it known how much is left of it.
fn weight_by(at: &At<'_>, metric: &str) -> Option<Arc<str>> {
    if is_share(metric) {
        return Some(metric.into());
    }
    at.wrong("a share, such as cpu or memory", "map a value to a name that ends in ratio or percent".to_owned());
    None
}

fn own_max_age(at: &At<'_>, raw: &raw::Span, slowest: Duration) -> Option<Duration> {
    let max_age = span(at, &raw.0, WAIT)?;
    if max_age < slowest {
        at.wrong(format!("at least the slowest interval, which is {}", format_duration(slowest)), None);
    }
    Some(max_age)
}

fn map(at: &At<'_>, pairs: &Pairs<String>) -> Vec<(Arc<str>, Arc<str>)> {
    for (name, place) in &pairs.0 {
        let at = at.key(name);
        if !is_metric(name) {
            at.wrong_key(format!("the key {name:?}"), raw::METRIC_WANTED, None);
        }
        if place.trim().is_empty() {
            at.wrong("a dotted path such as jobs.waiting, or a Prometheus selector", None);
        }
    }
    pairs.0.iter().map(|(name, place)| (name.as_str().into(), place.trim().into())).collect()
}

/// The same that the schema's pattern says of metrics' names.
fn is_metric(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:/-".contains(&b))
}

/// The metrics that a rule or `weight_by` needs, each once, in their order.
fn needed(rules: &[Rule], weight_by: Option<&Arc<str>>) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = Vec::new();
    for metric in rules.iter().map(|rule| &rule.metric).chain(weight_by) {
        if !all.contains(metric) {
            all.push(Arc::clone(metric));
        }
    }
    all
}

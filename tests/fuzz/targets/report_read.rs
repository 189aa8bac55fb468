//! What must hold of every answer of every endpoint: it is read, or refused with a sentence, and nothing it says gets past
//! the bounds of a report.
//!
//! The first byte of the input chooses the settings and the content type, the rest is the body.

use std::collections::BTreeSet;

use pulsegate::report::spec::{Format, RoleFields, Spec, Unit};
use pulsegate::report::{MAX_FOUND, MAX_PAGE, MAX_ROLE, Report, Said, format_of, found_metrics, read};

const FORMATS: [Format; 7] =
    [Format::Auto, Format::Json, Format::HealthJson, Format::Spring, Format::Prometheus, Format::Orca, Format::Agent];
const CONTENT_TYPES: [Option<&str>; 6] = [
    None,
    Some("application/json"),
    Some("application/health+json"),
    Some("application/vnd.spring-boot.actuator.v3+json"),
    Some("text/plain; version=0.0.4"),
    Some("application/openmetrics-text; version=1.0.0"),
];

/// Reads `data` as an answer.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let choice = usize::from(*choice);
    let content_type = CONTENT_TYPES[choice / FORMATS.len() % CONTENT_TYPES.len()];
    let unit = if choice < 128 { Unit::Ratio } else { Unit::Percent };
    let map = [("queue", "a"), ("pool", "components.db.details.pool"), ("one", r#"max(a{b="c"})"#), ("disk", "checks.0.data.x")];
    let spec = Spec {
        format: FORMATS[choice % FORMATS.len()],
        unit,
        map: map.iter().map(|(metric, place)| ((*metric).into(), (*place).into())).collect(),
        needed: vec!["cpu".into(), "missing".into()],
        role: Some(RoleFields { role: "a".into(), epoch: "b".into() }),
        ..Spec::default()
    };
    let said = Said::new(content_type, body);
    let format = format_of(&spec, &said);
    match read(&spec, &said) {
        Ok(Some(report)) => {
            assert!(body.len() <= MAX_PAGE);
            assert!(format.is_ok_and(|format| format.is_some()));
            check(&report);
        }
        Ok(None) => assert_eq!(format, Ok(None)),
        Err(unreadable) => {
            assert!(!unreadable.why.is_empty() && !unreadable.hint.is_empty());
            assert_eq!(format, Err(unreadable));
        }
    }
    if let Ok(found) = found_metrics(&spec, &said) {
        assert!(found.len() <= MAX_FOUND && found.iter().all(|found| found.value.is_finite()));
    }
}

fn check(report: &Report) {
    let wanted =
        BTreeSet::from(["cpu", "memory", "queue", "pool", "one", "disk", "missing", "leader.role_field", "leader.epoch_field"]);
    assert!(report.claim.as_ref().is_none_or(|claim| (1..=MAX_ROLE).contains(&claim.role.len())));
    let told = || report.metrics.iter().map(|(metric, _)| metric).chain(report.voids.iter().map(|void| &void.metric));
    let distinct: BTreeSet<&str> = told().map(|metric| &**metric).collect();
    assert_eq!(told().count(), distinct.len(), "a metric is read or void, and once");
    assert!(distinct.is_subset(&wanted), "an endpoint makes no labels");
    for metric in ["queue", "pool", "one", "disk", "missing", "cpu"] {
        assert!(distinct.contains(metric), "what is wanted is told of");
    }
    for (metric, value) in &report.metrics {
        assert!(value.is_finite());
        let is_share = matches!(&**metric, "cpu" | "memory" | "disk");
        assert!(!is_share || (0.0..=1.0).contains(value), "{metric} is {value}");
    }
    for void in &report.voids {
        assert!(!void.hint.is_empty() && void.hint.len() < 2000 && !void.hint.contains(|c: char| c.is_control()));
    }
    assert!(report.word.as_ref().is_none_or(|word| word.len() <= 64));
    assert!(report.status.is_none() || report.word.is_some());
}

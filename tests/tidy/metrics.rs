//! Metric names: what documents, alert rules and the dashboard name exists.

use std::collections::BTreeSet;

use pulsegate::telemetry::names::{ALL, Kind};
use regex_lite::Regex;

use crate::tree::{File, documents, files};

/// Every name under which a metric shows up on the metrics page.
fn exposed() -> BTreeSet<String> {
    let suffixes = |kind| match kind {
        Kind::Counter | Kind::Gauge => &[""][..],
        Kind::Histogram => &["", "_bucket", "_sum", "_count"],
        Kind::Summary => &["", "_sum", "_count"],
    };
    ALL.iter().flat_map(|metric| suffixes(metric.kind).iter().map(move |end| format!("{}{end}", metric.name))).collect()
}

#[test]
fn no_text_names_a_metric_that_does_not_exist() {
    let name = Regex::new(r"\bpulsegate_[a-z0-9_]+").unwrap();
    let exposed = exposed();
    let mut seen = 0;
    for file in documents().into_iter().chain(files("deploy", &[".yaml", ".json"])) {
        for found in name.find_iter(&file.text) {
            assert!(exposed.contains(found.as_str()), "{}: no metric is called {}", file.path, found.as_str());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} names found: the pattern is wrong");
}

#[test]
fn every_alert_names_the_command_that_explains_it() {
    let rules: serde_yaml::Value = serde_yaml::from_str(&File::read("deploy/prometheus/alerts.yaml").text).unwrap();
    let groups = rules["groups"].as_sequence().unwrap();
    let alerts: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap()).collect();
    assert_eq!(alerts.len(), 8);
    for alert in alerts {
        let name = alert["alert"].as_str().unwrap();
        let next = alert["annotations"]["next"].as_str().unwrap_or_else(|| panic!("{name}: no annotation `next`"));
        assert!(next.contains("pulsegate explain "), "{name}: {next}");
        assert!(alert["annotations"]["summary"].is_string(), "{name}: no summary");
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("critical" | "warning")), "{name}: no severity");
    }
}

//! What promtool and systemd say of the files in `deploy`.

use std::process::Command;

use crate::process::{Folder, root, run, succeed};

#[test]
fn alert_rules_are_well_formed() {
    let said = succeed("promtool", &["check", "rules", "alerts.yaml"], &root().join("deploy/prometheus"));
    assert!(said.contains("8 rules found"), "{said}");
}

#[test]
fn alert_rules_pass_their_own_tests() {
    succeed("promtool", &["test", "rules", "alerts_test.yaml"], &root().join("deploy/prometheus"));
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() {
    let folder = root().join("deploy/prometheus");
    let read =
        |name: &str| -> serde_yaml::Value { serde_yaml::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap() };
    let (rules, tests) = (read("alerts.yaml"), read("alerts_test.yaml"));
    let fired: Vec<&str> = tests["tests"]
        .as_sequence()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_sequence().unwrap())
        .filter(|case| case["exp_alerts"].is_sequence())
        .map(|case| case["alertname"].as_str().unwrap())
        .collect();
    for rule in rules["groups"][0]["rules"].as_sequence().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        assert!(fired.contains(&name), "{name}");
    }
}

#[test]
fn the_scrape_configuration_is_well_formed() {
    succeed("promtool", &["check", "config", "prometheus.yaml"], &root().join("deploy/prometheus"));
}

/// The binary of the unit is not installed here, so a copy of the unit names one that is.
#[test]
fn systemd_takes_the_unit_where_there_is_systemd() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let folder = Folder::new("unit");
    let unit = std::fs::read_to_string(root().join("deploy/systemd/pulsegate.service")).unwrap();
    let copy = folder.write("pulsegate.service", &unit.replace("/usr/bin/pulsegate", env!("CARGO_BIN_EXE_pulsegate")));
    let output = run("systemd-analyze", &["verify", "--man=no", &copy], folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("pulsegate.service"), "{said}");
}

//! The reference tables of `docs/`, made from the code, so that they cannot say anything else than it does.
//!
//! A table stands between `<!-- table: NAME -->` and `<!-- end -->`. With `BLESS=1` in the environment the tables are written anew;
//! the text around them is not touched.

use std::collections::BTreeMap;

use pulsegate::cluster::{Connect, EndpointCells, ListenerError, RetryResult, Token};
use pulsegate::config;
use pulsegate::health::verdict::State;
use pulsegate::telemetry::names::{ALL, Metric};
use serde_json::Value;

use crate::tree::{File, root};

#[test]
fn the_reference_of_metrics_is_that_of_the_code() {
    let rows: Vec<String> = ALL.iter().map(metric_row).collect();
    let table = format!("| metric | kind | labels | meaning |\n|---|---|---|---|\n{}", rows.concat());
    hold("docs/metrics.md", &BTreeMap::from([("metrics".to_owned(), table), ("labels".to_owned(), label_table())]));
}

/// The values of labels that do not come from the configuration.
fn label_table() -> String {
    let mut table = String::from("| label | values |\n|---|---|\n");
    let mut row = |label: &str, values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        table += &format!("| {label} | {} |\n", values.join(" "));
    };
    row("`state` of endpoints", &State::ALL.map(State::as_str));
    row("`state` of connections", &["active", "idle"]);
    row("`tier`", &["primary", "backup"]);
    row("`code_class`", &EndpointCells::CLASSES);
    row("`result` of probes", &["pass", "fail", "void"]);
    row("`result` of reports", &["ok", "void", "none"]);
    row("`result` of connects", &Connect::ALL.map(|(_, name)| name));
    row("`result` of retries", &RetryResult::ALL.map(|(_, name)| name));
    row("`reason` of connections that ended badly", &ListenerError::ALL.map(|(_, name)| name));
    row("`error`", &Token::ALL.map(|(_, name)| name));
    table
}

fn metric_row(metric: &Metric) -> String {
    let kind = format!("{:?}", metric.kind).to_lowercase();
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(" "), metric.help)
}

#[test]
fn the_reference_of_the_configuration_is_that_of_the_schema() {
    let schema = config::schema();
    let mut tables = BTreeMap::from([("Root".to_owned(), block_table(&schema))]);
    for (name, block) in schema["$defs"].as_object().expect("the schema has definitions") {
        if block["properties"].as_object().is_some_and(|keys| !keys.is_empty()) {
            tables.insert(name.clone(), block_table(block));
        }
    }
    hold("docs/configuration.md", &tables);
}

fn block_table(block: &Value) -> String {
    let required: Vec<&str> = block["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut table = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for (key, setting) in block["properties"].as_object().expect("a block has keys") {
        let default = match setting.get("default") {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Some(default) => format!("`{}`", plain(default)),
            None => String::new(),
        };
        let meaning = setting["description"].as_str().unwrap_or_else(|| panic!("{key} has no description")).replace('\n', " ");
        table += &format!("| `{key}` | {} | {default} | {} |\n", value_of(setting), meaning.replace('|', "\\|"));
    }
    table
}

/// What may stand behind a key, in words.
fn value_of(setting: &Value) -> String {
    if let Some(name) = setting["$ref"].as_str() {
        return named(name.trim_start_matches("#/$defs/"));
    }
    let choices = setting["anyOf"].as_array().or(setting["oneOf"].as_array());
    if let Some(choices) = choices {
        return choices.iter().map(value_of).collect::<Vec<_>>().join(", or ");
    }
    if let Some(only) = setting.get("const") {
        return format!("`{}`", plain(only));
    }
    if let Some(words) = setting["enum"].as_array() {
        return words.iter().map(|word| format!("`{}`", plain(word))).collect::<Vec<_>>().join(", ");
    }
    match setting["type"].as_str() {
        Some("array") => format!("a list of: {}", value_of(&setting["items"])),
        Some("object") => "a mapping".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("integer") => match (setting["minimum"].as_u64(), setting["maximum"].as_u64()) {
            (Some(low), Some(high)) => format!("{low} to {high}"),
            (Some(1), None) => "a port".to_owned(),
            bounds => panic!("a number without bounds: {bounds:?} in {setting}"),
        },
        Some("number") => "a number".to_owned(),
        _ => "text".to_owned(),
    }
}

/// What may stand for a definition: a link to its table, or its shape.
fn named(name: &str) -> String {
    match name {
        "Duration" => return "duration".to_owned(),
        "DurationOrNone" => return "duration, or `none`".to_owned(),
        "Percent" => return "percent".to_owned(),
        "Size" => return "size".to_owned(),
        _ => {}
    }
    let schema = config::schema();
    let definition = &schema["$defs"][name];
    if definition["properties"].as_object().is_some_and(|keys| !keys.is_empty()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    value_of(definition)
}

/// A default as it would be written in YAML.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Compares every table of a document with the one made from the code, or writes it.
fn hold(path: &str, tables: &BTreeMap<String, String>) {
    let before = File::read(path).text;
    let mut after = before.clone();
    for (name, table) in tables {
        let (start, end) = (format!("<!-- table: {name} -->\n"), "<!-- end -->");
        let from = after.find(&start).unwrap_or_else(|| panic!("{path} has no {}", start.trim())) + start.len();
        let to = from + after[from..].find(end).unwrap_or_else(|| panic!("{path}: {name} has no end"));
        after.replace_range(from..to, table);
    }
    let marked = before.matches("<!-- table: ").count();
    assert_eq!(marked, tables.len(), "{path} has tables of blocks that are gone; there are {:?}", tables.keys());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(root().join(path), after).unwrap();
        return;
    }
    let fresh: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    assert!(
        before == after,
        "{path} is not what the code says; BLESS=1 cargo test --test tidy writes it. New:\n{}",
        fresh.join("\n")
    );
}

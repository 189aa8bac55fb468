//! Owns the differences between two configurations, in words.
//!
//! Whoever reloads wants to read what will change before it does. The differences are those of the effective configurations: a default that is written out is none.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::model::{Config, Listener, ListenerTls};
use crate::config::render::{self, to_json};

/// The settings of the whole process.
const PROCESS: [&str; 11] = [
    "admin",
    "metrics",
    "heartbeats",
    "workers",
    "drain_delay",
    "drain_timeout",
    "watch",
    "state_file",
    "access_log",
    "log",
    "fleet",
];
/// Lists whose items have a name of their own, by the key that holds it.
const NAMED: [(&str, &str, &str); 5] = [
    ("routes", "route", "name"),
    ("endpoints", "endpoint", "address"),
    ("probes", "probe", "name"),
    ("listeners", "listener", "name"),
    ("clusters", "cluster", "name"),
];

/// The changes from `old` to `new`, one line each, such as `cluster app: endpoint 127.0.0.1:9003 added`; none if the two are
/// the same.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    let (before, after) = (to_json(old), to_json(new));
    let mut changes = Vec::new();
    for key in PROCESS {
        differences("", key, &before[key], &after[key], &mut changes);
    }
    if old.admin.token != new.admin.token && before["admin"] == after["admin"] {
        changes.push("admin.token changed".to_owned());
    }
    let keys = |config: &Config| config.fleet.as_ref().map(|fleet| Arc::clone(&fleet.keys));
    if keys(old) != keys(new) && before["fleet"] == after["fleet"] {
        changes.push("fleet.keys changed".to_owned());
    }
    listener_changes(&old.listeners, &new.listeners, &mut changes);
    for listener in &new.listeners {
        if let Some(earlier) = old.listeners.iter().find(|earlier| earlier.name == listener.name) {
            route_changes(earlier, listener, &mut changes);
            certificate_changes(
                &format!("listener {}: ", listener.name),
                earlier.tls.as_ref(),
                listener.tls.as_ref(),
                &mut changes,
            );
        }
    }
    for heartbeats in &new.heartbeats {
        if let Some(earlier) = old.heartbeats.iter().find(|earlier| earlier.address == heartbeats.address) {
            let prefix = format!("heartbeats at {}: ", heartbeats.address);
            certificate_changes(&prefix, earlier.tls.as_ref(), heartbeats.tls.as_ref(), &mut changes);
        }
    }
    cluster_changes(old, new, &before["clusters"], &after["clusters"], &mut changes);
    changes
}

/// Listeners that come, go, move, or get other limits.
fn listener_changes(old: &[Listener], new: &[Listener], out: &mut Vec<String>) {
    let named = |all: &[Listener], name: &str| all.iter().any(|listener| &*listener.name == name);
    out.extend(old.iter().filter(|l| !named(new, &l.name)).map(|l| format!("listener {} removed", l.name)));
    for listener in new {
        let Some(earlier) = old.iter().find(|earlier| earlier.name == listener.name) else {
            out.push(format!("listener {} added", listener.name));
            continue;
        };
        let bare = |listener: &Listener| render::listener(&Listener { routes: Vec::new(), ..listener.clone() });
        differences(&format!("listener {}: ", listener.name), "", &bare(earlier), &bare(listener), out);
    }
}

fn route_changes(old: &Listener, new: &Listener, out: &mut Vec<String>) {
    let prefix = format!("listener {}: ", new.name);
    let before = out.len();
    differences(&prefix, "routes", &render::listener(old)["routes"], &render::listener(new)["routes"], out);
    // What is redacted looks the same before and after.
    if out.len() == before && old.routes != new.routes {
        out.push(format!("{prefix}a redacted value in its routes changed"));
    }
}

/// What stands in files is not shown, so what has changed in them would go unnoticed.
fn certificate_changes(prefix: &str, old: Option<&ListenerTls>, new: Option<&ListenerTls>, out: &mut Vec<String>) {
    let (Some(before), Some(after)) = (old, new) else { return };
    for one in &after.certificates {
        let same_file = before.certificates.iter().find(|earlier| earlier.cert == one.cert);
        if same_file.is_some_and(|earlier| earlier.identity != one.identity) {
            out.push(format!("{prefix}certificate {} renewed", one.cert.name));
        }
    }
    if let (Some(before), Some(after)) = (&before.clients, &after.clients)
        && before.file == after.file
        && before.trust.authorities != after.trust.authorities
    {
        out.push(format!("{prefix}authorities in {} changed", after.file.name));
    }
}

fn cluster_changes(old: &Config, new: &Config, before: &Value, after: &Value, out: &mut Vec<String>) {
    let told = out.len();
    differences("", "clusters", before, after, out);
    for cluster in &new.clusters {
        let same_name = old.clusters.iter().find(|earlier| earlier.name == cluster.name);
        let prefix = format!("cluster {}: ", cluster.name);
        if same_name.is_some_and(|earlier| earlier != cluster) && !out[told..].iter().any(|line| line.starts_with(&prefix)) {
            out.push(format!("{prefix}a redacted value changed"));
        }
    }
}

/// Tells what differs between two values; `path` is where they stand below what `prefix` names.
fn differences(prefix: &str, path: &str, old: &Value, new: &Value, out: &mut Vec<String>) {
    if old == new {
        return;
    }
    let last = path.rsplit('.').next().unwrap_or(path);
    let named = NAMED.iter().find(|(list, _, _)| *list == last);
    match (old, new, named) {
        (Value::Array(old), Value::Array(new), Some((_, noun, key))) => items(prefix, noun, key, old, new, out),
        (Value::Object(old), Value::Object(new), _) => fields(prefix, path, old, new, out),
        _ => out.push(format!("{prefix}{path} {} -> {}", shown(old), shown(new))),
    }
}

fn fields(prefix: &str, path: &str, old: &Map<String, Value>, new: &Map<String, Value>, out: &mut Vec<String>) {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let value = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        differences(prefix, &below, &value(old), &value(new), out);
    }
}

/// Tells which items of a list came, went or changed, by their names.
fn items(prefix: &str, noun: &str, key: &str, old: &[Value], new: &[Value], out: &mut Vec<String>) {
    let name = |item: &'_ Value| item[key].as_str().unwrap_or_default().to_owned();
    let by_name = |all: &[Value]| all.iter().map(|item| (name(item), item.clone())).collect::<HashMap<_, _>>();
    let (before, after) = (by_name(old), by_name(new));
    for gone in old.iter().map(name).filter(|name| !after.contains_key(name)) {
        out.push(format!("{prefix}{noun} {gone} removed"));
    }
    for item in new {
        let name = name(item);
        match before.get(&name) {
            None => out.push(format!("{prefix}{noun} {name} added")),
            Some(earlier) => differences(&format!("{prefix}{noun} {name}: "), "", earlier, item, out),
        }
    }
    let stayed = old.iter().map(name).filter(|name| after.contains_key(name));
    if stayed.ne(new.iter().map(name).filter(|name| before.contains_key(name))) {
        out.push(format!("{prefix}{noun}s in another order"));
    }
}

/// A value as the file would have it, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            format!(
                "{{{}}}",
                entries.iter().map(|(key, value)| format!("{key}: {}", shown(value))).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    const BASE: &str = "
admin: { address: 127.0.0.1:9900 }
listeners:
  - { name: web, address: 127.0.0.1:8080, routes: [{ name: a, match: { path: /a }, cluster: app }, { name: b, cluster: app }] }
clusters:
  - name: app
    endpoints: [127.0.0.1:9001, { address: 127.0.0.1:9002, weight: 2 }]
    health: { probes: [{ name: ready, http: { headers: { authorization: one } } }] }
";

    fn read(text: &str) -> Config {
        from_text(text, "a.yaml", std::path::Path::new(""), &|_| None, &|_| Ok("secret".to_owned())).unwrap()
    }

    /// The changes that replacing one text by another in the base makes.
    fn told(replaced: &str, by: &str) -> Vec<String> {
        assert!(BASE.contains(replaced), "{replaced}");
        changes(&read(BASE), &read(&BASE.replace(replaced, by)))
    }

    #[test]
    fn changes_are_told_in_words() {
        for (replaced, by, wanted) in [
            ("127.0.0.1:9001,", "127.0.0.1:9001, 127.0.0.1:9003,", vec!["cluster app: endpoint 127.0.0.1:9003 added"]),
            ("127.0.0.1:9001,", "", vec!["cluster app: endpoint 127.0.0.1:9001 removed"]),
            ("weight: 2", "weight: 3", vec!["cluster app: endpoint 127.0.0.1:9002: weight 2 -> 3"]),
            (
                "health: {",
                "health: { fall: 5,interval: 1s,",
                vec![
                    "cluster app: health.down_interval 2s -> 1s",
                    "cluster app: health.fall 3 -> 5",
                    "cluster app: health.interval 2s -> 1s",
                    "cluster app: probe ready: interval 2s -> 1s",
                ],
            ),
            (
                "health: {",
                "health: { leader: { epoch_field: term },",
                vec![
                    "cluster app: health.leader (none) -> {epoch_field: term, from: report, leader_values: [leader, primary, master], role_field: role}",
                ],
            ),
            ("authorization: one", "authorization: two", vec!["cluster app: a redacted value changed"]),
            ("http: {", "http: { path: /ready,", vec!["cluster app: probe ready: http.path /health -> /ready"]),
            (
                "match: { path: /a }",
                "timeout: 1s",
                vec!["listener web: route a: match {path: [/a]} -> (none)", "listener web: route a: timeout 15s -> 1s"],
            ),
            (
                "{ name: b, cluster: app }",
                "{ name: c, cluster: app }",
                vec!["listener web: route b removed", "listener web: route c added"],
            ),
            ("clusters:", "clusters:\n  - { name: other, endpoints: [a:1] }", vec!["cluster other added"]),
            (
                "{ name: a, match: { path: /a }, cluster: app }, { name: b, cluster: app }",
                "{ name: b, cluster: app }, { name: a, match: { path: /a }, cluster: app }",
                vec!["listener web: routes in another order"],
            ),
            ("weight: 2", "weight: 2, backup: false", vec![]),
        ] {
            assert_eq!(told(replaced, by), wanted, "{by}");
        }
    }

    #[test]
    fn changes_of_the_process_and_its_listeners_are_told_too() {
        for (replaced, by, wanted) in [
            ("127.0.0.1:9900", "127.0.0.1:9901", "admin.address 127.0.0.1:9900 -> 127.0.0.1:9901"),
            ("127.0.0.1:9900", "127.0.0.1:9900, token_file: f", "admin.token (none) -> (redacted)"),
            ("clusters:", "workers: 3\nclusters:", "workers (none) -> 3"),
            ("clusters:", "drain_delay: 1s\nclusters:", "drain_delay 0s -> 1s"),
            ("127.0.0.1:8080", "127.0.0.1:8081", "listener web: address 127.0.0.1:8080 -> 127.0.0.1:8081"),
            ("routes:", "limits: { connections: 5 }, routes:", "listener web: limits.connections 10000 -> 5"),
            ("routes:", "trusted_proxies: [10.0.0.1], routes:", "listener web: trusted_proxies [] -> [10.0.0.1/32]"),
        ] {
            assert_eq!(told(replaced, by), [wanted], "{by}");
        }
        assert_eq!(told("name: web", "name: edge"), ["listener web removed", "listener edge added"]);
    }

    #[test]
    fn the_same_configuration_has_no_changes() {
        assert!(changes(&read(BASE), &read(BASE)).is_empty());
        let token = |text: &'static str| {
            let base = BASE.replace("127.0.0.1:9900", "127.0.0.1:9900, token_file: f");
            from_text(&base, "a.yaml", std::path::Path::new(""), &|_| None, &|_| Ok(text.to_owned())).unwrap()
        };
        assert_eq!(changes(&token("one"), &token("two")), ["admin.token changed"]);
        assert!(changes(&token("one"), &token("one\n")).is_empty());
    }
}

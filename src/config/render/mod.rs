//! Owns the effective configuration as JSON: every default filled in, every secret left out.
//!
//! It has the vocabulary of the file, so that what is shown can be written, and it is what the differences between two
//! configurations are told by. Nothing in it depends on how the file was spelled.

mod health;
mod live;
mod route;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::balance::Algorithm;
use crate::base::address::Site;
use crate::base::units::format_duration;
use crate::config::model::{
    AccessFormat, AccessLog, AccessTarget, Admin, Certificate, Cluster, ClusterTls, Config, Discovery, DnsName, Endpoint, Fleet,
    Heartbeats, Listener, ListenerLimits, ListenerTls, Log, LogFormat, ProxyVersion, UNIX,
};
use crate::traffic::affinity::{Balance, HashOn};
use crate::traffic::limits::Limits;

/// Stands where a secret is.
const REDACTED: &str = "(redacted)";
/// Words in the names of headers that carry secrets.
const SECRET: [&str; 8] = ["auth", "cookie", "credential", "key", "passw", "secret", "session", "token"];

/// The effective configuration, without its secrets.
#[must_use]
pub fn to_json(config: &Config) -> Value {
    let mut all = json!({
        "admin": admin(&config.admin),
        "drain_delay": format_duration(config.drain_delay),
        "drain_timeout": format_duration(config.drain_timeout),
        "watch": config.watch,
        "log": log(&config.log),
        "listeners": config.listeners.iter().map(listener).collect::<Vec<_>>(),
        "clusters": config.clusters.iter().map(cluster).collect::<Vec<_>>(),
    });
    if !config.heartbeats.is_empty() {
        all["heartbeats"] = config.heartbeats.iter().map(heartbeats).collect();
    }
    if let Some(address) = config.metrics {
        all["metrics"] = json!({ "address": address.to_string() });
    }
    if let Some(log) = &config.access_log {
        all["access_log"] = access_log(log);
    }
    if let Some(file) = &config.state_file {
        all["state_file"] = json!(file.display().to_string());
    }
    if let Some(fleet) = &config.fleet {
        all["fleet"] = self::fleet(fleet);
    }
    if let Some(workers) = config.workers {
        all["workers"] = json!(workers);
    }
    all
}

fn admin(admin: &Admin) -> Value {
    let mut all = json!({ "address": admin.address.to_string() });
    if admin.token.is_some() {
        all["token"] = json!(REDACTED);
    }
    all
}

fn heartbeats(heartbeats: &Heartbeats) -> Value {
    let mut all = json!({ "address": heartbeats.address.to_string() });
    if let Some(tls) = &heartbeats.tls {
        all["tls"] = listener_tls(tls);
    }
    all
}

fn access_log(log: &AccessLog) -> Value {
    let path = match &log.target {
        AccessTarget::Stdout => "stdout".to_owned(),
        AccessTarget::Stderr => "stderr".to_owned(),
        AccessTarget::File(file) => file.display().to_string(),
    };
    let format = match log.format {
        AccessFormat::Json => "json",
        AccessFormat::Combined => "combined",
    };
    json!({ "path": path, "format": format })
}

fn fleet(fleet: &Fleet) -> Value {
    json!({
        "name": &*fleet.name,
        "self": &*fleet.own,
        "address": fleet.address.to_string(),
        "peers": fleet.peers.iter().map(|peer| peer.as_str()).collect::<Vec<_>>(),
        "size": fleet.size,
        "keys": REDACTED,
    })
}

fn log(log: &Log) -> Value {
    let level = log.level.as_str();
    let format = match log.format {
        LogFormat::Auto => "auto",
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    json!({ "level": level, "format": format })
}

/// A listener.
pub(super) fn listener(listener: &Listener) -> Value {
    let mut all = json!({
        "name": &*listener.name,
        "address": listener.address.to_string(),
        "protocol": listener.protocol.as_str(),
        "proxy_protocol": listener.proxy_protocol,
        "trusted_proxies": trusted_proxies(listener),
        "limits": limits(&listener.limits),
        "routes": listener.routes.iter().map(route::route).collect::<Vec<_>>(),
    });
    if let Some(tls) = &listener.tls {
        all["tls"] = listener_tls(tls);
    }
    if matches!(listener.address, Site::Unix(_)) {
        all["socket_mode"] = json!(format!("{:04o}", listener.socket_mode));
    }
    put(&mut all, "health_path", json!(listener.health_path.as_deref()));
    all
}

fn trusted_proxies(listener: &Listener) -> Vec<String> {
    let networks = listener.trusted_proxies.iter().map(ToString::to_string);
    networks.chain(listener.trusts_unix.then(|| UNIX.to_owned())).collect()
}

/// The files of TLS; what stands in them is not shown.
fn listener_tls(tls: &ListenerTls) -> Value {
    let files = |one: &Certificate| json!({ "cert": &*one.cert.name, "key": &*one.key.name });
    let mut all = json!({ "certificates": tls.certificates.iter().map(files).collect::<Vec<_>>() });
    if let Some(clients) = &tls.clients {
        all["client_ca"] = json!(&*clients.file.name);
        all["client_auth"] = json!(if clients.trust.required { "required" } else { "optional" });
    }
    all
}

fn limits(limits: &ListenerLimits) -> Value {
    json!({
        "connections": limits.connections,
        "handshakes": limits.handshakes,
        "streams": limits.streams,
        "head_bytes": size(limits.head_bytes),
        "head_count": limits.head_count,
        "head_timeout": format_duration(limits.head_timeout),
        "keepalive_timeout": format_duration(limits.keepalive_timeout),
    })
}

/// A size in the largest unit that leaves a whole number.
fn size(bytes: usize) -> String {
    for (scale, unit) in [(1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    format!("{bytes}B")
}

fn cluster(cluster: &Cluster) -> Value {
    let mut all = json!({
        "name": &*cluster.name,
        "protocol": cluster.protocol.as_str(),
        "proxy_protocol": cluster.proxy_protocol.map_or("none", ProxyVersion::as_str),
        "balance": balance(&cluster.balance),
        "connect_timeout": format_duration(cluster.connect_timeout),
        "pool": {
            "idle_timeout": format_duration(cluster.pool.idle_timeout),
            "idle_connections": cluster.pool.idle_connections,
        },
        "limits": cluster_limits(&cluster.limits),
        "health": health::health(cluster),
    });
    match &cluster.discovery {
        None => all["endpoints"] = cluster.endpoints.iter().map(endpoint).collect(),
        Some(Discovery::Heartbeat) => all["discovery"] = json!({ "heartbeat": true }),
        Some(Discovery::File(file)) => all["discovery"] = json!({ "file": file.display().to_string() }),
        Some(Discovery::Dns(DnsName { name, port, nameserver })) => {
            let name = port.map_or_else(|| name.to_string(), |port| format!("{name}:{port}"));
            all["discovery"] = json!({ "dns": name });
            put(&mut all["discovery"], "nameserver", json!(nameserver.map(|address| address.to_string())));
        }
    }
    if let Some(sticky) = &cluster.sticky {
        all["sticky"] = json!({ "cookie": &*sticky.cookie, "keys": REDACTED });
    }
    if let Some(tls) = &cluster.tls {
        all["tls"] = cluster_tls(tls);
    }
    all
}

fn cluster_limits(limits: &Limits) -> Value {
    let count = |limit: Option<u32>| limit.map_or_else(|| json!("none"), |limit| json!(limit));
    json!({
        "connections": count(limits.connections),
        "requests": count(limits.requests),
        "pending": limits.pending,
        "queue_timeout": format_duration(limits.queue_timeout),
        "endpoint_connections": count(limits.endpoint_connections),
        "endpoint_requests": count(limits.endpoint_requests),
    })
}

fn balance(balance: &Balance) -> Value {
    match balance {
        Balance::Any(Algorithm::RoundRobin) => json!("round_robin"),
        Balance::Any(Algorithm::LeastRequest) => json!("least_request"),
        Balance::Any(Algorithm::PeakEwma) => json!("peak_ewma"),
        Balance::Hash(HashOn::Source) => json!({ "hash": "source" }),
        Balance::Hash(HashOn::Path) => json!({ "hash": "path" }),
        Balance::Hash(HashOn::Header(name)) => json!({ "hash": { "header": name.as_str() } }),
        Balance::Hash(HashOn::Cookie(name)) => json!({ "hash": { "cookie": &**name } }),
    }
}

fn cluster_tls(tls: &ClusterTls) -> Value {
    let mut all = json!({});
    put(&mut all, "ca", json!(tls.ca.as_ref().map(|file| &*file.name)));
    put(&mut all, "cert", json!(tls.own.as_ref().map(|own| &*own.cert.name)));
    put(&mut all, "key", json!(tls.own.as_ref().map(|own| &*own.key.name)));
    put(&mut all, "server_name", json!(tls.server_name.as_deref()));
    all
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({ "address": endpoint.address.as_str(), "weight": endpoint.weight, "backup": endpoint.backup })
}

/// Headers by name; a value whose name tells of a secret is left out.
fn headers<'a>(pairs: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Value {
    let shown = |name: &HeaderName, value: &HeaderValue| {
        let secret = SECRET.iter().any(|word| name.as_str().contains(word));
        if secret { REDACTED.to_owned() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() }
    };
    let all: Map<String, Value> = pairs.into_iter().map(|(name, value)| (name.to_string(), shown(name, value).into())).collect();
    Value::Object(all)
}

/// Puts in what differs from nothing.
fn put(all: &mut Value, key: &str, value: Value) {
    let nothing = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if !nothing {
        all[key] = value;
    }
}

/// A number as people write it: without a fraction where there is none.
#[expect(clippy::cast_possible_truncation, reason = "a whole number within 53 bits")]
fn number(value: f64) -> Value {
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    if whole { json!(value as i64) } else { json!(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::parse_size;

    #[test]
    fn a_shown_size_reads_back() {
        for bytes in [0, 1, 1023, 1024, 65_536, 1 << 20, (1 << 20) + 1024] {
            assert_eq!(parse_size(&size(bytes)).unwrap(), bytes as u64);
        }
    }

    #[test]
    fn headers_whose_names_tell_of_secrets_are_not_shown() {
        let value = HeaderValue::from_static("hush");
        for (name, secret) in [("authorization", true), ("set-cookie", true), ("x-api-key", true), ("x-team", false)] {
            let shown = headers([(&HeaderName::from_static(name), &value)]);
            assert_eq!(shown[name] == REDACTED, secret, "{name}");
        }
    }
}

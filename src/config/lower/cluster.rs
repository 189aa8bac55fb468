//! Owns the lowering of clusters and their endpoints.

use std::sync::Arc;

use crate::base::address::Host;
use crate::config::defaults;
use crate::config::lower::affinity::{balance, sticky};
use crate::config::lower::discovery::discovery;
use crate::config::lower::health::health;
use crate::config::lower::host::endpoint_address;
use crate::config::lower::listener::protocol;
use crate::config::lower::scalar::{WAIT, span_or};
use crate::config::lower::tls::cluster_tls;
use crate::config::lower::unique::Given;
use crate::config::lower::{At, advice};
use crate::config::model::{Cluster, Endpoint, Pool, Protocol, ProxyVersion};
use crate::config::raw::{self, CountOrNone, List};
use crate::health::check::ProbeSpec;
use crate::traffic::limits::Limits;

/// All clusters.
pub(super) fn clusters(at: &At<'_>, raw: &[Option<raw::Cluster>]) -> Vec<Cluster> {
    let mut names = Given::new();
    let mut all = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let Some(raw) = raw else { continue };
        let at = at.item(index);
        if let Some(name) = &raw.name {
            names.give(&at.key("name"), name.clone(), "a name that no other cluster has");
        }
        all.push(cluster(&at, raw));
    }
    all
}

fn cluster(at: &At<'_>, raw: &raw::Cluster) -> Cluster {
    match (at.has("endpoints"), at.has("discovery")) {
        (true, true) => at.key("discovery").wrong_key("both endpoints and discovery", "one of them", None),
        (false, false) => at.wrong_as("neither endpoints nor discovery", "one of them", None),
        _ => {}
    }
    let lowered = health(&at.key("health"), raw.health.as_ref());
    let joins = raw.discovery.as_ref().is_some_and(|discovery| discovery.heartbeat == Some(true));
    if joins && lowered.policy.heartbeat.is_none() && at.knows("health", raw.health.as_ref()) {
        let hint = "write health: { heartbeat: { period: 2s } }".to_owned();
        at.key("discovery").key("heartbeat").wrong_key(
            "heartbeat without health.heartbeat",
            "what is expected of heartbeats",
            hint,
        );
    }
    let endpoints = raw.endpoints.as_ref().map(|list| endpoints(&at.key("endpoints"), list)).unwrap_or_default();
    if let Some(unix) = endpoints.iter().find(|endpoint| matches!(endpoint.address.host(), Host::Unix(_))) {
        check_unix(at, raw, unix, &lowered.probes);
    }
    advice::references(&at.key("health").key("reference"), &lowered.references, &endpoints);
    Cluster {
        name: raw.name.as_deref().unwrap_or_default().into(),
        endpoints: endpoints.into(),
        discovery: raw.discovery.as_ref().and_then(|raw| discovery(&at.key("discovery"), raw)),
        balance: raw.balance.as_ref().and_then(|raw| balance(&at.key("balance"), raw)).unwrap_or_default(),
        sticky: raw.sticky.as_ref().and_then(|raw| sticky(&at.key("sticky"), raw)),
        protocol: raw.protocol.map_or(Protocol::Http1, protocol),
        proxy_protocol: proxy_protocol(at, raw),
        tls: raw.tls.as_ref().map(|tls| cluster_tls(&at.key("tls"), tls)),
        connect_timeout: span_or(&at.key("connect_timeout"), raw.connect_timeout.as_ref(), WAIT, defaults::CONNECT_TIMEOUT),
        pool: pool(&at.key("pool"), raw.pool.as_ref()),
        limits: Limits { asked: !lowered.policy.advisers.is_empty(), ..limits(&at.key("limits"), raw.limits.as_ref()) },
        health: lowered.policy,
        probes: lowered.probes.into_iter().map(Arc::new).collect(),
        report: lowered.report,
        report_timing: lowered.report_timing,
        references: lowered.references,
        heartbeat_tokens: lowered.heartbeat_tokens,
    }
}

/// Puts down what only endpoints on the network can have, where one is a socket in the file system.
fn check_unix(at: &At<'_>, raw: &raw::Cluster, endpoint: &Endpoint, probes: &[ProbeSpec]) {
    let without = |what: &str| format!("no {what} beside the endpoint {}, which has none", endpoint.address);
    if raw.tls.as_ref().is_some_and(|tls| tls.server_name.is_none()) && !at.key("tls").has("server_name") {
        let hint = format!("the endpoint {} has no name that its certificate could have", endpoint.address);
        at.key("tls").wrong_key("tls without server_name", "a server_name in it", hint);
    }
    let at = at.key("health");
    for (index, probe) in probes.iter().enumerate() {
        let at = if at.has("probes") { at.key("probes").item(index) } else { at.clone() };
        if probe.port.is_some() {
            at.key("port").wrong(without("port"), "a probe can have an address of its own".to_owned());
        }
        if probe.source.is_some() && probe.address.is_none() {
            at.key("source").wrong(without("address to come from"), None);
        }
    }
}

/// What connections begin with. Over HTTP/2 many clients share one, and its beginning can name only one of them.
fn proxy_protocol(at: &At<'_>, raw: &raw::Cluster) -> Option<ProxyVersion> {
    let version = match raw.proxy_protocol? {
        raw::ProxyProtocol::None => return None,
        raw::ProxyProtocol::V1 => ProxyVersion::V1,
        raw::ProxyProtocol::V2 => ProxyVersion::V2,
    };
    if matches!(raw.protocol, Some(raw::Protocol::Http2)) {
        let hint = "clients share a connection over HTTP/2, and its header can name only one of them".to_owned();
        at.key("proxy_protocol").wrong("none beside protocol: http2, or protocol: http1", hint);
    }
    Some(version)
}

fn endpoints(at: &At<'_>, raw: &List<raw::Endpoint>) -> Vec<Endpoint> {
    let mut given = Given::new();
    let mut all = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let Some(raw) = raw else { continue };
        let (at, text, weight, backup) = match raw {
            raw::Endpoint::Address(text) => (at.item(index), Some(text), None, None),
            raw::Endpoint::Block(block) => (at.item(index).key("address"), block.address.as_ref(), block.weight, block.backup),
        };
        let Some(address) = text.and_then(|text| endpoint_address(&at, text)) else { continue };
        // Two spellings of one host are two names, but for upper and lower case.
        given.give(&at, (address.host().clone(), address.port()), "every address once in a cluster");
        all.push(Endpoint { address, weight: weight.unwrap_or(defaults::WEIGHT), backup: backup.unwrap_or(false) });
    }
    all
}

fn pool(at: &At<'_>, raw: Option<&raw::Pool>) -> Pool {
    let idle_timeout = raw.and_then(|raw| raw.idle_timeout.as_ref());
    let idle_connections = raw.and_then(|raw| raw.idle_connections).unwrap_or(defaults::POOL_IDLE_CONNECTIONS);
    Pool {
        idle_timeout: span_or(&at.key("idle_timeout"), idle_timeout, WAIT, defaults::POOL_IDLE_TIMEOUT),
        idle_connections: usize::try_from(idle_connections).unwrap_or(usize::MAX),
    }
}

fn limits(at: &At<'_>, raw: Option<&raw::ClusterLimits>) -> Limits {
    let of = |value: fn(&raw::ClusterLimits) -> &Option<CountOrNone>| {
        raw.and_then(|raw| value(raw).as_ref()).and_then(CountOrNone::limit)
    };
    let queue_timeout = raw.and_then(|raw| raw.queue_timeout.as_ref());
    Limits {
        connections: of(|raw| &raw.connections),
        requests: of(|raw| &raw.requests),
        pending: raw.and_then(|raw| raw.pending).unwrap_or(defaults::PENDING),
        queue_timeout: span_or(&at.key("queue_timeout"), queue_timeout, WAIT, defaults::QUEUE_TIMEOUT),
        endpoint_connections: of(|raw| &raw.endpoint_connections),
        endpoint_requests: of(|raw| &raw.endpoint_requests),
        asked: false,
    }
}

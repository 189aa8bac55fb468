//! Owns the lowering of leader blocks, and that routes with a role lead to clusters that have one.

use std::sync::Arc;

use crate::config::defaults;
use crate::config::lower::At;
use crate::config::raw::{self, LeaderFrom, List, OrOff, RouteRole};
use crate::health::check::{Check, ProbeSpec};
use crate::health::policy::LeaderPolicy;
use crate::report::MAX_ROLE;
use crate::report::spec::{Format, RoleFields, Source, Spec};

/// Lowers the leader block of the health block at `health`, beside the report and the heartbeats that are read.
pub(super) fn leader(health: &At<'_>, raw: &raw::Health, report: Option<&Spec>, probes: &[ProbeSpec]) -> Option<LeaderPolicy> {
    let at = health.key("leader");
    let heartbeat = matches!(raw.heartbeat, Some(OrOff::Block(_)));
    let complete = health.knows("probes", raw.probes.as_ref())
        && health.knows("report", raw.report.as_ref())
        && health.knows("heartbeat", raw.heartbeat.as_ref());
    let Some(OrOff::Block(raw)) = &raw.leader else { return None };
    let from = raw.from.unwrap_or(LeaderFrom::Report);
    if complete {
        check_source(&at, from, report, heartbeat);
    }
    let role = raw.role_field.as_deref().unwrap_or(defaults::ROLE_FIELD);
    let epoch = raw.epoch_field.as_deref().unwrap_or(defaults::EPOCH_FIELD);
    for (key, place) in [("role_field", role), ("epoch_field", epoch)] {
        if place.trim().is_empty() {
            at.key(key).wrong("a dotted path such as raft.role", None);
        }
        if from == LeaderFrom::Heartbeat && at.has(key) {
            let hint = "heartbeats have fields of their own, role and epoch".to_owned();
            at.key(key).wrong_key(format!("{key} beside from: heartbeat"), "from: report, or none", hint);
        }
    }
    if role.trim() == epoch.trim() && !role.trim().is_empty() {
        let at = if at.has("epoch_field") { at.key("epoch_field") } else { at.key("role_field") };
        at.wrong("two fields: a word and a number", None);
    }
    let fields = RoleFields { role: role.trim().into(), epoch: epoch.trim().into() };
    let fields = (from == LeaderFrom::Report).then_some(fields);
    let leader_values = values(&at.key("leader_values"), raw.leader_values.as_ref());
    Some(LeaderPolicy { leader_values, asks: fields.is_some() && report.is_some_and(|spec| comes(spec, probes)), fields })
}

/// Whether reports come without being pushed.
fn comes(report: &Spec, probes: &[ProbeSpec]) -> bool {
    match report.source {
        Source::Own { .. } => true,
        Source::FirstHttpProbe => probes.iter().any(|probe| matches!(probe.check, Check::Http(_))),
    }
}

/// Puts down what nobody could say anything by.
fn check_source(at: &At<'_>, from: LeaderFrom, report: Option<&Spec>, heartbeat: bool) {
    match (from, report) {
        (LeaderFrom::Heartbeat, _) if !heartbeat => {
            let hint = "write heartbeat: { period: 2s } beside leader".to_owned();
            at.key("from").wrong("report, or a heartbeat block beside leader", hint);
        }
        (LeaderFrom::Report, None) if !heartbeat => {
            let hint = "an http probe or report.path brings reports, health.heartbeat heartbeats".to_owned();
            at.wrong_key("leader where neither reports nor heartbeats are read", "one of them", hint);
        }
        (LeaderFrom::Report, Some(spec)) if !heartbeat => {
            if let Format::Prometheus | Format::Orca | Format::Agent = spec.format {
                let hint = format!("a report in the format {} holds no words", spec.format.as_str());
                at.warn("report.format auto, json, health_json or spring", hint);
            }
        }
        _ => {}
    }
}

fn values(at: &At<'_>, raw: Option<&List<String>>) -> Vec<Arc<str>> {
    let Some(raw) = raw else { return defaults::LEADER_VALUES.map(Arc::from).to_vec() };
    for (index, value) in raw.iter().enumerate() {
        if value.as_ref().is_some_and(|value| !(1..=MAX_ROLE).contains(&value.trim().len())) {
            at.item(index).wrong("a word of 1 to 64 bytes", None);
        }
    }
    raw.iter().flatten().map(|value| value.trim().into()).collect()
}

/// Puts down routes that ask for a leader, or for who is none, where nobody leads.
pub(super) fn routes(top: &At<'_>, root: &raw::Root) {
    for (index, listener) in root.listeners.iter().flatten().enumerate() {
        let routes = listener.as_ref().and_then(|listener| listener.routes.as_ref());
        for (number, route) in routes.into_iter().flatten().enumerate() {
            let Some(route) = route else { continue };
            if matches!(route.role, Some(RouteRole::Leader | RouteRole::Replica)) {
                let at = top.key("listeners").item(index).key("routes").item(number).key("role");
                check_route(&at, route, top, root);
            }
        }
    }
}

fn check_route(at: &At<'_>, route: &raw::Route, top: &At<'_>, root: &raw::Root) {
    if route.redirect.is_some() {
        at.wrong_key("role beside redirect", "one of them", "what is redirected goes to no endpoint".to_owned());
    }
    let split = route.split.iter().flat_map(|split| split.0.iter().map(|(name, _)| name));
    for name in route.cluster.iter().chain(split) {
        let clusters = root.clusters.iter().flatten().enumerate();
        let named = |cluster: &&raw::Cluster| cluster.name.as_ref() == Some(name);
        let found = clusters.filter_map(|(index, cluster)| Some((index, cluster.as_ref().filter(named)?))).next();
        let Some((index, cluster)) = found else { continue };
        if !may_lead(&top.key("clusters").item(index), cluster) {
            let hint = format!("cluster {name} has none; write health: {{ leader: {{}} }}");
            at.wrong("any, or a cluster with health.leader", hint);
        }
    }
}

/// Whether a cluster has a leader block, as far as can be told.
fn may_lead(at: &At<'_>, cluster: &raw::Cluster) -> bool {
    match &cluster.health {
        None => at.has("health"),
        Some(OrOff::Off) => false,
        Some(OrOff::Block(health)) => match &health.leader {
            None => at.key("health").has("leader"),
            Some(OrOff::Off) => false,
            Some(OrOff::Block(_)) => true,
        },
    }
}

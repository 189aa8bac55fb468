//! Owns a cluster's health as JSON: probes, their pace, the report and its rules.

use serde_json::{Map, Value, json};

use crate::base::units::{Ratio, format_duration};
use crate::config::defaults;
use crate::config::model::Cluster;
use crate::config::render::{REDACTED, headers, live, number, put};
use crate::health::check::{Check, HttpCheck, ProbeSpec, StatusRange};
use crate::health::policy::{Detector, For, HeartbeatPolicy, LeaderPolicy, Panic, Policy, Require, Rule, Start, Timing, When};
use crate::health::serving::GrpcCheck;
use crate::report::spec::{RoleFields, Source, Spec, Unit, is_share};

/// The health of a cluster: what is not probed and not reported is `off`.
pub(super) fn health(cluster: &Cluster) -> Value {
    let policy = &cluster.health;
    if is_off(cluster) {
        return json!("off");
    }
    let timing = &cluster.report_timing;
    let mut all = json!({
        "interval": format_duration(timing.interval),
        "timeout": format_duration(timing.timeout),
        "fast_interval": format_duration(timing.fast_interval),
        "down_interval": format_duration(timing.down_interval),
        "jitter": timing.jitter.to_string(),
        "fall": policy.thresholds.fall,
        "rise": policy.thresholds.rise,
        "start": match policy.start {
            Start::Unknown => "unknown",
            Start::Healthy => "healthy",
        },
        "probes": cluster.probes.iter().map(|spec| probe(spec, timing)).collect::<Vec<_>>(),
        "require": require(policy.require),
        "max_ejected": policy.max_ejected.to_string(),
        "panic": match policy.panic {
            Panic::Off => "off".to_owned(),
            Panic::Below(share) => share.to_string(),
        },
    });
    all["outlier"] = live::outlier(policy.outlier.as_ref());
    all["silence"] = live::silence(policy.silence.as_ref());
    all["slow_start"] = live::slow_start(policy.slow_start.as_ref());
    all["damping"] = live::damping(policy.damping.as_ref());
    put(&mut all, "reference", json!(cluster.references.iter().map(|address| address.as_str()).collect::<Vec<_>>()));
    let acknowledge = cluster.probes.iter().find_map(|probe| match &probe.check {
        Check::Http(check) => Some(check.acknowledge.as_str()),
        Check::Tcp | Check::Agent | Check::Grpc(_) | Check::File(_) => None,
    });
    put(&mut all, "acknowledge", json!(acknowledge));
    put(&mut all, "heartbeat", json!(policy.heartbeat.as_ref().map(|policy| heartbeat(policy, cluster))));
    all["quorum"] = json!(policy.quorum);
    put(&mut all, "leader", json!(policy.leader.as_ref().map(leader)));
    all["report"] = cluster.report.as_ref().map_or_else(|| json!("off"), |spec| report(spec, policy));
    all
}

/// Whether the cluster is as it would be without a health block.
fn is_off(cluster: &Cluster) -> bool {
    let policy = &cluster.health;
    let probed = !cluster.probes.is_empty() || cluster.report.is_some() || policy.heartbeat.is_some();
    let silence = policy.silence == Some(defaults::silence()) && policy.outlier == Some(defaults::outlier());
    let back = policy.slow_start == Some(defaults::slow_start()) && policy.damping == Some(defaults::damping());
    !probed && silence && back && policy.max_ejected == defaults::constant(defaults::MAX_EJECTED) && policy.panic == Panic::Off
}

fn heartbeat(policy: &HeartbeatPolicy, cluster: &Cluster) -> Value {
    let mut all = json!({ "period": format_duration(policy.period), "ttl": format_duration(policy.ttl) });
    match policy.detector {
        Detector::Ttl => all["detector"] = json!("ttl"),
        Detector::Accrual { phi } => {
            all["detector"] = json!("accrual");
            all["phi"] = number(phi);
        }
    }
    if cluster.heartbeat_tokens.is_some() {
        all["tokens"] = json!(REDACTED);
    }
    all
}

fn leader(policy: &LeaderPolicy) -> Value {
    let values: Vec<&str> = policy.leader_values.iter().map(|value| &**value).collect();
    match &policy.fields {
        Some(RoleFields { role, epoch }) => {
            json!({ "from": "report", "role_field": &**role, "leader_values": values, "epoch_field": &**epoch })
        }
        None => json!({ "from": "heartbeat", "leader_values": values }),
    }
}

fn require(require: Require) -> Value {
    match require {
        Require::All => json!("all"),
        Require::Any => json!("any"),
        Require::AtLeast(number) => json!(number),
    }
}

/// A probe; its fast and down intervals are shown where they are not those of the block.
fn probe(spec: &ProbeSpec, block: &Timing) -> Value {
    let mut all = json!({
        "name": &*spec.name,
        "interval": format_duration(spec.timing.interval),
        "timeout": format_duration(spec.timing.timeout),
    });
    match &spec.check {
        Check::Http(check) => all["http"] = http(check),
        Check::Tcp => all["tcp"] = json!({}),
        Check::Agent => all["agent"] = json!({}),
        Check::Grpc(check) => all["grpc"] = grpc(check),
        Check::File(check) => {
            all["file"] = json!({ "path": &*check.path, "max_age": format_duration(check.max_age) });
        }
    }
    put(&mut all, "address", json!(spec.address.as_ref().map(|address| address.as_str())));
    put(&mut all, "port", json!(spec.port));
    if !spec.tls {
        all["tls"] = json!("off");
    }
    put(&mut all, "source", json!(spec.source.map(|source| source.to_string())));
    if spec.timing.fast_interval != block.fast_interval {
        all["fast_interval"] = json!(format_duration(spec.timing.fast_interval));
    }
    if spec.timing.down_interval != block.down_interval {
        all["down_interval"] = json!(format_duration(spec.timing.down_interval));
    }
    all
}

fn grpc(check: &GrpcCheck) -> Value {
    let unimplemented = if check.unimplemented_passes { "healthy" } else { "unhealthy" };
    json!({ "service": &*check.service, "unimplemented": unimplemented })
}

fn http(check: &HttpCheck) -> Value {
    let range = |range: &StatusRange| {
        if range.low == range.high { range.low.to_string() } else { format!("{}-{}", range.low, range.high) }
    };
    let mut all = json!({
        "path": &*check.path,
        "method": check.method.as_str(),
        "status": check.status.iter().map(range).collect::<Vec<_>>(),
    });
    put(&mut all, "host", json!(check.host.as_deref()));
    put(&mut all, "headers", headers(&check.headers));
    put(&mut all, "body_contains", json!(check.body_contains.as_deref()));
    all
}

fn report(spec: &Spec, policy: &Policy) -> Value {
    let format = spec.format.as_str();
    let unit = match spec.unit {
        Unit::Ratio => "ratio",
        Unit::Percent => "percent",
    };
    let mut all = json!({ "format": format, "unit": unit, "max_age": format_duration(policy.report_max_age) });
    if let Source::Own { path, port } = &spec.source {
        all["path"] = json!(&**path);
        put(&mut all, "port", json!(port));
    }
    let map: Map<String, Value> = spec.map.iter().map(|(name, place)| (name.to_string(), json!(&**place))).collect();
    put(&mut all, "map", Value::Object(map));
    put(&mut all, "rules", json!(policy.rules.iter().map(rule).collect::<Vec<_>>()));
    put(&mut all, "weight_by", json!(policy.weight_by.as_deref()));
    all
}

/// A rule. `recover` is shown where it is the same for both levels; where it is not, it is each level's default.
fn rule(rule: &Rule) -> Value {
    let value = |value: f64| match Ratio::try_new(value) {
        Ok(share) if is_share(&rule.metric) => json!(share.to_string()),
        _ => number(value),
    };
    let mut all = json!({
        "metric": &*rule.metric,
        "when": match rule.when {
            When::Above => "above",
            When::Below => "below",
        },
        "for": match rule.hold {
            For::Reports(number) => json!(number),
            For::Span(span) => json!(format_duration(span)),
        },
        "enforce": rule.enforce,
    });
    put(&mut all, "degrade", json!(rule.degrade.map(|level| value(level.level))));
    put(&mut all, "eject", json!(rule.eject.map(|level| value(level.level))));
    let recover = |level: crate::health::policy::Level| value(level.recover);
    match (rule.degrade.map(recover), rule.eject.map(recover)) {
        (Some(degrade), Some(eject)) if degrade != eject => {}
        (degrade, eject) => put(&mut all, "recover", json!(degrade.or(eject))),
    }
    all
}

//! The JSON of the interface, as scripts and our own command line read it. Its names are a promise.
//!
//! The shapes are plain and owned, apart from the live objects, so that a field which the engine gains does not slip out,
//! and one that it loses does not break a script.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::cluster::{self, Live};
use crate::control::{FleetView, MemberView};
use crate::health::electorate::Vote;
use crate::health::{self, verdict};
use crate::runtime::clock;

/// Everything: `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// `starting`, `ready`, `draining` or `stopped`.
    pub phase: String,
    /// In the order of the configuration.
    pub clusters: Vec<Cluster>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// As configured.
    pub name: String,
    /// Whether sicker tiers are let in.
    pub panic: bool,
    /// Whether no verdict changes for now.
    pub frozen: bool,
    /// How many endpoints are available.
    pub available: usize,
    /// Who leads, where anybody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
    /// In the order of the configuration.
    pub endpoints: Vec<Endpoint>,
}

/// Who leads a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leader {
    /// Its address as configured; left out if nobody leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The highest epoch that anybody has said to lead in; 0 before, and where nobody has epochs.
    pub epoch: u64,
    /// Why nobody leads, if that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// What an endpoint says that it is among its siblings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its own word for it.
    pub says: String,
    /// The epoch that it says it in.
    pub epoch: Option<u64>,
    /// When it last said so.
    pub at: String,
    /// What it is taken for: `leader`, `out`, `conflict`, `stale` or `replica`.
    pub part: String,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// As configured.
    pub address: String,
    /// Its state.
    pub state: String,
    /// Whether it counts as available; stays false while panic lets it in.
    pub available: bool,
    /// Whether it gets traffic now.
    pub admitted: bool,
    /// Effective weight; 0 if it gets no traffic.
    pub weight: f64,
    /// Attempts in flight.
    pub in_flight: u32,
    /// When the state was entered.
    pub since: String,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// What it last reported; shares are between 0 and 1.
    pub report: BTreeMap<String, f64>,
    /// In the order of the configuration.
    pub probes: Vec<Probe>,
    /// The most requests at once that its agent asks for, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_requests: Option<u32>,
    /// What it says that it is, where one may lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What it pushes, if its cluster takes heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
}

/// The heartbeats of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When the last one that counted came.
    pub at: Option<String>,
    /// When the endpoint is unhealthy unless another one comes.
    pub deadline: Option<String>,
    /// What the last one was taken for.
    pub result: String,
    /// How the sender says that it is.
    pub state: String,
    /// The greatest number so far.
    pub seq: Option<u64>,
    /// Of the incarnation that sends.
    pub boot_id: Option<String>,
    /// How late the last one came against the quickest of the last minute.
    pub delay_seconds: f64,
    /// By how much the sender's clock is behind ours, the way here included.
    pub clock_offset_seconds: Option<f64>,
    /// Parts in a million by which it runs slow.
    pub clock_drift_ppm: Option<i64>,
    /// How improbable the silence since is by now, in decades.
    pub phi: Option<f64>,
    /// The share of numbered ones that were lost.
    #[serde(default)]
    pub loss_ratio: f64,
    /// Why they count as silent or late; the endpoint may be well all the same, if probes outvote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The sockets that they come by.
    #[serde(default)]
    pub paths: Vec<BeatPath>,
}

/// A socket that heartbeats of an endpoint come by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeatPath {
    /// Its address, as configured.
    pub address: String,
    /// When the last one came by it.
    pub at: String,
    /// Why nothing comes by it any more, if others bring them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// The proxies that agree on health: `GET /api/v1/fleet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// The fleet's name.
    pub name: String,
    /// This proxy's own name.
    #[serde(rename = "self")]
    pub own: String,
    /// How many proxies there are in all, as configured.
    pub size: usize,
    /// Whether a majority of them is heard.
    pub quorum: bool,
    /// This proxy first, then the others in the order of the configuration.
    pub members: Vec<Member>,
}

/// One proxy of the fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// What it calls itself; empty until it has been heard.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// `alive`, `dead` or `refused`.
    pub state: String,
    /// By cluster and endpoint, `up` or `down`; empty while it is not alive.
    pub votes: BTreeMap<String, BTreeMap<String, String>>,
}

impl Fleet {
    /// The shape of a fleet.
    pub(super) fn of(fleet: &FleetView) -> Self {
        Self {
            name: fleet.name.to_string(),
            own: fleet.own.to_string(),
            size: fleet.size,
            quorum: fleet.quorum,
            members: fleet.members.iter().map(Member::of).collect(),
        }
    }
}

impl Member {
    fn of(member: &MemberView) -> Self {
        let votes = |votes: &BTreeMap<Arc<str>, Vote>| {
            votes.iter().map(|(endpoint, vote)| (endpoint.to_string(), vote.as_str().to_owned())).collect()
        };
        Self {
            name: member.name.to_string(),
            address: member.address.clone(),
            state: member.state.as_str().to_owned(),
            votes: member.votes.iter().map(|(cluster, all)| (cluster.to_string(), votes(all))).collect(),
        }
    }
}

/// One reason of a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Its code.
    pub code: String,
    /// The probe it comes from.
    pub probe: Option<String>,
    /// A sentence with the figures.
    pub detail: String,
    /// Since when it holds.
    pub since: String,
    /// When it ends by itself.
    pub until: Option<String>,
}

/// What the last run of a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The probe.
    pub name: String,
    /// `pass`, `fail` or `void`; none before the first run.
    pub result: Option<String>,
    /// From start to result; none before the first run.
    pub latency_seconds: Option<f64>,
    /// Whether the probe counts as passing, all its results considered.
    pub passing: bool,
    /// Results in a row that speak against what it counts as.
    pub streak: u32,
    /// When the last run ended.
    pub at: Option<String>,
    /// Why it counts as failing; the endpoint may be well all the same, if others outvote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// How late the last answer came by the endpoint's stamps; left out if it does not stamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// How long the endpoint had the probe; left out if it does not stamp both receipt and answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_seconds: Option<f64>,
    /// First bytes of the last answer; left out of the status, where nobody reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

/// One endpoint with all that explains it: `GET /api/v1/clusters/{c}/endpoints/{e}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its cluster.
    pub cluster: String,
    /// The endpoint as in the status.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// When the verdict changes next if nothing else happens.
    pub next_change: Option<String>,
    /// When the last report came.
    pub report_at: Option<String>,
    /// What was wanted of the report and could not be read.
    pub voids: Vec<Void>,
    /// Every signal that moved it and every transition, oldest first.
    pub history: Vec<Entry>,
}

/// What could not be read of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// The metric; empty if it is the report as a whole.
    pub metric: String,
    /// What was found instead, and what would help.
    pub hint: String,
}

/// One entry of an endpoint's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: String,
    /// `probe`, `report`, `transition` and so on.
    pub kind: String,
    /// The probe, if it was one.
    pub probe: Option<String>,
    /// `pass`, `fail` or `void`, if it was a probe.
    pub result: Option<String>,
    /// The state left, if it was a transition.
    pub from: Option<String>,
    /// The state entered, if it was a transition.
    pub to: Option<String>,
    /// A sentence with the figures.
    pub detail: String,
}

/// The data of an event `transition`: `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Counts up.
    pub id: u64,
    /// When.
    pub at: String,
    /// The cluster.
    pub cluster: String,
    /// The endpoint.
    pub endpoint: String,
    /// The state left.
    pub from: String,
    /// The state entered.
    pub to: String,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
}

/// The data of an event `leader`: `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Succession {
    /// Counts up, transitions included.
    pub id: u64,
    /// When.
    pub at: String,
    /// The cluster.
    pub cluster: String,
    /// Who has led until then.
    pub before: Option<String>,
    /// Who leads from then on.
    pub leader: Option<String>,
    /// The highest epoch then.
    pub epoch: u64,
    /// Why nobody does.
    pub reasons: Vec<Reason>,
}

/// A moment as the interface writes it.
pub(super) fn time(at: Timestamp) -> String {
    clock::wall_at(at).to_string()
}

impl Status {
    /// The status now.
    pub(super) fn of(live: &Live) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: live.phase().as_str().to_owned(),
            clusters: live.world().load().clusters.iter().map(|cluster| Cluster::of(cluster)).collect(),
        }
    }
}

impl Cluster {
    /// The cluster as in the status.
    pub(super) fn of(cluster: &cluster::Cluster) -> Self {
        let snapshot = cluster.snapshot().load();
        Self {
            name: cluster.name.to_string(),
            panic: snapshot.panic,
            frozen: snapshot.frozen,
            available: snapshot.available,
            leader: snapshot.leadership.as_ref().map(Leader::of),
            endpoints: snapshot.endpoints.iter().map(|endpoint| Endpoint::of(endpoint, &endpoint.view())).collect(),
        }
    }
}

impl Endpoint {
    /// The endpoint as in the status: without the excerpts.
    pub(super) fn of(endpoint: &cluster::Endpoint, view: &verdict::EndpointView) -> Self {
        Self {
            address: endpoint.address.as_str().to_owned(),
            state: view.state.as_str().to_owned(),
            available: view.available,
            admitted: view.admitted,
            weight: view.weight,
            in_flight: endpoint.in_flight(),
            since: time(view.since),
            reasons: view.reasons.iter().map(Reason::of).collect(),
            report: view.report.iter().map(|(metric, value)| (metric.to_string(), *value)).collect(),
            probes: view.probes.iter().map(Probe::of).collect(),
            most_requests: view.most_requests,
            role: view.role.as_deref().map(Role::of),
            heartbeat: view.heartbeat.as_deref().map(Heartbeat::of),
        }
    }
}

impl Leader {
    fn of(leadership: &cluster::Leadership) -> Self {
        Self {
            endpoint: leadership.leader.as_ref().map(|leader| leader.address.to_string()),
            epoch: leadership.epoch,
            reason: leadership.reason.as_ref().map(Reason::of),
        }
    }
}

impl Role {
    fn of(view: &verdict::RoleView) -> Self {
        Self { says: view.word.to_string(), epoch: view.epoch, at: time(view.at), part: view.part.as_str().to_owned() }
    }
}

impl Heartbeat {
    #[expect(clippy::cast_precision_loss, reason = "clocks are not years of years apart")]
    fn of(view: &verdict::HeartbeatView) -> Self {
        Self {
            at: view.at.map(time),
            deadline: view.deadline.map(time),
            result: view.last.as_str().to_owned(),
            state: view.state.as_str().to_owned(),
            seq: view.seq,
            boot_id: view.boot_id.as_deref().map(str::to_owned),
            delay_seconds: view.delay.as_secs_f64(),
            clock_offset_seconds: view.clock_offset_ms.map(|millis| millis as f64 / 1000.0),
            clock_drift_ppm: view.clock_drift_ppm,
            phi: view.suspicion.map(|suspicion| suspicion.phi(clock::now())),
            loss_ratio: view.loss,
            reason: view.reason.as_ref().map(Reason::of),
            paths: view.ways.iter().map(BeatPath::of).collect(),
        }
    }
}

impl BeatPath {
    fn of(view: &verdict::WayView) -> Self {
        Self { address: view.name.to_string(), at: time(view.at), reason: view.reason.as_ref().map(Reason::of) }
    }
}

impl Reason {
    pub(super) fn of(reason: &verdict::Reason) -> Self {
        Self {
            code: reason.code.to_string(),
            probe: reason.probe.as_deref().map(str::to_owned),
            detail: reason.detail.clone(),
            since: time(reason.since),
            until: reason.until.map(time),
        }
    }
}

impl Probe {
    fn of(view: &verdict::ProbeView) -> Self {
        Self {
            name: view.name.to_string(),
            result: view.result.map(str::to_owned),
            latency_seconds: view.result.map(|_| view.latency.as_secs_f64()),
            passing: view.passing,
            streak: view.streak,
            at: view.result.map(|_| time(view.at)),
            reason: view.reason.as_deref().map(Reason::of),
            delay_seconds: view.stamped.map(|stamped| stamped.delay.as_secs_f64()),
            server_seconds: view.stamped.and_then(|stamped| stamped.server_time).map(|span| span.as_secs_f64()),
            excerpt: None,
        }
    }
}

impl Explanation {
    /// The endpoint with its history, given oldest first.
    pub(super) fn of(endpoint: &cluster::Endpoint, history: &[health::Entry]) -> Self {
        let view = endpoint.view();
        let mut shown = Endpoint::of(endpoint, &view);
        for (probe, seen) in shown.probes.iter_mut().zip(&view.probes) {
            probe.excerpt = Some(seen.excerpt.to_string());
        }
        Self {
            cluster: endpoint.cluster.to_string(),
            endpoint: shown,
            next_change: view.next_change.map(time),
            report_at: view.report_at.map(time),
            voids: view.report_voids.iter().map(Void::of).collect(),
            history: history.iter().map(Entry::of).collect(),
        }
    }
}

impl Entry {
    fn of(entry: &health::Entry) -> Self {
        Self {
            at: time(entry.at),
            kind: entry.kind.as_str().to_owned(),
            probe: entry.probe.as_deref().map(str::to_owned),
            result: entry.result.map(str::to_owned),
            from: entry.from.map(|state| state.as_str().to_owned()),
            to: entry.to.map(|state| state.as_str().to_owned()),
            detail: entry.detail.to_string(),
        }
    }
}

impl Void {
    fn of((metric, hint): &(Arc<str>, String)) -> Self {
        Self { metric: metric.to_string(), hint: hint.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::fixture;
    use crate::health::verdict::{Code, State};

    #[test]
    fn the_status_is_as_promised() {
        let now = clock::now();
        let sick = fixture::endpoint("127.0.0.1:9002", now);
        let mut view = fixture::view(State::Unhealthy, now);
        view.reasons[0].until = Some(now + std::time::Duration::from_secs(60));
        view.report.clear();
        view.probes[0].result = None;
        sick.show(view);
        let well = fixture::endpoint("127.0.0.1:9001", now);
        well.enter();
        let live = fixture::live(vec![well, sick]);
        live.enter(cluster::Phase::Ready);
        let at = time(now);
        assert!(at.ends_with('Z') && at.len() == "2026-11-24T00:00:00.007Z".len(), "{at}");
        let wanted = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "phase": "ready",
            "clusters": [{
                "name": "app", "panic": false, "frozen": false, "available": 1,
                "endpoints": [
                    {
                        "address": "127.0.0.1:9001", "state": "healthy", "available": true, "admitted": true, "weight": 1.0,
                        "in_flight": 1, "since": at, "reasons": [], "report": { "cpu": 0.31, "memory": 0.42 },
                        "probes": [{
                            "name": "ready", "result": "pass", "latency_seconds": 0.0008, "passing": true, "streak": 0, "at": at,
                        }],
                    },
                    {
                        "address": "127.0.0.1:9002", "state": "unhealthy", "available": false, "admitted": false, "weight": 0.0,
                        "in_flight": 0, "since": at, "report": {},
                        "reasons": [{
                            "code": "probe_timeout", "probe": "ready", "since": at,
                            "until": time(now + std::time::Duration::from_secs(60)),
                            "detail": "no complete answer within 1s, 3 times in a row",
                        }],
                        "probes": [{
                            "name": "ready", "result": null, "latency_seconds": null, "passing": false, "streak": 0, "at": null,
                        }],
                    },
                ],
            }],
        });
        let status = Status::of(&live);
        assert_eq!(serde_json::to_value(&status).unwrap(), wanted);
        assert_eq!(serde_json::from_value::<Status>(wanted).unwrap(), status);
    }

    #[test]
    fn an_explanation_is_the_endpoint_of_the_status_and_more() {
        let now = clock::now();
        let endpoint = fixture::endpoint("a:1", now);
        let entry = health::Entry {
            at: now,
            kind: health::Kind::Transition,
            probe: None,
            result: None,
            from: Some(State::Unknown),
            to: Some(State::Healthy),
            detail: "first probe passed".into(),
        };
        let explanation = Explanation::of(&endpoint, &[entry]);
        let value = serde_json::to_value(&explanation).unwrap();
        let mut shown = serde_json::to_value(Endpoint::of(&endpoint, &endpoint.view())).unwrap();
        shown["probes"][0]["excerpt"] = json!("{\"status\":\"UP\"}");
        for (key, wanted) in shown.as_object().unwrap() {
            assert_eq!(&value[key], wanted, "{key}");
        }
        let at = time(now);
        assert_eq!(value["cluster"], "app");
        assert_eq!(value["next_change"], json!(null));
        assert_eq!(value["report_at"], at);
        assert_eq!(value["voids"], json!([{ "metric": "queue", "hint": "no such field; found jobs.waiting" }]));
        let history = json!([{
            "at": at, "kind": "transition", "probe": null, "result": null, "from": "unknown", "to": "healthy",
            "detail": "first probe passed",
        }]);
        assert_eq!(value["history"], history);
        assert_eq!(serde_json::from_value::<Explanation>(value).unwrap(), explanation);
    }

    #[test]
    fn a_reason_has_the_code_that_metrics_have() {
        let reason = Reason::of(&fixture::reason(Code::Report("cpu".into()), "ready", clock::now()));
        assert_eq!((reason.code.as_str(), reason.until), ("report_cpu", None));
    }
}

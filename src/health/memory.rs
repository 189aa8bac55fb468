//! What a cluster's health would have to be told to believe the same again: for the process that takes over.
//!
//! It is what the axes know, without their settings, which come from the configuration: whatever does not fit these any more
//! is left out, and what is not there stays as in a fresh endpoint. So two versions of the program can hand over to each other.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::changes::Changes;
use crate::health::cluster::Cluster;
use crate::health::damping::Damping;
use crate::health::endpoint::Endpoint;
use crate::health::heartbeat::Heartbeat;
use crate::health::history::{Entry, Kind};
use crate::health::incarnation::Incarnation;
use crate::health::latency::Latency;
use crate::health::operator::Operator;
use crate::health::outliers::OutliersMemory;
use crate::health::policy::Policy;
use crate::health::probes::ProbesMemory;
use crate::health::ramp::Ramp;
use crate::health::refused::Refused;
use crate::health::reports::ReportsMemory;
use crate::health::role::Role;
use crate::health::shares::Shares;
use crate::health::verdict::State;
use crate::health::wishes::Wishes;

/// What is known of one endpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    state: Option<State>,
    since: Timestamp,
    probes: ProbesMemory,
    refused: Refused,
    reports: ReportsMemory,
    outliers: OutliersMemory,
    damping: Damping,
    ramp: Ramp,
    latency: Latency,
    /// Answers per bucket of latency.
    usual: Vec<(u8, u32)>,
    wishes: Wishes,
    shares: Shares,
    operator: Operator,
    heartbeat: Option<Heartbeat>,
    incarnation: Incarnation,
    role: Role,
    history: Vec<EntryMemory>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct EntryMemory {
    at: Timestamp,
    kind: String,
    probe: Option<Arc<str>>,
    result: Option<String>,
    from: Option<State>,
    to: Option<State>,
    detail: String,
}

impl Cluster {
    /// What is known of an endpoint; `None` if it is not here.
    #[must_use]
    pub fn memory(&self, id: EndpointId) -> Option<Memory> {
        self.get(id).map(Memory::of)
    }

    /// Believes again what was known of these endpoints. It is no news: nothing of it is told as a transition.
    pub fn remember(&mut self, mut memories: HashMap<EndpointId, Memory>, now: Timestamp) -> Changes {
        let mut changes = Changes { admission_changed: true, ..Changes::default() };
        self.each_endpoint(|endpoint, policy| {
            if let Some(memory) = memories.remove(&endpoint.id()) {
                memory.restore(endpoint, policy, now);
                changes.touched.push(endpoint.id());
            }
        });
        self.recount(now, &mut changes);
        changes.successions.clear();
        changes.finish()
    }
}

impl Memory {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            state: Some(endpoint.state),
            since: endpoint.since,
            probes: endpoint.probes.memory(),
            refused: endpoint.refused.clone(),
            reports: endpoint.reports.memory(),
            outliers: endpoint.outliers.memory(),
            damping: endpoint.damping.clone(),
            ramp: endpoint.ramp.clone(),
            latency: endpoint.latency.clone(),
            usual: endpoint.recent.usual(),
            wishes: Wishes::clone(&endpoint.wishes),
            shares: endpoint.shares.clone(),
            operator: Operator::clone(&endpoint.operator),
            heartbeat: Some(Heartbeat::clone(&endpoint.heartbeat)),
            incarnation: Incarnation::clone(&endpoint.incarnation),
            role: endpoint.role.clone(),
            history: endpoint.history.to_vec().iter().map(EntryMemory::of).collect(),
        }
    }

    fn restore(self, endpoint: &mut Endpoint, policy: &Policy, now: Timestamp) {
        endpoint.probes.remember(self.probes, policy);
        endpoint.refused = self.refused;
        endpoint.reports.remember(self.reports);
        endpoint.outliers.remember(self.outliers);
        endpoint.damping = self.damping;
        if policy.slow_start.is_some() {
            endpoint.ramp = self.ramp;
        }
        if policy.outlier.is_some() {
            endpoint.latency = self.latency;
        }
        if !self.usual.is_empty() {
            endpoint.recent.remember(&self.usual);
        }
        (endpoint.wishes, endpoint.shares) = (self.wishes.into(), self.shares);
        endpoint.operator = self.operator.into();
        endpoint.incarnation = self.incarnation.into();
        if policy.leader.is_some() {
            endpoint.role = self.role;
        }
        if let (Some(heartbeat), Some(_)) = (self.heartbeat, &policy.heartbeat) {
            endpoint.heartbeat = heartbeat.resumed(now).into();
            endpoint.fold_beats(policy);
        }
        for entry in self.history.iter().filter_map(EntryMemory::entry) {
            endpoint.history.push(entry);
        }
        if let Some(state) = self.state {
            endpoint.state = state;
            endpoint.since = self.since.min(now);
        }
    }
}

impl EntryMemory {
    fn of(entry: &Entry) -> Self {
        Self {
            at: entry.at,
            kind: entry.kind.as_str().to_owned(),
            probe: entry.probe.clone(),
            result: entry.result.map(str::to_owned),
            from: entry.from,
            to: entry.to,
            detail: entry.detail.to_string(),
        }
    }

    /// The entry, if its kind is still known.
    fn entry(&self) -> Option<Entry> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?;
        let result = self.result.as_deref();
        Some(Entry {
            probe: self.probe.clone(),
            result: ["pass", "fail", "void"].into_iter().find(|known| Some(*known) == result),
            from: self.from,
            to: self.to,
            ..Entry::new(self.at, kind, self.detail.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::ids::ClusterId;
    use crate::base::sketch::bucket;
    use crate::base::units::Ratio;
    use crate::health::glance::{Glance, Local};
    use crate::health::policy::{Outlier, SlowStart};
    use crate::health::signal::{Failure, Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal, Stamps};
    use crate::health::tests::{at, members, policy};
    use crate::report::{Asks, Report, Wish};

    fn tell(cluster: &mut Cluster, endpoint: u32, millis: u64, observation: Observation) {
        let signal = Signal { cluster: ClusterId(0), endpoint: EndpointId(endpoint), at: at(millis), observation };
        drop(cluster.apply(&signal, at(millis)));
    }

    fn probe(result: ProbeResult, millis: u64) -> Observation {
        let run = ProbeRun {
            probe: 0,
            started: at(millis),
            latency: Duration::from_millis(1),
            result,
            excerpt: "x".into(),
            stamps: Stamps::default(),
        };
        Observation::Probe(run)
    }

    /// Healthy, unhealthy and on the way back, degraded by a rule, drained.
    fn lived() -> Cluster {
        let mut cluster = Cluster::new(policy(), members(4), at(0));
        for endpoint in 0..4 {
            tell(&mut cluster, endpoint, 1, probe(ProbeResult::Pass, 1));
        }
        for millis in [10, 20, 30] {
            tell(&mut cluster, 1, millis, probe(ProbeResult::Fail(Failure::Status(503)), millis));
            let report = Report { metrics: vec![("cpu".into(), 0.85)], ..Report::default() };
            tell(&mut cluster, 2, millis, Observation::Report(ReportReading::Read(report)));
        }
        tell(&mut cluster, 1, 40, probe(ProbeResult::Pass, 40));
        let order = Observation::Operator { state: OperatorState::Draining, until: Some(at(9000)), reason: Some("disk".into()) };
        tell(&mut cluster, 3, 50, order);
        cluster
    }

    #[test]
    fn what_is_remembered_is_believed_again_and_goes_on() {
        let mut old = lived();
        let text: Vec<String> = (0..4).map(|id| serde_json::to_string(&old.memory(EndpointId(id)).unwrap()).unwrap()).collect();
        let mut new = Cluster::new(policy(), members(4), at(60));
        let memories = text.iter().zip(0..).map(|(text, id)| (EndpointId(id), serde_json::from_str(text).unwrap()));
        let changes = new.remember(memories.collect(), at(60));
        assert_eq!(changes.transitions, [], "it is no news");
        assert!(new.settled());
        for id in (0..4).map(EndpointId) {
            let (was, is) = (old.view(id).unwrap(), new.view(id).unwrap());
            assert_eq!((was.state, was.since, &was.reasons, &was.report), (is.state, is.since, &is.reasons, &is.report));
            assert_eq!(old.history(id), new.history(id));
        }
        for cluster in [&mut old, &mut new] {
            tell(cluster, 1, 70, probe(ProbeResult::Pass, 70));
            assert_eq!(cluster.view(EndpointId(1)).unwrap().state, State::Healthy, "the second pass brings it back");
            drop(cluster.tick(at(9000)));
            assert_eq!(cluster.view(EndpointId(3)).unwrap().state, State::Healthy);
        }
    }

    /// Three that are well, of which one is on its way back, one has asked to be drained by its agent, and one is slow.
    fn learnt(policy: &Policy) -> Cluster {
        let mut cluster = Cluster::new(policy.clone(), members(3), at(0));
        for endpoint in 0..3 {
            tell(&mut cluster, endpoint, 1, probe(ProbeResult::Pass, 1));
        }
        for millis in [10, 20, 30] {
            tell(&mut cluster, 0, millis, probe(ProbeResult::Fail(Failure::Status(503)), millis));
        }
        for millis in [40, 50] {
            tell(&mut cluster, 0, millis, probe(ProbeResult::Pass, millis));
        }
        tell(&mut cluster, 1, 60, Observation::Asks(Asks { wish: Some(Wish::Drain), ..Asks::default() }));
        for millis in (300..=4000).step_by(50) {
            let answers = |endpoint, latency| Glance {
                endpoint: EndpointId(endpoint),
                heard: at(millis),
                requests: 20,
                latencies: vec![(u8::try_from(bucket(Duration::from_millis(latency))).unwrap(), 20)],
                ..Glance::default()
            };
            drop(cluster.look(&[answers(0, 5), answers(1, 5), answers(2, 400)], Local::default(), at(millis)));
            drop(cluster.tick(at(millis)));
        }
        cluster
    }

    #[test]
    fn what_was_learnt_is_not_learnt_anew() {
        let slow_start = SlowStart { window: Duration::from_secs(60), floor: Ratio::parse("10%").unwrap() };
        let policy = Policy { outlier: Some(Outlier::usual()), slow_start: Some(slow_start), ..policy() };
        let old = learnt(&policy);
        let text: Vec<String> = (0..3).map(|id| serde_json::to_string(&old.memory(EndpointId(id)).unwrap()).unwrap()).collect();
        let mut new = Cluster::new(policy, members(3), at(4001));
        let memories = text.iter().zip(0..).map(|(text, id)| (EndpointId(id), serde_json::from_str(text).unwrap()));
        drop(new.remember(memories.collect(), at(4001)));
        let codes = |id| new.view(id).unwrap().reasons.iter().map(|reason| reason.code.to_string()).collect::<Vec<_>>();
        for (id, code) in (0..3).map(EndpointId).zip(["slow_start", "draining", "outlier_latency"]) {
            let (was, is) = (old.view(id).unwrap(), new.view(id).unwrap());
            assert_eq!(codes(id), [code]);
            assert_eq!(was.state, is.state);
            assert!((was.weight - is.weight).abs() < 1e-9 && is.weight < 0.5, "{code}: {} and {}", was.weight, is.weight);
            let usual = |cluster: &Cluster| cluster.get(id).unwrap().recent.usual();
            assert!(!usual(&old).is_empty() && usual(&old) == usual(&new), "{code}");
        }
    }

    #[test]
    fn what_another_version_does_not_say_is_as_in_a_fresh_endpoint() {
        let mut cluster = Cluster::new(policy(), members(1), at(0));
        let memory: Memory = serde_json::from_str("{\"unheard\":7}").unwrap();
        drop(cluster.remember(HashMap::from([(EndpointId(0), memory)]), at(1)));
        assert_eq!(cluster.view(EndpointId(0)).unwrap().state, State::Unknown);
        assert!(!cluster.settled());
    }
}

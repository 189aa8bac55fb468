//! Leaders against the engine: claims that come, go, age and contradict each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::health::policy::{Detector, HeartbeatPolicy, LeaderPolicy, Panic, Policy};
use crate::health::signal::{Beat, Failure, Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal, Stamps};
use crate::health::tests::{Bench, at, members, policy};
use crate::health::verdict::{LeaderView, Part, State};
use crate::health::{Changes, Cluster, Pace};
use crate::report::spec::RoleFields;
use crate::report::{Claim, Report};

fn led() -> Policy {
    let words = ["leader", "primary", "master"].map(Arc::from).to_vec();
    let fields = RoleFields { role: "role".into(), epoch: "epoch".into() };
    Policy {
        rules: Vec::new(),
        leader: Some(LeaderPolicy { leader_values: words, fields: Some(fields), asks: true }),
        ..policy()
    }
}

fn report(role: &str, epoch: impl Into<Option<u64>>) -> Observation {
    let claim = Some(Claim { role: role.into(), epoch: epoch.into() });
    Observation::Report(ReportReading::Read(Report { claim, ..Report::default() }))
}

impl Bench {
    fn says(&mut self, id: u32, role: &str, epoch: impl Into<Option<u64>>) {
        self.send(id, report(role, epoch));
    }

    /// Who leads and in which epoch, or why nobody does.
    fn leader(&self) -> (Result<u32, String>, u64) {
        of(&self.cluster)
    }

    fn part(&self, id: u32) -> Option<Part> {
        self.cluster.view(EndpointId(id)).unwrap().role.map(|role| role.part)
    }

    fn replicas(&self) -> Vec<u32> {
        self.cluster.replicas().iter().map(|(id, _)| id.0).collect()
    }
}

fn of(cluster: &Cluster) -> (Result<u32, String>, u64) {
    let view = cluster.leader().unwrap();
    let leader = view.leader.map(|id| id.0);
    (leader.ok_or_else(|| view.reason.expect("who is missing has a reason").code.to_string()), view.epoch)
}

fn nobody(why: &str, epoch: u64) -> (Result<u32, String>, u64) {
    (Err(why.to_owned()), epoch)
}

#[test]
fn one_who_says_so_leads_and_the_others_are_replicas() {
    let mut bench = Bench::well(led(), 3);
    assert_eq!((bench.leader(), bench.replicas()), (nobody("no_leader", 0), vec![0, 1, 2]));
    bench.says(0, "Primary", 3);
    bench.says(1, "replica", 9);
    assert_eq!((bench.leader(), bench.replicas()), ((Ok(0), 3), vec![1, 2]), "who does not lead raises no epoch");
    assert_eq!((bench.part(0), bench.part(1), bench.part(2)), (Some(Part::Leader), Some(Part::Replica), None));
    bench.says(0, "replica", 3);
    assert_eq!((bench.leader(), bench.replicas()), (nobody("no_leader", 3), vec![0, 1, 2]));
}

#[test]
fn a_higher_epoch_deposes_and_a_lower_one_never_leads_again() {
    let mut bench = Bench::well(led(), 3);
    bench.says(0, "leader", 3);
    bench.says(1, "leader", 4);
    assert_eq!((bench.leader(), bench.part(0), bench.replicas()), ((Ok(1), 4), Some(Part::Stale), vec![0, 2]));
    bench.says(1, "replica", 4);
    bench.says(0, "leader", 3);
    assert_eq!(bench.leader(), nobody("no_leader", 4));
    bench.says(0, "leader", None);
    assert_eq!(bench.leader(), nobody("no_leader", 4), "without a number it is epoch 0");
    bench.says(0, "leader", 4);
    assert_eq!(bench.leader(), (Ok(0), 4));
    let told: Vec<String> = bench.cluster.history(EndpointId(0)).into_iter().map(|entry| entry.detail.into()).collect();
    assert!(told.iter().any(|detail| detail.contains("an epoch that is over: 4")), "{told:?}");
}

#[test]
fn two_in_one_epoch_are_none_until_one_gives_in() {
    for epoch in [Some(5), None] {
        let mut bench = Bench::well(led(), 3);
        bench.says(0, "leader", epoch);
        bench.says(1, "master", epoch);
        assert_eq!(bench.leader(), nobody("leader_conflict", epoch.unwrap_or(0)));
        assert_eq!((bench.codes(0), bench.codes(1)), (vec!["leader_conflict".to_owned()], vec!["leader_conflict".to_owned()]));
        assert_eq!((bench.codes(2), bench.replicas()), (vec![], vec![0, 1, 2]), "reads go on");
        assert_eq!((bench.state(0), bench.state(1)), (State::Healthy, State::Healthy), "it is no verdict on their health");
        bench.says(0, "replica", epoch);
        assert_eq!((bench.leader(), bench.codes(1)), ((Ok(1), epoch.unwrap_or(0)), vec![]));
    }
    let mut bench = Bench::well(led(), 3);
    bench.says(0, "leader", 5);
    bench.says(1, "leader", 5);
    bench.says(2, "leader", 6);
    assert_eq!((bench.leader(), bench.codes(0)), ((Ok(2), 6), vec![]), "a higher epoch ends it too");
}

#[test]
fn a_leader_that_is_out_gets_nothing_and_nobody_takes_its_place() {
    let mut bench = Bench::well(Policy { panic: Panic::Below(crate::base::units::Ratio::ONE), ..led() }, 3);
    bench.says(0, "leader", 1);
    bench.operator(0, OperatorState::Draining, None);
    assert_eq!((bench.leader(), bench.part(0), bench.replicas()), (nobody("no_leader", 1), Some(Part::Out), vec![1, 2]));
    bench.operator(0, OperatorState::Ready, None);
    assert_eq!(bench.leader(), (Ok(0), 1));
    (0..3).for_each(|_| bench.fail(0));
    assert_eq!((bench.leader(), bench.replicas()), (nobody("no_leader", 1), vec![1, 2]), "through panic neither");
    let detail = bench.cluster.leader().unwrap().reason.unwrap().detail;
    assert_eq!(detail, "10.0.0.0:80 leads in epoch 1 and is unhealthy");
    // It has an epoch, so that its claim stands until it is too old.
    bench.says(1, "leader", 1);
    assert_eq!(bench.leader(), nobody("leader_conflict", 1));
    bench.says(1, "leader", 2);
    assert_eq!(bench.leader(), (Ok(1), 2));
}

#[test]
fn first_verdicts_are_in_when_everybody_has_been_heard_or_fails() {
    let mut bench = Bench::well(led(), 3);
    assert!(!bench.cluster.settled());
    bench.says(0, "leader", 1);
    bench.send(1, Observation::Report(ReportReading::None));
    assert!(!bench.cluster.settled());
    (0..3).for_each(|_| bench.fail(2));
    assert!(bench.cluster.settled());
}

#[test]
fn probes_hurry_while_nobody_leads() {
    let mut bench = Bench::well(led(), 2);
    let pace = |bench: &Bench, id: u32| bench.cluster.pace(EndpointId(id));
    assert_eq!([pace(&bench, 0), pace(&bench, 1)], [Pace::Fast; 2]);
    bench.says(0, "leader", 1);
    assert_eq!([pace(&bench, 0), pace(&bench, 1)], [Pace::Normal; 2]);
    bench.says(0, "replica", 1);
    assert_eq!([pace(&bench, 0), pace(&bench, 1)], [Pace::Fast; 2]);
}

#[test]
fn without_epochs_who_is_out_is_in_nobodys_way() {
    let mut bench = Bench::well(led(), 2);
    bench.says(0, "leader", None);
    (0..3).for_each(|_| bench.fail(0));
    bench.says(1, "leader", None);
    assert_eq!((bench.leader(), bench.part(0)), ((Ok(1), 0), Some(Part::Out)));
    bench.pass(0);
    bench.pass(0);
    assert_eq!(bench.leader(), nobody("leader_conflict", 0), "it is back, and has not given in");
}

#[test]
fn a_claim_ends_when_it_is_too_old_or_its_process_is_gone() {
    let mut bench = Bench::well(led(), 2);
    bench.says(0, "leader", 1);
    let said = bench.now;
    for _ in 0..3 {
        bench.says(1, "replica", 1);
    }
    bench.tick(said + 9999);
    assert_eq!(bench.leader(), (Ok(0), 1));
    assert_eq!(bench.cluster.next_change(), Some(at(said + 10_000)));
    bench.tick(said + 10_000);
    assert_eq!((bench.leader(), bench.part(0)), (nobody("no_leader", 1), None));
    bench.says(0, "leader", 1);
    bench.probe(0, 0, ProbeResult::Fail(Failure::Refused));
    assert_eq!(bench.leader(), (Ok(0), 1), "one refusal is none yet");
    (0..2).for_each(|_| bench.probe(0, 0, ProbeResult::Fail(Failure::Refused)));
    bench.says(1, "leader", 1);
    assert_eq!(bench.leader(), (Ok(1), 1), "whoever refuses is gone, and its claim with it");
    bench.says(0, "leader", 0);
    bench.probe(0, 0, ProbeResult::Fail(Failure::Refused));
    assert_eq!(bench.part(0), Some(Part::Stale), "what is said of it later stays said");
}

#[test]
fn heartbeats_claim_for_their_time_to_live() {
    let heartbeat =
        HeartbeatPolicy { period: Duration::from_millis(500), ttl: Duration::from_millis(1750), detector: Detector::Ttl };
    let mut bench = Bench::well(Policy { heartbeat: Some(heartbeat), ..led() }, 2);
    let beat = |role: Option<&str>, epoch, seq| {
        Observation::Beat(Beat { role: role.map(Arc::from), epoch, seq: Some(seq), ..Beat::default() })
    };
    bench.send(0, beat(Some("leader"), Some(2), 1));
    bench.send(1, beat(Some("replica"), Some(2), 1));
    assert_eq!(bench.leader(), (Ok(0), 2));
    bench.send(1, beat(Some("leader"), Some(9), 1));
    assert_eq!(bench.leader(), (Ok(0), 2), "what comes twice says nothing");
    bench.send(0, beat(None, None, 2));
    assert_eq!(bench.leader(), (Ok(0), 2), "what is not mentioned stays");
    bench.send(0, Observation::Report(ReportReading::Read(Report::default())));
    assert_eq!(bench.leader(), (Ok(0), 2));
    bench.tick(bench.now + 1750);
    assert_eq!(bench.leader(), nobody("no_leader", 2));
}

#[test]
fn a_reload_keeps_the_epoch_unless_it_is_another_number() {
    let mut bench = Bench::well(led(), 3);
    bench.says(0, "leader", 7);
    let others = members(3).split_off(1);
    drop(bench.cluster.reconfigure(Policy { thresholds: policy().thresholds, ..led() }, others, at(bench.now)));
    bench.says(1, "leader", 6);
    assert_eq!(bench.leader(), nobody("no_leader", 7), "the leader has left, its epoch has not");
    let mut elsewhere = led();
    elsewhere.leader.as_mut().unwrap().fields.as_mut().unwrap().epoch = "term".into();
    drop(bench.cluster.reconfigure(elsewhere, members(3), at(bench.now)));
    assert_eq!(bench.leader(), (Ok(1), 6));
    drop(bench.cluster.reconfigure(policy(), members(3), at(bench.now)));
    assert_eq!((bench.cluster.leader(), bench.part(1)), (None, None));
}

#[test]
fn what_is_remembered_is_led_by_the_same() {
    let mut old = Bench::well(led(), 3);
    old.says(0, "leader", 7);
    let memories = (0..3).map(|id| {
        let text = serde_json::to_string(&old.cluster.memory(EndpointId(id)).unwrap()).unwrap();
        (EndpointId(id), serde_json::from_str(&text).unwrap())
    });
    let mut new = Bench::new(led(), 3);
    let changes = new.cluster.remember(memories.collect(), at(old.now));
    assert_eq!((new.leader(), changes.successions), ((Ok(0), 7), Vec::new()));
    let changes = new.cluster.raise_epoch(8, at(old.now));
    assert_eq!((new.leader(), changes.successions.len()), (nobody("no_leader", 8), 1));
}

#[test]
fn who_leads_goes_on_being_asked_while_verdicts_are_frozen() {
    let mut bench = Bench::well(led(), 2);
    bench.says(0, "leader", 1);
    drop(bench.cluster.freeze(at(bench.now)));
    bench.says(1, "leader", 2);
    assert_eq!(bench.leader(), (Ok(1), 2));
}

/// One thing that happens, so many milliseconds after the last.
#[derive(Debug, Clone)]
enum Act {
    /// An endpoint says that it leads, or not; heard so many milliseconds after it was said.
    Says {
        id: u32,
        leads: bool,
        epoch: Option<u64>,
        late: u64,
    },
    /// A probe of it passes or fails.
    Probe {
        id: u32,
        well: bool,
    },
    Drain {
        id: u32,
        drains: bool,
    },
    Reload,
    Tick,
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let id = 0..4_u32;
    let epoch = prop::option::weighted(0.8, 0..5_u64);
    let late = prop_oneof![4 => Just(0), 1 => 0..3000_u64];
    let says = (id.clone(), any::<bool>(), epoch, late);
    let act = prop_oneof![
        8 => says.prop_map(|(id, leads, epoch, late)| Act::Says { id, leads, epoch, late }),
        3 => (id.clone(), any::<bool>()).prop_map(|(id, well)| Act::Probe { id, well }),
        1 => (id, any::<bool>()).prop_map(|(id, drains)| Act::Drain { id, drains }),
        1 => Just(Act::Reload),
        1 => Just(Act::Tick),
    ];
    prop::collection::vec((prop_oneof![3 => 0..50_u64, 1 => 0..12_000_u64], act), 1..60)
}

fn take(cluster: &mut Cluster, now: Timestamp, act: &Act) -> Changes {
    let send = |cluster: &mut Cluster, id: u32, at: Timestamp, observation| {
        cluster.apply(&Signal { cluster: ClusterId(0), endpoint: EndpointId(id), at, observation }, now)
    };
    match *act {
        Act::Says { id, leads, epoch, late } => {
            let said = report(if leads { "leader" } else { "replica" }, epoch);
            send(cluster, id, now - Duration::from_millis(late), said)
        }
        Act::Probe { id, well } => {
            let result = if well { ProbeResult::Pass } else { ProbeResult::Fail(Failure::Status(503)) };
            let (latency, excerpt, stamps) = (Duration::ZERO, Arc::from(""), Stamps::default());
            send(cluster, id, now, Observation::Probe(ProbeRun { probe: 0, started: now, latency, result, excerpt, stamps }))
        }
        Act::Drain { id, drains } => {
            let state = if drains { OperatorState::Draining } else { OperatorState::Ready };
            send(cluster, id, now, Observation::Operator { state, until: None, reason: None })
        }
        Act::Reload => cluster.reconfigure(led(), members(4), now),
        Act::Tick => cluster.tick(now),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Claims in any order, late, lost and repeated: epochs never fall, at most one endpoint leads, and never in an epoch that is
    /// over, nor while another one says the same.
    #[test]
    fn at_most_one_leads_and_never_in_an_epoch_that_is_over(acts in acts()) {
        let mut cluster = Cluster::new(led(), members(4), at(0));
        let mut now = at(20_000);
        // What each said last, and when, as a model has it.
        let mut said: BTreeMap<u32, (Timestamp, bool, Option<u64>)> = BTreeMap::new();
        let mut heard = 0;
        for (gap, act) in acts {
            now = now + Duration::from_millis(gap);
            drop(cluster.tick(now));
            let before = cluster.leader();
            let changes = take(&mut cluster, now, &act);
            if let Act::Says { id, leads, epoch, late } = act {
                let at = now - Duration::from_millis(late);
                if said.get(&id).is_none_or(|(last, _, _)| at >= *last) {
                    said.insert(id, (at, leads, epoch));
                    heard = heard.max(if leads { epoch.unwrap_or(0) } else { 0 });
                }
            }
            said.retain(|_, (at, _, _)| now < *at + Duration::from_secs(10));
            let view = cluster.leader().unwrap();
            prop_assert!(before == Some(view.clone()) || changes.admission_changed);
            let is_led = |view: &LeaderView| view.leader.is_some();
            let all = changes.touched.len() == 4;
            prop_assert!(all || before.as_ref().is_some_and(is_led) == is_led(&view), "all have another pace");
            prop_assert_eq!(view.epoch, heard);
            prop_assert_eq!(view.leader.is_none(), view.reason.is_some());
            let claims: Vec<u32> =
                said.iter().filter(|(_, (_, leads, epoch))| *leads && epoch.unwrap_or(0) == heard).map(|(id, _)| *id).collect();
            let stated = claims.iter().filter(|id| said[id].2.is_some()).count();
            if let Some(leader) = view.leader {
                prop_assert!(claims.contains(&leader.0), "{:?} leads, {:?} say so", leader, claims);
                prop_assert!(stated <= 1);
                prop_assert!(!cluster.replicas().iter().any(|(id, _)| *id == leader));
                let state = cluster.view(leader).unwrap().state;
                prop_assert!(matches!(state, State::Healthy | State::Degraded | State::Suspect), "{:?}", state);
            }
            let parts = (0..4).filter_map(|id| cluster.view(EndpointId(id)).unwrap().role);
            prop_assert_eq!(parts.filter(|role| role.part == Part::Leader).count(), usize::from(view.leader.is_some()));
            // What is kept step by step is what deciding from scratch gives.
            let mut anew = cluster.clone();
            let recount = anew.reconfigure(led(), members(4), now);
            prop_assert_eq!(recount.successions, vec![]);
            prop_assert_eq!(anew.leader(), cluster.leader());
        }
    }
}

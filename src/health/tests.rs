//! The engine as its caller sees it: signals in, transitions, views and admission out.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::base::units::Ratio;
use crate::health::policy::{For, Level, Panic, Policy, Require, Rule, Start, Thresholds, When};
use crate::health::signal::{Failure, Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal, Stamps};
use crate::health::verdict::{Code, State};
use crate::health::{Changes, Cluster, Kind, Member, Pace, Probed};
use crate::report::{Report, StatusWord};

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn share(percent: f64) -> Ratio {
    Ratio::try_new(percent / 100.0).unwrap()
}

/// Three endpoints, one probe, fall 3, rise 2, cpu rule degrade 80, eject 95, recover 70, for 3.
pub(super) fn policy() -> Policy {
    Policy {
        advisers: Vec::new(),
        elsewhere: Vec::new(),
        probes: vec![Arc::from("ready")],
        asking: vec![true; 3],
        require: Require::All,
        thresholds: Thresholds { fall: count(3), rise: count(2) },
        start: Start::Unknown,
        heartbeat: None,
        rules: vec![Rule {
            metric: Arc::from("cpu"),
            when: When::Above,
            degrade: Some(Level { level: 0.8, recover: 0.72 }),
            eject: Some(Level { level: 0.95, recover: 0.7 }),
            hold: For::Reports(count(3)),
            enforce: true,
        }],
        report_max_age: Duration::from_secs(10),
        weight_by: None,
        silence: None,
        outlier: None,
        slow_start: None,
        damping: None,
        interval: Duration::from_secs(2),
        references: false,
        max_ejected: share(50.0),
        panic: Panic::Off,
        quorum: false,
        leader: None,
    }
}

pub(super) fn members(n: u32) -> Vec<Member> {
    (0..n)
        .map(|id| Member { id: EndpointId(id), address: Arc::from(format!("10.0.0.{id}:80")), weight: 1, backup: false })
        .collect()
}

/// A cluster with a clock that goes on by a millisecond with every signal.
pub(super) struct Bench {
    pub(super) cluster: Cluster,
    pub(super) now: u64,
    /// What the last call changed.
    pub(super) changes: Changes,
}

impl Bench {
    pub(super) fn new(policy: Policy, n: u32) -> Self {
        Self { cluster: Cluster::new(policy, members(n), at(0)), now: 0, changes: Changes::default() }
    }

    /// All endpoints have passed once.
    pub(super) fn well(policy: Policy, n: u32) -> Self {
        let mut bench = Self::new(policy, n);
        for id in 0..n {
            bench.pass(id);
        }
        bench
    }

    pub(super) fn send(&mut self, id: u32, observation: Observation) {
        self.now += 1;
        let signal = Signal { cluster: ClusterId(0), endpoint: EndpointId(id), at: at(self.now), observation };
        self.changes = self.cluster.apply(&signal, at(self.now));
    }

    pub(super) fn probe(&mut self, id: u32, probe: usize, result: ProbeResult) {
        let run = ProbeRun {
            probe,
            started: at(self.now),
            latency: Duration::from_millis(1),
            result,
            excerpt: Arc::from(""),
            stamps: Stamps::default(),
        };
        self.send(id, Observation::Probe(run));
    }

    pub(super) fn pass(&mut self, id: u32) {
        self.probe(id, 0, ProbeResult::Pass);
    }

    pub(super) fn fail(&mut self, id: u32) {
        self.probe(id, 0, ProbeResult::Fail(Failure::Status(500)));
    }

    fn cpu(&mut self, id: u32, value: f64) {
        let report = Report { metrics: vec![(Arc::from("cpu"), value)], ..Report::default() };
        self.send(id, Observation::Report(ReportReading::Read(report)));
    }

    pub(super) fn operator(&mut self, id: u32, state: OperatorState, until: Option<Timestamp>) {
        self.send(id, Observation::Operator { state, until, reason: None });
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.now = now;
        self.changes = self.cluster.tick(at(now));
    }

    pub(super) fn state(&self, id: u32) -> State {
        self.cluster.view(EndpointId(id)).unwrap().state
    }

    pub(super) fn codes(&self, id: u32) -> Vec<String> {
        self.cluster.view(EndpointId(id)).unwrap().reasons.iter().map(|reason| reason.code.to_string()).collect()
    }

    fn admitted(&self) -> Vec<u32> {
        self.cluster.admission().admitted.iter().map(|(id, _)| id.0).collect()
    }

    fn pace(&self, id: u32) -> Pace {
        self.cluster.pace(EndpointId(id))
    }
}

#[test]
fn the_first_result_decides_either_way() {
    let mut bench = Bench::new(policy(), 2);
    assert_eq!(
        (bench.state(0), bench.codes(0), bench.cluster.settled()),
        (State::Unknown, vec!["not_probed_yet".to_owned()], false)
    );
    bench.pass(0);
    bench.fail(1);
    assert_eq!((bench.state(0), bench.state(1), bench.cluster.settled()), (State::Healthy, State::Unhealthy, true));
    assert_eq!((bench.admitted(), bench.codes(1)), (vec![0], vec!["probe_status".to_owned()]));
}

#[test]
fn afterwards_fall_and_rise_count_in_a_row() {
    let mut bench = Bench::well(policy(), 1);
    for (passes, expected) in [
        (false, State::Healthy),
        (false, State::Healthy),
        (true, State::Healthy),
        (false, State::Healthy),
        (false, State::Healthy),
        (false, State::Unhealthy),
        (true, State::Unhealthy),
        (false, State::Unhealthy),
        (true, State::Unhealthy),
        (true, State::Healthy),
    ] {
        if passes {
            bench.pass(0)
        } else {
            bench.fail(0)
        };
        assert_eq!(bench.state(0), expected);
    }
}

#[test]
fn a_void_changes_no_count() {
    let mut bench = Bench::well(policy(), 1);
    bench.fail(0);
    bench.fail(0);
    bench.probe(0, 0, ProbeResult::Void("the process stood still".to_owned()));
    assert_eq!(bench.state(0), State::Healthy);
    bench.fail(0);
    assert_eq!(bench.state(0), State::Unhealthy);
}

#[test]
fn a_void_alone_decides_nothing_and_is_told() {
    let mut bench = Bench::new(policy(), 1);
    bench.probe(0, 0, ProbeResult::Void("the name does not resolve".to_owned()));
    assert_eq!((bench.state(0), bench.codes(0)), (State::Unknown, vec!["probe_error".to_owned()]));
}

#[test]
fn a_start_of_healthy_holds_until_fall_results_say_otherwise() {
    let mut bench = Bench::new(Policy { start: Start::Healthy, ..policy() }, 1);
    assert_eq!((bench.state(0), bench.cluster.settled(), bench.admitted()), (State::Healthy, true, vec![0]));
    bench.fail(0);
    bench.fail(0);
    assert_eq!(bench.state(0), State::Healthy);
    bench.fail(0);
    assert_eq!(bench.state(0), State::Unhealthy);
}

#[test]
fn a_fold_decides_as_soon_as_it_is_certain() {
    use State::{Healthy, Unhealthy, Unknown};
    let check = |require: Require, results: [Option<bool>; 3], expected: State| {
        let probes = ["a", "b", "c"].map(Arc::from).to_vec();
        let mut bench = Bench::new(Policy { probes, require, ..policy() }, 1);
        for (probe, result) in results.iter().enumerate() {
            match result {
                Some(true) => bench.probe(0, probe, ProbeResult::Pass),
                Some(false) => bench.probe(0, probe, ProbeResult::Fail(Failure::Refused)),
                None => {}
            }
        }
        assert_eq!(bench.state(0), expected, "{require:?} of {results:?}");
    };
    let (yes, no, open) = (Some(true), Some(false), None);
    check(Require::All, [yes, yes, open], Unknown);
    check(Require::All, [yes, no, open], Unhealthy);
    check(Require::All, [yes, yes, yes], Healthy);
    check(Require::Any, [no, no, open], Unknown);
    check(Require::Any, [open, yes, open], Healthy);
    check(Require::Any, [no, no, no], Unhealthy);
    check(Require::AtLeast(count(2)), [yes, no, open], Unknown);
    check(Require::AtLeast(count(2)), [no, no, open], Unhealthy);
    check(Require::AtLeast(count(2)), [yes, no, yes], Healthy);
}

#[test]
fn every_failure_leaves_its_reason() {
    for (failure, code, detail) in [
        (Failure::Refused, "probe_refused", "connection refused"),
        (Failure::Timeout(Duration::from_millis(200)), "probe_timeout", "no complete answer within 200ms"),
        (Failure::Status(503), "probe_status", "status 503"),
        (Failure::Body("ok".to_owned()), "probe_body", "the body lacks \"ok\""),
        (Failure::ReportStatus("DOWN".to_owned()), "report_status", "its report says \"DOWN\""),
        (Failure::Error("not HTTP".to_owned()), "probe_error", "not HTTP"),
    ] {
        let mut bench = Bench::new(policy(), 1);
        bench.probe(0, 0, ProbeResult::Fail(failure));
        let reasons = bench.cluster.view(EndpointId(0)).unwrap().reasons;
        assert_eq!((reasons.len(), reasons[0].code.to_string().as_str()), (1, code));
        assert_eq!((reasons[0].probe.as_deref(), reasons[0].detail.split(';').next()), (Some("ready"), Some(detail)));
    }
}

#[test]
fn refused_connects_take_out_and_passes_bring_back() {
    let mut bench = Bench::well(policy(), 2);
    for _ in 0..2 {
        bench.send(0, Observation::Refused);
    }
    assert_eq!((bench.state(0), bench.pace(0)), (State::Healthy, Pace::Fast));
    bench.send(0, Observation::Answered);
    bench.send(0, Observation::Refused);
    bench.send(0, Observation::Refused);
    bench.pass(0);
    for expected in [State::Healthy, State::Healthy, State::Unhealthy] {
        bench.send(0, Observation::Refused);
        assert_eq!(bench.state(0), expected);
    }
    assert_eq!((bench.codes(0), bench.pace(0), bench.admitted()), (vec!["refused".to_owned()], Pace::Down, vec![1]));
    bench.send(0, Observation::Answered);
    bench.pass(0);
    assert_eq!((bench.state(0), bench.pace(0)), (State::Unhealthy, Pace::Fast));
    bench.send(0, Observation::Refused);
    assert_eq!((bench.state(0), bench.pace(0)), (State::Unhealthy, Pace::Down));
    bench.pass(0);
    bench.pass(0);
    assert_eq!((bench.state(0), bench.pace(0)), (State::Healthy, Pace::Normal));
}

#[test]
fn refusals_within_a_millisecond_count_once() {
    let mut bench = Bench::well(policy(), 1);
    let nanos = |n: u64| Timestamp::from_nanos(1_000_000_000 + n);
    for n in [0, 1, 500_000, 999_999, 1_000_000, 1_999_999] {
        let signal = Signal { cluster: ClusterId(0), endpoint: EndpointId(0), at: nanos(n), observation: Observation::Refused };
        bench.changes = bench.cluster.apply(&signal, nanos(2_000_000));
    }
    assert_eq!(bench.state(0), State::Healthy, "two of them counted");
    bench.now = 1_100;
    bench.send(0, Observation::Refused);
    assert_eq!(bench.state(0), State::Unhealthy);
}

#[test]
fn a_pass_that_began_before_the_refusal_is_no_success_after_it() {
    let mut bench = Bench::well(policy(), 1);
    bench.send(0, Observation::Refused);
    bench.send(0, Observation::Refused);
    let run = ProbeRun {
        probe: 0,
        started: at(0),
        latency: Duration::ZERO,
        result: ProbeResult::Pass,
        excerpt: Arc::from(""),
        stamps: Stamps::default(),
    };
    bench.send(0, Observation::Probe(run));
    assert_eq!(bench.pace(0), Pace::Fast);
    bench.send(0, Observation::Refused);
    assert_eq!(bench.state(0), State::Unhealthy);
}

#[test]
fn without_probes_a_refused_endpoint_is_tried_again() {
    let mut bench = Bench::new(Policy { probes: Vec::new(), ..policy() }, 2);
    assert_eq!((bench.state(0), bench.cluster.settled(), bench.admitted()), (State::Healthy, true, vec![0, 1]));
    for _ in 0..3 {
        bench.send(0, Observation::Refused);
    }
    assert_eq!((bench.state(0), bench.cluster.next_change()), (State::Unhealthy, Some(at(5_003))));
    assert_eq!(bench.cluster.view(EndpointId(0)).unwrap().next_change, Some(at(5_003)));
    bench.tick(5_003);
    assert_eq!((bench.state(0), bench.codes(0)), (State::Degraded, vec!["refused".to_owned()]));
    bench.send(0, Observation::Refused);
    assert_eq!(bench.state(0), State::Unhealthy, "one refusal ends the trial");
    bench.tick(10_004);
    bench.send(0, Observation::Answered);
    assert_eq!((bench.state(0), bench.codes(0)), (State::Healthy, vec![]));
}

#[test]
fn a_probe_that_does_not_reach_it_says_nothing_of_refused_connects() {
    let mut bench = Bench::well(Policy { elsewhere: vec![Arc::from("ready")], ..policy() }, 2);
    for _ in 0..3 {
        bench.now += 2;
        bench.send(0, Observation::Refused);
        bench.pass(0);
    }
    assert_eq!((bench.state(0), bench.codes(0)), (State::Unhealthy, vec!["refused".to_owned()]));
    (0..5).for_each(|_| bench.pass(0));
    assert_eq!(bench.state(0), State::Unhealthy, "a file that is fresh does not bring it back");
    bench.tick(bench.now + 5000);
    assert_eq!(bench.state(0), State::Degraded, "traffic must say so");
    bench.send(0, Observation::Answered);
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn a_reset_asks_for_a_closer_look_and_ejects_nobody() {
    let mut bench = Bench::well(policy(), 1);
    assert_eq!(bench.pace(0), Pace::Normal);
    for _ in 0..100 {
        bench.send(0, Observation::Reset);
    }
    assert_eq!((bench.state(0), bench.pace(0)), (State::Healthy, Pace::Fast));
    bench.now += 1;
    bench.pass(0);
    assert_eq!(bench.pace(0), Pace::Normal);
}

#[test]
fn the_pace_follows_the_question() {
    let mut bench = Bench::new(policy(), 1);
    let mut paces = vec![bench.pace(0)];
    for passes in [true, false, false, false, false, true, true, true] {
        if passes {
            bench.pass(0)
        } else {
            bench.fail(0)
        }
        paces.push(bench.pace(0));
    }
    use Pace::{Down, Fast, Normal};
    assert_eq!(paces, [Fast, Normal, Fast, Fast, Down, Down, Fast, Normal, Normal]);
    assert_eq!(bench.pace(99), Normal);
}

#[test]
fn a_full_endpoint_is_degraded_then_ejected_and_returns_below_recover() {
    let mut bench = Bench::well(policy(), 3);
    for (cpu, expected) in [
        (0.9, State::Healthy),
        (0.97, State::Healthy),
        (0.97, State::Degraded),
        (0.97, State::Ejected),
        (0.75, State::Ejected),
        (0.71, State::Ejected),
        (0.69, State::Healthy),
    ] {
        bench.cpu(0, cpu);
        assert_eq!(bench.state(0), expected, "after {cpu}");
    }
    let entries = bench.cluster.history(EndpointId(0));
    let ejection = entries.iter().find(|entry| entry.to == Some(State::Ejected)).expect("it is remembered");
    assert_eq!(&*ejection.detail, "report_cpu: cpu 97 % >= 95 % in 3 reports, back below 70 %");
}

#[test]
fn a_missing_metric_leaves_the_streak_as_it_is() {
    let mut bench = Bench::well(policy(), 3);
    bench.cpu(0, 0.97);
    bench.cpu(0, 0.97);
    bench.send(0, Observation::Report(ReportReading::Read(Report::default())));
    bench.send(0, Observation::Report(ReportReading::Void("not JSON".to_owned())));
    bench.send(0, Observation::Report(ReportReading::None));
    assert_eq!(bench.state(0), State::Healthy);
    bench.cpu(0, 0.97);
    assert_eq!(bench.state(0), State::Ejected);
}

#[test]
fn what_an_old_report_caused_is_lifted_by_time() {
    let mut bench = Bench::well(policy(), 3);
    for _ in 0..3 {
        bench.cpu(0, 0.97);
    }
    assert_eq!((bench.state(0), bench.cluster.next_change()), (State::Ejected, Some(at(10_006))));
    bench.tick(10_005);
    assert_eq!(bench.state(0), State::Ejected);
    bench.tick(10_006);
    assert_eq!((bench.state(0), bench.changes.transitions.len()), (State::Healthy, 1));
    assert_eq!(bench.cluster.view(EndpointId(0)).unwrap().report, []);
}

#[test]
fn soft_ejections_are_capped_withheld_ones_degraded_and_next_in_line_when_there_is_room() {
    let mut bench = Bench::well(policy(), 3);
    for id in 0..3 {
        for _ in 0..3 {
            bench.cpu(id, 0.97);
        }
    }
    assert_eq!([0, 1, 2].map(|id| bench.state(id)), [State::Ejected, State::Degraded, State::Degraded]);
    assert_eq!(bench.changes.withheld, [(EndpointId(2), Code::Report(Arc::from("cpu")))]);
    bench.cpu(2, 0.98);
    assert_eq!(bench.changes.withheld, [], "an onset counts once");
    bench.cpu(0, 0.1);
    assert_eq!([0, 1, 2].map(|id| bench.state(id)), [State::Healthy, State::Degraded, State::Degraded], "they turned at once");
    bench.tick(7000);
    assert_eq!([0, 1, 2].map(|id| bench.state(id)), [State::Healthy, State::Ejected, State::Degraded], "it has lasted");
    assert_eq!(bench.changes.withheld, [(EndpointId(2), Code::Report(Arc::from("cpu")))], "there is room for one");
    assert_eq!(bench.codes(2), ["report_cpu"]);
}

#[test]
fn the_last_available_endpoint_is_never_ejected_for_its_report() {
    let mut bench = Bench::well(policy(), 2);
    for _ in 0..3 {
        bench.cpu(0, 0.97);
    }
    assert_eq!(bench.state(0), State::Ejected);
    for _ in 0..3 {
        bench.fail(1);
    }
    assert_eq!((bench.state(0), bench.state(1), bench.admitted()), (State::Degraded, State::Unhealthy, vec![0]));
    bench.pass(1);
    bench.pass(1);
    assert_eq!((bench.state(0), bench.state(1)), (State::Ejected, State::Healthy));
}

#[test]
fn a_failed_probe_is_not_capped() {
    let mut bench = Bench::well(policy(), 2);
    for id in 0..2 {
        for _ in 0..3 {
            bench.fail(id);
        }
    }
    assert_eq!((bench.admitted(), bench.cluster.admission().available), (vec![], 0));
}

#[test]
fn a_warning_word_degrades_at_once_and_until_it_is_gone() {
    let mut bench = Bench::well(policy(), 1);
    let say = |bench: &mut Bench, status| {
        let report = Report { status: Some(status), word: Some("warn".to_owned()), ..Report::default() };
        bench.send(0, Observation::Report(ReportReading::Read(report)));
    };
    say(&mut bench, StatusWord::Degraded);
    assert_eq!((bench.state(0), bench.codes(0)), (State::Degraded, vec!["report_status".to_owned()]));
    assert_eq!(bench.cluster.admission().admitted, [(EndpointId(0), 0.5)]);
    say(&mut bench, StatusWord::Healthy);
    assert_eq!(bench.state(0), State::Healthy);
    say(&mut bench, StatusWord::Degraded);
    bench.tick(20_000);
    assert_eq!(bench.state(0), State::Healthy, "its report is too old");
}

#[test]
fn a_rule_that_is_not_enforced_is_only_remembered() {
    let mut policy = policy();
    policy.rules[0].enforce = false;
    let mut bench = Bench::well(policy, 3);
    for _ in 0..4 {
        bench.cpu(0, 0.97);
    }
    assert_eq!((bench.state(0), bench.codes(0)), (State::Healthy, vec![]));
    let would: Vec<String> =
        bench.cluster.history(EndpointId(0)).into_iter().filter(|e| e.kind == Kind::WouldBe).map(|e| e.detail.into()).collect();
    assert!(would.iter().any(|text| text.starts_with("eject: cpu 97 % >= 95 %")), "{would:?}");
}

#[test]
fn the_operator_outranks_everything_and_reasons_keep_their_order() {
    let mut bench = Bench::well(policy(), 3);
    for _ in 0..3 {
        bench.cpu(0, 0.97);
    }
    for _ in 0..3 {
        bench.fail(0);
    }
    bench.operator(0, OperatorState::Draining, Some(at(60_000)));
    assert_eq!(
        (bench.state(0), bench.codes(0)),
        (State::Draining, ["draining", "probe_status", "report_cpu"].map(str::to_owned).to_vec())
    );
    bench.operator(0, OperatorState::Maintenance, Some(at(9_000)));
    assert_eq!(bench.state(0), State::Maintenance);
    bench.tick(9_000);
    assert_eq!(bench.state(0), State::Unhealthy);
}

#[test]
fn maintenance_never_gets_traffic_not_even_in_panic() {
    let mut bench = Bench::well(Policy { panic: Panic::Below(share(0.0)), ..policy() }, 2);
    bench.operator(0, OperatorState::Maintenance, None);
    bench.operator(1, OperatorState::Draining, None);
    assert_eq!((bench.admitted(), bench.cluster.admission().panic), (vec![], false));
}

#[test]
fn panic_takes_answers_before_refusals() {
    let mut bench = Bench::well(Policy { panic: Panic::Below(share(0.0)), ..policy() }, 3);
    for id in 0..3 {
        for _ in 0..3 {
            bench.fail(id);
        }
    }
    let admission = bench.cluster.admission();
    assert_eq!((admission.panic, admission.available, bench.admitted()), (true, 0, vec![0, 1, 2]));
    let view = bench.cluster.view(EndpointId(0)).unwrap();
    assert_eq!((view.available, view.admitted), (false, true));
    for _ in 0..3 {
        bench.send(2, Observation::Refused);
    }
    assert!(bench.changes.admission_changed);
    assert_eq!(bench.admitted(), [0, 1]);
    assert_eq!(bench.codes(2), ["probe_status", "refused"]);
}

#[test]
fn backups_wait_for_the_last_primary() {
    let mut members = members(3);
    members[2].backup = true;
    let mut bench = Bench::well(policy(), 3);
    bench.changes = bench.cluster.reconfigure(policy(), members, at(10));
    assert_eq!(bench.admitted(), [0, 1]);
    for id in 0..2 {
        for _ in 0..3 {
            bench.fail(id);
        }
    }
    assert_eq!((bench.admitted(), bench.cluster.admission().panic), (vec![2], false));
    bench.pass(1);
    bench.pass(1);
    assert_eq!(bench.admitted(), [1]);
    assert!(bench.changes.touched.contains(&EndpointId(2)), "its view changed too");
}

#[test]
fn a_frozen_cluster_listens_and_does_not_act() {
    let mut bench = Bench::well(policy(), 2);
    bench.changes = bench.cluster.freeze(at(10));
    assert_eq!((bench.changes.touched.len(), bench.codes(1)), (2, vec!["frozen".to_owned()]));
    for _ in 0..3 {
        bench.fail(0);
    }
    assert_eq!((bench.state(0), bench.admitted()), (State::Healthy, vec![0, 1]));
    bench.operator(1, OperatorState::Draining, None);
    assert_eq!(
        (bench.state(1), bench.admitted(), bench.codes(1)),
        (State::Draining, vec![0], vec!["draining".to_owned(), "frozen".to_owned()])
    );
    bench.changes = bench.cluster.thaw(at(20));
    assert_eq!(
        (bench.state(0), bench.codes(0), bench.changes.transitions.len()),
        (State::Unhealthy, vec!["probe_status".to_owned()], 1)
    );
    assert!(bench.cluster.thaw(at(21)).touched.is_empty());
}

#[test]
fn a_frozen_cluster_keeps_its_ejections_through_a_thaw() {
    let mut bench = Bench::well(policy(), 2);
    for id in 0..2 {
        for _ in 0..3 {
            bench.cpu(id, 0.97);
        }
    }
    let states = |bench: &Bench| [0, 1].map(|id| bench.state(id));
    assert_eq!(states(&bench), [State::Ejected, State::Degraded]);
    bench.changes = bench.cluster.freeze(at(10));
    bench.changes = bench.cluster.reconfigure(policy(), members(2), at(11));
    assert_eq!((states(&bench), bench.changes.transitions.len()), ([State::Ejected, State::Degraded], 0));
    bench.changes = bench.cluster.thaw(at(12));
    assert_eq!((states(&bench), bench.changes.transitions.len()), ([State::Ejected, State::Degraded], 0));
    assert_eq!(bench.changes.withheld, []);
}

#[test]
fn whoever_stays_through_a_reload_keeps_its_state() {
    let mut bench = Bench::well(policy(), 4);
    for _ in 0..3 {
        bench.fail(1);
    }
    for _ in 0..3 {
        bench.cpu(2, 0.97);
    }
    bench.operator(0, OperatorState::Draining, None);
    let mut after = members(5);
    after.rotate_left(1);
    after[0].weight = 7;
    bench.changes = bench.cluster.reconfigure(policy(), after, at(100));
    let states = [0, 1, 2, 3, 4].map(|id| bench.state(id));
    assert_eq!(states, [State::Draining, State::Unhealthy, State::Ejected, State::Healthy, State::Unknown]);
    assert_eq!((bench.changes.transitions.len(), bench.cluster.settled()), (0, false));
    bench.changes = bench.cluster.reconfigure(policy(), members(1), at(101));
    assert_eq!((bench.cluster.view(EndpointId(1)), bench.cluster.settled()), (None, true));
    bench.fail(1);
    assert_eq!(bench.changes, Changes::default(), "signals of those that left are ignored");
}

#[test]
fn probes_keep_their_state_by_name_and_a_new_one_takes_nobody_out() {
    let mut bench = Bench::well(policy(), 1);
    bench.fail(0);
    bench.fail(0);
    let two = Policy { probes: vec![Arc::from("port"), Arc::from("ready")], ..policy() };
    bench.changes = bench.cluster.reconfigure(two, members(1), at(100));
    assert_eq!(bench.state(0), State::Healthy);
    bench.probe(0, 1, ProbeResult::Fail(Failure::Refused));
    assert_eq!(bench.state(0), State::Unhealthy, "the third failure of the kept probe");
    bench.probe(0, 7, ProbeResult::Pass);
    bench.changes = bench.cluster.reconfigure(Policy { probes: vec![Arc::from("other")], ..policy() }, members(1), at(200));
    assert_eq!((bench.state(0), bench.codes(0)), (State::Unknown, vec!["not_probed_yet".to_owned()]));
    bench.pass(0);
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn fuller_endpoints_weigh_less() {
    let mut bench = Bench::well(Policy { weight_by: Some(Arc::from("cpu")), rules: Vec::new(), ..policy() }, 3);
    bench.cpu(0, 0.1);
    bench.cpu(1, 0.7);
    assert!(bench.changes.admission_changed);
    let weights: Vec<f64> = bench.cluster.admission().admitted.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [1.5, 0.5, 1.0]);
    bench.cpu(1, 0.72);
    assert!(!bench.changes.admission_changed, "a trembling load publishes nothing");
    bench.tick(10_004);
    let weights: Vec<f64> = bench.cluster.admission().admitted.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights[1..2], [1.0], "the only fresh figure is the mean: {weights:?}");
}

#[test]
fn an_ordinary_pass_changes_what_its_probe_found_and_nothing_else() {
    let mut bench = Bench::well(policy(), 100);
    bench.pass(7);
    let probed = Probed { endpoint: EndpointId(7), position: 7, probe: 0 };
    let expected = Changes { probed: Some(probed), ..Changes::default() };
    assert_eq!(bench.changes, expected);
    assert_eq!(bench.cluster.history(EndpointId(7)).len(), 2, "its first pass and the transition");
    bench.send(7, Observation::Answered);
    assert_eq!(bench.changes, Changes::default(), "traffic that is answered, as it should be, moves nothing");
}

#[test]
fn unknown_endpoints_and_probes_are_ignored() {
    let mut bench = Bench::well(policy(), 1);
    bench.pass(5);
    assert_eq!(bench.changes, Changes::default());
    bench.probe(0, 5, ProbeResult::Fail(Failure::Refused));
    assert_eq!(bench.state(0), State::Healthy);
}

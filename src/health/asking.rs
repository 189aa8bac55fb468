//! The engine as endpoints see it that ask for something: an agent's votes and states, and shares of traffic.

use std::sync::Arc;
use std::time::Duration;

use super::tests::{Bench, at, policy};
use crate::base::ids::EndpointId;
use crate::health::policy::{Policy, Require};
use crate::health::signal::{Failure, Observation, OperatorState, ProbeResult, ReportReading};
use crate::health::verdict::State;
use crate::report::{Asks, Report, Share, StatusWord, Wish};

fn advised(require: Require) -> Policy {
    let names = ["ready", "agent"].map(Arc::from);
    Policy { advisers: vec![Arc::from("agent")], probes: names.to_vec(), require, rules: Vec::new(), ..policy() }
}

fn void() -> ProbeResult {
    ProbeResult::Void("nobody speaks there".to_owned())
}

fn down() -> ProbeResult {
    ProbeResult::Fail(Failure::ReportStatus("down".to_owned()))
}

fn wish(wish: Wish) -> Observation {
    Observation::Asks(Asks { wish: Some(wish), ..Asks::default() })
}

fn share(share: Share) -> Observation {
    Observation::Asks(Asks { share: Some(share), ..Asks::default() })
}

/// The weight in hundredths.
fn weight(bench: &Bench, id: u32) -> String {
    format!("{:.0}", bench.cluster.view(EndpointId(id)).unwrap().weight * 100.0)
}

#[test]
fn an_agent_that_is_not_there_has_no_vote() {
    let mut bench = Bench::new(advised(Require::All), 1);
    bench.pass(0);
    assert_eq!(bench.state(0), State::Unknown, "it has not been asked yet");
    bench.probe(0, 1, void());
    assert_eq!(bench.state(0), State::Healthy);
    bench.probe(0, 1, down());
    assert_eq!((bench.state(0), bench.codes(0)), (State::Unhealthy, vec!["report_status".to_owned()]));
    bench.probe(0, 1, void());
    assert_eq!(bench.state(0), State::Unhealthy, "what it said stands");
    bench.probe(0, 1, ProbeResult::Pass);
    bench.probe(0, 1, ProbeResult::Pass);
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn a_silent_agent_alone_admits_nobody() {
    let policy = Policy { advisers: vec![Arc::from("ready")], ..policy() };
    let mut bench = Bench::new(policy, 1);
    bench.probe(0, 0, void());
    assert_eq!((bench.state(0), bench.codes(0)), (State::Unknown, vec!["probe_error".to_owned()]));
    bench.probe(0, 0, ProbeResult::Pass);
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn a_path_that_fails_alone_is_a_reason_on_the_path() {
    let names = ["one", "two"].map(Arc::from);
    let mut bench = Bench::new(Policy { probes: names.to_vec(), require: Require::Any, ..policy() }, 1);
    bench.probe(0, 0, ProbeResult::Pass);
    bench.probe(0, 1, ProbeResult::Fail(Failure::Refused));
    let view = bench.cluster.view(EndpointId(0)).unwrap();
    assert_eq!((view.state, view.reasons.len()), (State::Healthy, 0));
    let reasons: Vec<_> = view.probes.iter().map(|probe| probe.reason.as_ref().map(|reason| reason.code.to_string())).collect();
    assert_eq!(reasons, [None, Some("probe_refused".to_owned())]);
    for _ in 0..3 {
        bench.probe(0, 0, ProbeResult::Fail(Failure::Status(500)));
    }
    assert_eq!(bench.codes(0), ["probe_status", "probe_refused"]);
}

#[test]
fn the_state_asked_for_holds_until_ready_and_the_operators_word_outranks_it() {
    let mut bench = Bench::well(policy(), 2);
    bench.send(0, wish(Wish::Drain));
    assert_eq!((bench.state(0), bench.codes(0)), (State::Draining, vec!["draining".to_owned()]));
    bench.fail(0);
    assert_eq!(bench.state(0), State::Draining);
    bench.send(0, wish(Wish::Maintenance));
    assert_eq!(bench.state(0), State::Maintenance);
    bench.send(0, wish(Wish::Ready));
    assert_eq!(bench.state(0), State::Healthy);
    bench.operator(0, OperatorState::Draining, None);
    bench.send(0, wish(Wish::Ready));
    assert_eq!(bench.state(0), State::Draining, "an agent cannot put back what an operator took out");
    bench.send(1, share(Share::Part(0.0)));
    assert_eq!(bench.state(1), State::Draining);
    bench.send(1, share(Share::Part(0.5)));
    assert_eq!(bench.state(1), State::Healthy);
}

#[test]
fn a_frozen_cluster_hears_a_wish_and_does_not_act() {
    let mut bench = Bench::well(policy(), 1);
    drop(bench.cluster.freeze(at(50)));
    bench.send(0, wish(Wish::Drain));
    assert_eq!(bench.state(0), State::Healthy);
    drop(bench.cluster.thaw(at(60)));
    assert_eq!(bench.state(0), State::Draining);
}

/// Lets time pass in the steps that the cluster asks for.
fn pass_time(bench: &mut Bench, until: u64) {
    while let Some(next) = bench.cluster.next_change().filter(|next| *next <= at(until)) {
        bench.now = next.since(at(0)).as_millis().try_into().unwrap();
        bench.tick(bench.now);
    }
    bench.now = until;
}

#[test]
fn an_agents_weight_comes_by_steps_after_the_blackout_and_goes_with_its_last_word() {
    let mut bench = Bench::well(policy(), 2);
    bench.send(0, share(Share::Part(0.5)));
    pass_time(&mut bench, 9_900);
    assert_eq!(weight(&bench, 0), "100");
    pass_time(&mut bench, 10_500);
    assert_eq!(weight(&bench, 0), "80");
    pass_time(&mut bench, 20_000);
    assert_eq!([weight(&bench, 0), weight(&bench, 1)], ["50", "100"]);
    pass_time(&mut bench, 179_000);
    assert_eq!(weight(&bench, 0), "50");
    pass_time(&mut bench, 190_000);
    assert_eq!(weight(&bench, 0), "100");
    assert_eq!(bench.cluster.next_change(), None, "nothing goes on for ever");
}

#[test]
fn load_reports_weigh_endpoints_against_each_other_unless_the_user_says_by_what() {
    let load = |capacity| {
        let asks = Asks { share: Some(Share::Capacity(capacity)), ..Asks::default() };
        let metrics = vec![(Arc::from("cpu"), 0.5)];
        Observation::Report(ReportReading::Read(Report { metrics, asks, ..Report::default() }))
    };
    let told = |policy: Policy| {
        let mut bench = Bench::well(Policy { report_max_age: Duration::from_secs(60), rules: Vec::new(), ..policy }, 3);
        for second in 1..30 {
            bench.now = second * 1000;
            bench.send(0, load(300.0));
            bench.send(1, load(100.0));
        }
        [weight(&bench, 0), weight(&bench, 1), weight(&bench, 2)]
    };
    assert_eq!(told(policy()), ["150", "50", "100"]);
    assert_eq!(told(Policy { weight_by: Some(Arc::from("cpu")), ..policy() }), ["100", "100", "100"]);
}

#[test]
fn a_load_report_of_live_traffic_adds_to_what_probes_read() {
    let read = |metrics: &[(&str, f64)], status| {
        let metrics = metrics.iter().map(|(name, value)| (Arc::from(*name), *value)).collect();
        Report { metrics, status, word: status.map(|_| "warn".to_owned()), ..Report::default() }
    };
    let mut bench = Bench::well(Policy { thresholds: policy().thresholds, ..policy() }, 2);
    bench.cluster.set_report_interval(Duration::from_millis(200));
    let told = read(&[("cpu", 0.1), ("jobs", 3.0)], Some(StatusWord::Degraded));
    bench.send(0, Observation::Report(ReportReading::Read(told)));
    for _ in 0..3 {
        bench.now += 100;
        bench.send(0, Observation::Report(ReportReading::Load(read(&[("cpu", 0.97), ("queue", f64::NAN)], None))));
    }
    let view = bench.cluster.view(EndpointId(0)).unwrap();
    let shown: Vec<String> = view.report.iter().map(|(name, value)| format!("{name} {value}")).collect();
    assert_eq!(shown, ["cpu 0.97", "jobs 3"]);
    assert_eq!(bench.codes(0), ["report_cpu", "report_status"], "rules act, and the word stays");

    let shown = |bench: &Bench| -> Vec<String> {
        let view = bench.cluster.view(EndpointId(0)).unwrap();
        view.report.iter().map(|(name, value)| format!("{name} {value}")).collect()
    };
    bench.send(0, Observation::Report(ReportReading::Read(read(&[("jobs", 4.0)], None))));
    assert_eq!(shown(&bench), ["cpu 0.97", "jobs 4"], "who does not mention it takes nothing back");
    bench.send(0, Observation::Report(ReportReading::None));
    assert!(bench.cluster.view(EndpointId(0)).unwrap().report_voids.is_empty(), "what the rules want came with traffic");
    bench.now += u64::try_from(policy().report_max_age.as_millis()).unwrap();
    bench.send(0, Observation::Report(ReportReading::Read(read(&[("jobs", 5.0)], None))));
    assert_eq!(shown(&bench), ["jobs 5"], "it grows old all the same");
}

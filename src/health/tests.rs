//! The engine as its caller sees it: signals in, transitions, views and admission out.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::base::units::Ratio;
use crate::health::policy::{For, Level, Panic, Policy, Require, Rule, Start, Thresholds, When};
use crate::health::signal::{Failure, Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal};
use crate::health::verdict::{Code, State};
use crate::health::{Changes, Cluster, Kind, Member, Pace};
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
        probes: vec![Arc::from("ready")],
        require: Require::All,
        thresholds: Thresholds { fall: count(3), rise: count(2) },
        start: Start::Unknown,
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
        max_ejected: share(50.0),
        panic: Panic::Off,
    }
}

pub(super) fn members(n: u32) -> Vec<Member> {
    (0..n)
        .map(|id| Member { id: EndpointId(id), address: Arc::from(format!("10.0.0.{id}:80")), weight: 1, backup: false })
        .collect()
}

/// A cluster with a clock that goes on by a millisecond with every signal.
struct Bench {
    cluster: Cluster,
    now: u64,
}

impl Bench {
    fn new(policy: Policy, n: u32) -> Self {
        Self { cluster: Cluster::new(policy, members(n), at(0)), now: 0 }
    }

    /// All endpoints have passed once.
    fn well(policy: Policy, n: u32) -> Self {
        let mut bench = Self::new(policy, n);
        for id in 0..n {
            bench.pass(id);
        }
        bench
    }

    fn send(&mut self, id: u32, observation: Observation) -> Changes {
        self.now += 1;
        let signal = Signal { cluster: ClusterId(0), endpoint: EndpointId(id), at: at(self.now), observation };
        self.cluster.apply(&signal, at(self.now))
    }

    fn probe(&mut self, id: u32, probe: usize, result: ProbeResult) -> Changes {
        let run = ProbeRun { probe, started: at(self.now), latency: Duration::from_millis(1), result, excerpt: Arc::from("") };
        self.send(id, Observation::Probe(run))
    }

    fn pass(&mut self, id: u32) -> Changes {
        self.probe(id, 0, ProbeResult::Pass)
    }

    fn fail(&mut self, id: u32) -> Changes {
        self.probe(id, 0, ProbeResult::Fail(Failure::Status(500)))
    }

    fn cpu(&mut self, id: u32, value: f64) -> Changes {
        let report = Report { metrics: vec![(Arc::from("cpu"), value)], ..Report::default() };
        self.send(id, Observation::Report(ReportReading::Read(report)))
    }

    fn operator(&mut self, id: u32, state: OperatorState, until: Option<Timestamp>) -> Changes {
        self.send(id, Observation::Operator { state, until, reason: None })
    }

    fn tick(&mut self, now: u64) -> Changes {
        self.now = now;
        self.cluster.tick(at(now))
    }

    fn state(&self, id: u32) -> State {
        self.cluster.view(EndpointId(id)).unwrap().state
    }

    fn codes(&self, id: u32) -> Vec<String> {
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

//! What holds for every sequence of signals, however odd.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{at, members, policy};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::base::units::Ratio;
use crate::health::policy::{For, Panic, Policy, Require, Rule, Thresholds};
use crate::health::signal::{Failure, Observation, OperatorState, ProbeResult, ProbeRun, ReportReading, Signal, Stamps};
use crate::health::verdict::State;
use crate::health::{Changes, Cluster};
use crate::report::{Report, StatusWord};

fn policies() -> impl Strategy<Value = Policy> {
    let require = prop_oneof![Just(Require::All), Just(Require::Any), Just(Require::AtLeast(NonZeroU32::MIN.saturating_add(1)))];
    let panic = prop_oneof![Just(Panic::Off), (0.0..=1.0).prop_map(|share| Panic::Below(Ratio::try_new(share).unwrap()))];
    let hold = prop_oneof![
        (0_u32..4).prop_map(|n| For::Reports(NonZeroU32::MIN.saturating_add(n))),
        (0_u64..5000).prop_map(|millis| For::Span(Duration::from_millis(millis)))
    ];
    let thresholds = (0_u32..4, 0_u32..4).prop_map(|(fall, rise)| Thresholds {
        fall: NonZeroU32::MIN.saturating_add(fall),
        rise: NonZeroU32::MIN.saturating_add(rise),
    });
    (require, panic, hold, thresholds, 0_usize..4, any::<bool>(), 0.0..=1.0, 0_u64..8000).prop_map(
        |(require, panic, hold, thresholds, probes, weighs, max_ejected, max_age)| {
            let base = policy();
            Policy {
                probes: ["a", "b", "c"][..probes.min(3)].iter().map(|name| Arc::from(*name)).collect(),
                require,
                panic,
                thresholds,
                rules: vec![Rule { hold, ..base.rules[0].clone() }],
                weight_by: weighs.then(|| Arc::from("cpu")),
                max_ejected: Ratio::try_new(max_ejected).unwrap(),
                report_max_age: Duration::from_millis(max_age),
                ..base
            }
        },
    )
}

fn results() -> impl Strategy<Value = ProbeResult> {
    prop_oneof![
        4 => Just(ProbeResult::Pass),
        4 => prop_oneof![Just(Failure::Refused), Just(Failure::Status(500)), Just(Failure::Error("x".repeat(999)))].prop_map(ProbeResult::Fail),
        1 => Just(ProbeResult::Void("unclear".to_owned())),
    ]
}

fn reports() -> impl Strategy<Value = ReportReading> {
    let value = prop_oneof![8 => 0.0..=1.0, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(-1e300)];
    let status = prop::option::of(prop_oneof![Just(StatusWord::Healthy), Just(StatusWord::Degraded), Just(StatusWord::Failing)]);
    prop_oneof![
        9 => (value, status).prop_map(|(cpu, status)| ReportReading::Read(Report {
            status,
            metrics: vec![(Arc::from("cpu"), cpu)],
            ..Report::default()
        })),
        1 => Just(ReportReading::Void("not JSON".to_owned())),
        1 => Just(ReportReading::None),
    ]
}

fn observations() -> impl Strategy<Value = Observation> {
    let run = (0_usize..4, results(), 0_u64..100_000);
    let probe = run.prop_map(|(probe, result, started)| {
        let started = at(started);
        Observation::Probe(ProbeRun {
            probe,
            started,
            latency: Duration::ZERO,
            result,
            excerpt: Arc::from(""),
            stamps: Stamps::default(),
        })
    });
    let state = prop_oneof![Just(OperatorState::Ready), Just(OperatorState::Draining), Just(OperatorState::Maintenance)];
    let order = (state, prop::option::of(0_u64..100_000)).prop_map(|(state, until)| Observation::Operator {
        state,
        until: until.map(at),
        reason: None,
    });
    prop_oneof![
        8 => probe,
        8 => reports().prop_map(Observation::Report),
        3 => Just(Observation::Refused),
        1 => Just(Observation::Reset),
        1 => Just(Observation::Answered),
        1 => order,
    ]
}

#[derive(Debug, Clone)]
enum Act {
    /// An observation about an endpoint, so many milliseconds after the last act, made so many before it came in.
    Observe(u32, Observation, u64, u64),
    Tick(u64),
    Freeze,
    Thaw,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let gap = prop_oneof![3 => 0_u64..20, 1 => 0_u64..6000];
    let act = prop_oneof![
        20 => (0_u32..6, observations(), gap, 0_u64..50).prop_map(|(id, seen, gap, old)| Act::Observe(id, seen, gap, old)),
        3 => (0_u64..8000).prop_map(Act::Tick),
        1 => Just(Act::Freeze),
        1 => Just(Act::Thaw),
    ];
    prop::collection::vec(act, 1..80)
}

fn signal(id: u32, at: Timestamp, observation: Observation) -> Signal {
    Signal { cluster: ClusterId(0), endpoint: EndpointId(id), at, observation }
}

fn act(cluster: &mut Cluster, now: &mut Timestamp, act: Act) -> Changes {
    match act {
        Act::Observe(id, observation, gap, old) => {
            *now = *now + Duration::from_millis(gap);
            cluster.apply(&signal(id, *now - Duration::from_millis(old), observation), *now)
        }
        Act::Tick(gap) => {
            *now = *now + Duration::from_millis(gap);
            cluster.tick(*now)
        }
        Act::Freeze => cluster.freeze(*now),
        Act::Thaw => cluster.thaw(*now),
    }
}

const N: u32 = 5;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Counts that are kept step by step are those that counting from scratch gives, and what changed has been named.
    #[test]
    fn nothing_drifts(policy in policies(), acts in acts()) {
        let mut cluster = Cluster::new(policy.clone(), members(N), at(0));
        let mut now = at(0);
        for next in acts {
            let before: Vec<_> = (0..N).map(|id| cluster.view(EndpointId(id))).collect();
            let admission = cluster.admission();
            let changes = act(&mut cluster, &mut now, next);
            prop_assert!(changes.admission_changed || cluster.admission() == admission);
            for (id, before) in (0..N).map(EndpointId).zip(before) {
                let mut view = cluster.view(id);
                if let (Some(probed), Some(view), Some(before)) = (changes.probed, &mut view, &before)
                    && probed.endpoint == id
                {
                    // What its probe found is named by itself.
                    let probe = probed.probe;
                    prop_assert_eq!(Some(view.probes[probe].clone()), cluster.probe_view(probed));
                    view.probes[probe] = before.probes[probe].clone();
                }
                prop_assert!(changes.touched.contains(&id) || view == before);
            }
            let mut anew = cluster.clone();
            // Time that has passed unnoticed is no drift.
            drop(anew.tick(now));
            drop(cluster.tick(now));
            let recount = anew.reconfigure(policy.clone(), members(N), now);
            prop_assert_eq!(recount.transitions, vec![]);
            prop_assert_eq!(recount.withheld, vec![]);
            prop_assert_eq!(anew.settled(), cluster.settled());
            prop_assert_eq!(anew.next_change(), cluster.next_change());
            prop_assert_eq!(anew.admission().panic, cluster.admission().panic);
            prop_assert_eq!(anew.admission().available, cluster.admission().available);
            let ids = |cluster: &Cluster| cluster.admission().admitted.iter().map(|(id, _)| *id).collect::<Vec<_>>();
            prop_assert_eq!(ids(&anew), ids(&cluster));
        }
    }

    /// Time does nothing before the moment that was announced.
    #[test]
    fn time_keeps_its_appointments(policy in policies(), acts in acts()) {
        let mut cluster = Cluster::new(policy, members(N), at(0));
        let mut now = at(0);
        for next in acts {
            drop(act(&mut cluster, &mut now, next));
            drop(cluster.tick(now));
            if let Some(due) = cluster.next_change() {
                prop_assert!(due > now);
                let mut early = cluster.clone();
                let changes = early.tick(due - Duration::from_nanos(1));
                prop_assert_eq!(changes, Changes::default());
            }
        }
    }

    /// One more failure never makes a verdict better, now or later.
    #[test]
    fn a_failure_never_helps(
        policy in policies(),
        seen in prop::collection::vec((0_usize..3, results(), prop::bool::weighted(0.3)), 1..40),
        place in any::<prop::sample::Index>(),
        extra in 0_usize..4,
    ) {
        let failure = if extra == 3 { None } else { Some((extra, ProbeResult::Fail(Failure::Status(500)))) };
        let (mut plain, mut worse) = (Cluster::new(policy.clone(), members(1), at(0)), Cluster::new(policy, members(1), at(0)));
        let place = place.index(seen.len());
        for (number, (probe, result, refused)) in (0_u64..).zip(seen) {
            let now = at(10 * (number + 1));
            let send = |cluster: &mut Cluster, at: Timestamp, what: Option<(usize, ProbeResult)>| {
                let observation = what.map_or(Observation::Refused, |(probe, result)| {
                    Observation::Probe(ProbeRun { probe, started: at, latency: Duration::ZERO, result, excerpt: Arc::from(""), stamps: Stamps::default() })
                });
                drop(cluster.apply(&signal(0, at, observation), at));
            };
            if usize::try_from(number).unwrap() == place {
                send(&mut worse, now - Duration::from_millis(5), failure.clone());
            }
            let what = if refused { None } else { Some((probe, result)) };
            send(&mut plain, now, what.clone());
            send(&mut worse, now, what);
            let wellness = |cluster: &Cluster| match cluster.view(EndpointId(0)).unwrap().state {
                State::Unhealthy => 0,
                State::Unknown => 1,
                State::Degraded => 2,
                _ => 3,
            };
            prop_assert!(wellness(&worse) <= wellness(&plain), "{:?} with one more failure, else {:?}", worse.view(EndpointId(0)), plain.view(EndpointId(0)));
        }
    }
}

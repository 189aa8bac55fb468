//! What `plan` computes against what the simulator lives through: the same configuration, the same numbers.
//!
//! The formulas know nothing of the engine and the engine nothing of the formulas; each mean is taken over a few hundred
//! lives, and must lie within three standard errors.
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "helpers of tests fail as tests do, and count little")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pulsegate::base::ids::{ClusterId, EndpointId};
use pulsegate::base::time::Timestamp;
use pulsegate::base::units::Ratio;
use pulsegate::config::{self, Config};
use pulsegate::health::schedule::{Pace, Slots};
use pulsegate::health::signal::{Failure, Observation, ProbeResult, ProbeRun, Signal, Stamps};
use pulsegate::health::verdict::State;
use pulsegate::health::{Cluster, Member};
use pulsegate::sim::plan::{Assumptions, Plan, Source, Span, plan};
use pulsegate::sim::{Behaviour, Link, Setting, World};

const LIVES: u32 = 256;

/// A cluster of three with this health block.
fn configured(health: &str) -> Config {
    let text = format!(
        "listeners: [{{ address: '127.0.0.1:0', cluster: app }}]\n\
         clusters: [{{ name: app, endpoints: [a:1, b:1, c:1], health: {health} }}]"
    );
    config::from_text(&text, "plan.yaml", Path::new(""), &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap()
}

fn planned(config: &Config, assumed: &Assumptions) -> Plan {
    plan(config, assumed).remove(0)
}

fn member() -> Member {
    Member { id: EndpointId(0), address: Arc::from("a:1"), weight: 1, backup: false }
}

/// How long it takes in each life until the only endpoint gets into `wanted` after it begins to behave like this.
fn lives(config: &Config, before: Behaviour, after: Behaviour, wanted: State) -> Vec<f64> {
    let cluster = &config.clusters[0];
    let life = |seed: u32| {
        let mut rng = fastrand::Rng::with_seed(seed.into());
        let setting = Setting {
            policy: cluster.health.clone(),
            timing: cluster.probes[0].timing,
            members: vec![member()],
            request_gap: Duration::from_secs(3600),
        };
        let mut world = World::new(setting, seed.into());
        if before != after {
            world.behave(Timestamp::ZERO, 0, before);
        }
        let turns = Timestamp::from_millis(10_000) + Duration::from_micros(rng.u64(0..4_000_000));
        world.behave(turns, 0, after);
        loop {
            let step = world.step();
            if step.at >= turns && step.changes.transitions.iter().any(|transition| transition.to == wanted) {
                return step.at.since(turns).as_secs_f64();
            }
        }
    };
    (0..LIVES).map(life).collect()
}

/// Whether the mean is the planned one within three standard errors, and none is over the worst.
fn check(what: &str, times: &[f64], planned: Span) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    // Slots lie on a grain of 10 ms, and an answer takes up to 5 ms more than was assumed.
    let error = 3.0 * (variance / count).sqrt() + 0.015;
    assert!((mean - planned.mean.as_secs_f64()).abs() < error, "{what}: {mean:.3} s on average, planned {planned:?}");
    let worst = times.iter().copied().fold(0.0, f64::max);
    assert!(worst < planned.worst.as_secs_f64() + 0.02, "{what}: {worst:.3} s at the worst, planned {planned:?}");
}

#[test]
fn times_to_detect_and_to_return_are_those_that_the_simulator_lives_through() {
    let well = Behaviour::Well { cpu: 0.2 };
    for health in [
        "{ path: /h, interval: 500ms, timeout: 200ms, fall: 3, rise: 2 }",
        "{ path: /h, interval: 2s, timeout: 1s }",
        "{ path: /h, interval: 1s, timeout: 300ms, fast_interval: 300ms, jitter: 50%, fall: 4, rise: 3 }",
        "{ path: /h, interval: 1s, timeout: 800ms, fall: 1, rise: 1, jitter: 0% }",
        "{ interval: 1s, timeout: 400ms, probes: [{ name: a, http: {} }, { name: b, http: {} }] }",
        "{ interval: 1s, timeout: 400ms, require: any, probes: [{ name: a, http: {} }, { name: b, http: {} }] }",
    ] {
        let config = configured(health);
        let plan = planned(&config, &Assumptions::default());
        for (fault, found) in [
            (Behaviour::Refuses, plan.detection.refused),
            (Behaviour::Hangs, plan.detection.hung),
            (Behaviour::Answers(503), plan.detection.wrong),
        ] {
            let found = found.unwrap();
            assert_eq!(found.by, Source::Probes);
            check(&format!("{health}: {fault:?}"), &lives(&config, well, fault, State::Unhealthy), found.time);
        }
        let back = lives(&config, Behaviour::Answers(503), well, State::Healthy);
        check(&format!("{health}: back again"), &back, plan.recovery.unwrap());
    }
}

#[test]
fn what_no_probe_sees_is_never_found() {
    let tcp = planned(&configured("{ probes: [{ tcp: {} }] }"), &Assumptions::default()).detection;
    assert!(tcp.refused.is_some() && tcp.hung.is_none() && tcp.wrong.is_none(), "{tcp:?}");
    let any = planned(&configured("{ require: any, probes: [{ tcp: {} }, { http: {} }] }"), &Assumptions::default()).detection;
    assert!(any.refused.is_some() && any.hung.is_none(), "one that passes is enough: {any:?}");
    let off = planned(&configured("off"), &Assumptions::default());
    assert_eq!((off.detection.refused, off.recovery), (None, None));
}

#[test]
fn traffic_finds_a_dead_process_before_probes_do() {
    let config = configured("{ path: /h }");
    let busy = Assumptions { rate: 3000.0, ..Assumptions::default() };
    let found = planned(&config, &busy).detection.refused.unwrap();
    assert_eq!(found.by, Source::Traffic);
    assert!(found.time.mean < Duration::from_millis(4) && found.time.worst < Duration::from_millis(15), "{found:?}");
    let idle = planned(&config, &Assumptions { rate: 0.01, ..Assumptions::default() }).detection.refused.unwrap();
    assert_eq!(idle.by, Source::Probes);
}

/// The engine and the schedule, fed with probes that lose packets one by one.
fn false_ejections(config: &Config, loss: f64, runs: u32, seed: u64) -> (u32, Duration) {
    let cluster = &config.clusters[0];
    let timing = cluster.probes[0].timing;
    let rng = &mut fastrand::Rng::with_seed(seed);
    let link = Link { loss, round_trip: Duration::from_millis(1) };
    let mut engine = Cluster::new(cluster.health.clone(), vec![member()], Timestamp::ZERO);
    let mut slots = Slots::new(timing, EndpointId(0), "health", Timestamp::ZERO);
    let (mut now, mut warm, mut ejections, mut up) = (Timestamp::ZERO, false, 0, Duration::ZERO);
    for _ in 0..runs {
        let started = slots.next().max(now);
        let slot = slots.take(started, rng).unwrap();
        let took = link.exchange(slot.fresh || !warm, Duration::ZERO, rng).filter(|took| *took <= timing.timeout);
        warm = took.is_some();
        let latency = took.unwrap_or(timing.timeout);
        let result = if warm { ProbeResult::Pass } else { ProbeResult::Fail(Failure::Timeout(timing.timeout)) };
        let was_up = engine.pace(EndpointId(0)) != Pace::Down;
        up += if was_up { (started + latency).since(now) } else { Duration::ZERO };
        now = started + latency;
        let run = ProbeRun { probe: 0, started, latency, result, excerpt: Arc::from(""), stamps: Stamps::default() };
        let signal = Signal { cluster: ClusterId(0), endpoint: EndpointId(0), at: now, observation: Observation::Probe(run) };
        let changes = engine.apply(&signal, now);
        // The first result may be a failure too, which throws nobody out.
        let out = changes.transitions.iter().filter(|t| t.to == State::Unhealthy && t.from != State::Unknown);
        ejections += u32::try_from(out.count()).unwrap();
        slots.set_pace(engine.pace(EndpointId(0)), now, rng);
    }
    (ejections, up)
}

#[test]
fn false_ejections_are_as_many_as_packets_lost_one_by_one_make() {
    for (health, loss) in [
        ("{ path: /h, interval: 500ms, timeout: 150ms, fall: 3 }", 0.1),
        ("{ path: /h, interval: 500ms, timeout: 450ms, fall: 2 }", 0.1),
        ("{ path: /h, interval: 2s, timeout: 1500ms, fall: 1 }", 0.2),
    ] {
        let config = configured(health);
        let assumed = Assumptions { losses: vec![Ratio::try_new(loss).unwrap()], ..Assumptions::default() };
        let planned = planned(&config, &assumed).false_ejections[0].per_endpoint_day;
        let (ejections, up) = false_ejections(&config, loss, 100_000, 7);
        let days = up.as_secs_f64() / 86_400.0;
        let lived = f64::from(ejections) / days;
        // Three standard errors of a count, and what rounding of the up-time costs.
        let error = 3.0 * f64::from(ejections).sqrt() / days + 0.03 * planned;
        assert!((lived - planned).abs() < error, "{health}: {lived} a day in {ejections} ejections, planned {planned}");
        assert!(ejections > 50, "{health}: {ejections}");
    }
}

#[test]
fn rates_and_failures_are_counted_over_the_cluster_and_all_proxies() {
    let assumed = Assumptions { proxies: 50, load: Some(Ratio::try_new(0.6).unwrap()), ..Assumptions::default() };
    let plan = planned(&configured("{ path: /h, interval: 1s, report: off, max_ejected: 50%, panic: 50% }"), &assumed);
    assert!((plan.cost.probes - 150.0).abs() < 1e-9 && (plan.cost.per_endpoint - 50.0).abs() < 1e-9, "{:?}", plan.cost);
    assert!((600.0..800.0).contains(&(plan.cost.bytes / 150.0)), "{:?}", plan.cost);
    let survival = plan.survival;
    assert_eq!((survival.endpoints, survival.failures, survival.ejected), (3, 2, 1));
    assert_eq!((survival.before_panic, survival.capacity, survival.retries_cover), (Some(1), Some(1), Some(2)));
}

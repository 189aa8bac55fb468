//! Lives of a cluster under load, fault by fault: what clients notice, and that it is what was planned.
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "helpers of tests fail as tests do, and count little")]

use std::path::Path;
use std::time::Duration;

use pulsegate::config::{self, Config};
use pulsegate::health::verdict::State;
use pulsegate::sim::plan::{Assumptions, Source, plan};
use pulsegate::sim::{Fault, Plot, Weather, arrangement, live, simulate};

/// Three endpoints, each probed every half second.
fn configured() -> Config {
    let text = "listeners: [{ address: '127.0.0.1:0', cluster: app }]\n\
                clusters: [{ name: app, endpoints: [a:1, b:1, c:1], health: { path: /h, interval: 500ms, timeout: 200ms } }]";
    config::from_text(text, "life.yaml", Path::new(""), &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap()
}

#[test]
fn every_fault_is_found_and_costs_nobody_an_answer() {
    let plot = Plot { seeds: 4, ..Plot::default() };
    for outcome in simulate(&configured(), &Fault::ALL, &plot) {
        assert_eq!(outcome.found.0, outcome.found.1, "{outcome:?}");
        assert_eq!((outcome.failed, outcome.false_ejections), (0, 0), "{outcome:?}");
        assert!(outcome.requests > 10_000, "{outcome:?}");
        let hit = !matches!(outcome.fault, Fault::None | Fault::LossEverywhere(_));
        assert!(!hit || outcome.share < 0.05, "{outcome:?}");
    }
}

#[test]
fn a_flapping_endpoint_turns_a_few_times_in_ten_minutes() {
    let plot = Plot { seeds: 2, lasts: Duration::from_secs(600), rate: 60.0, ..Plot::default() };
    let flapping = Fault::Flapping(Duration::from_secs(2));
    let outcome = simulate(&configured(), &[flapping], &plot).remove(0);
    assert_eq!((outcome.failed, outcome.false_ejections), (0, 0), "{outcome:?}");
    assert!(outcome.transitions <= 30.0, "{outcome:?}");
}

#[test]
fn a_path_that_loses_packets_is_left_and_not_tried_all_the_time() {
    let plot = Plot { seeds: 3, rate: 2000.0, before: Duration::from_secs(4), ..Plot::default() };
    let outcome = simulate(&configured(), &[Fault::Loss(0.2)], &plot).remove(0);
    assert_eq!((outcome.found, outcome.failed), ((3, 3), 0), "{outcome:?}");
    // To degraded and to ejected; one of three lives sees a trial as well.
    assert!(outcome.transitions < 3.0 && outcome.share < 0.01, "{outcome:?}");
}

#[test]
fn a_hang_under_load_is_found_when_the_plan_says() {
    let config = configured();
    let plot = Plot { rate: 600.0, before: Duration::from_secs(4), lasts: Duration::from_secs(2), ..Plot::default() };
    let assumed =
        Assumptions { rate: plot.rate, latency: plot.service * 5, round_trip: plot.service * 5, ..Assumptions::default() };
    let planned = plan(&config, &assumed).remove(0).detection.hung.unwrap();
    assert_eq!(planned.by, Source::Traffic);
    let arrangement = arrangement(&config, &config.clusters[0], &plot);
    let times: Vec<f64> = (0..40)
        .map(|seed| {
            let life = live(arrangement.clone(), Fault::Hung, &plot, seed);
            let mut later = life.record.transitions.iter().filter(|transition| transition.at >= life.begin);
            let out = later.find(|transition| transition.to == State::Unhealthy).expect("it is found");
            out.at.since(life.begin).as_secs_f64()
        })
        .collect();
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    // The longest of a dozen probes, from which the deadline is made, is less than the p99 that was assumed.
    let [low, high] = [0.75, 1.1].map(|times| times * planned.time.mean.as_secs_f64());
    assert!((low..high).contains(&mean), "{mean} s on average, planned {planned:?}");
    assert!(times.iter().all(|time| *time <= planned.time.worst.as_secs_f64() * 1.2), "{times:?}, planned {planned:?}");
}

#[test]
fn a_life_is_the_same_each_time_and_another_with_each_seed() {
    let config = configured();
    let plot = Plot { weather: Weather::Cloud, before: Duration::from_secs(2), lasts: Duration::from_secs(2), ..Plot::default() };
    let arrangement = arrangement(&config, &config.clusters[0], &plot);
    let told = |seed: u64| format!("{:?}", live(arrangement.clone(), Fault::Loss(0.2), &plot, seed).record);
    assert!(told(3) == told(3), "two lives from one seed differ");
    assert!(told(3) != told(4), "two seeds make the same life");
}

#[test]
fn where_packets_take_longer_than_a_timeout_nobody_is_available() {
    let plot = Plot { weather: Weather::Wan, seeds: 1, lasts: Duration::from_secs(4), ..Plot::default() };
    let outcome = simulate(&configured(), &[Fault::None], &plot).remove(0);
    assert_eq!(outcome.failed, outcome.requests, "{outcome:?}");
}

/// So many endpoints with this health block, and what else stands at the top or in the cluster.
fn odd(endpoints: usize, health: &str, cluster: &str) -> Config {
    let names: Vec<String> = (0..endpoints).map(|n| format!("e{n}:1")).collect();
    let text = format!(
        "heartbeats: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ address: '127.0.0.1:0', cluster: app }}]\n\
         clusters: [{{ name: app, endpoints: [{}], health: {health}{cluster} }}]",
        names.join(", ")
    );
    let read = |path: &Path| {
        if path.to_str() == Some("tokens") { Ok("secret".to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) }
    };
    config::from_text(&text, "odd.yaml", Path::new(""), &|_| None, &read)
        .unwrap_or_else(|problems| panic!("{health}: {problems}"))
}

/// Configurations that are allowed, and that nobody thought of first.
fn oddities() -> Vec<Config> {
    let all = [
        "off",
        "{ path: /h }",
        "{ path: /h, interval: 60s }",
        "{ path: /h, interval: 1s, timeout: 1s, fall: 1, rise: 1 }",
        "{ path: /h, interval: 100ms, timeout: 1s, jitter: 50% }",
        "{ path: /h, interval: 10ms, timeout: 5ms, fast_interval: 10ms, jitter: 0% }",
        "{ path: /h, fall: 1000, rise: 1000 }",
        "{ path: /h, panic: 100%, max_ejected: 0% }",
        "{ path: /h, panic: 0%, max_ejected: 100% }",
        "{ path: /h, outlier: off, silence: off, slow_start: off, damping: off }",
        "{ path: /h, outlier: { enforce: false }, silence: { enforce: false } }",
        "{ path: /h, outlier: { consecutive: 1, error_ratio: 1%, against_siblings: 1.5, min_requests: 1, window: 1s } }",
        "{ path: /h, start: healthy, slow_start: { window: 1ms, floor: 100% }, damping: { hold: 1ms, hold_max: 1ms } }",
        "{ path: /h, reference: ['10.0.0.9:1', '10.0.0.9:2'] }",
        "{ probes: [{ tcp: {} }] }",
        "{ probes: [{ grpc: {} }, { agent: {}, port: 9 }], require: any }",
        "{ probes: [{ agent: {}, port: 9 }] }",
        "{ probes: [{ file: { path: '/run/{port}', max_age: 1s } }] }",
        "{ probes: [{ http: {} }, { tcp: {}, port: 9 }, { file: { path: '/run/{port}' } }], require: 2 }",
        "{ heartbeat: { token_file: tokens } }",
        "{ heartbeat: { period: 10ms, ttl: 11ms, token_file: tokens, detector: accrual, phi: 16 } }",
        "{ path: /h, require: any, heartbeat: { token_file: tokens } }",
    ];
    let balances = ["", ", balance: least_request", ", balance: { hash: source }", ", connect_timeout: 1ms"];
    let sizes = [1, 2, 3, 50];
    // Not every one with every other, but each with each in turn.
    let of = |(place, health): (usize, &&str)| odd(sizes[place % 4], health, balances[place / 4 % 4]);
    let mut odd: Vec<Config> = all.iter().enumerate().map(of).collect();
    odd.extend(all.iter().map(|health| self::odd(1, health, "")));
    odd
}

#[test]
fn whatever_may_be_configured_can_be_planned() {
    let share = |share: f64| pulsegate::base::units::Ratio::try_new(share).unwrap();
    for config in oddities() {
        for (rate, round_trip, loss) in [(0.0, 1, 0.0), (1e-30, 0, 1.0), (0.01, 3000, 0.5), (1e9, 100_000, 0.01)] {
            let assumed = Assumptions {
                rate,
                losses: vec![share(loss)],
                round_trip: Duration::from_millis(round_trip),
                load: Some(share(loss)),
                ..Assumptions::default()
            };
            let planned = plan(&config, &assumed).remove(0);
            let told = format!("{planned:?} of {:?} with {assumed:?}", config.clusters[0].health);
            let detection = planned.detection;
            let found = [detection.refused, detection.hung, detection.wrong].into_iter().flatten().map(|found| found.time);
            for time in found.chain(planned.recovery) {
                assert!(time.mean <= time.worst && time.worst < Duration::from_secs(366 * 86_400), "{told}");
            }
            for one in &planned.false_ejections {
                assert!((0.0..1e8).contains(&one.per_endpoint_day) && (0.0..=1.0).contains(&one.probes_failed), "{told}");
            }
            assert!((0.0..1e6).contains(&planned.cost.probes) && (0.0..1e9).contains(&planned.cost.bytes), "{told}");
            let survival = planned.survival;
            let counts = [Some(survival.failures), survival.before_panic, survival.retries_cover, Some(survival.ejected)];
            assert!(counts.into_iter().flatten().all(|count| count < survival.endpoints.max(1)), "{told}");
        }
    }
}

#[test]
fn whatever_may_be_configured_can_be_simulated() {
    let plot = Plot { seeds: 1, rate: 20.0, before: Duration::from_secs(2), lasts: Duration::from_secs(3), ..Plot::default() };
    for config in oddities() {
        let outcomes = simulate(&config, &Fault::ALL, &plot);
        assert_eq!(outcomes.len(), Fault::ALL.len());
        for outcome in outcomes {
            let told = format!("{outcome:?} of {:?}", config.clusters[0].health);
            assert!(outcome.mean <= outcome.worst && outcome.worst <= plot.lasts && outcome.found.0 <= outcome.found.1, "{told}");
            assert!(outcome.failed <= outcome.requests && outcome.slow <= outcome.requests, "{told}");
            assert!((0.0..=1.0).contains(&outcome.share) && (0.0..1000.0).contains(&outcome.transitions), "{told}");
            assert!(outcome.endpoint_days > 0.0, "{told}");
        }
    }
}

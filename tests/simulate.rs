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

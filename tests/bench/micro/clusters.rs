//! What control does with a signal: take it in, and publish what it changes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use pulsegate::base::ids::{ClusterId, EndpointId};
use pulsegate::health::signal::{Failure, Observation, OperatorState, ProbeResult, ProbeRun, Signal, Stamps};

use crate::{SIZES, Scene, at};

fn run(endpoint: u32, millis: u64, result: ProbeResult) -> Signal {
    let (started, latency) = (at(millis), Duration::from_micros(300));
    let run = ProbeRun { probe: 0, started, latency, result, excerpt: Arc::default(), stamps: Stamps::default() };
    Signal { cluster: ClusterId(0), endpoint: EndpointId(endpoint), at: at(millis), observation: Observation::Probe(run) }
}

/// A cluster in which every probe has passed.
fn well(size: usize) -> Scene {
    let mut scene = Scene::new(size, true);
    for round in 0..3 {
        for endpoint in 0..u32::try_from(size).expect("it is small") {
            drop(scene.health.apply(&run(endpoint, round * 1000, ProbeResult::Pass), at(round * 1000)));
        }
    }
    scene.publish();
    scene
}

/// A probe that passed, as nearly all signals are.
#[divan::bench(args = SIZES)]
fn apply_a_pass(bencher: Bencher<'_, '_>, size: usize) {
    let mut scene = well(size);
    let (mut endpoint, mut millis) = (0, 5000);
    bencher.bench_local(|| {
        endpoint = (endpoint + 1) % size;
        millis += 1;
        let signal = run(u32::try_from(endpoint).unwrap_or_default(), millis, ProbeResult::Pass);
        black_box(scene.health.apply(&signal, at(millis)))
    });
}

/// A probe that failed, of an endpoint that is out already.
#[divan::bench(args = SIZES)]
fn apply_a_failure(bencher: Bencher<'_, '_>, size: usize) {
    let mut scene = well(size);
    let mut millis = 5000;
    bencher.bench_local(|| {
        millis += 1000;
        black_box(scene.health.apply(&run(0, millis, ProbeResult::Fail(Failure::Refused)), at(millis)))
    });
}

/// One transition: the order that brings it, what it changes, and the snapshot that says so.
#[divan::bench(args = SIZES)]
fn publish_a_transition(bencher: Bencher<'_, '_>, size: usize) {
    let mut scene = well(size);
    let (mut out, mut millis) = (false, 5000);
    let middle = EndpointId(u32::try_from(size / 2).expect("it is small"));
    bencher.bench_local(|| {
        out = !out;
        millis += 10;
        let state = if out { OperatorState::Maintenance } else { OperatorState::Ready };
        let observation = Observation::Operator { state, until: None, reason: None };
        let changes =
            scene.health.apply(&Signal { cluster: ClusterId(0), endpoint: middle, at: at(millis), observation }, at(millis));
        assert!(changes.admission_changed && changes.transitions.len() == 1);
        for id in &changes.touched {
            if let Some(view) = scene.health.view(*id) {
                scene.endpoints[id.0 as usize].show(view);
            }
        }
        scene.publish();
    });
}

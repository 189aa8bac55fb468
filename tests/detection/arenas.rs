//! Arenas as these tests want them.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Duration;

use pulsegate::base::ids::EndpointId;
use pulsegate::base::time::Timestamp;
use pulsegate::base::units::Ratio;
use pulsegate::config;
use pulsegate::health::policy::{Policy, Timing};
use pulsegate::health::verdict::{State, Transition};
use pulsegate::sim::{self, Arena, Arrangement, Plot, Weather};

/// Lives of which each property is tried.
pub(crate) const SEEDS: u64 = 256;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn share(percent: f64) -> Ratio {
    Ratio::try_new(percent / 100.0).unwrap()
}

/// So many endpoints with this health block, under so many requests a second.
pub(crate) fn configured(endpoints: u32, health: &str, rate: f64) -> Arrangement {
    let names: Vec<String> = (0..endpoints).map(|n| format!("e{n}:1")).collect();
    let text = format!(
        "heartbeats: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ address: '127.0.0.1:0', cluster: app }}]\n\
         clusters: [{{ name: app, endpoints: [{}], health: {health} }}]",
        names.join(", ")
    );
    let none = |_: &str| None;
    let read = |path: &Path| {
        let known = path.to_str() == Some("tokens");
        if known { Ok("secret".to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) }
    };
    let config = config::from_text(&text, "arena.yaml", Path::new(""), &none, &read).unwrap();
    sim::arrangement(&config, &config.clusters[0], &Plot { rate, ..Plot::default() })
}

/// Three endpoints that serve in 5 ms, interval 500 ms, timeout 200 ms, fall 3, rise 2, in turn, 2,000 requests a second. No machine
/// stands still by itself, which would be one more fault.
pub(crate) fn arrangement() -> Arrangement {
    let configured = configured(3, "{ path: /health, interval: 500ms, timeout: 200ms, fall: 3, rise: 2 }", 2000.0);
    Arrangement { pauses: false, ..configured }
}

/// A random arrangement: other sizes, paces and weathers.
pub(crate) fn any(seed: u64) -> (Arrangement, fastrand::Rng) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let weather = Weather::ALL[rng.usize(..Weather::ALL.len())];
    // Where a round trip takes that long, less is no setting.
    let timeout = match weather {
        Weather::Lan | Weather::Cloud => rng.u64(100..1000),
        Weather::Wan | Weather::Mobile => 1000,
        Weather::Homes => 4000,
    };
    let (interval, fall, endpoints) = (rng.u64(200..2000), rng.u32(2..5), rng.u32(2..7));
    let health = format!("{{ path: /health, interval: {interval}ms, timeout: {timeout}ms, fall: {fall}, rise: 2 }}");
    let rate = 1000.0 / rng.u32(10..50) as f64;
    (Arrangement { weather, service: ms(rng.u64(1..20)), ..configured(endpoints, &health, rate) }, rng)
}

/// The pace of its only probe.
pub(crate) fn timing(arrangement: &Arrangement) -> Timing {
    arrangement.cluster.probes[0].timing
}

pub(crate) const fn policy(arrangement: &Arrangement) -> &Policy {
    &arrangement.cluster.health
}

/// Runs a check with so many seeds, or with those that are asked for, and names each one that fails.
pub(crate) fn seeds(n: u64, check: impl Fn(u64)) {
    let failed: Vec<u64> = chosen(n).filter(|seed| !holds(*seed, &check)).collect();
    assert!(failed.is_empty(), "failed with SEED={}", failed.iter().map(u64::to_string).collect::<Vec<_>>().join(", SEED="));
}

/// The first `n` seeds, or those that `SEED=a` or `SEED=a..b` asks for.
pub(crate) fn chosen(n: u64) -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("SEED is a number, or two with .. between them");
    match std::env::var("SEED") {
        Err(_) => 0..n,
        Ok(asked) => match asked.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => number(&asked)..number(&asked) + 1,
        },
    }
}

fn holds(seed: u64, check: &impl Fn(u64)) -> bool {
    let held = panic::catch_unwind(AssertUnwindSafe(|| check(seed))).is_ok();
    if !held {
        eprintln!("failed with SEED={seed}");
    }
    held
}

/// An arena that has run well for some seconds, to a random phase.
pub(crate) fn warm(arrangement: Arrangement, seed: u64) -> Arena {
    let mut arena = Arena::new(arrangement, seed);
    arena.run(Duration::from_secs(3) + ms(fastrand::Rng::with_seed(seed).u64(0..500)));
    assert!(arena.record.recalled == 0 && arena.record.requests.iter().all(|done| done.well));
    arena
}

/// Changes of state from a moment on, a line for each.
pub(crate) fn told(arena: &Arena, from: Timestamp) -> String {
    let later = arena.record.transitions.iter().filter(|one| one.at >= from);
    let line = |one: &Transition| {
        let (id, after) = (one.endpoint.0, one.at.since(from));
        let why = one.reasons.first().map(|reason| format!("{}: {}", reason.code, reason.detail)).unwrap_or_default();
        format!("\n  {id} after {after:?}: {:?} to {:?}, {why}", one.from, one.to)
    };
    later.map(line).collect()
}

pub(crate) fn state(arena: &Arena, endpoint: u32) -> State {
    arena.cluster().view(EndpointId(endpoint)).unwrap().state
}

/// The share of the tries that went to an endpoint while so much time passed.
pub(crate) fn share_of(arena: &mut Arena, endpoint: usize, span: Duration) -> f64 {
    let before = arena.record.tries.clone();
    arena.run(span);
    let new: Vec<u64> = arena.record.tries.iter().zip(before).map(|(after, before)| after - before).collect();
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let share = new[endpoint] as f64 / new.iter().sum::<u64>().max(1) as f64;
    share
}

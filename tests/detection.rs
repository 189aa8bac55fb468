//! What detection promises under live traffic, in seeded arenas: faults at random phase, and properties that hold whatever happens.
//!
//! A failure names its seed, and `SEED=n cargo test --test detection` runs every test with that one alone.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use pulsegate::base::ids::EndpointId;
use pulsegate::base::time::Timestamp;
use pulsegate::base::units::Ratio;
use pulsegate::health::policy::{Damping, Outlier, Panic, Policy, Require, Silence, SlowStart, Start, Thresholds, Timing};
use pulsegate::health::verdict::{Code, State};
use pulsegate::sim::{Arena, Arrangement, Mood, Weather};

const SEEDS: u64 = 256;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn share(percent: f64) -> Ratio {
    Ratio::try_new(percent / 100.0).unwrap()
}

/// Three endpoints that serve in 5 ms, interval 500 ms, timeout 200 ms, fall 3, rise 2, in turn, 2,000 requests a second.
fn arrangement() -> Arrangement {
    let interval = ms(500);
    let count = |n| NonZeroU32::new(n).unwrap();
    Arrangement {
        policy: Policy {
            advisers: Vec::new(),
            probes: vec![Arc::from("ready")],
            asking: vec![true],
            require: Require::All,
            thresholds: Thresholds { fall: count(3), rise: count(2) },
            start: Start::Unknown,
            heartbeat: None,
            rules: Vec::new(),
            report_max_age: Duration::from_secs(10),
            weight_by: None,
            silence: Some(Silence { min: ms(100), enforce: true }),
            outlier: Some(Outlier {
                consecutive: count(5),
                error_ratio: share(50.0),
                against_siblings: 3.0,
                min_requests: 20,
                window: Duration::from_secs(10),
                ejection: Duration::from_secs(5),
                ejection_max: Duration::from_secs(300),
                enforce: true,
            }),
            slow_start: Some(SlowStart { window: Duration::from_secs(10), floor: share(10.0) }),
            damping: Some(Damping { hold: Duration::from_secs(1), hold_max: Duration::from_secs(60) }),
            interval,
            references: false,
            max_ejected: share(50.0),
            panic: Panic::Off,
            quorum: false,
        },
        timing: Timing { interval, timeout: ms(200), fast_interval: ms(250), down_interval: interval, jitter: share(10.0) },
        endpoints: 3,
        weather: Weather::Lan,
        service: ms(5),
        gap: Duration::from_micros(500),
    }
}

/// Runs a check with seeds, and names the one that fails.
fn seeds(n: u64, check: impl Fn(u64)) {
    let all = std::env::var("SEED").map_or_else(|_| (0..n).collect(), |seed| vec![seed.parse().expect("SEED is a number")]);
    for seed in all {
        let named = Named(seed);
        check(seed);
        drop(named);
    }
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SEED={}", self.0);
        }
    }
}

/// An arena that has run well for some seconds, to a random phase.
fn warm(arrangement: Arrangement, seed: u64) -> Arena {
    let mut arena = Arena::new(arrangement, seed);
    arena.run(Duration::from_secs(3) + ms(fastrand::Rng::with_seed(seed).u64(0..500)));
    assert_eq!((arena.tally.failed, arena.tally.recalled), (0, 0));
    arena
}

fn state(arena: &Arena, endpoint: u32) -> State {
    arena.cluster().view(EndpointId(endpoint)).unwrap().state
}

/// When an endpoint first left the well ones after `from`.
fn left(arena: &Arena, endpoint: u32, from: Timestamp) -> Option<Duration> {
    let mut turned = arena.tally.transitions.iter().filter(|one| one.endpoint == EndpointId(endpoint) && one.at >= from);
    turned.find(|one| !matches!(one.to, State::Healthy | State::Degraded)).map(|one| one.at.since(from))
}

/// The share of the tries that went to an endpoint while so much time passed.
fn share_of(arena: &mut Arena, endpoint: usize, span: Duration) -> f64 {
    let before = arena.tally.tries.clone();
    arena.run(span);
    let new: Vec<u64> = arena.tally.tries.iter().zip(before).map(|(after, before)| after - before).collect();
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let share = new[endpoint] as f64 / new.iter().sum::<u64>().max(1) as f64;
    share
}

#[test]
fn an_endpoint_that_hangs_is_out_within_a_fifth_of_a_second() {
    seeds(20, |seed| {
        let mut arena = warm(arrangement(), seed);
        let from = arena.now();
        let slow = arena.tally.slow;
        arena.turn(1, Mood::Hung);
        arena.run(ms(150));
        let sent = arena.tally.tries[1];
        arena.run(ms(850));
        assert_eq!(arena.tally.tries[1], sent, "no new requests to it after 150 ms");
        let ejected = arena.tally.transitions.iter().find(|one| one.to == State::Unhealthy && one.at >= from).unwrap();
        assert!(ejected.at.since(from) <= ms(300), "{:?}", ejected.at.since(from));
        assert_eq!(arena.tally.failed, 0);
        let slow: Vec<u64> = arena.tally.slow.iter().zip(slow).map(|(after, before)| after - before).collect();
        assert!(slow[0] <= 110 && slow[1] == 0, "{slow:?} requests took over 100 and 300 ms");
    });
}

#[test]
fn an_endpoint_that_dies_costs_nobody_anything() {
    seeds(20, |seed| {
        let mut arena = warm(arrangement(), seed);
        let from = arena.now();
        arena.turn(1, Mood::Dead);
        arena.run(Duration::from_secs(2));
        assert!(left(&arena, 1, from).unwrap() <= ms(20));
        assert_eq!((arena.tally.failed, state(&arena, 1)), (0, State::Unhealthy));
    });
}

#[test]
fn an_endpoint_that_limps_gets_hardly_anything() {
    seeds(5, |seed| {
        let mut arena = warm(arrangement(), seed);
        arena.turn(1, Mood::Limping(10.0));
        arena.run(Duration::from_secs(2));
        assert_eq!(state(&arena, 1), State::Degraded);
        let share = share_of(&mut arena, 1, Duration::from_secs(20));
        assert!(share <= 0.02, "{share}");
        assert_eq!(arena.tally.failed, 0);
    });
}

#[test]
fn an_endpoint_of_which_a_tenth_fails_is_found_in_half_a_second() {
    seeds(20, |seed| {
        let mut arena = warm(arrangement(), seed);
        let from = arena.now();
        arena.turn(1, Mood::Failing(0.1));
        arena.run(Duration::from_secs(2));
        assert!(left(&arena, 1, from).unwrap() <= ms(500), "{:?}", left(&arena, 1, from));
        let share = share_of(&mut arena, 1, Duration::from_secs(30));
        assert!(share <= 0.03, "{share}");
        assert_eq!(arena.tally.failed, 0);
    });
}

#[test]
fn an_endpoint_of_which_a_tenth_is_slow_is_found() {
    seeds(5, |seed| {
        let mut arena = warm(arrangement(), seed);
        arena.turn(1, Mood::Slow(0.1, 100.0));
        arena.run(Duration::from_secs(2));
        assert_eq!(state(&arena, 1), State::Degraded);
        let share = share_of(&mut arena, 1, Duration::from_secs(30));
        assert!(share <= 0.05, "{share}");
    });
}

#[test]
fn lost_packets_eject_nobody() {
    seeds(5, |seed| {
        let mut arena = warm(arrangement(), seed);
        (0..3).for_each(|endpoint| arena.turn(endpoint, Mood::Lossy(0.05)));
        arena.run(Duration::from_secs(50));
        let gone = arena.tally.transitions.iter().filter(|one| matches!(one.to, State::Unhealthy | State::Ejected)).count();
        assert_eq!((gone, arena.tally.failed), (0, 0), "{:#?}", arena.tally.transitions);
    });
}

#[test]
fn an_endpoint_on_a_lossy_path_gets_little_and_does_not_flap() {
    seeds(5, |seed| {
        let mut arena = warm(arrangement(), seed);
        let before = arena.tally.transitions.len();
        arena.turn(1, Mood::Lossy(0.2));
        arena.run(Duration::from_secs(2));
        let share = share_of(&mut arena, 1, Duration::from_secs(28));
        let turns = &arena.tally.transitions[before..];
        assert!(share <= 0.04 && turns.len() <= 2, "{share} {turns:#?}");
        assert_eq!(arena.tally.failed, 0);
    });
}

#[test]
fn slow_answers_of_well_endpoints_are_never_sent_twice() {
    seeds(5, |seed| {
        let mut arena = warm(arrangement(), seed);
        (0..3).for_each(|endpoint| arena.turn(endpoint, Mood::Slow(0.01, 200.0)));
        arena.run(Duration::from_secs(30));
        assert_eq!((arena.tally.recalled, arena.tally.failed), (0, 0));
        let mut suspected = None;
        for turned in &arena.tally.transitions {
            match (turned.to, suspected.take()) {
                (State::Suspect, _) => suspected = Some(turned.at),
                (_, Some(since)) => assert!(turned.at.since(since) <= ms(100), "{turned:?}"),
                (_, None) => {}
            }
        }
    });
}

#[test]
fn an_endpoint_that_flaps_turns_a_few_times() {
    seeds(3, |seed| {
        let mut arena = Arena::new(Arrangement { gap: ms(10), ..arrangement() }, seed);
        arena.run(Duration::from_secs(3));
        let before = arena.tally.transitions.len();
        for round in 0..150 {
            let mood = if seed == 0 { Mood::Hung } else { Mood::Dead };
            arena.turn(1, if round % 2 == 0 { mood } else { Mood::Well });
            arena.run(Duration::from_secs(2));
            arena.turn(1, if round % 2 == 1 { mood } else { Mood::Well });
            arena.run(Duration::from_secs(2));
        }
        let turns = &arena.tally.transitions[before..];
        assert!(turns.len() <= 30, "{} transitions", turns.len());
        assert_eq!(arena.tally.failed, 0);
    });
}

#[test]
fn a_cold_endpoint_is_never_drowned() {
    seeds(3, |seed| {
        let mut arena = warm(arrangement(), seed);
        arena.turn(1, Mood::Dead);
        arena.run(Duration::from_secs(2));
        arena.turn(1, Mood::Limping(20.0));
        // A fifth of what a third of the traffic and twice as much would be.
        let (capacity, step) = (2000.0 / 3.0 * 2.08 / 5.0, ms(250));
        for _ in 0..12 {
            let before = arena.tally.tries[1];
            arena.run(step);
            let sent = u32::try_from(arena.tally.tries[1] - before).unwrap();
            assert!(f64::from(sent) / step.as_secs_f64() <= 1.2 * capacity, "{sent} in {step:?}");
        }
        arena.turn(1, Mood::Well);
        arena.run(Duration::from_secs(25));
        let share = share_of(&mut arena, 1, Duration::from_secs(2));
        assert!(share > 0.3, "it has its full share when it is warm: {share}");
        assert_eq!(arena.tally.failed, 0);
    });
}

/// A random arrangement: other sizes, paces and weathers.
fn any(seed: u64) -> (Arrangement, fastrand::Rng) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let base = arrangement();
    let interval = ms(rng.u64(200..2000));
    let timing = Timing {
        interval,
        timeout: ms(rng.u64(100..1000)),
        fast_interval: (interval / 2).min(ms(500)),
        down_interval: interval,
        jitter: share(10.0),
    };
    let weather = [Weather::Lan, Weather::Wan, Weather::Cloud][rng.usize(..3)];
    let timing = if weather == Weather::Wan { Timing { timeout: ms(1000), ..timing } } else { timing };
    let fall = NonZeroU32::new(rng.u32(2..5)).unwrap();
    let policy = Policy { thresholds: Thresholds { fall, ..base.policy.thresholds }, interval, ..base.policy };
    let arrangement =
        Arrangement { policy, timing, endpoints: rng.u32(2..7), weather, gap: ms(rng.u64(10..50)), service: ms(rng.u64(1..20)) };
    (arrangement, rng)
}

/// I(1+j) + (2k-1)·max(F(1+j), T) + T: what is dead is found by then, even if half of the cluster dies with it.
fn bound(arrangement: &Arrangement) -> Duration {
    let Timing { interval, timeout, fast_interval, jitter, .. } = arrangement.timing;
    let late = 1.0 + jitter.get();
    let fall = arrangement.policy.thresholds.fall.get();
    interval.mul_f64(late) + fast_interval.mul_f64(late).max(timeout) * (2 * fall - 1) + timeout + ms(20)
}

#[test]
fn p1_the_dead_are_found_in_time() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let bound = bound(&arrangement);
        let endpoint = rng.u32(..arrangement.endpoints);
        let mut arena = Arena::new(arrangement, seed);
        arena.run(Duration::from_secs(4));
        let mood = if rng.bool() { Mood::Hung } else { Mood::Dead };
        arena.turn(usize::try_from(endpoint).unwrap(), mood);
        arena.run(bound);
        assert_eq!(state(&arena, endpoint), State::Unhealthy, "{mood:?} for {bound:?}");
    });
}

#[test]
fn p2_without_bad_evidence_nobody_is_down() {
    seeds(SEEDS, |seed| {
        let (arrangement, _) = any(seed);
        let mut arena = Arena::new(Arrangement { weather: Weather::Lan, ..arrangement }, seed);
        arena.run(Duration::from_secs(12));
        let down = arena.tally.transitions.iter().find(|one| matches!(one.to, State::Unhealthy | State::Ejected));
        assert_eq!((down, arena.tally.failed), (None, 0));
    });
}

#[test]
fn p3_and_p4_transitions_and_soft_ejections_are_bounded() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let (n, most) = (usize::try_from(arrangement.endpoints).unwrap(), share(50.0));
        let cap = most.floor_of(n).max(1);
        let mut arena = Arena::new(arrangement, seed);
        arena.run(Duration::from_secs(4));
        for _ in 0..10 {
            let mood =
                [Mood::Well, Mood::Hung, Mood::Dead, Mood::Failing(0.6), Mood::Limping(20.0), Mood::Lossy(0.1)][rng.usize(..6)];
            arena.turn(rng.usize(..n), mood);
            arena.run(ms(rng.u64(200..3000)));
            let states: Vec<State> = (0..).take(n).map(|id| state(&arena, id)).collect();
            let soft = |id: &u32| {
                let view = arena.cluster().view(EndpointId(*id)).unwrap();
                let silent = view.reasons.first().is_some_and(|reason| reason.code == Code::Silence);
                // One that fails its probes while it is held out for flapping is out by itself.
                let fails = view.reasons.iter().any(|reason| reason.probe.is_some() || reason.code == Code::Refused);
                (view.state == State::Ejected && !fails) || (view.state == State::Suspect && silent)
            };
            assert!((0..).take(n).filter(soft).count() <= cap, "{states:?}");
        }
        let turns = arena.tally.transitions.len();
        assert!(turns <= 10 * n * 4, "{turns} transitions");
    });
}

#[test]
fn p6_a_stall_of_ours_changes_nothing() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let n = arrangement.endpoints;
        let interval = arrangement.timing.interval;
        let mut arena = Arena::new(Arrangement { weather: Weather::Lan, ..arrangement }, seed);
        arena.run(Duration::from_secs(4));
        for _ in 0..3 {
            arena.stall(ms(rng.u64(100..4000)));
            arena.run(Duration::from_secs(5));
        }
        arena.run(interval * 2);
        let bad = arena.tally.transitions.iter().find(|one| matches!(one.to, State::Unhealthy | State::Ejected));
        assert_eq!((bad, arena.tally.failed), (None, 0));
        assert!((0..n).all(|id| matches!(state(&arena, id), State::Healthy | State::Degraded)));
    });
}

#[test]
fn p10_probes_keep_their_rate() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let Timing { interval, fast_interval, jitter, .. } = arrangement.timing;
        let confirmations = u64::from(arrangement.policy.thresholds.fall.get() - 1);
        let n = usize::try_from(arrangement.endpoints).unwrap();
        let mut arena = Arena::new(arrangement, seed);
        let span = Duration::from_secs(10);
        for _ in 0..10 {
            arena.turn(rng.usize(..n), if rng.bool() { Mood::Hung } else { Mood::Well });
            arena.run(span / 10);
        }
        let least = interval.min(fast_interval).mul_f64(1.0 - jitter.get());
        let suspected = arena.tally.transitions.iter().filter(|one| one.to == State::Suspect).count();
        let extra = (u64::try_from(suspected).unwrap() + 10) * confirmations.max(1);
        for probes in &arena.tally.probes {
            let most = u64::try_from(span.as_nanos() / least.as_nanos()).unwrap() + 2 + extra;
            assert!(*probes <= most, "{probes} probes, at most {most}");
        }
    });
}

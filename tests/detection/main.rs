//! What detection promises under live traffic, in seeded arenas: faults at random phase.
//!
//! A failure names its seed. `SEED=n cargo test --test detection` runs every test with that one alone, `SEED=1000..1300` with those.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod arenas;
mod properties;

use std::time::Duration;

use arenas::{arrangement, ms, seeds, share_of, state, told, warm};
use pulsegate::base::ids::EndpointId;
use pulsegate::base::time::Timestamp;
use pulsegate::health::verdict::State;
use pulsegate::sim::{Arena, Arrangement, Mood};

/// When an endpoint first left the well ones after `from`.
fn left(arena: &Arena, endpoint: u32, from: Timestamp) -> Option<Duration> {
    let mut turned = arena.record.transitions.iter().filter(|one| one.endpoint == EndpointId(endpoint) && one.at >= from);
    turned.find(|one| !matches!(one.to, State::Healthy | State::Degraded)).map(|one| one.at.since(from))
}

/// Requests so far that were answered badly or not.
fn failed(arena: &Arena) -> usize {
    arena.record.requests.iter().filter(|done| !done.well).count()
}

/// Requests from a moment on that took longer.
fn slower(arena: &Arena, from: Timestamp, millis: u64) -> usize {
    arena.record.requests.iter().filter(|done| done.start >= from && done.latency > ms(millis)).count()
}

#[test]
fn an_endpoint_that_hangs_is_out_within_a_fifth_of_a_second() {
    seeds(20, |seed| {
        let mut arena = warm(arrangement(), seed);
        let from = arena.now();
        arena.turn(1, Mood::Hung);
        arena.run(ms(150));
        let sent = arena.record.tries[1];
        arena.run(ms(850));
        assert_eq!(arena.record.tries[1], sent, "no new requests to it after 150 ms");
        let ejected = arena.record.transitions.iter().find(|one| one.to == State::Unhealthy && one.at >= from).unwrap();
        assert!(ejected.at.since(from) <= ms(300), "{:?}", ejected.at.since(from));
        assert_eq!(failed(&arena), 0);
        let slow = [slower(&arena, from, 100), slower(&arena, from, 300)];
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
        assert_eq!((failed(&arena), state(&arena, 1)), (0, State::Unhealthy));
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
        assert_eq!(failed(&arena), 0);
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
        let share = share_of(&mut arena, 1, Duration::from_secs(15));
        assert!(share <= 0.03, "{share}");
        assert_eq!(failed(&arena), 0);
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
        let from = arena.now();
        (0..3).for_each(|endpoint| arena.turn(endpoint, Mood::Lossy(0.05)));
        arena.run(Duration::from_secs(50));
        let gone = arena.record.transitions.iter().filter(|one| matches!(one.to, State::Unhealthy | State::Ejected)).count();
        let unwell: Vec<_> = arena.record.requests.iter().filter(|done| !done.well).collect();
        assert!(gone == 0 && unwell.is_empty(), "{}\n{unwell:?}", told(&arena, from));
    });
}

#[test]
fn an_endpoint_on_a_lossy_path_gets_little_and_does_not_flap() {
    seeds(5, |seed| {
        let mut arena = warm(arrangement(), seed);
        let begun = arena.now();
        arena.turn(1, Mood::Lossy(0.2));
        arena.run(Duration::from_secs(2));
        let share = share_of(&mut arena, 1, Duration::from_secs(28));
        let turns = arena.record.transitions.iter().filter(|one| one.at >= begun).count();
        let slow = slower(&arena, begun, 300);
        assert!(share <= 0.04 && turns <= 2 && slow <= 10, "{share}, {slow} over 300 ms, {}", told(&arena, begun));
        assert_eq!(failed(&arena), 0);
    });
}

#[test]
fn slow_answers_of_well_endpoints_are_never_sent_twice() {
    seeds(5, |seed| {
        let mut arena = warm(arrangement(), seed);
        let begun = arena.now();
        (0..3).for_each(|endpoint| arena.turn(endpoint, Mood::Slow(0.01, 200.0)));
        arena.run(Duration::from_secs(30));
        let sent_twice = (arena.record.recalled, arena.record.called_back);
        assert_eq!((sent_twice, failed(&arena)), ((0, 0), 0), "{}", told(&arena, begun));
        let mut suspected = None;
        for turned in &arena.record.transitions {
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
        let mut arena = Arena::new(Arrangement { rate: 100.0, ..arrangement() }, seed);
        arena.run(Duration::from_secs(3));
        let before = arena.record.transitions.len();
        for round in 0..150 {
            let mood = if seed == 0 { Mood::Hung } else { Mood::Dead };
            arena.turn(1, if round % 2 == 0 { mood } else { Mood::Well });
            arena.run(Duration::from_secs(2));
            arena.turn(1, if round % 2 == 1 { mood } else { Mood::Well });
            arena.run(Duration::from_secs(2));
        }
        let turns = &arena.record.transitions[before..];
        assert!(turns.len() <= 30, "{} transitions", turns.len());
        assert_eq!(failed(&arena), 0);
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
            let before = arena.record.tries[1];
            arena.run(step);
            let sent = u32::try_from(arena.record.tries[1] - before).unwrap();
            assert!(f64::from(sent) / step.as_secs_f64() <= 1.2 * capacity, "{sent} in {step:?}");
        }
        arena.turn(1, Mood::Well);
        arena.run(Duration::from_secs(25));
        let share = share_of(&mut arena, 1, Duration::from_secs(2));
        assert!(share > 0.3, "it has its full share when it is warm: {share}");
        assert_eq!(failed(&arena), 0);
    });
}

#[test]
fn an_endpoint_that_is_restarted_at_once_is_back_as_soon_as_its_probes_pass() {
    seeds(20, |seed| {
        let mut arena = warm(Arrangement { service: ms(30), ..arrangement() }, seed);
        arena.turn(1, Mood::Dead);
        arena.run(ms(fastrand::Rng::with_seed(seed).u64(30..900)));
        let restarted = arena.now();
        arena.turn(1, Mood::Well);
        arena.run(ms(2500));
        assert!(matches!(state(&arena, 1), State::Healthy | State::Degraded), "{:#?}", arena.record.transitions);
        let back = arena.record.transitions.iter().rfind(|one| one.endpoint == EndpointId(1)).unwrap();
        assert!(back.at.since(restarted) <= ms(1300), "{:?} {:#?}", back.at.since(restarted), arena.record.transitions);
        assert_eq!(failed(&arena), 0);
    });
}

//! Properties that hold whatever happens, each in a few hundred seeded lives: numbered as in the list that they come from.
//!
//! | | holds |
//! |---|---|
//! | P1 | what is dead and stays so is out within the planned time |
//! | P2 | without bad evidence nobody is taken out |
//! | P3 | an endpoint turns only so often in a given time |
//! | P4 | what is taken out for soft reasons stays within its cap |
//! | P5 | clocks of those who send heartbeats decide nothing |
//! | P6 | a stall of ours changes nothing, however long |
//! | P7 | votes may come in any order and any number of times: next to the mailbox, `src/fleet/roll.rs` |
//! | P8 | who hears only a minority takes nobody out for what its own path may be to blame for, and moves nobody else |
//! | P9 | at most one leads, and never in an epoch that is over: `src/health/leading.rs` |
//! | P10 | probes keep their rate |
//! | P11 | bad evidence never makes a verdict better, good evidence never worse |
//! | P12 | means are those of the formulas within three standard errors: `tests/plan.rs`, and below with traffic |

use std::sync::Arc;
use std::time::Duration;

use pulsegate::base::ids::{ClusterId, EndpointId};
use pulsegate::base::time::Timestamp;
use pulsegate::health::electorate::{Electorate, Votes};
use pulsegate::health::policy::Timing;
use pulsegate::health::signal::{Failure, Observation, ProbeResult, ProbeRun, Signal, Stamps};
use pulsegate::health::verdict::{Code, State, Transition};
use pulsegate::sim::plan::{self, Assumptions, Detection, Source};
use pulsegate::sim::{Arena, Arrangement, Mood, Weather};

use crate::arenas::{SEEDS, any, chosen, configured, ms, policy, seeds, share, state, timing, told, warm};

/// I(1+j) + (2k-1)·max(F(1+j), T) + T: what is dead is found by then, even if half of the cluster dies with it.
fn bound(arrangement: &Arrangement) -> Duration {
    let Timing { interval, timeout, fast_interval, jitter, .. } = timing(arrangement);
    let late = 1.0 + jitter.get();
    let fall = policy(arrangement).thresholds.fall.get();
    interval.mul_f64(late) + fast_interval.mul_f64(late).max(timeout) * (2 * fall - 1) + timeout + ms(20)
}

fn places(n: u32) -> usize {
    usize::try_from(n).unwrap()
}

fn size(arrangement: &Arrangement) -> u32 {
    u32::try_from(arrangement.cluster.endpoints.len()).unwrap()
}

fn failed(arena: &Arena) -> usize {
    arena.record.requests.iter().filter(|done| !done.well).count()
}

fn is_out(transition: &Transition) -> bool {
    matches!(transition.to, State::Unhealthy | State::Ejected)
}

#[test]
fn p1_the_dead_are_found_in_time() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let bound = bound(&arrangement);
        let endpoint = rng.u32(..size(&arrangement));
        let mut arena = Arena::new(arrangement, seed);
        arena.run(Duration::from_secs(4));
        let mood = if rng.bool() { Mood::Hung } else { Mood::Dead };
        arena.turn(places(endpoint), mood);
        arena.run(bound);
        let view = arena.cluster().view(EndpointId(endpoint)).unwrap();
        // Who was ejected for what its requests met before its probes had failed stays where it is.
        let out = matches!(view.state, State::Unhealthy | State::Ejected) && !view.admitted;
        let found = view.reasons.iter().any(|reason| reason.probe.is_some() || reason.code == Code::Refused);
        assert!(out && found, "{mood:?} for {bound:?}: {view:?}");
    });
}

#[test]
fn p2_without_bad_evidence_nobody_is_down() {
    seeds(SEEDS, |seed| {
        let (arrangement, _) = any(seed);
        let mut arena = Arena::new(Arrangement { weather: Weather::Lan, pauses: false, ..arrangement }, seed);
        arena.run(Duration::from_secs(12));
        assert_eq!((arena.record.transitions.iter().find(|one| is_out(one)), failed(&arena)), (None, 0));
    });
}

#[test]
fn p3_and_p4_transitions_and_soft_ejections_are_bounded() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let n = size(&arrangement);
        let cap = share(50.0).floor_of(places(n)).max(1);
        let mut arena = Arena::new(arrangement, seed);
        arena.run(Duration::from_secs(4));
        for _ in 0..10 {
            let mood =
                [Mood::Well, Mood::Hung, Mood::Dead, Mood::Failing(0.6), Mood::Limping(20.0), Mood::Lossy(0.1)][rng.usize(..6)];
            arena.turn(rng.usize(..places(n)), mood);
            arena.run(ms(rng.u64(200..3000)));
            let states: Vec<State> = (0..n).map(|id| state(&arena, id)).collect();
            let soft = |id: &u32| {
                let view = arena.cluster().view(EndpointId(*id)).unwrap();
                let silent = view.reasons.first().is_some_and(|reason| reason.code == Code::Silence);
                // One that fails its probes while it is held out for flapping is out by itself.
                let fails = view.reasons.iter().any(|reason| reason.probe.is_some() || reason.code == Code::Refused);
                (view.state == State::Ejected && !fails) || (view.state == State::Suspect && silent)
            };
            assert!((0..n).filter(soft).count() <= cap, "{states:?}");
        }
        let turns = arena.record.transitions.len();
        assert!(turns <= 10 * places(n) * 4, "{turns} transitions");
    });
}

#[test]
fn p3_who_comes_and_goes_turns_ever_more_rarely() {
    seeds(SEEDS, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (hold, doublings) = (rng.u64(200..600), rng.u32(3..7));
        let hold_max = hold << doublings;
        let health =
            format!("{{ path: /h, interval: 300ms, timeout: 150ms, damping: {{ hold: {hold}ms, hold_max: {hold_max}ms }} }}");
        let mut arena = Arena::new(configured(3, &health, 10.0), seed);
        arena.run(Duration::from_secs(2));
        let begun = arena.now();
        let moods = [Mood::Hung, Mood::Dead, Mood::Wrong];
        // Nobody is up for so long that it is forgiven.
        while arena.now().since(begun) < Duration::from_secs(45) {
            arena.turn(1, moods[rng.usize(..3)]);
            arena.run(ms(rng.u64(300..2500)));
            arena.turn(1, Mood::Well);
            arena.run(ms(rng.u64(300..2500)));
        }
        let turns: Vec<&Transition> = arena.record.transitions.iter().filter(|one| one.at >= begun).collect();
        let outs = turns.iter().filter(|one| one.from.is_well() && !one.to.is_well()).count();
        // The first hold begins with the second ejection, and doubles until it is as long as it gets.
        let whole = arena.now().since(begun).as_millis() / u128::from(hold_max);
        let most = places(2 + doublings) + usize::try_from(whole).unwrap() + 1;
        assert!(outs <= most, "out {outs} times, at most {most}: {}", told(&arena, begun));
    });
}

/// What a clock shows beside the right time, in milliseconds: set once or often, up to 500 ppm too fast, or far beyond 2038.
fn clocks(rng: &mut fastrand::Rng) -> Vec<(Duration, i64)> {
    let (hour, far) = (3_600_000, 40 * 365 * 86_400_000);
    let sign = if rng.bool() { 1 } else { -1 };
    match rng.u32(..4) {
        0 => vec![(ms(rng.u64(..9000)), [hour, -hour, far, -far][rng.usize(..4)])],
        1 => (0..12).map(|_| (ms(rng.u64(..12_000)), rng.i64(-far..far))).collect(),
        2 => (0..8).map(|n| (ms(2000 * n), sign * i64::try_from(n).unwrap())).collect(),
        _ => vec![(Duration::ZERO, i64::MAX), (ms(5000), i64::MIN)],
    }
}

/// A turn as far as it is about being available.
fn fold((at, endpoint, from, to): (Timestamp, EndpointId, State, State)) -> (Timestamp, EndpointId, State, State) {
    let plain = |state| if state == State::Degraded { State::Healthy } else { state };
    (at, endpoint, plain(from), plain(to))
}

#[test]
fn p5_clocks_of_senders_decide_nothing() {
    seeds(SEEDS, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let detector = ["ttl, ttl: 1750ms", "accrual, phi: 6, ttl: 3s"][rng.usize(..2)];
        let probed = if rng.bool() { "path: /health, " } else { "" };
        let health = format!("{{ {probed}heartbeat: {{ period: 500ms, token_file: tokens, detector: {detector} }} }}");
        let arrangement = configured(rng.u32(2..5), &health, 0.001);
        let n = places(size(&arrangement));
        let weather = Weather::ALL[rng.usize(..Weather::ALL.len())];
        let troubles: Vec<(Duration, usize, Mood)> = (0..6)
            .map(|_| {
                (
                    ms(rng.u64(1000..12_000)),
                    rng.usize(..n),
                    [Mood::Well, Mood::Hung, Mood::Dead, Mood::Lossy(0.3)][rng.usize(..4)],
                )
            })
            .collect();
        let clocks: Vec<Vec<(Duration, i64)>> = (0..n).map(|_| clocks(&mut rng)).collect();
        let live = |wrong: bool| {
            let mut arena = Arena::new(Arrangement { weather, ..arrangement.clone() }, seed);
            let begin = arena.now();
            troubles.iter().for_each(|(after, endpoint, mood)| arena.turn_at(begin + *after, *endpoint, *mood));
            for (endpoint, steps) in clocks.iter().enumerate().filter(|_| wrong) {
                steps.iter().for_each(|(after, ahead)| arena.set_clock_at(begin + *after, endpoint, *ahead));
            }
            arena.run(Duration::from_secs(15));
            // How late beats come is told by those clocks, and late ones degrade; nobody gets in or out by them.
            let available = |state: State| matches!(state, State::Healthy | State::Degraded);
            let turns = arena.record.transitions.into_iter().map(|one| (one.at, one.endpoint, one.from, one.to));
            turns.filter(|(_, _, from, to)| !(available(*from) && available(*to))).map(fold).collect::<Vec<_>>()
        };
        assert_eq!(live(false), live(true));
    });
}

#[test]
fn p6_a_stall_of_ours_changes_nothing() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let n = size(&arrangement);
        let interval = timing(&arrangement).interval;
        let beats = rng.bool().then(|| configured(n, "{ heartbeat: { period: 500ms, ttl: 1500ms, token_file: tokens } }", 30.0));
        let mut arena = Arena::new(Arrangement { weather: Weather::Lan, ..beats.unwrap_or(arrangement) }, seed);
        arena.run(Duration::from_secs(4));
        for _ in 0..3 {
            arena.stall(ms(rng.u64(100..4000)));
            arena.run(Duration::from_secs(5));
        }
        arena.run(interval * 2);
        let bad = arena.record.transitions.iter().find(|one| is_out(one));
        assert_eq!((bad, failed(&arena)), (None, 0));
        assert!((0..n).all(|id| matches!(state(&arena, id), State::Healthy | State::Degraded)));
    });
}

/// What gathers in a stall of ours comes to the endpoints at once: it waits there for its turn, probes run out of time behind it, and
/// connections time out in accept queues. Endpoints that are less than half busy have worked it off when as much time has passed again.
#[test]
fn p6_what_gathers_in_a_stall_is_held_against_nobody() {
    seeds(SEEDS, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let health = "{ path: /health, interval: 500ms, timeout: 200ms, fall: 3, rise: 2 }";
        let accepts = rng.u32(8..32);
        let arrangement = Arrangement { intake: ms(15), accepts, pauses: false, ..configured(3, health, 75.0) };
        let mut arena = warm(arrangement, seed);
        let begun = arena.now();
        for _ in 0..2 {
            arena.stall(ms(rng.u64(1500..3000)));
            arena.run(ms(rng.u64(5500..6500)));
        }
        let waited = arena.record.requests.iter().filter(|done| done.latency > ms(1000)).count();
        let moved = arena.record.transitions.iter().any(|one| one.at >= begun);
        assert!(!moved && failed(&arena) == 0, "{} failed, {}", failed(&arena), told(&arena, begun));
        assert!(waited > 20, "nobody had to wait: {waited}");
        assert!((0..3).all(|id| state(&arena, id) == State::Healthy));
    });
}

/// Proxies in front of the same endpoints, which tell each other what they see, as far as they reach each other.
struct Fleet {
    proxies: Vec<(Arena, Electorate)>,
    /// Pairs of proxies that hear nothing of each other are on different sides.
    sides: Vec<u32>,
}

impl Fleet {
    fn new(size: u32, arrangement: &Arrangement, seed: u64) -> Self {
        let proxy =
            |n: u32| (Arena::new(arrangement.clone(), seed * 10 + u64::from(n)), Electorate::new(places(size), places(size)));
        Self { proxies: (0..size).map(proxy).collect(), sides: vec![0; places(size)] }
    }

    /// One tells those on its side what it sees.
    fn speak(&mut self, from: usize) {
        let votes = said(&self.proxies[from].0);
        let heard = (0..self.proxies.len()).filter(|to| *to != from && self.sides[from] == self.sides[*to]);
        for to in heard.collect::<Vec<_>>() {
            let now = self.proxies[to].0.now();
            self.proxies[to].1.hear(from, &Arc::from(format!("p{from}")), true, votes.clone(), now);
        }
    }

    /// Lets time pass for all of them; they speak every 200 ms.
    fn run(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.proxies.iter_mut().for_each(|(arena, _)| arena.run(ms(200)));
            for from in 0..self.proxies.len() {
                self.speak(from);
            }
            for (arena, electorate) in &mut self.proxies {
                for endpoint in 0..arena.record.tries.len() {
                    let count = electorate.count("app", &format!("{endpoint}"), arena.now());
                    arena.hear_fleet(endpoint, count);
                }
            }
        }
    }
}

fn said(arena: &Arena) -> Votes {
    let ids = (0..).take(arena.record.tries.len());
    let said = ids.filter_map(|id: u32| Some((Arc::from(format!("{id}")), arena.cluster().vote(EndpointId(id))?)));
    Votes::from([(Arc::from("app"), said.collect())])
}

#[test]
fn p8_a_minority_moves_nobody() {
    seeds(SEEDS, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut arrangement = configured(3, "{ path: /h, interval: 500ms, timeout: 200ms }", 20.0);
        arrangement.cluster.health.quorum = true;
        let size = rng.u32(1..=2) * 2 + 1;
        let mut fleet = Fleet::new(size, &arrangement, seed);
        fleet.run(15);
        // Some cannot reach an endpoint, and may be cut off from the others as well.
        let minority = rng.usize(1..=places(size / 2));
        let (cut_off, endpoint) = (rng.bool(), rng.u32(..3));
        let fault = [Mood::Hung, Mood::Lossy(1.0)][rng.usize(..2)];
        for (arena, _) in &mut fleet.proxies[..minority] {
            arena.turn(places(endpoint), fault);
        }
        if cut_off {
            fleet.sides[..minority].fill(1);
        }
        fleet.run(30);
        for (place, (arena, _)) in fleet.proxies.iter().enumerate() {
            let out: Vec<&Transition> = arena.record.transitions.iter().filter(|one| is_out(one)).collect();
            assert!(out.is_empty(), "proxy {place} of {size}, {minority} of which are cut off ({cut_off}): {out:#?}");
            let expected = if place < minority { State::Suspect } else { State::Healthy };
            assert_eq!(state(arena, endpoint), expected, "proxy {place} of {size}");
        }
    });
}

#[test]
fn p10_probes_keep_their_rate() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let Timing { interval, fast_interval, jitter, .. } = timing(&arrangement);
        let confirmations = u64::from(policy(&arrangement).thresholds.fall.get() - 1);
        let n = places(size(&arrangement));
        let mut arena = Arena::new(arrangement, seed);
        let span = Duration::from_secs(10);
        for _ in 0..10 {
            arena.turn(rng.usize(..n), [Mood::Hung, Mood::Dead, Mood::Well][rng.usize(..3)]);
            arena.run(span / 10);
        }
        // Besides those in their slots there are those that traffic asks for, which are as far apart.
        let least = interval.min(fast_interval).mul_f64(1.0 - jitter.get());
        let suspected = arena.record.transitions.iter().filter(|one| one.to == State::Suspect).count();
        let extra = (u64::try_from(suspected).unwrap() + 10) * confirmations.max(1);
        for probes in &arena.record.probes {
            let most = u64::try_from(span.as_nanos() / least.as_nanos()).unwrap() + 2 + extra;
            assert!(*probes <= most, "{probes} probes, at most {most}");
        }
    });
}

/// How sick a state says that somebody is.
const fn severity(state: State) -> u32 {
    match state {
        State::Healthy => 0,
        State::Degraded => 1,
        State::Unknown => 2,
        State::Suspect => 3,
        State::Ejected => 4,
        State::Unhealthy => 5,
        State::Draining | State::Maintenance => 6,
    }
}

#[test]
fn p11_bad_evidence_never_helps_and_good_evidence_never_harms() {
    seeds(SEEDS, |seed| {
        let (arrangement, mut rng) = any(seed);
        let n = size(&arrangement);
        let timeout = timing(&arrangement).timeout;
        let mut arena = Arena::new(arrangement, seed);
        arena.run(Duration::from_secs(2));
        let moods = [Mood::Well, Mood::Hung, Mood::Dead, Mood::Wrong, Mood::Failing(0.3), Mood::Lossy(0.2)];
        for _ in 0..20 {
            arena.turn(rng.usize(..places(n)), moods[rng.usize(..moods.len())]);
            arena.run(ms(rng.u64(20..1500)));
            let (now, id) = (arena.now(), EndpointId(rng.u32(..n)));
            let run = |result| {
                let (started, excerpt) = (now - ms(1), Arc::from(""));
                Observation::Probe(ProbeRun { probe: 0, started, latency: ms(1), result, excerpt, stamps: Stamps::default() })
            };
            let bad = [
                run(ProbeResult::Fail(Failure::Timeout(timeout))),
                run(ProbeResult::Fail(Failure::Refused)),
                run(ProbeResult::Fail(Failure::Status(500))),
                Observation::Refused,
                Observation::Reset,
            ];
            let good = [run(ProbeResult::Pass), Observation::Answered];
            let before = severity(state(&arena, id.0));
            let after = |observation: &Observation| {
                let mut engine = arena.cluster().clone();
                let signal = Signal { cluster: ClusterId(0), endpoint: id, at: now, observation: observation.clone() };
                drop(engine.apply(&signal, now));
                severity(engine.view(id).unwrap().state)
            };
            for one in bad {
                assert!(after(&one) >= before, "{one:?} made it better: {:?}", arena.cluster().view(id));
            }
            for one in good {
                assert!(after(&one) <= before, "{one:?} made it worse: {:?}", arena.cluster().view(id));
            }
        }
    });
}

/// Times from a fault until its endpoint is out, each in a life of its own.
fn lives(arrangement: &Arrangement, mood: Mood, count: u64) -> Vec<f64> {
    let life = |seed: u64| {
        let mut arena = Arena::new(arrangement.clone(), seed);
        arena.run(Duration::from_secs(2) + ms(fastrand::Rng::with_seed(seed).u64(..2000)));
        let from: Timestamp = arena.now();
        arena.turn(1, mood);
        for _ in 0..60 {
            arena.run(ms(100));
            let mut later = arena.record.transitions.iter().filter(|one| one.endpoint == EndpointId(1) && one.at >= from);
            if let Some(out) = later.find(|one| is_out(one)) {
                return out.at.since(from).as_secs_f64();
            }
        }
        panic!("it is not found")
    };
    chosen(count).map(life).collect()
}

/// Whether the mean of the times is the expected one within three standard errors and so many seconds more.
fn check_mean(what: &str, times: &[f64], expected: f64, slack: f64) {
    let count = f64::from(u32::try_from(times.len()).unwrap());
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let error = 3.0 * (variance / count).sqrt() + slack;
    assert!((mean - expected).abs() <= error, "{what}: {mean:.4} s on average, {expected:.4} s by the formula, ± {error:.4}");
}

#[test]
fn p12_traffic_and_heartbeats_find_faults_when_the_formulas_say() {
    let health = "{ path: /h, interval: 20s, timeout: 500ms, fall: 3, jitter: 0% }";
    for balance in ["least_request", "round_robin"] {
        let mut arrangement = Arrangement { service: ms(1), ..configured(3, health, 120.0) };
        if balance == "least_request" {
            arrangement.cluster.balance = pulsegate::traffic::affinity::Balance::Any(pulsegate::balance::Algorithm::LeastRequest);
        }
        let planned = planned(&arrangement);
        let hung = planned.hung.unwrap();
        assert_eq!(hung.by, Source::Traffic);
        check_mean(&format!("hung, {balance}"), &lives(&arrangement, Mood::Hung, SEEDS), hung.time.mean.as_secs_f64(), 0.002);
        let refused = planned.refused.unwrap();
        assert_eq!(refused.by, Source::Traffic);
        check_mean(
            &format!("refused, {balance}"),
            &lives(&arrangement, Mood::Dead, SEEDS),
            refused.time.mean.as_secs_f64(),
            0.001,
        );
    }
    let arrangement = configured(3, "{ heartbeat: { period: 500ms, ttl: 1750ms, token_file: tokens } }", 0.01);
    let hung = planned(&arrangement).hung.unwrap();
    assert_eq!(hung.by, Source::Heartbeats);
    check_mean("heartbeats", &lives(&arrangement, Mood::Hung, SEEDS), hung.time.mean.as_secs_f64(), 0.001);
}

/// Ways of finding a hang that are no requests: alone, and where several must agree.
#[test]
fn p12_files_references_and_ways_that_must_agree_are_found_when_the_formulas_say() {
    let beats = "heartbeat: { period: 500ms, ttl: 1750ms, token_file: tokens }";
    for health in [
        "{ probes: [{ file: { path: '/run/{port}', max_age: 2s } }], interval: 500ms }".to_owned(),
        "{ probes: [{ file: { path: '/run/{port}', max_age: 1s } }, { http: {} }], require: any, interval: 1s, timeout: 300ms }"
            .to_owned(),
        format!("{{ probes: [{{ http: {{}} }}], require: any, interval: 500ms, timeout: 250ms, {beats} }}"),
        format!(
            "{{ probes: [{{ http: {{}} }}, {{ name: other, http: {{}} }}], require: 2, interval: 1s, timeout: 250ms, {beats} }}"
        ),
        "{ path: /h, interval: 1s, timeout: 250ms, fall: 2, reference: '10.0.0.9:1' }".to_owned(),
        "{ path: /h, interval: 1s, timeout: 1s, fall: 1 }".to_owned(),
        "{ path: /h, interval: 300ms, timeout: 400ms, jitter: 50% }".to_owned(),
    ] {
        let arrangement = configured(3, &health, 0.01);
        let hung = planned(&arrangement).hung.unwrap();
        let times = lives(&arrangement, Mood::Hung, SEEDS);
        check_mean(&health, &times, hung.time.mean.as_secs_f64(), 0.015);
        let worst = times.iter().copied().fold(0.0, f64::max);
        assert!(worst <= hung.time.worst.as_secs_f64() + 0.03, "{health}: {worst} s at the worst, planned {:?}", hung.time);
    }
}

fn planned(arrangement: &Arrangement) -> Detection {
    let assumed =
        Assumptions { rate: arrangement.rate, latency: arrangement.service * 5, round_trip: ms(1), ..Assumptions::default() };
    plan::of_cluster(&arrangement.cluster, Some(&arrangement.retries), &assumed).detection
}

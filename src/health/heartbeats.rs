//! Heartbeats against the engine: time to live, suspicion, numbers, incarnations, clocks, and our own stalls.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::base::units::Ratio;
use crate::health::policy::{Detector, HeartbeatPolicy, Panic, Policy, Require, SlowStart, Start};
use crate::health::signal::{
    Beat, BeatResult, BeatState, Failure, Observation, OperatorState, ProbeResult, ProbeRun, Signal, Stamps,
};
use crate::health::tests::{members, policy};
use crate::health::verdict::State;
use crate::health::{Changes, Cluster};

const PERIOD: u64 = 500;
const TTL: u64 = 1750;
/// No round number, as clocks have none.
const NOON: u64 = 1_795_478_400_007;

fn pushed(detector: Detector, ttl: u64) -> Policy {
    let heartbeat = HeartbeatPolicy { period: Duration::from_millis(PERIOD), ttl: Duration::from_millis(ttl), detector };
    Policy { probes: Vec::new(), start: Start::Healthy, heartbeat: Some(heartbeat), panic: Panic::Off, ..policy() }
}

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(3_600_000 + millis)
}

/// One cluster of senders, with time in milliseconds.
struct Bench {
    cluster: Cluster,
    transitions: usize,
}

impl Bench {
    fn new(policy: Policy, n: u32) -> Self {
        Self { cluster: Cluster::new(policy, members(n), at(0)), transitions: 0 }
    }

    fn note(&mut self, changes: &Changes) {
        self.transitions += changes.transitions.len();
    }

    fn send(&mut self, id: u32, now: u64, observation: Observation) {
        self.tick(now);
        let signal = Signal { cluster: ClusterId(0), endpoint: EndpointId(id), at: at(now), observation };
        let changes = self.cluster.apply(&signal, at(now));
        self.note(&changes);
    }

    fn beat(&mut self, id: u32, now: u64, beat: Beat) -> BeatResult {
        self.send(id, now, Observation::Beat(beat));
        self.cluster.heartbeat(EndpointId(id)).unwrap().last
    }

    /// Lets time pass up to a moment, every change when it is due.
    fn tick(&mut self, now: u64) {
        while let Some(due) = self.cluster.next_change().filter(|due| *due <= at(now)) {
            let changes = self.cluster.tick(due);
            self.note(&changes);
            assert!(self.cluster.next_change().is_none_or(|next| next > due), "time must go on");
        }
    }

    fn state(&self, id: u32) -> State {
        self.cluster.view(EndpointId(id)).unwrap().state
    }

    fn code(&self, id: u32) -> String {
        self.cluster.view(EndpointId(id)).unwrap().reasons.first().map(|reason| reason.code.to_string()).unwrap_or_default()
    }
}

fn numbered(seq: u64) -> Beat {
    Beat { boot_id: Some("one".into()), seq: Some(seq), ..Beat::default() }
}

fn says(state: BeatState) -> Beat {
    Beat { state, ..Beat::default() }
}

#[test]
fn the_first_beat_admits_and_the_ttl_ends_it() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    assert_eq!((bench.state(0), bench.code(0).as_str(), bench.cluster.settled()), (State::Unknown, "not_probed_yet", false));
    assert_eq!(bench.beat(0, 100, Beat::default()), BeatResult::Ok);
    assert_eq!((bench.state(0), bench.cluster.settled()), (State::Healthy, true));
    bench.tick(100 + TTL - 1);
    assert_eq!(bench.state(0), State::Healthy);
    bench.tick(100 + TTL);
    assert_eq!((bench.state(0), bench.code(0).as_str()), (State::Unhealthy, "heartbeat_expired"));
    bench.beat(0, 5000, Beat::default());
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn who_never_sends_is_unhealthy_when_the_ttl_is_over() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 2);
    bench.tick(TTL);
    assert_eq!((bench.state(0), bench.code(0).as_str(), bench.cluster.settled()), (State::Unhealthy, "heartbeat_expired", true));
}

#[test]
fn what_a_sender_says_of_itself_counts_at_once() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    for (said, state, code) in [
        (BeatState::Degraded, State::Degraded, "report_status"),
        (BeatState::Failing, State::Unhealthy, "report_status"),
        (BeatState::Ready, State::Healthy, ""),
        (BeatState::Draining, State::Draining, "draining"),
        (BeatState::Ready, State::Healthy, ""),
        (BeatState::Bye, State::Draining, "draining"),
    ] {
        bench.beat(0, 100, says(said));
        assert_eq!((bench.state(0), bench.code(0).as_str()), (state, code), "{said:?}");
    }
    bench.tick(100_000);
    assert_eq!(bench.state(0), State::Draining, "who has said goodbye is not missed");
    bench.beat(0, 100_000, says(BeatState::Draining));
    bench.tick(100_000 + TTL);
    assert_eq!(bench.code(0), "heartbeat_expired", "who drains and stops is gone");
}

#[test]
fn an_order_outranks_what_a_sender_says() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    bench.beat(0, 1, says(BeatState::Failing));
    bench.send(0, 2, Observation::Operator { state: OperatorState::Maintenance, until: None, reason: None });
    assert_eq!(bench.state(0), State::Maintenance);
}

#[test]
fn duplicates_and_latecomers_are_counted_and_keep_nobody_alive() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    let results: Vec<BeatResult> = [1, 2, 4, 3, 4, 1].map(|seq| bench.beat(0, 100 * seq, numbered(seq))).to_vec();
    let (ok, late, twice) = (BeatResult::Ok, BeatResult::Reordered, BeatResult::Duplicate);
    assert_eq!(results, [ok, ok, ok, late, twice, twice]);
    bench.beat(0, 400 + TTL - 1, numbered(4));
    bench.tick(400 + TTL);
    assert_eq!(bench.code(0), "heartbeat_expired");
}

#[test]
fn a_sender_without_a_boot_id_is_known_by_its_numbers() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    let unnamed = |seq| Beat { boot_id: None, ..numbered(seq) };
    let (ok, twice, again) = (BeatResult::Ok, BeatResult::Duplicate, BeatResult::Restarted);
    let results: Vec<BeatResult> = [7, 8, 9, 8, 10].map(|seq| bench.beat(0, 0, unnamed(seq))).to_vec();
    assert_eq!(results, [ok, ok, ok, twice, ok], "one that was repeated is no restart");
    assert_eq!([1, 2, 3].map(|seq| bench.beat(0, 100, unnamed(seq))), [BeatResult::Reordered, again, ok]);
    bench.tick(100 + TTL);
    assert_eq!(bench.code(0), "heartbeat_expired");
    assert_eq!(bench.beat(0, 5000, unnamed(3)), twice);
    assert_eq!(bench.beat(0, 5000, unnamed(1)), again, "nobody else is waited for");
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn an_incarnation_that_has_been_followed_is_refused() {
    let named = |boot_id: &str, seq| Beat { boot_id: Some(boot_id.into()), ..numbered(seq) };
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    assert_eq!(bench.beat(0, 100, named("a", 900)), BeatResult::Ok);
    assert_eq!(bench.beat(0, 200, named("b", 1)), BeatResult::Restarted);
    assert_eq!(bench.beat(0, 300, named("a", 901)), BeatResult::Zombie);
    assert_eq!(bench.beat(0, 400, named("b", 2)), BeatResult::Ok);
    assert_eq!(bench.beat(0, 500, Beat { state: BeatState::Failing, ..named("a", 902) }), BeatResult::Zombie);
    assert_eq!(bench.state(0), State::Healthy);
    bench.beat(0, 400 + TTL - 1, named("a", 903));
    bench.tick(400 + TTL);
    assert_eq!(bench.code(0), "heartbeat_expired", "a zombie keeps nobody alive");
}

#[test]
fn who_is_started_anew_while_nothing_is_sent_to_it_begins_with_less() {
    let slow_start = SlowStart { window: Duration::from_secs(10), floor: Ratio::parse("10%").unwrap() };
    let policy = Policy { slow_start: Some(slow_start), ..pushed(Detector::Ttl, TTL) };
    let named = |boot_id: &str, state| Beat { boot_id: Some(boot_id.into()), state, ..Beat::default() };
    let order = |state| Observation::Operator { state, until: None, reason: None };
    let codes_after = |steps: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new(policy.clone(), 2);
        for id in 0..2 {
            bench.beat(id, 0, named("a", BeatState::Ready));
        }
        steps(&mut bench);
        assert_eq!(bench.state(0), State::Healthy);
        bench.code(0)
    };
    for state in [BeatState::Bye, BeatState::Draining] {
        assert_eq!(
            codes_after(&|bench| {
                bench.beat(0, 10, named("a", state));
                bench.beat(0, 20, named("b", BeatState::Ready));
            }),
            "slow_start",
            "{state:?}"
        );
    }
    for state in [OperatorState::Draining, OperatorState::Maintenance] {
        assert_eq!(
            codes_after(&|bench| {
                bench.send(0, 10, order(state));
                bench.beat(0, 20, named("b", BeatState::Ready));
                bench.send(0, 30, order(OperatorState::Ready));
            }),
            "slow_start",
            "{state:?}"
        );
        assert_eq!(
            codes_after(&|bench| {
                bench.send(0, 10, order(state));
                bench.beat(0, 20, named("a", BeatState::Failing));
                bench.beat(0, 30, named("a", BeatState::Ready));
                bench.send(0, 40, order(OperatorState::Ready));
            }),
            "slow_start",
            "{state:?}, it failed meanwhile"
        );
        assert_eq!(
            codes_after(&|bench| {
                bench.send(0, 10, order(state));
                bench.beat(0, 20, named("a", BeatState::Ready));
                bench.send(0, 30, order(OperatorState::Ready));
            }),
            "",
            "{state:?}, the same process and well all along"
        );
    }
}

fn answered(boot_id: &str, result: ProbeResult) -> Observation {
    let stamps = Stamps { boot_id: Some(boot_id.into()), ..Stamps::default() };
    let (started, latency) = (at(0), Duration::from_millis(1));
    Observation::Probe(ProbeRun { probe: 0, started, latency, result, excerpt: Arc::from(""), stamps })
}

#[test]
fn the_boot_id_in_the_answer_of_a_probe_counts_the_same() {
    let mut bench = Bench::new(policy(), 1);
    bench.send(0, 1, answered("a", ProbeResult::Pass));
    bench.send(0, 2, answered("b", ProbeResult::Pass));
    for n in 0..5 {
        bench.send(0, 3 + n, answered("a", ProbeResult::Fail(Failure::Status(500))));
    }
    let view = bench.cluster.view(EndpointId(0)).unwrap();
    assert_eq!((view.state, view.probes[0].result), (State::Healthy, Some("void")));
}

#[test]
fn probes_and_beats_must_both_be_content() {
    let both = Policy { probes: vec![Arc::from("ready")], start: Start::Unknown, ..pushed(Detector::Ttl, TTL) };
    let mut bench = Bench::new(both, 1);
    bench.send(0, 1, answered("a", ProbeResult::Pass));
    assert_eq!(bench.state(0), State::Healthy, "who has never sent is not missed where probes decide");
    bench.tick(10 * TTL);
    assert_eq!(bench.state(0), State::Healthy);
    bench.beat(0, 10 * TTL, Beat::default());
    bench.tick(11 * TTL);
    assert_eq!((bench.state(0), bench.code(0).as_str()), (State::Unhealthy, "heartbeat_expired"));
    bench.beat(0, 12 * TTL, Beat::default());
    assert_eq!(bench.state(0), State::Healthy);
}

#[test]
fn heartbeats_are_one_way_more_where_not_all_must_be_left() {
    let probes = vec![Arc::from("ready")];
    let either = Policy { probes, start: Start::Unknown, require: Require::Any, ..pushed(Detector::Ttl, TTL) };
    let mut bench = Bench::new(either.clone(), 1);
    let timeout = || ProbeResult::Fail(Failure::Timeout(Duration::from_secs(1)));
    let fall = either.thresholds.fall.get();
    bench.send(0, 1, answered("a", ProbeResult::Pass));
    bench.beat(0, 100, Beat::default());
    bench.tick(100 + TTL);
    let view = bench.cluster.view(EndpointId(0)).unwrap();
    assert_eq!((view.state, view.reasons.len()), (State::Healthy, 0), "the probe still reaches it");
    let silence = view.heartbeat.unwrap().reason.expect("told on the way itself");
    assert_eq!(silence.code.to_string(), "heartbeat_expired");
    for n in 0..u64::from(fall) {
        bench.send(0, 3000 + n, answered("a", timeout()));
    }
    assert_eq!(bench.state(0), State::Unhealthy, "no way is left");
    let codes: Vec<String> =
        bench.cluster.view(EndpointId(0)).unwrap().reasons.iter().map(|reason| reason.code.to_string()).collect();
    assert_eq!(codes, ["probe_timeout", "heartbeat_expired"]);
    bench.beat(0, 4000, Beat::default());
    assert_eq!(bench.state(0), State::Healthy, "one way is enough");
    bench.beat(0, 4100, says(BeatState::Failing));
    assert_eq!((bench.state(0), bench.code(0).as_str()), (State::Unhealthy, "report_status"), "what it says of itself counts");

    let mut never = Bench::new(either, 1);
    never.send(0, 1, answered("a", ProbeResult::Pass));
    for n in 0..u64::from(fall) {
        never.send(0, 2 + n, answered("a", timeout()));
    }
    assert_eq!(never.state(0), State::Unhealthy, "who has never sent a beat has no vote by it");
}

#[test]
fn a_socket_that_falls_silent_alone_takes_nobody_out() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    let by = |way: &str, seq| Beat { way: Some(way.into()), ..numbered(seq) };
    for seq in 0..20 {
        assert_eq!(bench.beat(0, seq * PERIOD, by("10.0.0.1:9901", seq)), BeatResult::Ok);
        if seq < 5 {
            assert_eq!(bench.beat(0, seq * PERIOD + 1, by("10.1.0.1:9901", seq)), BeatResult::Duplicate);
        }
    }
    let view = bench.cluster.view(EndpointId(0)).unwrap();
    let ways = view.heartbeat.unwrap().ways;
    assert_eq!((view.state, view.reasons.len(), ways.len()), (State::Healthy, 0, 2));
    assert_eq!(ways.iter().map(|way| way.reason.is_some()).collect::<Vec<_>>(), [false, true]);
    let told = bench.cluster.history(EndpointId(0));
    assert!(told.iter().any(|entry| entry.detail.contains("none by 10.1.0.1:9901")), "{told:?}");
}

#[test]
fn several_processes_behind_one_address_are_judged_as_one() {
    let mut bench = Bench::new(policy(), 1);
    for n in 0..20 {
        bench.send(0, n, answered(if n % 2 == 0 { "a" } else { "b" }, ProbeResult::Pass));
    }
    let fall = u64::from(policy().thresholds.fall.get());
    for n in 0..fall {
        bench.send(0, 30 + n, answered(if n % 2 == 0 { "a" } else { "b" }, ProbeResult::Fail(Failure::Status(500))));
    }
    assert_eq!(bench.state(0), State::Unhealthy, "none of them is a zombie");
    let told = bench.cluster.history(EndpointId(0));
    assert_eq!(told.iter().filter(|entry| entry.detail.contains("several processes")).count(), 1, "{told:?}");
    let restarts = told.iter().filter(|entry| entry.detail.contains("new incarnation")).count();
    assert!(restarts <= 1, "{told:?}");
}

#[test]
fn suspicion_comes_before_the_ttl_and_ends_with_the_next_beat() {
    let mut bench = Bench::new(pushed(Detector::Accrual { phi: 5.0 }, 60_000), 2);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut seq = 0;
    for n in 0..2000_u64 {
        bench.beat(1, n * PERIOD, numbered(n));
        if rng.f64() >= 0.02 {
            bench.beat(0, n * PERIOD + 1, numbered(n));
            seq = n;
        }
    }
    assert_eq!(bench.state(0), State::Healthy);
    let last = seq * PERIOD + 1;
    let suspected = last + 6 * PERIOD;
    bench.tick(suspected);
    assert_eq!((bench.state(0), bench.code(0).as_str()), (State::Suspect, "heartbeat_late"));
    let view = bench.cluster.view(EndpointId(0)).unwrap();
    let phi = view.heartbeat.unwrap().suspicion.unwrap().phi(at(suspected));
    assert!(phi >= 5.0, "{phi}");
    bench.beat(0, suspected, numbered(5000));
    assert_eq!(bench.state(0), State::Healthy);
    bench.tick(suspected + 60_000);
    assert_eq!(bench.code(0), "heartbeat_expired", "the ttl is the end");
}

/// Sends `beats` beats with loss and jitter, and counts how often the sender is suspected.
fn suspicions(beats: u64, loss: f64, phi: f64, seed: u64) -> usize {
    let mut bench = Bench::new(pushed(Detector::Accrual { phi }, 3_600_000), 1);
    let mut rng = fastrand::Rng::with_seed(seed);
    for seq in 0..beats {
        if seq < 20 || rng.f64() >= loss {
            bench.beat(0, seq * PERIOD + rng.u64(0..5), numbered(seq));
        }
    }
    let history = bench.cluster.history(EndpointId(0));
    assert!(history.len() <= 64);
    // One transition admits; each suspicion makes two.
    bench.transitions / 2
}

#[test]
fn five_percent_loss_makes_at_most_one_false_suspicion_in_a_hundred_thousand_beats() {
    // The last two are those of twenty in which phi itself reached 5 twice.
    for seed in [1, 4, 11] {
        assert!(suspicions(100_000, 0.05, 5.0, seed) <= 1, "seed {seed}");
    }
}

#[test]
fn a_threshold_means_no_more_false_suspicions_than_it_says() {
    // Three lost in a row are as improbable as 10^-3 asks for at a loss of 10 %, four of them ten times as much: about ten in a hundred
    // thousand, of the hundred that there might be.
    let falsely = suspicions(100_000, 0.1, 3.0, 2);
    assert!((2..=100).contains(&falsely), "{falsely}");
}

/// A day of beats of a sender whose clock is given by the number of the beat, in milliseconds off.
fn with_clock(beats: u64, clock: impl Fn(u64) -> i64) -> Bench {
    let mut bench = Bench::new(pushed(Detector::Accrual { phi: 5.0 }, TTL), 1);
    for seq in 0..beats {
        let sent = seq * PERIOD;
        let sent_at_ms = Some((NOON + sent).saturating_add_signed(clock(seq)));
        bench.beat(0, sent + 1 + seq % 3, Beat { sent_at_ms, ..numbered(seq) });
    }
    bench
}

#[test]
fn no_clock_of_a_sender_changes_a_verdict() {
    let hour = 3_600_000_i64;
    let number = |seq: u64| i64::try_from(seq).unwrap();
    let steps = |by: i64| move |seq: u64| if seq < 500 { 0 } else { by };
    for bench in [
        with_clock(2000, steps(hour)),
        with_clock(2000, steps(-hour)),
        with_clock(2000, |seq| if seq / 100 % 2 == 0 { hour } else { -hour }),
        with_clock(20_000, |seq| number(seq) * 500 * 500 / 1_000_000),
        with_clock(20_000, |seq| -number(seq) * 500 * 500 / 1_000_000),
    ] {
        assert_eq!((bench.state(0), bench.transitions), (State::Healthy, 1), "but for the one that admits it");
    }
    let told = with_clock(600, steps(hour)).cluster.history(EndpointId(0));
    assert!(told.iter().any(|entry| entry.detail.contains("clock was set by 3")), "{told:?}");
}

#[test]
fn a_sender_that_gets_slow_is_degraded_before_it_misses_a_beat() {
    let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 1);
    for seq in 0..60 {
        let late = if seq < 30 { 0 } else { 200 };
        bench.beat(0, seq * PERIOD + late, Beat { sent_at_ms: Some(NOON + seq * PERIOD), ..numbered(seq) });
    }
    assert_eq!((bench.state(0), bench.code(0).as_str()), (State::Degraded, "heartbeat_late"));
}

#[test]
fn our_own_stalls_expire_nobody() {
    for detector in [Detector::Ttl, Detector::Accrual { phi: 5.0 }] {
        let mut bench = Bench::new(pushed(detector, TTL), 3);
        let mut now = 0;
        for seq in 0..400_u64 {
            now += PERIOD;
            if seq % 20 == 19 {
                // Stopped for two seconds: what came meanwhile is read right after.
                now += 2000;
                bench.cluster.excuse(Duration::from_millis(2000 + PERIOD), at(now));
                bench.tick(now + 30);
            }
            for id in 0..3 {
                bench.beat(id, now + 30, numbered(seq));
            }
        }
        assert_eq!(bench.transitions, 3, "{detector:?}");
        bench.tick(now + 30 + TTL);
        assert_eq!(bench.state(0), State::Unhealthy, "who stops is found all the same");
    }
}

#[test]
fn a_reload_that_asks_for_heartbeats_takes_nobody_out_at_once() {
    let probed = policy();
    let mut bench = Bench::new(probed, 1);
    bench.send(0, 1, answered("a", ProbeResult::Pass));
    let changes = bench.cluster.reconfigure(pushed(Detector::Ttl, TTL), members(1), at(10));
    bench.note(&changes);
    assert_eq!(bench.state(0), State::Healthy);
    bench.tick(10 + TTL);
    assert_eq!(bench.code(0), "heartbeat_expired");
}

proptest! {
    /// Whatever a sender's clock does, the verdict is the same as without stamps.
    #[test]
    fn stamps_alone_never_take_out(clocks in proptest::collection::vec(any::<i32>(), 1..80), lost in proptest::collection::vec(any::<bool>(), 80)) {
        let run = |stamped: bool| {
            let mut bench = Bench::new(pushed(Detector::Accrual { phi: 5.0 }, TTL), 1);
            let mut states = Vec::new();
            for (seq, clock) in (0_u64..).zip(&clocks) {
                if seq > 3 && lost[usize::try_from(seq).unwrap()] {
                    bench.tick(seq * PERIOD);
                } else {
                    let sent = (NOON + seq * PERIOD).saturating_add_signed((*clock).into());
                    bench.beat(0, seq * PERIOD, Beat { sent_at_ms: stamped.then_some(sent), ..numbered(seq) });
                }
                states.push(matches!(bench.state(0), State::Unhealthy | State::Suspect));
            }
            states
        };
        prop_assert_eq!(run(true), run(false));
    }

    /// Dead means out within the ttl, and a beat within each ttl means in, whatever else comes in between.
    #[test]
    fn silence_is_bounded_and_speech_is_enough(
        gaps in proptest::collection::vec(1_u64..TTL, 1..60), noise in proptest::collection::vec((0_u64..5, 0_u64..70), 0..20),
    ) {
        let mut bench = Bench::new(pushed(Detector::Ttl, TTL), 2);
        let (mut now, mut seq) = (0, 100);
        for (n, gap) in gaps.iter().enumerate() {
            now += gap;
            bench.tick(now);
            prop_assert!(n == 0 || bench.state(0) == State::Healthy);
            seq += 1;
            bench.beat(0, now, numbered(seq));
            for (zombie, old) in noise.iter().filter(|(place, _)| usize::try_from(*place).unwrap() == n % 5) {
                bench.beat(0, now, numbered(seq - old.min(&(seq - zombie))));
            }
            prop_assert_eq!(bench.state(0), State::Healthy);
        }
        bench.tick(now + TTL);
        prop_assert_eq!(bench.state(0), State::Unhealthy);
    }
}

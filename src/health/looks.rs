//! The engine as it looks at live traffic: silence and what follows from it, outliers, who is slow, and what a success outweighs.

use std::sync::Arc;
use std::time::Duration;

use super::tests::{Bench, at, members, policy};
use crate::base::ids::EndpointId;
use crate::base::sketch::bucket;
use crate::base::units::Ratio;
use crate::health::policy::{Damping, Detector, HeartbeatPolicy, Outlier, Policy, Silence, SlowStart, Thresholds};
use crate::health::signal::{Beat, Failure, Observation, ProbeResult, ProbeRun, Stamps};
use crate::health::verdict::State;
use crate::health::{Glance, Local};

fn watched() -> Policy {
    let silence = Some(Silence { min: Duration::from_millis(100), enforce: true });
    Policy { rules: Vec::new(), silence, outlier: Some(Outlier::usual()), ..policy() }
}

/// So many answers that took so long, the last one now.
fn answers(id: u32, n: u32, millis: u64, now: u64) -> Glance {
    let bucket = u8::try_from(bucket(Duration::from_millis(millis))).unwrap();
    let (heard, success_sent) = (at(now), at(now.saturating_sub(millis)));
    Glance { endpoint: EndpointId(id), requests: n, latencies: vec![(bucket, n)], heard, success_sent, ..Glance::default() }
}

/// One that waits since then, where an answer was last heard then.
fn waits(id: u32, oldest: u64, heard: u64) -> Glance {
    Glance { endpoint: EndpointId(id), oldest: Some(at(oldest)), heard: at(heard), in_flight: 1, ..Glance::default() }
}

fn late() -> ProbeResult {
    ProbeResult::Fail(Failure::Timeout(Duration::from_millis(200)))
}

impl Bench {
    fn look(&mut self, now: u64, glances: &[Glance]) {
        self.look_after(now, glances, Local::default());
    }

    fn look_after(&mut self, now: u64, glances: &[Glance], local: Local) {
        self.now = now;
        self.changes = self.cluster.look(glances, local, at(now));
    }

    /// A run that began then has found this by now.
    fn ran(&mut self, id: u32, started: u64, result: ProbeResult) {
        let latency = at(self.now).since(at(started));
        let run = ProbeRun { probe: 0, started: at(started), latency, result, excerpt: "".into(), stamps: Stamps::default() };
        self.send(id, Observation::Probe(run));
    }

    fn recalled(&self) -> Vec<u32> {
        self.changes.recalled.iter().map(|id| id.0).collect()
    }

    fn confirmations(&self) -> Vec<(u32, u32)> {
        self.changes.confirm.iter().map(|(id, runs)| (id.0, *runs)).collect()
    }
}

/// Three that have answered in so many milliseconds each, all a second after the beginning.
fn served(policy: Policy, millis: [u64; 3]) -> Bench {
    let mut bench = Bench::well(policy, 3);
    let all: Vec<Glance> = (0..3).zip(millis).map(|(id, millis)| answers(id, 40, millis, 1000)).collect();
    bench.look(1000, &all);
    bench
}

#[test]
fn silence_lasts_for_twice_what_an_answer_takes_at_the_longest() {
    for (own, after) in [(5, 100), (100, 210), (300, 600)] {
        let mut bench = served(watched(), [own; 3]);
        for (now, state) in [(after * 8 / 10, State::Healthy), (after * 13 / 10, State::Suspect)] {
            bench.look(2000 + now, &[waits(0, 2000, 1000), answers(1, 1, 5, 2000 + now)]);
            assert_eq!(bench.state(0), state, "{own} ms usually, silent for {now} ms");
        }
    }
    let mut bench = Bench::well(watched(), 3);
    bench.look(1000, &[answers(1, 40, 100, 1000), answers(2, 40, 100, 1000)]);
    bench.look(2150, &[waits(0, 2000, 0), answers(1, 1, 100, 2150)]);
    assert_eq!(bench.state(0), State::Healthy, "what it takes is not known, and its siblings take longer");
    bench.look(2300, &[waits(0, 2000, 0), answers(1, 1, 100, 2300)]);
    assert_eq!(bench.state(0), State::Suspect);
}

#[test]
fn a_silence_is_the_first_bad_result_and_the_others_are_asked_for_at_once() {
    let mut bench = served(watched(), [5; 3]);
    bench.look(2110, &[waits(0, 2000, 1000), answers(1, 1, 5, 2110)]);
    assert_eq!((bench.state(0), bench.confirmations()), (State::Suspect, vec![(0, 2)]));
    assert_eq!(bench.cluster.admission().admitted.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2]);
    bench.ran(0, 2110, late());
    assert_eq!((bench.state(0), bench.recalled()), (State::Suspect, vec![0]), "the first one is late: who waits is called back");
    bench.ran(0, 2110, late());
    assert_eq!((bench.state(0), bench.recalled()), (State::Unhealthy, vec![]));
    assert!(bench.changes.transitions[0].forbids_waiting());
}

#[test]
fn a_silence_is_never_the_last_bad_result_and_a_probe_must_agree() {
    for (fall, runs) in [(1, 1), (2, 1), (5, 4)] {
        let thresholds = Thresholds { fall: fall.try_into().unwrap(), ..policy().thresholds };
        let mut bench = served(Policy { thresholds, ..watched() }, [5; 3]);
        bench.look(2110, &[waits(0, 2000, 1000), answers(1, 1, 5, 2110)]);
        assert_eq!((bench.state(0), bench.confirmations()), (State::Suspect, vec![(0, runs)]), "fall {fall}");
        bench.tick(30_000);
        assert_eq!(bench.state(0), State::Suspect, "no probe has said so");
        (0..runs).for_each(|_| bench.ran(0, 29_000, late()));
        assert_eq!(bench.state(0), State::Unhealthy);
    }
}

#[test]
fn who_waits_is_called_back_once_and_only_where_somebody_else_is_left() {
    let thresholds = Thresholds { fall: 9.try_into().unwrap(), ..policy().thresholds };
    let mut bench = served(Policy { thresholds, ..watched() }, [5; 3]);
    bench.look(2110, &[waits(0, 2000, 1000), answers(1, 1, 5, 2110)]);
    assert_eq!(bench.confirmations(), [(0, 8)]);
    let mut recalled = Vec::new();
    for _ in 0..4 {
        bench.ran(0, 2110, late());
        recalled.extend(bench.recalled());
    }
    assert_eq!(recalled, [0]);
    bench.pass(0);
    assert_eq!((bench.state(0), bench.codes(0)), (State::Healthy, vec![]), "a probe that is answered ends it");

    let mut all = served(watched(), [5; 3]);
    let silent: Vec<Glance> = (0..3).map(|id| waits(id, 2000, 1000)).collect();
    all.look_after(2110, &silent, Local { alive: at(2110), ..Local::default() });
    for id in [0, 1, 2, 0, 1, 2] {
        all.ran(id, 2110, late());
    }
    assert_eq!([0, 1, 2].map(|id| all.state(id)), [State::Suspect; 3], "it may be our own link");
    all.ran(2, 2110, late());
    assert_eq!((all.state(2), all.recalled()), (State::Suspect, vec![]), "there is nobody else to go to");
}

#[test]
fn our_own_check_is_as_good_as_a_sibling_and_no_check_is_no_proof() {
    for (alive, confirmed) in [(2110, vec![(0, 2)]), (1990, vec![])] {
        let mut bench = Bench::well(watched(), 1);
        bench.look(1000, &[answers(0, 40, 5, 1000)]);
        bench.look_after(2110, &[waits(0, 2000, 1000)], Local { alive: at(alive), ..Local::default() });
        assert_eq!(bench.confirmations(), confirmed);
        assert_ne!(bench.state(0), State::Suspect, "the last one is never taken out");
    }
}

#[test]
fn what_waited_while_we_stood_still_is_no_silence() {
    for (excused, local) in [(2050, 0), (0, 2050)] {
        let mut bench = served(watched(), [5; 3]);
        let local = Local { excused_until: at(local), ..Local::default() };
        for (now, state) in [(2140, State::Healthy), (2160, State::Suspect)] {
            let waiting = Glance { excused_until: at(excused), ..waits(0, 2000, 1000) };
            bench.look_after(now, &[waiting, answers(1, 1, 5, now)], local);
            assert_eq!(bench.state(0), state, "at {now}");
        }
    }
}

#[test]
fn who_was_slow_and_not_silent_is_not_suspected_for_the_same_again() {
    let mut bench = served(watched(), [5; 3]);
    bench.look(2110, &[waits(0, 2000, 1000), answers(1, 1, 5, 2110)]);
    bench.look(2130, &[waits(0, 2000, 2120), answers(1, 1, 5, 2130)]);
    assert_eq!(bench.state(0), State::Healthy);
    bench.look(4000, &[waits(0, 2000, 2120), answers(1, 1, 5, 4000)]);
    assert_eq!((bench.state(0), bench.confirmations()), (State::Healthy, vec![]), "it has waited since before");
    bench.look(4200, &[waits(0, 4050, 2120), answers(1, 1, 5, 4200)]);
    assert_eq!(bench.state(0), State::Suspect);
}

#[test]
fn what_is_not_enforced_changes_nothing() {
    let silence = Some(Silence { min: Duration::from_millis(100), enforce: false });
    let outlier = Some(Outlier { enforce: false, ..Outlier::usual() });
    let mut bench = served(Policy { silence, outlier, ..watched() }, [5; 3]);
    let failing = Glance { errors: 90, gateway_errors: 90, streak: 90, requests: 90, ..waits(0, 2000, 1000) };
    for now in [2110, 2500, 3000] {
        bench.look(now, &[failing.clone(), answers(1, 90, 5, now), answers(2, 90, 500, now)]);
    }
    assert_eq!([0, 1, 2].map(|id| bench.state(id)), [State::Healthy; 3]);
    let told: Vec<String> =
        (0..3).flat_map(|id| bench.cluster.history(EndpointId(id))).map(|entry| entry.detail.into()).collect();
    for would in ["suspect: nothing came back", "eject: 90 requests in a row failed", "degrade: answers take"] {
        assert!(told.iter().any(|told| told.contains(would)), "{would}: {told:?}");
    }
}

#[test]
fn slow_answers_in_look_after_look_count_at_once_unless_all_have_them() {
    // So many of the siblings' answers are slow as well, of fourteen in each look.
    let state = |theirs: u32, looks: u64| {
        let mut bench = served(watched(), [5; 3]);
        let some = |id, slow: u32, now| {
            let quick = answers(id, 14 - slow, 5, now);
            let slow = answers(id, slow, 250, now).latencies;
            Glance { requests: 14, latencies: quick.latencies.iter().chain(&slow).copied().collect(), ..quick }
        };
        for look in 1..=looks {
            let now = 1000 + 20 * look;
            bench.look(now, &[some(0, 4, now), some(1, theirs, now), some(2, theirs, now)]);
        }
        bench.state(0)
    };
    assert_eq!([state(0, 2), state(0, 3)], [State::Healthy, State::Degraded], "three looks, long before the next judgement");
    assert_eq!(state(4, 5), State::Healthy, "what slows all of them down is nobody's own");
}

#[test]
fn another_process_begins_with_less_than_its_weight_though_no_probe_has_failed() {
    let slow_start = Some(SlowStart { window: Duration::from_secs(10), floor: Ratio::parse("10%").unwrap() });
    let (period, ttl) = (Duration::from_secs(2), Duration::from_secs(7));
    let heartbeat = Some(HeartbeatPolicy { period, ttl, detector: Detector::Ttl });
    for beats in [false, true] {
        let mut bench = Bench::well(Policy { slow_start, heartbeat, ..watched() }, 2);
        for (boot, codes) in [("one", vec![]), ("one", vec![]), ("two", vec!["slow_start".to_owned()])] {
            bench.now += 1000;
            let boot_id = Some(Arc::from(boot));
            let (started, latency, excerpt) = (at(bench.now - 5), Duration::from_millis(5), Arc::from(""));
            let stamps = Stamps { boot_id: boot_id.clone(), ..Stamps::default() };
            bench.send(0, Observation::Beat(Beat { boot_id: boot_id.filter(|_| beats), ..Beat::default() }));
            if !beats {
                let run = ProbeRun { probe: 0, started, latency, result: ProbeResult::Pass, excerpt, stamps };
                bench.send(0, Observation::Probe(run));
            }
            assert_eq!((bench.state(0), bench.codes(0)), (State::Healthy, codes), "{boot}, told by a beat: {beats}");
        }
    }
}

#[test]
fn who_waits_at_a_slow_one_is_called_back_and_nobody_else() {
    let mut bench = served(watched(), [5; 3]);
    bench.look(1500, &[answers(0, 90, 150, 1500), answers(1, 90, 5, 1500), answers(2, 90, 5, 1500)]);
    bench.look(2000, &[answers(0, 90, 150, 2000), answers(1, 90, 5, 2000), answers(2, 90, 5, 2000)]);
    assert_eq!(bench.codes(0), ["outlier_latency"]);
    let called: Vec<(u32, u64)> =
        bench.changes.overdue.iter().map(|(id, before)| (id.0, before.as_nanos() / 1_000_000)).collect();
    assert_eq!(called, [(0, 1900)], "silence.min, since twice what the others take is less");
    drop(bench.cluster.freeze(at(2001)));
    bench.look(2020, &[waits(0, 1800, 2000)]);
    assert_eq!(bench.changes.overdue, []);
}

/// One that is much slower than the others, or not, and then loses so many probes.
fn lossy(millis: u64, probes: u32) -> Bench {
    let mut bench = served(watched(), [5; 3]);
    for now in [1500, 2000] {
        bench.look(now, &[answers(0, 90, millis, now), answers(1, 90, 5, now), answers(2, 90, 5, now)]);
    }
    for _ in 0..probes {
        bench.now += 500;
        bench.ran(0, bench.now - 200, late());
    }
    bench
}

#[test]
fn who_is_slow_and_loses_probes_is_out_until_none_is_lost_for_a_while() {
    assert_eq!(lossy(5, 2).state(0), State::Healthy);
    assert_eq!(lossy(5, 3).state(0), State::Unhealthy);
    assert_eq!((lossy(150, 1).state(0), lossy(150, 1).codes(0)), (State::Degraded, vec!["outlier_latency".to_owned()]));
    let mut bench = lossy(150, 2);
    assert_eq!((bench.state(0), bench.codes(0)[0].as_str()), (State::Ejected, "outlier_errors"));
    bench.ran(0, bench.now - 200, late());
    assert_eq!(bench.state(0), State::Ejected, "one more says nothing new");
    let lost = bench.now;
    for _ in 0..3 {
        bench.pass(0);
    }
    bench.tick(lost + 9900);
    assert_eq!(bench.state(0), State::Ejected, "some pass in a row by chance");
    bench.tick(lost + 10_100);
    assert_eq!(bench.state(0), State::Degraded, "on trial");

    let mut bench = lossy(150, 1);
    let lost = bench.now;
    bench.pass(0);
    let failing = Glance { errors: 5, gateway_errors: 5, streak: 5, requests: 5, ..answers(0, 0, 5, lost + 1000) };
    bench.look(lost + 1000, &[failing]);
    assert_eq!(bench.state(0), State::Ejected, "for five failures in a row");
    bench.tick(lost + 9900);
    assert_eq!(bench.state(0), State::Ejected, "the probe that was lost before says the same");
    bench.tick(lost + 10_100);
    assert_eq!(bench.state(0), State::Degraded);
}

#[test]
fn failures_of_half_of_them_are_believed_when_they_have_lasted() {
    let failing = |id, now| Glance { errors: 60, requests: 100, ..answers(id, 0, 5, now) };
    let ejected = |failing_ones: u32| {
        let mut bench = Bench::well(Policy { max_ejected: Ratio::ONE, ..watched() }, 4);
        let mut ejected = Vec::new();
        for now in (1000..9000).step_by(500) {
            let all: Vec<Glance> =
                (0..4).map(|id| if id < failing_ones { failing(id, now) } else { answers(id, 100, 5, now) }).collect();
            bench.look(now, &all);
            ejected
                .extend(bench.changes.transitions.iter().filter(|one| one.to == State::Ejected).map(|one| (one.endpoint.0, now)));
        }
        ejected
    };
    assert_eq!(ejected(1)[0], (0, 1000), "one by itself is ejected at once");
    let two = ejected(2);
    assert!(!two.is_empty() && two.iter().all(|(_, at)| *at >= 7000), "three intervals: {two:?}");
}

/// The states of those of four that were lost or refused, after so many rounds.
fn befallen(ids: std::ops::Range<u32>, result: &ProbeResult, rounds: u32) -> Vec<(State, Vec<String>)> {
    let mut bench = Bench::well(watched(), 4);
    for _ in 0..rounds {
        ids.clone().for_each(|id| bench.probe(id, 0, result.clone()));
    }
    ids.map(|id| (bench.state(id), bench.codes(id))).collect()
}

#[test]
fn what_befalls_half_of_them_at_once_is_held_until_it_is_confirmed() {
    let all = |state: State, codes: &[&str], n: usize| {
        vec![(state, codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>()); n]
    };
    assert_eq!(befallen(0..1, &late(), 3), all(State::Unhealthy, &["probe_timeout"], 1));
    assert_eq!(befallen(0..2, &late(), 3), all(State::Suspect, &["local_unreachable", "probe_timeout"], 2));
    assert_eq!(befallen(0..2, &late(), 6), all(State::Unhealthy, &["probe_timeout"], 2));
    let refused = ProbeResult::Fail(Failure::Refused);
    assert_eq!(befallen(0..4, &refused, 3), all(State::Unhealthy, &["probe_refused"], 4), "each says so itself");

    let mut bench = Bench::well(watched(), 4);
    for id in [0, 1, 0, 1, 0, 1] {
        bench.probe(id, 0, late());
    }
    bench.tick(5900);
    assert_eq!([bench.state(0), bench.state(1)], [State::Suspect; 2]);
    bench.tick(6100);
    assert_eq!([bench.state(0), bench.state(1)], [State::Unhealthy; 2], "three intervals");
}

#[test]
fn a_success_outweighs_a_probe_that_ran_out_of_time_and_no_other() {
    let mut bench = served(watched(), [5; 3]);
    for round in 1..=4 {
        let now = 1000 + round * 300;
        bench.look(now, &[answers(0, 1, 5, now)]);
        bench.ran(0, now - 200, late());
    }
    let streak = |bench: &Bench| bench.cluster.view(EndpointId(0)).unwrap().probes[0].streak;
    assert_eq!((bench.state(0), streak(&bench)), (State::Healthy, 0), "each request was sent while a probe was under way");
    bench.ran(0, bench.now, late());
    assert_eq!(streak(&bench), 1, "nothing has been answered since");
    let now = bench.now + 100;
    bench.look(now, &[answers(0, 1, 5, now)]);
    assert_eq!(streak(&bench), 0, "what is answered afterwards takes it back");
    for _ in 0..3 {
        let now = bench.now + 100;
        bench.look(now, &[answers(0, 1, 5, now)]);
        bench.ran(0, now - 50, ProbeResult::Fail(Failure::Status(503)));
    }
    assert_eq!(bench.state(0), State::Unhealthy, "a wrong answer is an answer");
}

#[test]
fn a_success_outweighs_lost_probes_for_five_intervals() {
    let mut bench = served(watched(), [5; 3]);
    let mut out = None;
    for now in (1500..20_000).step_by(500) {
        bench.look(now, &[answers(0, 1, 5, now)]);
        bench.ran(0, now - 200, late());
        out = out.or((bench.state(0) == State::Unhealthy).then_some(now));
    }
    // It last passed at the beginning; three more failures follow on the end of ten seconds.
    assert!(out.is_some_and(|out| (11_000..12_100).contains(&out)), "{out:?}");
}

#[test]
fn how_it_returns_is_told_with_the_time_of_the_next_change() {
    let slow_start = Some(SlowStart { window: Duration::from_secs(10), floor: Ratio::parse("10%").unwrap() });
    let damping = Some(Damping { hold: Duration::from_secs(1), hold_max: Duration::from_secs(60) });
    let mut bench = Bench::well(Policy { slow_start, damping, ..watched() }, 2);
    for (state, code, takes) in [(State::Healthy, "slow_start", 10_000), (State::Ejected, "damped", 1000)] {
        for _ in 0..3 {
            bench.fail(0);
        }
        assert_eq!(bench.state(0), State::Unhealthy);
        bench.pass(0);
        bench.pass(0);
        let view = bench.cluster.view(EndpointId(0)).unwrap();
        let until = Some(at(bench.now + takes));
        assert_eq!((view.state, bench.codes(0)), (state, vec![code.to_owned()]));
        assert_eq!((view.reasons[0].until, view.next_change), (until, until));
    }
}

#[test]
fn who_joins_others_that_serve_begins_with_less_and_who_begins_with_them_does_not() {
    let slow_start = Some(SlowStart { window: Duration::from_secs(10), floor: Ratio::parse("10%").unwrap() });
    let policy = Policy { slow_start, ..watched() };
    let mut bench = Bench::well(policy.clone(), 2);
    assert_eq!(bench.codes(1), [""; 0]);
    drop(bench.cluster.reconfigure(policy, members(3), at(bench.now)));
    bench.pass(2);
    assert_eq!((bench.state(2), bench.codes(2)), (State::Healthy, vec!["slow_start".to_owned()]));
}

#[test]
fn who_refuses_while_it_is_out_has_ended_and_the_next_one_is_back_when_it_has_passed() {
    for refused in [false, true] {
        let mut bench = served(watched(), [5; 3]);
        let failing = Glance { errors: 5, gateway_errors: 5, streak: 5, requests: 5, ..answers(0, 0, 5, 2000) };
        bench.look(2000, &[failing]);
        assert_eq!(bench.state(0), State::Ejected);
        if refused {
            bench.send(0, Observation::Refused);
        }
        bench.pass(0);
        assert_eq!(bench.state(0), State::Ejected);
        bench.pass(0);
        assert_eq!(bench.state(0), if refused { State::Healthy } else { State::Ejected }, "long before its time is over");
    }
}

//! When runs happen, and that their results all arrive.

use std::time::Duration;

use super::endpoint::{Behaviour, Misbehaving, ok};
use super::rig::{LONG, Rig, SHORT, endpoint, http, often, run, spec, timing};
use crate::health::Pace;
use crate::health::check::{Check, ProbeSpec};
use crate::health::policy::Timing;
use crate::health::signal::{Observation, ProbeResult};
use crate::runtime::{clock, task};

#[test]
fn every_probe_runs_at_once_and_is_told_by_its_position() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let named = |name: &str, probe: ProbeSpec| ProbeSpec { name: name.into(), ..probe };
        let probes =
            vec![named("a", http(timing(LONG))), named("b", spec(Check::Tcp, timing(LONG))), named("c", http(timing(LONG)))];
        let mut rig = Rig::start(server.address, probes);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let run = rig.probed().await;
            assert_eq!(run.result, ProbeResult::Pass);
            seen.push(run.probe);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        assert!(rig.lag.seconds() < LONG.as_secs_f64());
    });
}

#[test]
fn another_pace_brings_the_next_run_forward() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let soon = Timing { fast_interval: Duration::from_millis(10), ..timing(LONG) };
        let mut rig = Rig::start(server.address, vec![http(soon)]);
        rig.probing.set_pace(Pace::Normal);
        rig.probed().await;
        rig.probing.set_pace(Pace::Fast);
        for _ in 0..3 {
            rig.probed().await;
        }
    });
}

#[test]
fn a_run_that_is_asked_for_takes_a_fresh_connection() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let mut rig = Rig::start(server.address, vec![http(timing(LONG)), spec(Check::Tcp, timing(LONG))]);
        rig.probed().await;
        rig.probed().await;
        rig.probing.probe_now();
        rig.probed().await;
        rig.probed().await;
        assert_eq!(server.heads().len(), 2);
        assert!(server.connections() >= 3, "one for each http run, and at least one of tcp is accepted by now");
    });
}

#[test]
fn runs_that_are_asked_for_keep_their_distance() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let apart = Duration::from_millis(200);
        let probe = http(Timing { fast_interval: apart, ..timing(LONG) });
        let mut rig = Rig::start(server.address, vec![probe]);
        rig.probing.set_pace(Pace::Normal);
        let mut starts = Vec::new();
        rig.probed().await;
        for _ in 0..3 {
            for _ in 0..100 {
                rig.probing.probe_now();
            }
            starts.push(rig.probed().await.started);
        }
        assert!(starts.windows(2).all(|pair| pair[1].since(pair[0]) >= apart), "{starts:?}");
        assert!(rig.is_quiet());
    });
}

#[test]
fn traffic_that_is_answered_stands_in_for_tcp_probes_and_for_no_longer_than_five_intervals() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let interval = Duration::from_millis(40);
        let pace = Timing { interval, fast_interval: interval, down_interval: interval, ..timing(LONG) };
        let mut rig = Rig::start(server.address, vec![spec(Check::Tcp, pace), http(pace)]);
        rig.probing.set_pace(Pace::Normal);
        rig.endpoint.cells(0).newest_success_sent.set(u64::MAX);
        let (mut connects, mut asked) = (Vec::new(), 0);
        while connects.len() < 5 {
            let run = rig.probed().await;
            if run.probe == 0 { connects.push(run.started) } else { asked += 1 }
        }
        // The first slots come before traffic has been seen. Each of the others is four or five intervals after the last one, less
        // what that came late.
        let whole = connects[4].since(connects[2]);
        assert!(whole > interval * 5, "{connects:?}");
        assert!(asked > connects.len(), "a connection that is accepted says nothing of answers: {asked}");
    });
}

#[test]
fn a_run_that_starts_late_tells_how_late() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let mut rig = Rig::start(server.address, vec![http(often(LONG))]);
        rig.probed().await;
        // A later run that starts in time takes it back, so it may be missed once.
        while rig.lag.seconds() < (SHORT / 2).as_secs_f64() {
            task::spawn(async { std::thread::sleep(SHORT) }).await.unwrap();
            rig.probed().await;
        }
    });
}

#[test]
fn at_most_one_run_is_under_way() {
    run(async {
        let server = Misbehaving::start(Behaviour::StallsBeforeAnswer).await;
        let timeout = Duration::from_millis(100);
        let mut rig = Rig::start(server.address, vec![http(often(timeout))]);
        let mut last = None;
        for _ in 0..4 {
            rig.probing.probe_now();
            let run = rig.probed().await;
            assert!(last.is_none_or(|end| run.started >= end), "{run:?} began before the last one ended");
            last = Some(run.started + run.latency);
        }
    });
}

#[test]
fn results_wait_for_a_control_that_is_behind_and_no_burst_follows() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let often = Timing { interval: Duration::from_millis(50), fast_interval: Duration::from_millis(50), ..often(LONG) };
        let mut rig = Rig::of(endpoint(&server.address.to_string()), vec![http(often)], None, 1);
        // One result waits in the queue and one before it; then nothing runs any more.
        let mut asked = 0;
        while asked < 2 || server.heads().len() > asked {
            asked = server.heads().len();
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        assert_eq!(asked, 2);
        let held = clock::now();
        let [first, second, third, fourth] = [rig.probed().await, rig.probed().await, rig.probed().await, rig.probed().await];
        assert!(first.started < second.started && second.started < held);
        assert!(third.started >= held, "{third:?} ran while control was behind");
        assert!(fourth.started.since(third.started) >= Duration::from_millis(20), "a burst: {third:?} {fourth:?}");
    });
}

#[test]
fn probes_end_with_what_holds_them() {
    run(async {
        let server = Misbehaving::start(Behaviour::ClosesWhenIdle(ok(""))).await;
        let mut rig = Rig::start(server.address, vec![http(timing(LONG))]);
        rig.probed().await;
        let Rig { probing, .. } = rig;
        drop(probing);
        server.close_idle().await;
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_signal_bears_the_moment_at_which_the_run_ended() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let before = clock::now();
        let mut rig = Rig::start(server.address, vec![http(timing(LONG))]);
        let Observation::Probe(run) = rig.observation().await else { panic!("a probe's result") };
        assert!(run.started >= before && run.started + run.latency <= clock::now());
    });
}

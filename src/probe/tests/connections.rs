//! Which connection a run takes, and when a closed one is nobody's fault.

use super::endpoint::{Behaviour, Misbehaving, ok, with_status};
use super::rig::{LONG, Rig, http, http_check, often, run, spec, timing};
use crate::health::check::{Check, HttpCheck};
use crate::health::signal::{Failure, ProbeResult};

async fn passes(rig: &mut Rig, runs: usize) {
    for _ in 0..runs {
        assert_eq!(rig.result().await, ProbeResult::Pass);
    }
}

#[test]
fn every_fifth_run_takes_a_fresh_connection() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let mut rig = Rig::start(endpoint.address, vec![http(often(LONG))]);
        for (runs, connections) in [(1, 1), (4, 1), (1, 2), (4, 2), (1, 3)] {
            passes(&mut rig, runs).await;
            assert_eq!(endpoint.connections(), connections);
        }
    });
}

#[test]
fn an_endpoint_that_closes_after_each_answer_is_well() {
    run(async {
        for headers in ["", "Connection: close\r\n"] {
            let endpoint = Misbehaving::start(Behaviour::AnswersAndCloses(with_status("200 OK", headers, "x"))).await;
            let mut rig = Rig::start(endpoint.address, vec![http(often(LONG))]);
            passes(&mut rig, 7).await;
            assert_eq!(endpoint.heads().len(), endpoint.connections());
        }
    });
}

#[test]
fn an_endpoint_that_closes_as_the_request_comes_gets_it_once_more() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::ClosesOnSecondRequest(ok(""))).await;
        let mut rig = Rig::start(endpoint.address, vec![http(often(LONG))]);
        passes(&mut rig, 2).await;
        assert_eq!((endpoint.connections(), endpoint.heads().len()), (2, 3));
    });
}

#[test]
fn a_warm_connection_that_breaks_off_an_answer_fails() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::BreaksOffSecondHead(ok(""))).await;
        let mut rig = Rig::start(endpoint.address, vec![http(often(LONG))]);
        passes(&mut rig, 1).await;
        let what = "the connection was closed in the middle of the answer".to_owned();
        assert_eq!(rig.result().await, ProbeResult::Fail(Failure::Error(what)));
    });
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_tried() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::ClosesWhenIdle(ok(""))).await;
        let mut rig = Rig::start(endpoint.address, vec![http(timing(LONG))]);
        passes(&mut rig, 1).await;
        endpoint.close_idle().await;
        rig.probing.probe_now();
        passes(&mut rig, 1).await;
        assert_eq!((endpoint.connections(), endpoint.heads().len()), (2, 2));
    });
}

#[test]
fn bytes_that_nobody_asked_for_make_a_connection_useless() {
    run(async {
        let twice = [ok("first"), ok("second")].concat();
        let endpoint = Misbehaving::start(Behaviour::Answers(twice)).await;
        let mut rig = Rig::start(endpoint.address, vec![http(often(LONG))]);
        for _ in 0..3 {
            assert_eq!(&*rig.probed().await.excerpt, "first");
        }
        assert!(endpoint.connections() >= 3);
    });
}

#[test]
fn an_answer_to_head_has_no_body_whatever_its_length_says() {
    run(async {
        let head = HttpCheck { method: http::Method::HEAD, ..http_check() };
        let endpoint = Misbehaving::start(Behaviour::Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec())).await;
        let mut rig = Rig::start(endpoint.address, vec![spec(Check::Http(head), often(LONG))]);
        passes(&mut rig, 3).await;
        assert_eq!(endpoint.connections(), 1);
    });
}

#[test]
fn a_request_says_who_asks_and_is_short() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::Answers(ok("{\"status\":\"UP\"}"))).await;
        let mut rig = Rig::start(endpoint.address, vec![http(often(LONG))]);
        passes(&mut rig, 2).await;
        let heads = endpoint.heads();
        assert!(heads[0].starts_with("GET /health HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", heads[0]);
        for (seq, head) in heads.iter().enumerate() {
            let header = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {head}"));
                line.trim_start_matches(": ").to_owned()
            };
            assert_eq!(header("User-Agent"), concat!("pulsegate/", env!("CARGO_PKG_VERSION")));
            assert_eq!((header("Accept"), header("Pulsegate-State")), ("*/*".to_owned(), "unknown".to_owned()));
            assert_eq!(header("Pulsegate-Seq"), seq.to_string());
            assert_eq!(header("Pulsegate-Nonce").len(), 24);
            assert!(header("Pulsegate-Time").parse::<u64>().unwrap() > 1_600_000_000_000);
            assert!(head.len() < 300, "{} bytes", head.len());
        }
        assert_ne!(
            heads[0].find("Nonce").map(|at| &heads[0][at..at + 30]),
            heads[1].find("Nonce").map(|at| &heads[1][at..at + 30])
        );
    });
}

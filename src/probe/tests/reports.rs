//! Reports: from a probe's answer, and from a path of their own.

use std::sync::Arc;

use super::endpoint::{Behaviour, Misbehaving, ok, refuses_connections, with_status};
use super::rig::{LONG, Rig, http, http_check, run, spec, timing};
use crate::base::address::EndpointAddress;
use crate::health::check::{Check, ProbeSpec};
use crate::health::signal::{Failure, ProbeResult, ReportReading};
use crate::probe::{self, Approach, fetch_report, plain};
use crate::report::spec::{Format, Source, Spec};

fn read(reading: &ReportReading, metric: &str) -> Option<f64> {
    match reading {
        ReportReading::Read(report) => report.metric(metric),
        _ => None,
    }
}

fn void(reading: &ReportReading) -> &str {
    match reading {
        ReportReading::Void(why) => why,
        other => panic!("a void is wanted: {other:?}"),
    }
}

fn own(path: &str) -> Spec {
    Spec { source: Source::Own { path: path.into(), port: None }, ..Spec::default() }
}

#[test]
fn the_first_http_probe_brings_the_report_right_behind_its_result() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(r#"{"status":"UP","cpu":0.5}"#))).await;
        let probes = vec![ProbeSpec { name: "port".into(), ..spec(Check::Tcp, timing(LONG)) }, http(timing(LONG))];
        let mut rig = Rig::with_report(server.address, probes, Spec::default());
        let mut last = rig.probed().await;
        if last.probe == 0 {
            last = rig.probed().await;
        }
        assert_eq!((last.probe, last.result), (1, ProbeResult::Pass));
        assert_eq!(read(&rig.reading().await, "cpu"), Some(0.5));
    });
}

#[test]
fn a_failing_word_fails_the_probe_and_its_report_is_told_all_the_same() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(r#"{"status":"DOWN","cpu":0.5}"#))).await;
        let mut rig = Rig::with_report(server.address, vec![http(timing(LONG))], Spec::default());
        assert_eq!(rig.result().await, ProbeResult::Fail(Failure::ReportStatus("DOWN".to_owned())));
        assert_eq!(read(&rig.reading().await, "cpu"), Some(0.5));
    });
}

#[test]
fn without_a_report_words_mean_nothing_and_none_is_told() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(r#"{"status":"DOWN"}"#))).await;
        for report in [None, Some(Spec { format: Format::None, ..Spec::default() })] {
            let endpoint = super::rig::endpoint(&server.address.to_string());
            let mut rig = Rig::of(endpoint, vec![http(timing(LONG))], report, 64);
            assert_eq!(rig.result().await, ProbeResult::Pass);
            rig.probing.probe_now();
            assert_eq!(rig.result().await, ProbeResult::Pass);
        }
    });
}

#[test]
fn a_sentence_is_no_report_and_a_broken_one_is_void() {
    run(async {
        let reading = async |answer: Vec<u8>| {
            let server = Misbehaving::start(Behaviour::Answers(answer)).await;
            let mut rig = Rig::with_report(server.address, vec![http(timing(LONG))], Spec::default());
            rig.probed().await;
            rig.reading().await
        };
        assert_eq!(reading(ok("all is well here")).await, ReportReading::None);
        assert!(matches!(reading(ok("OK")).await, ReportReading::Read(_)), "a word is one, if the shortest");
        assert!(matches!(reading(ok("{\"cpu\":")).await, ReportReading::Void(_)));
        let long = format!("{{\"cpu\":0.5,\"padding\":\"{}\"}}", "x".repeat(70_000));
        assert!(void(&reading(ok(&long)).await).starts_with("the answer is longer than 64 KiB"));
        let error = with_status("404 Not Found", "Content-Type: application/json\r\n", r#"{"status":404,"cpu":0.5}"#);
        assert!(void(&reading(error).await).starts_with("the answer has status 404"));
        assert_eq!(read(&reading(with_status("503 Down", "", r#"{"status":"DOWN","cpu":0.5}"#)).await, "cpu"), Some(0.5));
    });
}

#[test]
fn a_probe_without_an_answer_says_nothing_of_reports() {
    run(async {
        let address = refuses_connections().await;
        let mut rig = Rig::with_report(address, vec![http(timing(LONG))], Spec::default());
        assert_eq!(rig.result().await, ProbeResult::Fail(Failure::Refused));
        rig.probing.probe_now();
        assert_eq!(rig.result().await, ProbeResult::Fail(Failure::Refused));
    });
}

#[test]
fn a_report_from_its_own_path_has_no_vote() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok("process_cpu_usage 0.25\n"))).await;
        let mut rig = Rig::with_report(server.address, vec![], own("/metrics?x=1"));
        assert_eq!(read(&rig.reading().await, "cpu"), Some(0.25));
        assert!(server.heads()[0].starts_with("GET /metrics?x=1 HTTP/1.1\r\n"));
    });
}

#[test]
fn beside_a_report_of_its_own_path_a_probe_brings_none_and_its_word_counts() {
    run(async {
        for (body, passes) in [(r#"{"status":"UP","cpu":0.5}"#, true), (r#"{"status":"DOWN","cpu":0.5}"#, false)] {
            let server = Misbehaving::start(Behaviour::Answers(ok(body))).await;
            let mut rig = Rig::with_report(server.address, vec![http(timing(LONG))], own("/report"));
            let (mut votes, mut reports) = (0, 0);
            for _ in 0..2 {
                match rig.observation().await {
                    crate::health::signal::Observation::Probe(run) if (run.result == ProbeResult::Pass) == passes => votes += 1,
                    crate::health::signal::Observation::Report(ReportReading::Read(_)) => reports += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((votes, reports), (1, 1));
            assert!(rig.is_quiet());
        }
    });
}

#[test]
fn a_report_that_cannot_be_fetched_is_void() {
    run(async {
        let mut rig = Rig::with_report(refuses_connections().await, vec![], own("/metrics"));
        assert_eq!(void(&rig.reading().await), "it could not be fetched: connection refused");
        let server = Misbehaving::start(Behaviour::Answers(with_status("500 Oops", "", "cpu 0.5\n"))).await;
        let mut rig = Rig::with_report(server.address, vec![], own("/metrics"));
        assert!(void(&rig.reading().await).starts_with("the answer has status 500"));
    });
}

#[test]
fn one_run_shows_all_that_a_probe_sees() {
    run(async {
        let body = r#"{"status":"UP","cpu":0.5}"#;
        let server =
            Misbehaving::start(Behaviour::Answers(with_status("200 OK", "Content-Type: application/json\r\n", body))).await;
        let (endpoint, probe, _) = plain(&format!("http://{}/health", server.address), LONG).unwrap();
        let finding = probe::once(&endpoint, &probe, Some(&Spec::default()), &Approach::default()).await;
        assert_eq!((finding.run.result, &*finding.run.excerpt), (ProbeResult::Pass, body));
        assert_eq!(finding.reading.as_ref().and_then(|reading| read(reading, "cpu")), Some(0.5));
        let answer = finding.answer.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.content_type(), answer.body()),
            (200, Some("application/json"), body.as_bytes())
        );
        assert!(!answer.is_cut());

        assert!(fetch_report(&endpoint, &Spec::default(), timing(LONG), &Approach::default()).await.is_none());
        let (reading, answer) = fetch_report(&endpoint, &own("/report"), timing(LONG), &Approach::default()).await.unwrap();
        assert_eq!((read(&reading, "cpu"), answer.is_some()), (Some(0.5), true));
    });
}

#[test]
fn one_run_of_what_is_not_there() {
    run(async {
        let address = EndpointAddress::parse(&refuses_connections().await.to_string()).unwrap();
        for check in [Check::Tcp, Check::Http(http_check())] {
            let finding = probe::once(&address, &spec(check, timing(LONG)), Some(&Spec::default()), &Approach::default()).await;
            assert_eq!(finding.run.result, ProbeResult::Fail(Failure::Refused));
            assert!(finding.answer.is_none() && finding.reading.is_none());
            assert_eq!(finding.run.excerpt, Arc::from(""));
        }
    });
}

//! Every way in which an endpoint can fail a probe, and the name that each gets.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Behaviour, Misbehaving, ok, refuses_connections, with_status};
use super::rig::{LONG, Rig, SHORT, endpoint, http, http_check, often, run, spec, timing};
use crate::health::check::{Check, HttpCheck, ProbeSpec};
use crate::health::signal::{Failure, ProbeResult};
use crate::runtime::task;

/// The first result of an http probe of an endpoint that behaves so.
async fn first(behaviour: Behaviour) -> ProbeResult {
    let endpoint = Misbehaving::start(behaviour).await;
    Rig::start(endpoint.address, vec![http(timing(LONG))]).result().await
}

fn error(what: &str) -> ProbeResult {
    ProbeResult::Fail(Failure::Error(what.to_owned()))
}

#[test]
fn an_answer_passes_and_its_first_bytes_are_told() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::Answers(ok("all\nwell"))).await;
        let run = Rig::start(endpoint.address, vec![http(timing(LONG))]).probed().await;
        assert_eq!((run.probe, &run.result, &*run.excerpt), (0, &ProbeResult::Pass, "all\\nwell"));
        assert!(run.latency > Duration::ZERO);
    });
}

#[test]
fn nobody_listens() {
    run(async {
        let address = refuses_connections().await;
        for check in [Check::Tcp, Check::Http(http_check())] {
            let result = Rig::start(address, vec![spec(check, timing(LONG))]).result().await;
            assert_eq!(result, ProbeResult::Fail(Failure::Refused));
        }
    });
}

#[test]
fn an_accepted_connection_is_all_that_a_tcp_probe_wants() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::StallsBeforeAnswer).await;
        let result = Rig::start(endpoint.address, vec![spec(Check::Tcp, timing(LONG))]).result().await;
        assert_eq!(result, ProbeResult::Pass);
    });
}

#[test]
fn an_answer_that_does_not_come_whole_in_time() {
    run(async {
        for behaviour in [Behaviour::StallsBeforeAnswer, Behaviour::StallsAfterHeaders] {
            let endpoint = Misbehaving::start(behaviour).await;
            let result = Rig::start(endpoint.address, vec![http(often(SHORT))]).decided().await;
            assert_eq!(result, ProbeResult::Fail(Failure::Timeout(SHORT)));
        }
    });
}

#[test]
fn an_answer_that_breaks_off() {
    run(async {
        assert_eq!(first(Behaviour::ResetsMidBody).await, error("the connection was reset in the middle of the answer"));
        assert_eq!(first(Behaviour::ClosesMidBody).await, error("the connection was closed in the middle of the answer"));
        assert_eq!(first(Behaviour::ClosesBeforeAnswer).await, error("the connection was closed before an answer"));
        let head = Behaviour::AnswersAndCloses(b"HTTP/1.1 200 OK\r\nContent-".to_vec());
        assert_eq!(first(head).await, error("the connection was closed in the middle of the answer"));
        let chunks = Behaviour::AnswersAndCloses(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel".to_vec());
        assert_eq!(first(chunks).await, error("the connection was closed in the middle of the answer"));
    });
}

#[test]
fn what_is_not_http_is_named_so() {
    run(async {
        for garbage in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n"] {
            let result = first(Behaviour::AnswersAndCloses(garbage.as_bytes().to_vec())).await;
            let ProbeResult::Fail(Failure::Error(what)) = &result else { panic!("{garbage:?}: {result:?}") };
            assert!(what.starts_with("the answer is not well-formed HTTP/1: "), "{garbage:?}: {what}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        assert_eq!(first(Behaviour::Answers(long.into_bytes())).await, error("the answer's head is too long"));
    });
}

#[test]
fn a_status_that_is_not_wanted() {
    run(async {
        for (status, code) in [("503 Service Unavailable", 503), ("404 Not Found", 404), ("302 Found", 302), ("600 What", 600)] {
            let result = first(Behaviour::Answers(with_status(status, "", ""))).await;
            assert_eq!(result, ProbeResult::Fail(Failure::Status(code)));
        }
        assert_eq!(first(Behaviour::Answers(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())).await, ProbeResult::Pass);
    });
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    run(async {
        let bytes = [b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec(), with_status("500 Oops", "", "")].concat();
        assert_eq!(first(Behaviour::Answers(bytes)).await, ProbeResult::Fail(Failure::Status(500)));
    });
}

#[test]
fn a_body_without_the_wanted_text() {
    run(async {
        let endpoint = Misbehaving::start(Behaviour::Answers(ok("nothing of note"))).await;
        let check = HttpCheck { body_contains: Some("ready".into()), ..http_check() };
        let result = Rig::start(endpoint.address, vec![spec(Check::Http(check), timing(LONG))]).result().await;
        assert_eq!(result, ProbeResult::Fail(Failure::Body("ready".to_owned())));
    });
}

#[test]
fn the_wanted_text_counts_within_the_first_64_kib() {
    run(async {
        let check = HttpCheck { body_contains: Some("ready".into()), ..http_check() };
        for (padding, passes) in [(65_531, true), (65_532, false)] {
            let endpoint = Misbehaving::start(Behaviour::Answers(ok(&format!("{}ready", "x".repeat(padding))))).await;
            let probe = spec(Check::Http(check.clone()), timing(LONG));
            let result = Rig::start(endpoint.address, vec![probe]).result().await;
            assert_eq!(result == ProbeResult::Pass, passes, "{padding}: {result:?}");
        }
    });
}

#[test]
fn a_body_without_end_is_judged_by_its_beginning() {
    run(async {
        let endless = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n".to_vec(), vec![b'x'; 200_000]].concat();
        let endpoint = Misbehaving::start(Behaviour::Answers(endless)).await;
        let mut rig = Rig::start(endpoint.address, vec![http(often(LONG))]);
        for _ in 0..3 {
            let run = rig.probed().await;
            assert_eq!((run.result, run.excerpt.len()), (ProbeResult::Pass, 256));
        }
        assert!(endpoint.connections() >= 3, "what is left of a body makes a connection useless");
    });
}

#[test]
fn a_body_may_come_in_every_framing_and_byte_by_byte() {
    run(async {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n3;x=y\r\nady\r\n0\r\nX-Trailer: 1\r\n\r\n";
        let answers = [
            Behaviour::AnswersSlowly(ok("ready")),
            Behaviour::AnswersSlowly(chunked.as_bytes().to_vec()),
            Behaviour::AnswersAndCloses(b"HTTP/1.1 200 OK\r\n\r\nready".to_vec()),
            Behaviour::AnswersAndCloses(b"HTTP/1.0 200 OK\r\n\r\nready".to_vec()),
            Behaviour::AnswersAndCloses(with_status("200 OK", "Connection: close\r\n", "ready")),
        ];
        for behaviour in answers {
            let endpoint = Misbehaving::start(behaviour.clone()).await;
            let check = HttpCheck { body_contains: Some("ready".into()), ..http_check() };
            let run = Rig::start(endpoint.address, vec![spec(Check::Http(check), timing(LONG))]).probed().await;
            assert_eq!((&run.result, &*run.excerpt), (&ProbeResult::Pass, "ready"), "{behaviour:?}");
        }
    });
}

#[test]
fn a_name_that_does_not_resolve_leaves_the_endpoint_unknown() {
    run(async {
        let nowhere = endpoint("orders.internal:9000");
        for check in [Check::Tcp, Check::Http(http_check())] {
            let mut rig = Rig::of(Arc::clone(&nowhere), vec![spec(check, timing(LONG))], None, 64);
            assert_eq!(rig.result().await, ProbeResult::Void("the name does not resolve".to_owned()));
        }
    });
}

#[test]
fn a_name_is_probed_as_soon_as_it_resolves() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let named = endpoint("orders.internal:9000");
        let mut rig = Rig::of(named, vec![http(timing(LONG))], None, 64);
        assert!(matches!(rig.result().await, ProbeResult::Void(_)));
        rig.endpoint.resolve(vec![server.address.into()]);
        rig.probing.probe_now();
        assert_eq!(rig.result().await, ProbeResult::Pass);
        assert!(server.heads()[0].contains("\r\nHost: orders.internal:9000\r\n"));
    });
}

#[test]
fn a_probe_may_go_to_another_port_or_address() {
    run(async {
        let server = Misbehaving::start(Behaviour::Answers(ok(""))).await;
        let elsewhere = refuses_connections().await;
        let port = server.address.port();
        let to_port = ProbeSpec { port: Some(port), ..http(timing(LONG)) };
        let to = |address: String| ProbeSpec { address: Some(address.parse_endpoint()), ..http(timing(LONG)) };
        for probe in [to_port, to(server.address.to_string()), to(format!("localhost:{port}"))] {
            let host = probe.address.as_ref().map_or(format!("127.0.0.1:{port}"), ToString::to_string);
            assert_eq!(Rig::start(elsewhere, vec![probe]).result().await, ProbeResult::Pass);
            let heads = server.heads();
            assert!(heads.last().unwrap().contains(&format!("\r\nHost: {host}\r\n")), "{heads:?}");
        }
    });
}

trait ParseEndpoint {
    fn parse_endpoint(&self) -> crate::base::address::EndpointAddress;
}

impl ParseEndpoint for String {
    fn parse_endpoint(&self) -> crate::base::address::EndpointAddress {
        crate::base::address::EndpointAddress::parse(self).unwrap()
    }
}

/// An endpoint on a thread of its own, which answers or does not, whatever happens to ours.
fn on_another_thread(answer: Option<Vec<u8>>) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(answer) = &answer {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).unwrap();
                stream.write_all(answer).unwrap();
                drop(head[..read].to_vec());
            }
            open.push(stream);
        }
    });
    address
}

/// Has this thread stand still as soon as a run is under way, for as long as several time-outs.
async fn stand_still_during(rig: &mut Rig) -> ProbeResult {
    // The rounds have their first turn before this task, and so have connected or begun to.
    let still = task::spawn(async { std::thread::sleep(4 * SHORT) });
    let result = rig.result().await;
    still.await.unwrap();
    result
}

#[test]
fn standing_still_ourselves_is_void_where_nothing_came() {
    run(async {
        let mut rig = Rig::start(on_another_thread(None), vec![http(timing(SHORT))]);
        let result = stand_still_during(&mut rig).await;
        let ProbeResult::Void(why) = &result else { panic!("{result:?}") };
        assert!(why.starts_with("the proxy itself stalled for 1."), "{why}");
    });
}

#[test]
fn standing_still_ourselves_fails_nobody_who_answered() {
    run(async {
        let mut rig = Rig::start(on_another_thread(Some(ok(""))), vec![http(timing(SHORT))]);
        let result = stand_still_during(&mut rig).await;
        assert!(!matches!(result, ProbeResult::Fail(_)), "{result:?}");
    });
}

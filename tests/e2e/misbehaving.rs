//! Endpoints that break off, close, hang or speak something else: what their clients get.

use std::time::Duration;

use pulsegate::runtime::clock;

use crate::support::misbehaving::{Misbehaving, Misbehaviour};
use crate::support::{Answer, Kind, PATIENCE, Proxy, Service, ask, get, post, until};

/// A proxy with these endpoints and this route, whose cluster has no probes.
fn start(endpoints: &[String], route: &str) -> Proxy {
    Proxy::start(&format!(
        "admin: {{ address: ADMIN }}
workers: 2
listeners: [{{ name: web, address: LISTENER, routes: [{{ cluster: app{route} }}] }}]
clusters: [{{ name: app, endpoints: [{}] }}]
",
        endpoints.join(", ")
    ))
}

#[track_caller]
fn assert_ours(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("proxy-status"), Some(format!("pulsegate; error={error}").as_str()));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

#[test]
fn a_body_that_breaks_off_is_never_passed_on_as_whole() {
    for what in [Misbehaviour::StallsAfterHeaders, Misbehaviour::ResetsMidBody, Misbehaviour::EndsMidChunks] {
        let endpoint = Misbehaving::start(what);
        let proxy = start(&[endpoint.name()], ", idle_timeout: 300ms");
        let began = clock::now();
        let answer = get(proxy.address(), "/");
        let took = clock::now().since(began);
        assert!(answer.is_err(), "{what:?}: {answer:?}");
        assert!(took < Duration::from_secs(5), "{what:?}: {took:?}");
        assert_eq!(endpoint.asked(), 1, "{what:?}: what has begun to be answered is not sent again");
    }
}

#[test]
fn what_was_not_answered_is_sent_again_only_where_that_is_safe() {
    let well = Service::start(Kind::Python);
    let mut failed = 0;
    for what in [Misbehaviour::ClosesWithoutAnswer, Misbehaviour::SpeaksAnotherProtocol] {
        let sick = Misbehaving::start(what);
        let proxy = start(&[sick.name(), well.name()], "");
        for _ in 0..10 {
            let answer = proxy.get("/");
            assert_eq!((answer.status, answer.text()), (200, well.says()), "{what:?}");
        }
        assert!(sick.asked() > 0, "{what:?}: some of them were tried there first");
        let asked = sick.asked();
        for _ in 0..4 {
            let answer = post(proxy.address(), "/").unwrap();
            failed += u64::from(answer.status != 200);
            assert!([200, 502].contains(&answer.status), "{what:?}: {}", answer.text());
        }
        assert_eq!(failed, sick.asked() - asked, "{what:?}: each POST that reached it failed, and was sent once");
        failed = 0;
    }
}

#[test]
fn without_another_endpoint_the_client_is_told_what_went_wrong() {
    let told = |what: Misbehaviour, route: &str| {
        let endpoint = Misbehaving::start(what);
        let proxy = start(&[endpoint.name()], route);
        proxy.get("/")
    };
    assert_ours(&told(Misbehaviour::ClosesWithoutAnswer, ""), 502, "connection_terminated");
    assert_ours(&told(Misbehaviour::SpeaksAnotherProtocol, ""), 502, "http_protocol_error");
    assert_ours(&told(Misbehaviour::Hangs, ", timeout: 300ms"), 504, "http_response_timeout");
}

#[test]
fn connections_that_close_unannounced_cost_no_get() {
    let endpoint = Misbehaving::start(Misbehaviour::ClosesAfterAnswer);
    let proxy = start(&[endpoint.name()], "");
    let mut client = crate::support::Client::connect(proxy.address()).unwrap();
    for _ in 0..100 {
        let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address())).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "well\n"));
    }
}

#[test]
fn a_client_that_leaves_takes_its_attempt_along() {
    let endpoint = Misbehaving::start(Misbehaviour::Hangs);
    let proxy = start(&[endpoint.name()], "");
    let mut client = crate::support::Client::connect(proxy.address()).unwrap();
    client.send(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address())).unwrap();
    let in_flight = || proxy.endpoint(&endpoint.name())["in_flight"].as_u64().unwrap();
    until(PATIENCE, "it waits there", || (in_flight() == 1).then_some(()));
    drop(client);
    until(PATIENCE, "nobody waits there", || (in_flight() == 0).then_some(()));
    until(PATIENCE, "it is counted", || (proxy.page().sum("requests_total", &[("code", "499")]) > 0).then_some(()));
    let body = "x".repeat(10);
    let echo = Service::start(Kind::Node);
    let proxy = start(&[echo.name()], "");
    let request = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n{body}", proxy.address());
    assert_eq!(ask(proxy.address(), &request).unwrap().text(), body);
}

//! Endpoints of which one leads: writes go to it and to nobody else, whoever else says the same, and whatever becomes of us.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Kind, PATIENCE, Port, Proxy, Service, ask, post, until};

/// Writes to the leader, reads to the others.
fn config(services: &[Service], more: &str) -> String {
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    format!(
        "admin: {{ address: ADMIN }}
workers: 2
state_file: state.json
listeners:
  - name: web
    address: LISTENER
    routes:
      - {{ name: reads, match: {{ methods: [GET] }}, cluster: app, role: replica }}
      - {{ name: writes, cluster: app, role: leader }}
clusters:
  - name: app
    endpoints: [{endpoints}]
    health: {{ path: /health, interval: 200ms, leader: {{}}{more} }}
"
    )
}

fn says(service: &Service, role: &str, epoch: u64) {
    service.report(&json!({ "status": "UP", "role": role, "epoch": epoch }).to_string());
}

fn leader(proxy: &Proxy) -> Value {
    proxy.status()["clusters"][0]["leader"].clone()
}

/// Waits until an endpoint leads in an epoch.
#[track_caller]
fn wait_for_leader(proxy: &Proxy, name: &str, epoch: u64) {
    let wanted = json!({ "endpoint": name, "epoch": epoch });
    until(PATIENCE, &format!("{name} leads in epoch {epoch}"), || (leader(proxy) == wanted).then_some(()));
}

/// Waits until nobody leads, for this reason.
#[track_caller]
fn wait_for_nobody(proxy: &Proxy, reason: &str) -> Value {
    until(PATIENCE, &format!("nobody leads: {reason}"), || Some(leader(proxy)).filter(|one| one["reason"]["code"] == reason)).0
}

fn write(proxy: &Proxy) -> Answer {
    post(proxy.address(), "/").unwrap()
}

/// Nobody takes a write, and whoever sends one learns why.
#[track_caller]
fn assert_refused(proxy: &Proxy, reason: &str) {
    for _ in 0..4 {
        let answer = write(proxy);
        assert_eq!(answer.status, 503, "{}", answer.text());
        let wanted = format!("pulsegate; error=destination_unavailable; details=\"{reason}\"");
        assert_eq!((answer.header("proxy-status"), answer.header("retry-after")), (Some(wanted.as_str()), Some("1")));
        assert_eq!(answer.json()["reason"], reason);
    }
}

#[track_caller]
fn assert_written(proxy: &Proxy, leader: &Service) {
    for _ in 0..6 {
        assert_eq!((write(proxy).status, write(proxy).text()), (200, leader.says()));
    }
}

/// Reads are answered by these and nobody else.
#[track_caller]
fn assert_read(proxy: &Proxy, wanted: &[&Service]) {
    let mut seen: Vec<String> = (0..24).map(|_| proxy.get("/").text()).collect();
    seen.sort();
    seen.dedup();
    let mut wanted: Vec<String> = wanted.iter().map(|service| service.says()).collect();
    wanted.sort();
    assert_eq!(seen, wanted);
}

fn codes(proxy: &Proxy, name: &str) -> Value {
    let reasons = proxy.endpoint(name)["reasons"].as_array().unwrap().clone();
    reasons.iter().map(|reason| reason["code"].clone()).collect()
}

#[test]
fn writes_follow_the_highest_epoch_and_never_reach_two() {
    let mut services = [Kind::Node; 3].map(Service::start);
    let names = services.each_ref().map(Service::name);
    services.iter().for_each(|service| says(service, "replica", 3));
    says(&services[0], "leader", 3);
    let mut proxy = Proxy::start(&config(&services, ""));
    assert_eq!(leader(&proxy), json!({ "endpoint": names[0], "epoch": 3 }), "it is known before the first request");
    assert_written(&proxy, &services[0]);
    assert_read(&proxy, &[&services[1], &services[2]]);
    let page = proxy.page();
    let leads = |page: &crate::support::Page, name: &str| page.one("cluster_leader", &[("cluster", "app"), ("endpoint", name)]);
    assert_eq!(names.each_ref().map(|name| leads(&page, name)), [1, 0, 0]);
    assert_eq!(page.one("leader_epoch", &[("cluster", "app")]), 3);
    assert!(proxy.succeed(&["status"]).contains(&format!("leader {} in epoch 3", names[0])));

    // Two in one epoch are none; reads go on.
    says(&services[1], "leader", 3);
    wait_for_nobody(&proxy, "leader_conflict");
    assert_refused(&proxy, "leader_conflict");
    assert_read(&proxy, &[&services[0], &services[1], &services[2]]);
    assert_eq!((codes(&proxy, &names[0]), codes(&proxy, &names[1])), (json!(["leader_conflict"]), json!(["leader_conflict"])));
    assert_eq!((codes(&proxy, &names[2]), proxy.endpoint(&names[0])["available"].clone()), (json!([]), json!(true)));
    assert!(proxy.said().contains("several endpoints lead"));

    // The next epoch ends that, though both go on saying it.
    says(&services[2], "Primary", 4);
    wait_for_leader(&proxy, &names[2], 4);
    assert_written(&proxy, &services[2]);
    assert_read(&proxy, &[&services[0], &services[1]]);
    assert_eq!(proxy.endpoint(&names[0])["role"]["part"], "stale");
    assert!(proxy.succeed(&["explain", "app", &names[0]]).contains("that epoch is over"));

    // The leader dies: from the first moment on nobody else gets what was its own.
    services[2].kill();
    for _ in 0..20 {
        let answer = write(&proxy);
        assert!(matches!(answer.status, 502 | 503), "{} {}", answer.status, answer.text());
    }
    wait_for_nobody(&proxy, "no_leader");
    assert_refused(&proxy, "no_leader");

    // What we remember outlives a reload, an upgrade and a restart.
    proxy.rewrite(&config(&services, ", fall: 4"));
    assert_eq!(proxy.reload().status, 200);
    assert_eq!((leader(&proxy)["epoch"].clone(), leader(&proxy)["reason"]["code"].clone()), (json!(4), json!("no_leader")));
    assert_refused(&proxy, "no_leader");
    proxy.upgrade();
    assert_eq!(leader(&proxy)["epoch"], 4);
    assert_refused(&proxy, "no_leader");
    proxy.restart();
    assert_eq!(leader(&proxy)["epoch"], 4);
    assert_refused(&proxy, "no_leader");
    assert_read(&proxy, &[&services[0], &services[1]]);

    services[2].restart();
    wait_for_leader(&proxy, &names[2], 4);
    proxy.upgrade();
    assert_written(&proxy, &services[2]);
}

#[test]
fn a_leader_that_is_drained_gets_no_write_and_gives_in_to_the_next() {
    let services = [Kind::Node; 2].map(Service::start);
    let names = services.each_ref().map(Service::name);
    // Without epochs.
    services[0].report(r#"{"role":"leader"}"#);
    services[1].report(r#"{"role":"replica"}"#);
    let proxy = Proxy::start(&config(&services, ", panic: 100%"));
    wait_for_leader(&proxy, &names[0], 0);
    assert_read(&proxy, &[&services[1]]);
    services[1].turn_sick();
    proxy.wait_for_state(PATIENCE, &names[1], "unhealthy");
    assert_eq!(proxy.get("/").text(), services[1].says(), "panic lets the sick in, but not the leader");
    services[1].turn_well();
    proxy.wait_for_state(PATIENCE, &names[1], "healthy");
    proxy.succeed(&["drain", "app", &names[0]]);
    assert_eq!(
        wait_for_nobody(&proxy, "no_leader")["reason"]["detail"],
        format!("{} leads in epoch 0 and is draining", names[0])
    );
    assert_refused(&proxy, "no_leader");
    services[1].report(r#"{"role":"leader"}"#);
    wait_for_leader(&proxy, &names[1], 0);
    assert_written(&proxy, &services[1]);
}

#[test]
fn a_report_of_its_own_path_with_words_of_its_own_is_known_before_the_first_request() {
    let services = [Kind::Node; 2].map(Service::start);
    services[0].report(r#"{"raft":{"state":"Standby","term":12}}"#);
    services[1].report(r#"{"raft":{"state":"Active","term":12}}"#);
    let text = config(&services, "").replace(
        "path: /health, interval: 200ms, leader: {}",
        "probes: [{ tcp: {} }], report: { path: /health }, leader: { role_field: raft.state, leader_values: [active], epoch_field: raft.term }",
    );
    let proxy = Proxy::start(&text);
    assert_eq!(leader(&proxy), json!({ "endpoint": services[1].name(), "epoch": 12 }));
    assert_written(&proxy, &services[1]);
    assert_read(&proxy, &[&services[0]]);
}

/// Posts a heartbeat of cluster `app` and gives the ack.
fn beat(to: SocketAddr, endpoint: &str, seq: u64, role: &str, epoch: u64) -> Value {
    let body = json!({ "cluster": "app", "endpoint": endpoint, "seq": seq, "role": role, "epoch": epoch }).to_string();
    let length = body.len();
    let answer = ask(to, &format!("POST /v1/heartbeats HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The first changes of leader among the events.
fn leader_events<const N: usize>(proxy: &Proxy) -> [Value; N] {
    let mut client = Client::connect(proxy.admin()).unwrap();
    client.send("GET /api/v1/events HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n").unwrap();
    client.head().unwrap();
    std::array::from_fn(|_| {
        while client.line().unwrap() != "event: leader" {}
        serde_json::from_str(client.line().unwrap().strip_prefix("data: ").unwrap()).unwrap()
    })
}

#[test]
fn who_pushes_claims_by_its_beats_and_learns_who_leads() {
    let services = [Kind::Node; 2].map(Service::start);
    let names = services.each_ref().map(Service::name);
    let port = Port::free();
    let text = format!(
        "heartbeats: {{ address: {} }}\n{}",
        port.address(),
        config(&services, "").replace("leader: {}", "heartbeat: { period: 10s, ttl: 1m }, leader: { from: heartbeat }")
    );
    let proxy = Proxy::start(&text);
    assert_eq!(beat(port.address(), &names[0], 1, "replica", 5)["leader"], json!({}));
    assert_eq!(beat(port.address(), &names[1], 1, "leader", 5)["leader"], json!({ "endpoint": names[1], "epoch": 5 }));
    assert_written(&proxy, &services[1]);
    assert_eq!(beat(port.address(), &names[0], 2, "leader", 5)["leader"], json!({}), "two are none");
    assert_eq!(beat(port.address(), &names[1], 2, "leader", 5)["reasons"], json!(["leader_conflict"]));
    assert_refused(&proxy, "leader_conflict");
    assert_eq!(beat(port.address(), &names[0], 3, "leader", 6)["leader"], json!({ "endpoint": names[0], "epoch": 6 }));
    assert_eq!(beat(port.address(), &names[1], 3, "leader", 5)["leader"], json!({ "endpoint": names[0], "epoch": 6 }));
    assert_written(&proxy, &services[0]);
    let events: [Value; 3] = leader_events(&proxy);
    assert_eq!(events.each_ref().map(|event| event["leader"].clone()), [json!(names[1]), json!(null), json!(names[0])]);
    assert_eq!((&events[1]["before"], &events[1]["reasons"][0]["code"]), (&json!(names[1]), &json!("leader_conflict")));
    assert_eq!((&events[2]["cluster"], &events[2]["epoch"]), (&json!("app"), &json!(6)));
}

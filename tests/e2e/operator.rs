//! The operator at the command line of a running process.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Kind, PATIENCE, Process, Proxy, Service, one_listener, until};

fn start(services: &[Service]) -> Proxy {
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{endpoints}]
    health: {{ path: /health, interval: 300ms }}
"
    )))
}

#[test]
fn status_and_explain_say_who_is_out_and_why() {
    let services = [Kind::Node, Kind::Nginx].map(Service::start);
    let [sick, well] = services.each_ref().map(Service::name);
    let proxy = start(&services);
    assert_eq!(proxy.succeed(&["health"]), "ready\n");
    assert!(proxy.succeed(&["status"]).contains("app: 2 of 2 available"));
    services[0].turn_sick();
    proxy.wait_for_state(PATIENCE, &sick, "unhealthy");
    let status = proxy.succeed(&["status"]);
    assert!(status.contains("app: 1 of 2 available"), "{status}");
    let row = |name: &str| status.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(row(&sick).contains("unhealthy") && row(&sick).contains("probe_status") && row(&sick).contains("503"), "{status}");
    assert!(row(&well).contains("healthy  "), "{status}");
    let json: serde_json::Value = serde_json::from_str(&proxy.succeed(&["status", "--json"])).unwrap();
    assert_eq!(json["clusters"][0]["available"], 1);

    let explained = proxy.succeed(&["explain", "app", &sick]);
    let wanted =
        ["is unhealthy, not available", "probe_status", "503", "last answer: sick", "healthy -> unhealthy", "fail", " ago"];
    for wanted in wanted {
        assert!(explained.contains(wanted), "{wanted}: {explained}");
    }
    assert!(proxy.succeed(&["explain", "app", &well]).contains("nothing is held against it"));
    let missing = proxy.run(&["explain", "app", "127.0.0.1:1"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("404"), "{}", missing.err);
    assert_eq!(proxy.get("/").text(), services[1].says());
}

#[test]
fn orders_hold_until_taken_back_or_over() {
    let services = [Kind::Node, Kind::Nginx].map(Service::start);
    let name = services[0].name();
    let proxy = start(&services);
    let said = proxy.succeed(&["drain", "app", &name, "--reason", "new disk"]);
    assert_eq!(said, format!("app {name} is draining\n"));
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), services[1].says());
    }
    let endpoint = proxy.endpoint(&name);
    assert_eq!(endpoint["reasons"][0]["code"], "draining");
    assert!(endpoint["reasons"][0]["detail"].as_str().unwrap().contains("new disk"), "{endpoint:#}");
    assert!(proxy.succeed(&["explain", "app", &name]).contains("new disk"));

    assert_eq!(proxy.succeed(&["ready", "app", &name]), format!("app {name} is healthy\n"));
    until(PATIENCE, "it gets requests", || (proxy.get("/").text() == services[0].says()).then_some(()));

    let said = proxy.succeed(&["maintenance", "app", &name, "--for", "1s"]);
    assert_eq!(said, format!("app {name} is maintenance, for 1s\n"));
    let endpoint = proxy.endpoint(&name);
    assert_eq!((&endpoint["state"], endpoint["reasons"][0]["until"].is_string()), (&"maintenance".into(), true));
    let (_, took) = proxy.wait_for_state(PATIENCE, &name, "healthy");
    assert!(took > Duration::from_millis(500), "{took:?}");

    let unknown = proxy.run(&["drain", "app", "127.0.0.1:1"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("404"), "{}", unknown.err);
}

#[test]
fn events_shows_every_change_as_it_happens() {
    let services = [Kind::Node].map(Service::start);
    let name = services[0].name();
    let proxy = start(&services);
    let log = proxy.file("events.txt");
    let mut command = proxy.command(&["events"]);
    command.stdout(Stdio::null());
    let events = Process::start(command, log.as_ref());
    let line = |from: &str, to: &str| events.said().lines().any(|line| line.contains(&format!("app  {name}  {from} -> {to}")));
    // Nothing says when it has begun to listen: changes are made until it shows one.
    until(PATIENCE, "an event is shown", || {
        proxy.succeed(&["drain", "app", &name]);
        proxy.succeed(&["ready", "app", &name]);
        line("draining", "healthy").then_some(())
    });
    services[0].turn_sick();
    until(PATIENCE, "the fall is shown", || line("healthy", "unhealthy").then_some(()));
    assert!(events.said().contains("probe_status"), "{}", events.said());
    services[0].turn_well();
    until(PATIENCE, "the rise is shown", || line("unhealthy", "healthy").then_some(()));
}

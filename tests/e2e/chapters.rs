//! The configurations in the chapter on heartbeats, each run as it stands there but for its addresses: it does what the chapter says.

use serde_json::json;

use crate::heartbeats::{Sender, answering};
use crate::support::{Kind, PATIENCE, Port, Proxy, Service, until};

/// The blocks of the chapter that are whole configurations, in their order.
fn configurations() -> Vec<String> {
    let chapter = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/heartbeats.md")).unwrap();
    let blocks = chapter.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
    blocks.filter(|block| block.contains("\nclusters:") || block.starts_with("clusters:")).map(str::to_owned).collect()
}

/// Runs one, with these addresses in place of those that it has.
fn run(config: &str, addresses: &[(&str, String)]) -> Proxy {
    let mut config = format!("admin: {{ address: ADMIN }}\n{config}").replace("127.0.0.1:8080", "LISTENER");
    for (shown, ours) in addresses {
        assert!(config.contains(shown), "{shown} is not in {config}");
        config = config.replace(shown, ours);
    }
    Proxy::start(&config)
}

#[test]
fn each_does_what_the_chapter_says() {
    let all = configurations();
    let [push, ways, joining, acknowledged] = &all[..] else { panic!("{} configurations", all.len()) };
    let (port, other, service) = (Port::free(), Port::free(), Service::start(Kind::Python));
    let (at, name) = (port.address(), service.name());
    let beats = ("127.0.0.1:9901", at.to_string());
    let one = ("127.0.0.1:9001", name.clone());

    let sender = Sender::of("app", at, &name);
    let proxy = run(push, &[beats.clone(), one.clone(), ("127.0.0.1:9002", "127.0.0.1:2".to_owned())]);
    proxy.wait_for_state(PATIENCE, &name, "healthy");
    let (silent, _) = proxy.wait_for_state(PATIENCE, "127.0.0.1:2", "unhealthy");
    assert_eq!(silent["reasons"][0]["code"], "heartbeat_expired", "{silent:#}");
    drop(proxy);

    let second = format!("127.0.0.2:{}", other.address().port());
    let proxy = run(ways, &[beats.clone(), ("127.0.0.2:9901", second), one]);
    let by_one = |endpoint: &serde_json::Value| endpoint["heartbeat"]["paths"][0]["address"] == json!(at.to_string());
    until(PATIENCE, "probes and heartbeats are content", || {
        let endpoint = proxy.endpoint(&name);
        (endpoint["state"] == "healthy" && by_one(&endpoint) && endpoint["heartbeat"]["phi"].is_number()).then_some(())
    });
    drop((proxy, sender));

    let sender = Sender::of("workers", at, &name);
    let proxy = run(joining, &[beats]);
    let joined = || proxy.status()["clusters"][0]["endpoints"][0]["state"] == "healthy";
    until(PATIENCE, "it has joined", || joined().then_some(()));
    assert_eq!(proxy.get("/").text(), service.says());
    drop((proxy, sender));

    let [echoes, forgets] = ["Pulsegate-Nonce: NONCE\r\n", ""].map(|echo| answering(echo).to_string());
    let proxy = run(acknowledged, &[("127.0.0.1:9001", echoes.clone()), ("127.0.0.1:9002", forgets.clone())]);
    proxy.wait_for_state(PATIENCE, &echoes, "healthy");
    let (forgot, _) = proxy.wait_for_state(PATIENCE, &forgets, "unhealthy");
    assert_eq!(forgot["reasons"][0]["code"], "probe_unacknowledged", "{forgot:#}");
}

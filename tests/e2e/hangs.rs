//! Processes that are stopped where they are: a service that takes connections and says nothing, and the proxy itself.

use std::time::Duration;

use pulsegate::runtime::clock;

use crate::support::{Load, PATIENCE, Proxy, Service, alone, get, one_listener, three, until};

/// How long the proxy is stopped: ten times as long as a probe may take.
const STALL: Duration = Duration::from_secs(2);

#[test]
fn requests_that_wait_for_a_service_that_hangs_are_recalled_and_answered_elsewhere() {
    let _alone = alone();
    let services = three();
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{endpoints}]
    health: {{ path: /health, interval: 500ms, timeout: 200ms }}
"
    )));
    let load = Load::start(proxy.address(), "/", 200, 8);
    let hung = &services[1];
    load.go_on(50);

    let began = clock::now();
    hung.hang();
    // These wait for an answer that never comes; their time-out is 15 s.
    until(PATIENCE, "requests wait for it", || (proxy.endpoint(&hung.name())["in_flight"].as_u64()? > 0).then_some(()));
    let (endpoint, _) = proxy.wait_for_state(Duration::from_secs(6), &hung.name(), "unhealthy");
    let out = clock::now().since(began);
    assert_eq!(endpoint["reasons"][0]["code"], "probe_timeout", "{endpoint:#}");
    let left = || (proxy.endpoint(&hung.name())["in_flight"] == 0).then_some(());
    let (_, recalled) = until(Duration::from_secs(3), "nobody waits for it any more", left);
    assert!(proxy.page().sum("retries_total", &[("cluster", "app"), ("result", "success")]) > 0);

    hung.go_on();
    proxy.wait_for_up(PATIENCE, &hung.name(), true);
    let tally = load.end(true);
    eprintln!("hung: out after {out:?}, recalled {recalled:?} later; {} requests, slowest {:?}", tally.answered, tally.slowest);
    tally.assert_all_answered(100);
    assert!(tally.slowest < Duration::from_secs(8), "{:?}", tally.slowest);
}

#[test]
fn a_proxy_that_was_stopped_blames_nobody() {
    let _alone = alone();
    let services = three();
    let [python, node, nginx] = services.each_ref().map(Service::name);
    // Two of them take a second for each probe: the stall falls into one, as well as between two.
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - {{ name: app, endpoints: [{nginx}], health: {{ path: /health, interval: 500ms, timeout: 200ms }} }}
  - {{ name: slow, endpoints: [{python}, {node}], health: {{ path: /slow, interval: 1300ms, timeout: 1200ms }} }}
"
    )));
    let endpoints = || {
        let status = proxy.status();
        let clusters = status["clusters"].as_array().unwrap().iter();
        clusters.flat_map(|cluster| cluster["endpoints"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    let since = || endpoints().iter().map(|endpoint| endpoint["since"].clone()).collect::<Vec<_>>();
    let probed = || proxy.page().sum("probes_total", &[("cluster", "slow")]);
    let before = since();
    assert_eq!(before.len(), 3);
    // One of the two is stopped as well, and has not answered when the proxy goes on: whose fault that is cannot be told.
    services[0].hang();
    proxy.signal("STOP");
    // The stall itself, and nothing that is waited for.
    std::thread::sleep(STALL);
    proxy.signal("CONT");
    until(PATIENCE, "the proxy goes on", || get(proxy.admin(), "/livez").ok());
    services[0].go_on();
    let then = probed();
    // Every endpoint is probed again, after all that the stall left behind.
    until(PATIENCE, "probes go on", || (probed() >= then + 6).then_some(()));
    let page = proxy.page();
    let results = ["pass", "void", "fail"].map(|result| page.sum("probes_total", &[("result", result)]));
    eprintln!("stopped for {STALL:?}: probes passed, void, failed: {results:?}");
    assert_eq!(results[2], 0, "{:#?}", endpoints());
    assert_eq!(page.sum("ejections_total", &[]), 0, "{:#?}", endpoints());
    assert_eq!(since(), before, "{:#?}", endpoints());
    assert_eq!(proxy.get("/").status, 200);
}

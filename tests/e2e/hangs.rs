//! Processes that are stopped where they are: a service that takes connections and says nothing, and the proxy itself.

use std::time::Duration;

use pulsegate::runtime::clock;

use crate::support::{Load, PATIENCE, Proxy, Service, alone, one_listener, three, until};

/// How long the proxy is stopped: ten times as long as a probe may take.
const STALL: Duration = Duration::from_secs(2);

fn start(services: &[Service]) -> Proxy {
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{endpoints}]
    health: {{ path: /health, interval: 500ms, timeout: 200ms }}
"
    )))
}

#[test]
fn requests_that_wait_for_a_service_that_hangs_are_recalled_and_answered_elsewhere() {
    let _alone = alone();
    let services = three();
    let proxy = start(&services);
    let load = Load::start(proxy.address(), "/", 200, 8);
    let hung = &services[1];
    until(PATIENCE, "requests are answered", || (load.answered() > 50).then_some(()));

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
    let proxy = start(&services);
    let states = || services.iter().map(|service| proxy.endpoint(&service.name())).collect::<Vec<_>>();
    let since = || states().iter().map(|endpoint| endpoint["since"].clone()).collect::<Vec<_>>();
    let (probed, before) = (|| proxy.page().sum("probes_total", &[]), since());
    proxy.signal("STOP");
    // The stall itself, and nothing that is waited for.
    std::thread::sleep(STALL);
    proxy.signal("CONT");
    let then = probed();
    // Every endpoint is probed several times over, with all that the stall left behind.
    until(PATIENCE, "probes go on", || (probed() >= then + 12).then_some(()));
    let page = proxy.page();
    assert_eq!(page.sum("ejections_total", &[]), 0, "{:#?}", states());
    assert_eq!(since(), before, "{:#?}", states());
    assert_eq!(proxy.get("/").status, 200);
    eprintln!("stopped for {STALL:?}: {} probes void", page.sum("probes_total", &[("result", "void")]));
}

//! Services that die, one by one and after all of them have called themselves sick: no client is to notice.

use std::time::Duration;

use crate::support::{Load, PATIENCE, Proxy, Service, alone, one_listener, three, until};

/// What detection may take on a busy machine; the settings below allow for 1 s.
const OUT: Duration = Duration::from_secs(4);
/// What coming back may take on a busy machine; the settings below allow for 2 s.
const BACK: Duration = Duration::from_secs(6);

fn config(services: &[Service], more: &str) -> String {
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{endpoints}]
    health: {{ path: /health, interval: 500ms, timeout: 200ms, fall: 3, rise: 2{more} }}
"
    ))
}

/// Waits until an endpoint has answered further requests of clients.
fn wait_for_traffic(proxy: &Proxy, address: &str) {
    let answered = || proxy.page().sum("upstream_requests_total", &[("endpoint", address), ("code_class", "2xx")]);
    let before = answered();
    until(PATIENCE, &format!("{address} gets requests"), || (answered() >= before + 10).then_some(()));
}

#[test]
fn a_killed_service_costs_no_request_and_comes_back_after_its_restart() {
    let _alone = alone();
    let mut services = three();
    let proxy = Proxy::start(&config(&services, ""));
    let load = Load::start(proxy.address(), "/", 500, 8);
    for service in &mut services {
        let (kind, address) = (service.kind(), service.name());
        wait_for_traffic(&proxy, &address);
        service.kill();
        let out = proxy.wait_for_up(OUT, &address, false);
        let endpoint = proxy.endpoint(&address);
        assert_eq!(endpoint["state"], "unhealthy", "{endpoint:#}");
        let code = endpoint["reasons"][0]["code"].as_str().unwrap();
        assert!(["refused", "probe_refused", "probe_error"].contains(&code), "{endpoint:#}");
        load.go_on(300);
        service.restart();
        service.wait();
        let back = proxy.wait_for_up(BACK, &address, true);
        eprintln!("{kind:?} killed: out by {code} after {out:?}; back {back:?} after it answers again");
        wait_for_traffic(&proxy, &address);
    }
    let tally = load.end(true);
    eprintln!("{} requests, slowest {:?}", tally.answered, tally.slowest);
    tally.assert_all_answered(1000);
    for service in &services {
        assert!(tally.by_text.get(&service.says()).is_some_and(|n| *n > 100), "{:?}", tally.by_text);
    }
}

#[test]
fn when_all_are_sick_clients_get_503_or_with_panic_the_least_sick() {
    let _alone = alone();
    let mut services = three();
    let strict = Proxy::start(&config(&services, ""));
    let panicking = Proxy::start(&config(&services, ", panic: 0%"));
    let load = Load::start(panicking.address(), "/", 500, 8);
    assert_eq!(strict.get("/").status, 200);
    assert_eq!(panicking.page().one("cluster_panic", &[("cluster", "app")]), 0);

    services.iter().for_each(Service::turn_sick);
    for proxy in [&strict, &panicking] {
        for service in &services {
            let (endpoint, _) = proxy.wait_for_state(PATIENCE, &service.name(), "unhealthy");
            assert_eq!(endpoint["reasons"][0]["code"], "probe_status");
        }
    }
    // Verdicts are shown at once; snapshots of changes that fall together are published at most every 5 ms.
    let refused = || Some(strict.get("/")).filter(|answer| answer.status == 503);
    let (answer, _) = until(PATIENCE, "requests are no longer let through", refused);
    assert_eq!(answer.header("proxy-status"), Some("pulsegate; error=destination_unavailable"));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    assert!(answer.json()["detail"].as_str().unwrap().contains("health.panic"), "{}", answer.text());
    assert_eq!(strict.page().one("cluster_panic", &[]), 0);

    let page = panicking.page();
    assert_eq!(page.one("cluster_panic", &[("cluster", "app")]), 1);
    assert_eq!(page.sum("endpoint_up", &[]), 0, "endpoint_up stays 0 while panic lets them in");
    for service in &services {
        wait_for_traffic(&panicking, &service.name());
    }

    load.go_on(300);
    let (dead, sick) = services.split_first_mut().unwrap();
    dead.kill();
    let admitted = |address: &str| panicking.endpoint(address)["admitted"].as_bool().unwrap();
    let (_, took) = until(OUT, "the dead one is let in no more", || (!admitted(&dead.name())).then_some(()));
    eprintln!("{:?} killed under panic: no longer let in after {took:?}", dead.kind());
    for service in &*sick {
        assert!(admitted(&service.name()));
        wait_for_traffic(&panicking, &service.name());
    }

    load.go_on(300);
    services.iter().for_each(Service::turn_well);
    for service in &services[1..] {
        panicking.wait_for_up(BACK, &service.name(), true);
    }
    assert_eq!(panicking.page().one("cluster_panic", &[]), 0);
    let tally = load.end(true);
    eprintln!("{} requests, slowest {:?}", tally.answered, tally.slowest);
    tally.assert_all_answered(1000);
}

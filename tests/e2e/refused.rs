//! A cluster without probes, whose endpoints only traffic judges.

use std::time::Duration;

use crate::support::{Kind, Load, PATIENCE, Proxy, Service, alone, one_listener, until};

#[test]
fn without_probes_refused_connects_take_out_and_traffic_brings_back() {
    let _alone = alone();
    let [mut dying, other] = [Kind::Nginx, Kind::Nginx].map(Service::start);
    let (dying_name, other_name) = (dying.name(), other.name());
    let proxy = Proxy::start(&one_listener(&format!("clusters:\n  - name: app\n    endpoints: [{dying_name}, {other_name}]\n")));
    let load = Load::start(proxy.address(), "/", 100, 4);
    assert_eq!(proxy.endpoint(&dying_name)["state"], "healthy");

    dying.kill();
    let (endpoint, out) = proxy.wait_for_state(Duration::from_secs(5), &dying_name, "unhealthy");
    assert_eq!(endpoint["reasons"][0]["code"], "refused", "{endpoint:#}");
    assert!(endpoint["reasons"][0]["until"].is_string(), "it says when it is tried again: {endpoint:#}");
    assert_eq!(proxy.page().one("endpoint_reason", &[("endpoint", &dying_name), ("reason", "refused")]), 1);
    dying.restart();
    dying.wait();
    let (_, back) = proxy.wait_for_state(PATIENCE, &dying_name, "healthy");
    let texts = || proxy.get("/").text();
    until(PATIENCE, "it gets requests", || (texts() == dying.says()).then_some(()));
    let tally = load.end(true);
    eprintln!("out by refused after {out:?}, back {back:?} after it answers again; slowest {:?}", tally.slowest);
    tally.assert_all_answered(100);
}

#[test]
fn an_only_endpoint_that_refuses_is_tried_again_by_itself() {
    let mut service = Service::start(Kind::Nginx);
    let name = service.name();
    let proxy = Proxy::start(&one_listener(&format!("clusters: [{{ name: app, endpoints: [{name}] }}]\n")));
    assert_eq!(proxy.get("/").status, 200);
    service.kill();
    let (last, _) = until(PATIENCE, "nobody is left", || Some(proxy.get("/")).filter(|answer| answer.status == 503));
    assert_eq!(last.header("proxy-status"), Some("pulsegate; error=destination_unavailable"));
    service.restart();
    service.wait();
    until(PATIENCE, "requests succeed again", || (proxy.get("/").status == 200).then_some(()));
    proxy.wait_for_state(PATIENCE, &name, "healthy");
}

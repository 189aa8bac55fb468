//! Who gets requests among the well: backups last, fewer for those that are slow, and endpoints called by a name.

use std::collections::BTreeMap;

use crate::support::misbehaving::{Misbehaving, Misbehaviour};
use crate::support::{Client, Kind, PATIENCE, Proxy, Service, get, one_listener, until};

/// Who answers so many requests.
fn who(proxy: &Proxy, requests: usize) -> BTreeMap<String, usize> {
    let mut texts = BTreeMap::new();
    for _ in 0..requests {
        let answer = proxy.get("/");
        assert_eq!(answer.status, 200, "{}", answer.text());
        *texts.entry(answer.text()).or_default() += 1;
    }
    texts
}

#[test]
fn a_backup_gets_requests_only_while_no_primary_is_available() {
    let [mut first, mut second, backup] = [Kind::Nginx, Kind::Node, Kind::Python].map(Service::start);
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{}, {{ address: {}, weight: 3 }}, {{ address: {}, backup: true }}]
    health: {{ path: /health, interval: 300ms, fall: 2 }}
",
        first.name(),
        second.name(),
        backup.name()
    )));
    let before = who(&proxy, 80);
    assert_eq!(before.keys().collect::<Vec<_>>(), [&first.says(), &second.says()]);
    // Two workers, each even in its own cycles of four.
    assert!((15..=25).contains(&before[&first.says()]), "{before:?}");

    first.kill();
    proxy.wait_for_up(PATIENCE, &first.name(), false);
    assert_eq!(who(&proxy, 20), BTreeMap::from([(second.says(), 20)]));
    second.kill();
    proxy.wait_for_up(PATIENCE, &second.name(), false);
    assert_eq!(who(&proxy, 20), BTreeMap::from([(backup.says(), 20)]));
    first.restart();
    proxy.wait_for_up(PATIENCE, &first.name(), true);
    assert_eq!(who(&proxy, 20), BTreeMap::from([(first.says(), 20)]));
}

#[test]
fn least_request_spares_an_endpoint_that_is_slow() {
    let quick = Service::start(Kind::Nginx);
    let slow = Misbehaving::start(Misbehaviour::Hangs);
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters: [{{ name: app, balance: least_request, endpoints: [{}, {}] }}]\n",
        quick.name(),
        slow.name()
    )));
    let in_flight = |name: &str| proxy.endpoint(name)["in_flight"].as_u64().unwrap();
    let settled = || until(PATIENCE, "the quick one is done", || (in_flight(&quick.name()) == 0).then_some(()));
    // With nothing in flight each of them is as likely as the other. Whoever is sent to the slow one waits there.
    let mut waiting = Vec::new();
    while in_flight(&slow.name()) == 0 {
        assert!(waiting.len() < 50, "the slow one gets none");
        let mut client = Client::connect(proxy.address()).unwrap();
        client.send(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address())).unwrap();
        waiting.push(client);
        let sent = || proxy.page().sum("requests_total", &[]) + in_flight(&slow.name());
        until(PATIENCE, "the request is answered or waits", || (sent() == waiting.len() as u64).then_some(()));
        settled();
    }
    for _ in 0..40 {
        assert_eq!(proxy.get("/").text(), quick.says());
        settled();
    }
    assert_eq!(slow.asked(), 1);
}

#[test]
fn an_endpoint_may_be_called_by_a_name() {
    let service = Service::start(Kind::Node);
    let name = format!("localhost:{}", service.address().port());
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{name}, nowhere.invalid:80]
    health: {{ path: /health, interval: 300ms }}
"
    )));
    proxy.wait_for_up(PATIENCE, &name, true);
    assert_eq!(who(&proxy, 10), BTreeMap::from([(service.says(), 10)]));
    let (lost, _) = until(PATIENCE, "the name that is none is known as such", || {
        let endpoint = proxy.endpoint("nowhere.invalid:80");
        endpoint["reasons"].as_array().unwrap().iter().any(|reason| reason["code"] == "probe_error").then_some(endpoint)
    });
    assert_eq!((&lost["state"], &lost["available"]), (&"unknown".into(), &false.into()), "{lost:#}");
    assert!(get(proxy.admin(), "/readyz?cluster=app").unwrap().status == 200);
}

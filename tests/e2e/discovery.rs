//! Endpoints that are found: behind a name whose answers change under load, and in a file that is replaced under load.

use std::process::Command;

use crate::support::{Folder, Kind, Load, PATIENCE, Port, Process, Proxy, Service, alone, get, one_listener, until};

/// Debian's dnsmasq, whose SRV records of `_http._tcp.app.test` are these services.
struct NameServer {
    port: Port,
    folder: Folder,
    process: Process,
}

impl NameServer {
    fn start(services: &[&Service]) -> Self {
        let (port, folder) = (Port::free(), Folder::new());
        let process = Self::spawn(&port, &folder, services);
        Self { port, folder, process }
    }

    fn spawn(port: &Port, folder: &Folder, services: &[&Service]) -> Process {
        let mut command = Command::new("dnsmasq");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
        command.args(["--listen-address=127.0.0.1", "--local-ttl=1", "--host-record=node.test,127.0.0.1", "--local=/test/"]);
        command.arg(format!("--port={}", port.address().port())).arg(format!("--pid-file={}", folder.file("pid")));
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        command.arg(format!("--user={user}"));
        // Somebody who is listed and cannot be found is nobody else's matter.
        if !services.is_empty() {
            command.arg("--srv-host=_http._tcp.app.test,gone.test,9,0,10");
        }
        for service in services {
            command.arg(format!("--srv-host=_http._tcp.app.test,node.test,{},0,10", service.address().port()));
        }
        Process::start(command, &folder.path().join("dnsmasq.log"))
    }

    /// From now on these are the services; meanwhile nobody answers.
    fn change(&mut self, services: &[&Service]) {
        self.process.kill();
        self.process = Self::spawn(&self.port, &self.folder, services);
    }
}

fn found(proxy: &Proxy) -> Vec<String> {
    let status = proxy.status();
    let endpoints = status["clusters"][0]["endpoints"].as_array().unwrap();
    let mut names: Vec<String> = endpoints.iter().map(|one| one["address"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn becomes(proxy: &Proxy, services: &[&Service]) {
    let mut wanted: Vec<String> = services.iter().map(|service| service.name()).collect();
    wanted.sort();
    until(PATIENCE, &format!("{wanted:?} are found"), || (found(proxy) == wanted).then_some(()));
}

/// How often an endpoint was probed and passed before its first request, which must be at least once.
fn passed(proxy: &Proxy, service: &Service) -> u64 {
    proxy.page().sum("probes_total", &[("endpoint", &service.name()), ("result", "pass")])
}

#[test]
fn a_name_whose_answers_change_under_load_costs_no_request() {
    let _alone = alone();
    let services = [Kind::Nginx; 3].map(Service::start);
    let [first, second, third] = services.each_ref();
    let mut names = NameServer::start(&[first, second]);
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    discovery: {{ dns: _http._tcp.app.test, nameserver: {} }}
    health: {{ path: /health, interval: 300ms }}
",
        names.port.address()
    )));
    becomes(&proxy, &[first, second]);
    let load = Load::start(proxy.address(), "/", 300, 8);
    load.go_on(100);
    for next in [vec![second, third], vec![first], vec![third], vec![first, second, third]] {
        names.change(&next);
        becomes(&proxy, &next);
        assert!(next.iter().all(|service| passed(&proxy, service) > 0), "who joins is probed before");
        load.go_on(100);
    }
    // A name server that is gone, and one that knows no such name, change nothing.
    names.process.kill();
    let stamp = "pulsegate_discovery_last_success_timestamp_seconds{cluster=\"app\"} ";
    let page = get(proxy.admin(), "/metrics").unwrap().text();
    let last: f64 = page.lines().find_map(|line| line.strip_prefix(stamp)).unwrap().parse().unwrap();
    assert!(last > 1.7e9, "{last}");
    names.change(&[]);
    load.go_on(900);
    assert_eq!(found(&proxy).len(), 3);
    let tally = load.end(true);
    tally.assert_all_answered(1000);
    assert_eq!(tally.by_text.len(), 3, "{:?}", tally.by_text);
    names.change(&[second]);
    becomes(&proxy, &[second]);
}

/// Replaces the list that a cluster's endpoints are read from.
fn list(folder: &Folder, services: &[&Service]) {
    let names: Vec<String> = services.iter().map(|service| service.name()).collect();
    folder.write("endpoints.json", &serde_json::to_string(&names).unwrap());
}

#[test]
fn a_list_that_is_replaced_under_load_costs_no_request() {
    let _alone = alone();
    let services = [Kind::Nginx; 3].map(Service::start);
    let [first, second, third] = services.each_ref();
    let folder = Folder::new();
    let write = |services: &[&Service]| list(&folder, services);
    write(&[first]);
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    discovery: {{ file: {} }}
    health: {{ path: /health, interval: 300ms }}
",
        folder.file("endpoints.json")
    )));
    becomes(&proxy, &[first]);
    let load = Load::start(proxy.address(), "/", 300, 8);
    load.go_on(100);
    for next in [vec![second, third], vec![first, second], vec![third]] {
        write(&next);
        becomes(&proxy, &next);
        load.go_on(60);
    }
    for nonsense in ["[]", "", "{", "- 10.0.0.1", "- { address: a:1, weight: 0 }"] {
        folder.write("endpoints.json", nonsense);
        load.go_on(120);
        assert_eq!(found(&proxy), [third.name()], "{nonsense:?} changes nothing");
    }
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(found(&proxy), [third.name()], "a reload keeps what was found");
    folder.write("endpoints.json", &format!("# in YAML too\n- {{ address: '{}', weight: 2 }}\n", first.name()));
    becomes(&proxy, &[first]);
    load.end(true).assert_all_answered(500);
    let config = get(proxy.admin(), "/api/v1/config").unwrap().json();
    assert!(config["clusters"][0]["discovery"]["file"].is_string() && config["clusters"][0]["endpoints"].is_null(), "{config:#}");
    assert!(proxy.endpoint(&first.name())["weight"].as_f64().is_some());
}

#[test]
fn an_order_outlasts_the_endpoint_that_it_is_for() {
    let services = [Kind::Python, Kind::Node].map(Service::start);
    let [first, second] = services.each_ref();
    let folder = Folder::new();
    let write = |services: &[&Service]| list(&folder, services);
    write(&[first, second]);
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    discovery: {{ file: {} }}
    health: {{ path: /health, interval: 300ms }}
",
        folder.file("endpoints.json")
    )));
    becomes(&proxy, &[first, second]);
    proxy.succeed(&["maintenance", "app", &first.name(), "--reason", "a new disk"]);
    write(&[second]);
    becomes(&proxy, &[second]);
    write(&[first, second]);
    becomes(&proxy, &[first, second]);
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &first.name(), "maintenance");
    assert!(endpoint["reasons"][0]["detail"].as_str().unwrap().contains("a new disk"), "{endpoint:#}");
    assert!((0..6).all(|_| proxy.get("/").text() == second.says()));
    proxy.succeed(&["ready", "app", &first.name()]);
    proxy.wait_for_state(PATIENCE, &first.name(), "healthy");
}

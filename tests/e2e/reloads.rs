//! New configurations in a running process: under load, refused ones, and those that need another process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::support::{Client, Kind, Load, PATIENCE, Port, Proxy, Service, alone, get, one_listener, until};

/// How many reloads are made under load.
const RELOADS: usize = 20;

/// A configuration that is another for each number: an endpoint comes and goes, a route changes, and so does health.
fn variant(number: usize, services: &[Service; 3]) -> String {
    let [first, second, third] = services.each_ref().map(Service::name);
    let third = if number.is_multiple_of(2) { format!(", {third}") } else { String::new() };
    let retries = if number.is_multiple_of(3) { 3 } else { 2 };
    let interval = [400, 500, 600, 700][number % 4];
    let path = if number % 5 < 3 { "/health" } else { "/" };
    format!(
        "admin: {{ address: ADMIN }}
workers: 2
listeners:
  - name: web
    address: LISTENER
    routes:
      - {{ name: n{number}, match: {{ path: /n{number} }}, cluster: app }}
      - {{ name: all, cluster: app, timeout: {}s, retries: {{ attempts: {retries} }} }}
clusters:
  - name: app
    endpoints: [{first}, {{ address: {second}, weight: {} }}{third}]
    health: {{ path: {path}, interval: {interval}ms, timeout: 300ms, fall: {} }}
",
        10 + number,
        1 + number % 3,
        3 + number % 2,
    )
}

#[test]
fn twenty_reloads_under_load_cost_no_request_and_forget_nobody() {
    let _alone = alone();
    let services = [Kind::Nginx; 3].map(Service::start);
    let [first, second, third] = services.each_ref().map(Service::name);
    let proxy = Proxy::start(&variant(0, &services));
    let load = Load::start(proxy.address(), "/", 1000, 16);
    load.go_on(200);
    let since = || [&first, &second].map(|name| proxy.endpoint(name)["since"].clone());
    let before = since();
    let mut slowest = Duration::ZERO;
    for number in 1..=RELOADS {
        proxy.rewrite(&variant(number, &services));
        let done = || proxy.page().sum("config_reloads_total", &[]);
        let took = if number.is_multiple_of(2) {
            let began = done();
            proxy.signal("HUP");
            until(PATIENCE, "the reload is done", || (done() > began).then_some(())).1
        } else {
            let (answer, took) = until(PATIENCE, "the reload is answered", || Some(proxy.reload()));
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.json()["changes"].as_array().unwrap().len() >= 3, "{}", answer.text());
            took
        };
        slowest = slowest.max(took);
        assert_eq!(proxy.page().one("config_last_reload_successful", &[]), 1);
        load.go_on(100);
        let known = proxy.status().to_string().contains(&third);
        assert_eq!(known, number.is_multiple_of(2), "after reload {number}");
        let told = || [&first, &second].map(|name| proxy.endpoint(name)["history"].to_string());
        assert_eq!(since(), before, "after reload {number}: {:?}", told());
    }
    let tally = load.end(true);
    eprintln!("{RELOADS} reloads, slowest {slowest:?}; {} requests, slowest {:?}", tally.answered, tally.slowest);
    tally.assert_all_answered(1000);
    assert_eq!(proxy.page().sum("ejections_total", &[]), 0);
    assert_eq!(proxy.get("/n20").status, 200);
}

#[test]
fn an_endpoint_that_joins_is_probed_first_and_one_that_leaves_finishes() {
    let [old, new] = [Kind::Node, Kind::Python].map(Service::start);
    let config = |endpoint: &str| {
        one_listener(&format!(
            "clusters: [{{ name: app, endpoints: [{endpoint}], health: {{ path: /health, interval: 300ms }} }}]\n"
        ))
    };
    let proxy = Proxy::start(&config(&old.name()));
    let mut client = Client::connect(proxy.address()).unwrap();
    client.send(&format!("GET /slow HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address())).unwrap();
    until(PATIENCE, "it is under way", || (proxy.endpoint(&old.name())["in_flight"] == 1).then_some(()));
    proxy.rewrite(&config(&new.name()));
    let answer = proxy.reload();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.endpoint(&new.name())["state"], "healthy", "it had its first verdict before it was let in");
    assert_eq!(proxy.get("/").text(), new.says());
    let late = client.head().unwrap();
    assert_eq!((late.status, late.header("content-type")), (200, Some("text/plain")));
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing_and_says_where() {
    let service = Service::start(Kind::Nginx);
    let clusters =
        |health: &str| format!("clusters: [{{ name: app, endpoints: [{}], health: {{ {health} }} }}]\n", service.name());
    let good = one_listener(&clusters("path: /health"));
    let proxy = Proxy::start(&good);
    let is_last_good = || proxy.page().one("config_last_reload_successful", &[]) == 1;
    let failures =
        || proxy.page().sum("config_reloads_total", &[]) - proxy.page().sum("config_reloads_total", &[("result", "success")]);
    assert!(is_last_good());

    let wrong = one_listener("clusters:\n  - name: app\n    endpoints: [127.0.0.1]\n    health: { pth: /health, fall: 0 }\n");
    proxy.rewrite(&wrong);
    let answer = proxy.reload();
    assert_eq!((answer.status, answer.header("content-type")), (422, Some("application/problem+json")));
    let problems = answer.json()["problems"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    let problems: Vec<String> = problems;
    assert_eq!(problems.len(), 3, "{problems:#?}");
    let at = |line: usize| format!("{}:{line}:", proxy.file("pulsegate.yaml"));
    for (problem, (line, what)) in problems.iter().zip([(7, "127.0.0.1"), (8, "path"), (8, "0")]) {
        assert!(problem.starts_with(&at(line)) && problem.contains(what), "{line} {what}: {problem}");
    }
    assert!(!is_last_good());
    let command = proxy.run(&["reload"]);
    assert_eq!(command.code, Some(1));
    assert!(problems.iter().all(|problem| command.out.contains(problem.as_str())), "{}", command.out);
    assert!(command.out.ends_with("nothing was changed\n"), "{}", command.out);
    let before = failures();
    proxy.signal("HUP");
    until(PATIENCE, "the reload has failed", || (failures() > before).then_some(()));
    assert_eq!(proxy.get("/").text(), service.says());

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("  - {{ name: other, address: \"{}\", cluster: app }}\nclusters", taken.local_addr().unwrap());
    proxy.rewrite(&good.replace("clusters", &other).replace("path: /health", "path: /health, fall: 5"));
    let answer = proxy.reload();
    assert_eq!(answer.status, 422);
    let problems = answer.json()["problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 1, "{problems:#}");
    let problem = problems[0].as_str().unwrap();
    assert!(problem.starts_with("listener other cannot listen on ") && problem.contains("in use"), "{problem}");

    proxy.rewrite(&one_listener(&clusters("path: /health, fall: 5")));
    let rehearsed = proxy.succeed(&["reload", "--dry-run"]);
    assert!(rehearsed.contains("health.fall 3 -> 5") && rehearsed.contains("not applied"), "{rehearsed}");
    assert!(!is_last_good(), "a rehearsal is no reload");
    let applied = proxy.succeed(&["reload"]);
    assert!(applied.contains("health.fall 3 -> 5") && applied.ends_with("applied\n"), "{applied}");
    assert!(is_last_good());
    assert_eq!(proxy.succeed(&["reload"]), "nothing changes\n");
}

fn wait_until_refused(address: SocketAddr) {
    let refused = || Client::connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    until(PATIENCE, &format!("{address} is closed"), || refused().then_some(()));
}

#[test]
fn listeners_and_workers_come_move_and_go_under_load() {
    let _alone = alone();
    let service = Service::start(Kind::Nginx);
    let (one, two) = (Port::free(), Port::free());
    let config = |workers: usize, listeners: &str| {
        let cluster = format!("clusters: [{{ name: app, endpoints: [{}], health: {{ path: /health }} }}]\n", service.name());
        let web = "listeners:\n  - { name: web, address: LISTENER, cluster: app }\n";
        format!("admin: {{ address: ADMIN }}\nworkers: {workers}\n{web}{listeners}{cluster}")
    };
    let extra = |port: &Port| format!("  - {{ name: extra, address: \"{}\", cluster: app }}\n", port.address());
    let proxy = Proxy::start(&config(2, ""));
    let load = Load::start(proxy.address(), "/", 1000, 16);
    for number in 0..12 {
        let (here, there) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        proxy.rewrite(&config(1 + number % 4, &extra(here)));
        let answer = proxy.reload();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(get(here.address(), "/").unwrap().text(), service.says(), "it listens when the reload is answered");
        wait_until_refused(there.address());
        // One whose listener is about to leave, with a request on its way.
        let mut client = Client::connect(here.address()).unwrap();
        client.send(&format!("GET /slow HTTP/1.1\r\nHost: {}\r\n\r\n", here.address())).unwrap();
        load.go_on(50);
        if number % 3 == 2 {
            proxy.rewrite(&config(2, ""));
            assert_eq!(proxy.reload().status, 200);
            wait_until_refused(here.address());
        }
    }
    proxy.rewrite(&config(2, &extra(&one)));
    assert_eq!(proxy.reload().status, 200);
    let resting = Load::start(one.address(), "/", 200, 4);
    resting.go_on(50);
    resting.allow_refusal();
    proxy.rewrite(&config(3, ""));
    assert_eq!(proxy.reload().status, 200);
    let resting = resting.end(false);
    let tally = load.end(true);
    eprintln!("{} requests, slowest {:?}; {} where the listener left", tally.answered, tally.slowest, resting.answered);
    tally.assert_all_answered(600);
    resting.assert_all_answered(50);
    assert_eq!(proxy.page().sum("requests_total", &[("code", "404")]), 0);
}

#[test]
fn the_admin_interface_moves_and_metrics_get_a_listener() {
    let service = Service::start(Kind::Nginx);
    let clusters = format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", service.name());
    let mut proxy = Proxy::start(&one_listener(&clusters));
    let (old, metrics) = (proxy.admin(), Port::free());
    proxy.move_admin();
    proxy.rewrite(&one_listener(&format!(
        "metrics: {{ address: \"{}\" }}\nlog: {{ level: debug }}\n{clusters}",
        metrics.address()
    )));
    let answer = crate::support::post(old, "/api/v1/reload").unwrap();
    let changes = answer.json()["changes"].to_string();
    for wanted in ["admin.address", "metrics", "log.level info -> debug"] {
        assert!(changes.contains(wanted), "{wanted}: {changes}");
    }
    wait_until_refused(old);
    assert_eq!(get(metrics.address(), "/readyz").unwrap().status, 200);
    assert_eq!(proxy.status()["phase"], "ready");
}

#[test]
fn a_watched_file_is_reloaded_however_it_is_changed() {
    let service = Service::start(Kind::Nginx);
    let config = |fall: u32| {
        one_listener(&format!(
            "watch: true\nclusters: [{{ name: app, endpoints: [{}], health: {{ path: /health, fall: {fall} }} }}]\n",
            service.name()
        ))
    };
    let proxy = Proxy::start(&config(3));
    let in_force = |fall: u32| {
        let shown = || get(proxy.admin(), "/api/v1/config").unwrap().json();
        until(PATIENCE, &format!("fall is {fall}"), || (shown()["clusters"][0]["health"]["fall"] == fall).then_some(()));
    };
    proxy.rewrite(&config(4));
    in_force(4);
    std::fs::write(proxy.file("pulsegate.yaml"), proxy.filled(&config(5))).unwrap();
    in_force(5);
    // As a Kubernetes volume does it: the file is a link to a link to a folder, and the latter is swapped.
    for (version, fall) in [("v1", 6), ("v2", 7), ("v3", 8)] {
        std::fs::create_dir(proxy.file(version)).unwrap();
        std::fs::write(proxy.file(&format!("{version}/pulsegate.yaml")), proxy.filled(&config(fall))).unwrap();
        symlink(version, proxy.file("data.new")).unwrap();
        std::fs::rename(proxy.file("data.new"), proxy.file("data")).unwrap();
        if version == "v1" {
            symlink("data/pulsegate.yaml", proxy.file("link")).unwrap();
            std::fs::rename(proxy.file("link"), proxy.file("pulsegate.yaml")).unwrap();
        }
        in_force(fall);
    }
    std::fs::write(proxy.file("v3/pulsegate.yaml"), "clusters: 7\n").unwrap();
    until(PATIENCE, "the reload fails", || (proxy.page().one("config_last_reload_successful", &[]) == 0).then_some(()));
    std::fs::write(proxy.file("v3/pulsegate.yaml"), proxy.filled(&config(9).replace("watch: true", "watch: false"))).unwrap();
    in_force(9);
    // It is counted a moment after it has come into force.
    until(PATIENCE, "the reload is counted", || (proxy.page().one("config_last_reload_successful", &[]) == 1).then_some(()));
    let reloads = proxy.page().sum("config_reloads_total", &[]);
    proxy.rewrite(&config(3));
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(proxy.page().sum("config_reloads_total", &[]), reloads + 1, "nobody watched");
}

#[test]
fn one_reload_runs_one_waits_and_a_third_is_refused() {
    let [well, hanging] = [Kind::Nginx, Kind::Python].map(Service::start);
    let config = |endpoints: &str| {
        one_listener(&format!(
            "clusters: [{{ name: app, endpoints: [{endpoints}], health: {{ path: /health, interval: 300ms, timeout: 5s }} }}]\n"
        ))
    };
    let proxy = Proxy::start(&config(&well.name()));
    hanging.hang();
    proxy.rewrite(&config(&format!("{}, {}", well.name(), hanging.name())));
    let request = format!("POST /api/v1/reload HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", proxy.admin());
    let mut clients = [0; 3].map(|_| Client::connect(proxy.admin()).unwrap());
    for client in &mut clients {
        client.send(&request).unwrap();
    }
    // Two of them wait for the verdict on an endpoint that hangs; which they are is nobody's business.
    let refused = until(PATIENCE, "one is refused", || {
        clients.iter_mut().find_map(|client| client.arrived().then(|| client.answer().unwrap()))
    });
    assert_eq!(refused.0.status, 422);
    assert!(refused.0.text().contains("another one waits"), "{}", refused.0.text());
    hanging.go_on();
    let mut answered = Vec::new();
    until(PATIENCE, "the others are answered", || {
        answered.extend(clients.iter_mut().filter_map(|client| client.arrived().then(|| client.answer().unwrap().status)));
        (answered.len() == 2).then_some(())
    });
    assert_eq!(answered, [200, 200]);
}

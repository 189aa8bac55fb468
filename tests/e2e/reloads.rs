//! New configurations in a running process: under load, refused ones, and those that need another process.

use std::time::Duration;

use crate::support::{Client, Kind, Load, PATIENCE, Proxy, Service, alone, one_listener, until};

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
        assert_eq!(since(), before, "after reload {number}");
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

    proxy.rewrite(&good.replace("workers: 2", "workers: 3").replace("path: /health", "path: /health, fall: 5"));
    let answer = proxy.reload();
    assert_eq!(answer.status, 422);
    let problems = answer.json()["problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 1, "{problems:#}");
    let problem = problems[0].as_str().unwrap();
    assert!(problem.contains("workers") && problem.contains("needs a restart"), "{problem}");

    proxy.rewrite(&one_listener(&clusters("path: /health, fall: 5")));
    let rehearsed = proxy.succeed(&["reload", "--dry-run"]);
    assert!(rehearsed.contains("health.fall 3 -> 5") && rehearsed.contains("not applied"), "{rehearsed}");
    assert!(!is_last_good(), "a rehearsal is no reload");
    let applied = proxy.succeed(&["reload"]);
    assert!(applied.contains("health.fall 3 -> 5") && applied.ends_with("applied\n"), "{applied}");
    assert!(is_last_good());
    assert_eq!(proxy.succeed(&["reload"]), "nothing changes\n");
}

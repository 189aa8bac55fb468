//! The README's questions, put to a real Prometheus that scrapes a running proxy with one endpoint out of three failing.
//!
//! The queries are taken from the README as they stand there: what a reader copies is what was tried.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use pulsegate::runtime::clock;
use serde_json::Value;

use crate::process::{Folder, Running, get, percent_encoded, root};

#[test]
fn the_queries_of_the_readme_answer_who_why_since_when_and_how_much() {
    let started = seconds_now();
    let mut site = Site::start("queries");
    let failing = site.endpoints[2].to_string();

    site.prometheus.until("all three were scraped", |_| {
        let up = site.asked.query("pulsegate_endpoint_up")?;
        let available = up.iter().filter(|series| series["value"][1] == "1").count();
        (up.len() == 3 && available == 2).then_some(())
    });

    let who = site.answer("who");
    assert_eq!(who.len(), 1, "{who:?}");
    assert_eq!((label(&who[0], "cluster"), label(&who[0], "endpoint")), ("app", failing.as_str()));

    let why = site.answer("why");
    assert_eq!(why.len(), 1, "{why:?}");
    assert_eq!((label(&why[0], "endpoint"), label(&why[0], "reason")), (failing.as_str(), "probe_status"));

    let since = site.answer("since");
    assert_eq!(since.len(), 1, "{since:?}");
    assert!((started..=seconds_now()).contains(&value(&since[0])), "{since:?}, started {started}");

    let lost = site.answer("lost");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(label(&lost[0], "cluster"), "app");
    assert!((value(&lost[0]) - 1.0 / 3.0).abs() < 1e-9, "{lost:?}");

    the_dashboard_can_ask(&site.asked);
    the_rules_are_loaded(&site.asked);
    promtool_finds_no_fault_with_the_metrics(&site.metrics_page());
}

/// Every query of the dashboard is one that Prometheus understands, and those about endpoints find something.
fn the_dashboard_can_ask(prometheus: &Asked) {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/pulsegate.json")).unwrap();
    let mut found = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let written = target["expr"].as_str().unwrap();
            let query = written.replace("$__rate_interval", "1m").replace("$cluster", ".*").replace("$instance", ".*");
            let result = prometheus.query(&query).unwrap_or_else(|| panic!("{}: {query}", panel["title"]));
            found += usize::from(!result.is_empty());
        }
    }
    assert!(found >= 8, "only {found} queries of the dashboard found anything");
}

fn the_rules_are_loaded(prometheus: &Asked) {
    let rules: Value = serde_json::from_str(&get(prometheus.address, "/api/v1/rules").unwrap()).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), 8);
    assert!(rules.iter().all(|rule| rule["lastError"].is_null()), "{rules:?}");
}

fn promtool_finds_no_fault_with_the_metrics(page: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap_or_else(|error| panic!("promtool: {error}; tests/run installs it"));
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Three endpoints, of which the last one fails, a proxy in front of them, and a Prometheus that scrapes it.
struct Site {
    endpoints: Vec<SocketAddr>,
    admin: SocketAddr,
    _proxy: Running,
    prometheus: Running,
    asked: Asked,
    _folder: Folder,
}

impl Site {
    fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let endpoints = vec![endpoint("200 OK"), endpoint("200 OK"), endpoint("500 Internal Server Error")];
        let config = folder.write("pulsegate.yaml", &configuration(&endpoints));
        let mut proxy = Running::start(env!("CARGO_BIN_EXE_pulsegate"), &["run", "-c", &config], &folder);
        let admin = proxy.until("it said where its admin interface is", |proxy| logged_address(&proxy.said(), "admin_address"));
        let scraped = proxy.until("it said where its metrics are", |proxy| logged_address(&proxy.said(), "metrics_address"));
        proxy.until("it is ready", |_| get(admin, "/readyz"));

        let config = folder.write("prometheus.yaml", &scrape_configuration(scraped));
        let data = folder.path().join("data").to_string_lossy().into_owned();
        let arguments = [
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={data}"),
            "--web.listen-address=127.0.0.1:0".to_owned(),
        ];
        let mut prometheus = Running::start("prometheus", &arguments.each_ref().map(String::as_str), &folder);
        let address = prometheus.until("it said where it listens", |prometheus| {
            let said = prometheus.said();
            let line = said.lines().find(|line| line.contains("msg=\"Listening on\""))?;
            line.split_once("address=")?.1.split_whitespace().next()?.parse().ok()
        });
        let asked = Asked { address };
        prometheus.until("it is ready", |_| get(address, "/-/ready"));
        Self { endpoints, admin, _proxy: proxy, prometheus, asked, _folder: folder }
    }

    /// What Prometheus answers to a query of the README.
    fn answer(&self, name: &str) -> Vec<Value> {
        let query = query_of_the_readme(name);
        self.asked.query(&query).unwrap_or_else(|| panic!("{name}: Prometheus does not understand {query}"))
    }

    fn metrics_page(&self) -> String {
        get(self.admin, "/metrics").expect("the admin interface has metrics")
    }
}

/// A Prometheus that answers queries.
struct Asked {
    address: SocketAddr,
}

impl Asked {
    /// The series that a query gives now; none if it is not understood.
    fn query(&self, query: &str) -> Option<Vec<Value>> {
        let answer = get(self.address, &format!("/api/v1/query?query={}", percent_encoded(query)))?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        answer["data"]["result"].as_array().cloned()
    }
}

fn label<'a>(series: &'a Value, name: &str) -> &'a str {
    series["metric"][name].as_str().unwrap_or_default()
}

fn value(series: &Value) -> f64 {
    series["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have 41 bits")]
fn seconds_now() -> f64 {
    clock::wall().unix_millis() as f64 / 1000.0
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn query_of_the_readme(name: &str) -> String {
    let readme = read("README.md");
    let marker = format!("<!-- query: {name} -->\n```promql\n");
    let (_, rest) = readme.split_once(&marker).unwrap_or_else(|| panic!("README.md has no {marker}"));
    rest.split_once("```").expect("the block has an end").0.trim().to_owned()
}

fn configuration(endpoints: &[SocketAddr]) -> String {
    let listed: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
    format!(
        "log: {{ format: json }}
admin: {{ address: 127.0.0.1:0 }}
metrics: {{ address: 127.0.0.1:0 }}
workers: 1
listeners:
  - {{ name: web, address: 127.0.0.1:0, cluster: app }}
clusters:
  - name: app
    endpoints: [{}]
    health: {{ path: /health, interval: 200ms, timeout: 100ms }}
",
        listed.join(", ")
    )
}

/// The scrape configuration in `deploy`, with the proxy's real address and a pace for tests.
fn scrape_configuration(target: SocketAddr) -> String {
    let rules = root().join("deploy/prometheus/alerts.yaml");
    let text = read("deploy/prometheus/prometheus.yaml")
        .replace("pulsegate:9910", &target.to_string())
        .replace("scrape_interval: 5s", "scrape_interval: 500ms")
        .replace("evaluation_interval: 5s", "evaluation_interval: 500ms")
        .replace("- alerts.yaml", &format!("- {}", rules.display()));
    assert!(text.contains(&target.to_string()) && Path::new(&rules).exists());
    text
}

/// An endpoint that answers every request with this status, until the test ends.
fn endpoint(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                // The other side may have gone; the next connection tells.
                drop(write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
            }
        }
    });
    address
}

/// An address that a line of the log gives under this key.
fn logged_address(log: &str, key: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["fields"][key].as_str().or(line[key].as_str())?.parse().ok()).next()
}

//! The interface over real sockets, in front of a real control without probes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::cluster::{Dropped, Live, Phase, signals};
use crate::control::{self, Setup};
use crate::runtime::thread;

const CONFIG: &str = "
clusters:
  - { name: app, health: off, endpoints: [127.0.0.1:9001, '[::1]:9002'] }
";

/// Long enough for any machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

struct Rig {
    admin: SocketAddr,
    metrics: SocketAddr,
    handle: Handle,
    file: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn start(token: Option<&str>) -> Self {
        static RIGS: AtomicU32 = AtomicU32::new(0);
        let name = format!("pulsegate-admin-{}-{}.yaml", std::process::id(), RIGS.fetch_add(1, Relaxed));
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, CONFIG).unwrap();
        let dropped = Arc::new(Dropped::default());
        let (_reporter, queue) = signals(Arc::clone(&dropped));
        let mut config = crate::config::load(&file).unwrap().config;
        config.admin.token = token.map(|token| crate::config::model::Secret(token.into()));
        let setup = Setup {
            config,
            source: Some(file.clone()),
            live: Arc::new(Live::new()),
            signals: queue,
            dropped,
            recalls: crate::cluster::Recall::queue(),
            outside: Box::new(crate::control::Nothing),
            memory: None,
            proxy: crate::heartbeat::Identity::default(),
        };
        let (handle, _control) = control::start(setup).unwrap();
        handle.live().enter(Phase::Ready);
        let socket = || Arc::new(crate::net::listen::bind_shared("127.0.0.1:0".parse().unwrap()).unwrap());
        let sockets = Sockets { admin: socket(), metrics: Some(socket()) };
        sockets.admin.open().unwrap();
        sockets.metrics.as_ref().unwrap().open().unwrap();
        let admin = sockets.admin.address().unwrap().ip().unwrap();
        let metrics = sockets.metrics.as_ref().unwrap().address().unwrap().ip().unwrap();
        let (end, ended) = oneshot::channel();
        let ours = handle.clone();
        let thread = thread::spawn("admin", move || async move {
            let mut admin = Admin::new(ours).unwrap();
            admin.listen(&sockets).unwrap();
            let _ = ended.await;
        });
        Self { admin, metrics, handle, file, end: Some(end), thread: Some(thread.unwrap()) }
    }

    fn get(&self, path: &str) -> Reply {
        ask(self.admin, "GET", path, "", "")
    }

    fn post(&self, path: &str, body: &str) -> Reply {
        ask(self.admin, "POST", path, "", body)
    }

    /// The endpoint `127.0.0.1:9001` as the status has it.
    fn first(&self) -> Value {
        self.get("/api/v1/status").json()["clusters"][0]["endpoints"][0].clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().unwrap().join();
        drop(std::fs::remove_file(&self.file));
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.body))
    }

    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case(header))
    }

    /// The sentence of a problem with this status.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.has("content-type: application/problem+json"), "{}", self.head);
        assert_eq!(self.json()["status"], status);
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

fn open(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = if headers.to_lowercase().contains("host:") { String::new() } else { format!("Host: {address}\r\n") };
    let length = body.len();
    // A body that is refused half-way may break the pipe; the answer is there all the same.
    let head = format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())));
    stream
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Reply {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as an end.
    drop(open(address, method, path, headers, body).read_to_end(&mut bytes));
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    Reply { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
}

#[test]
fn what_is_read_is_answered_and_head_is_answered_without_a_body() {
    let rig = Rig::start(None);
    let types = [
        ("/", "text/plain; charset=utf-8"),
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/readyz?cluster=app", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/api/v1/status", "application/json"),
        ("/api/v1/config", "application/json"),
        ("/api/v1/clusters/app/endpoints/127.0.0.1:9001", "application/json"),
        ("/api/v1/clusters/app/endpoints/%5B::1%5D:9002", "application/json"),
    ];
    for (path, content_type) in types {
        let reply = rig.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert!(reply.has(&format!("content-type: {content_type}")), "{path}: {}", reply.head);
        assert!(reply.has("cache-control: no-store"), "{path}: {}", reply.head);
        assert!(!reply.body.is_empty(), "{path}");
        let head = ask(rig.admin, "HEAD", path, "", "");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    assert_eq!(rig.get("/api/v1/config").json()["clusters"][0]["name"], "app");
}

#[test]
fn what_is_not_there_or_not_allowed_is_a_problem() {
    let rig = Rig::start(None);
    rig.get("/nowhere").problem(404);
    let reply = ask(rig.admin, "DELETE", "/api/v1/status", "", "");
    reply.problem(405);
    assert!(reply.has("allow: GET, HEAD"), "{}", reply.head);
    let reply = rig.get("/api/v1/drain");
    reply.problem(405);
    assert!(reply.has("allow: POST"), "{}", reply.head);
    assert!(rig.get("/readyz?cluster=shop").problem(404).contains("shop"));
    assert!(rig.get("/api/v1/clusters/shop/endpoints/a:1").problem(404).contains("shop"));
    assert!(rig.get("/api/v1/clusters/app/endpoints/a:1").problem(404).contains("a:1"));
    rig.post("/api/v1/clusters/app/endpoints/a:1/drain", "").problem(404);
    rig.post("/api/v1/clusters/shop/freeze", "").problem(404);
    rig.post("/api/v1/reload?dry-run=true", "").problem(400);
}

#[test]
fn an_order_is_in_force_when_it_is_answered() {
    let rig = Rig::start(None);
    let path = "/api/v1/clusters/app/endpoints/127.0.0.1:9001";
    let answer = rig.post(&format!("{path}/maintenance?for=10m"), r#"{"reason":"new disk"}"#).json();
    assert_eq!((&answer["state"], &answer["available"]), (&json!("maintenance"), &json!(false)));
    let reason = &answer["reasons"][0];
    assert_eq!((&reason["code"], &reason["detail"]), (&json!("maintenance"), &json!("new disk")));
    assert!(reason["until"].is_string());
    assert_eq!(rig.first()["state"], "maintenance");

    let explained = rig.get(path).json();
    assert_eq!(explained["next_change"], reason["until"]);
    let history = explained["history"].as_array().unwrap();
    assert!(history.iter().any(|entry| entry["kind"] == "transition" && entry["to"] == "maintenance"), "{history:?}");

    let draining = rig.post(&format!("{path}/drain"), "").json();
    assert_eq!((&draining["state"], &draining["reasons"][0]["until"]), (&json!("draining"), &json!(null)));
    assert_eq!(rig.post(&format!("{path}/ready"), "").json()["state"], "healthy");

    rig.post(&format!("{path}/drain?for=soon"), "").problem(400);
    rig.post(&format!("{path}/drain"), "{\"for\":").problem(400);
    rig.post(&format!("{path}/drain"), &format!("{{\"reason\":\"{}\"}}", "x".repeat(70_000))).problem(413);
    assert_eq!(rig.first()["state"], "healthy");
}

#[test]
fn a_cluster_of_which_nobody_is_available_is_not_ready() {
    let rig = Rig::start(None);
    rig.post("/api/v1/clusters/app/endpoints/127.0.0.1:9001/drain", "");
    assert_eq!(rig.get("/readyz?cluster=app").status, 200);
    rig.post("/api/v1/clusters/app/endpoints/%5B::1%5D:9002/drain", "");
    assert!(rig.get("/readyz?cluster=app").problem(503).contains("127.0.0.1:9001 is draining (draining)"));
    assert_eq!(rig.get("/readyz").status, 200);
    rig.handle.live().enter(Phase::Draining);
    assert!(rig.get("/readyz").problem(503).contains("draining"));
    assert_eq!(rig.get("/livez").status, 200);
}

#[test]
fn freezing_is_shown_until_it_is_thawed() {
    let rig = Rig::start(None);
    let frozen = || rig.get("/api/v1/status").json()["clusters"][0]["frozen"].clone();
    assert_eq!(rig.post("/api/v1/clusters/app/freeze", "").json(), json!({ "cluster": "app", "frozen": true }));
    assert_eq!(frozen(), true);
    assert_eq!(rig.post("/api/v1/clusters/app/thaw", "").json(), json!({ "cluster": "app", "frozen": false }));
    assert_eq!(frozen(), false);
}

#[test]
fn a_reload_says_what_changes_or_what_is_wrong() {
    let rig = Rig::start(None);
    assert_eq!(rig.post("/api/v1/reload", "").json(), json!({ "changes": [] }));
    std::fs::write(&rig.file, CONFIG.replace("9001", "9003")).unwrap();
    let rehearsed = rig.post("/api/v1/reload?dry_run=true", "").json();
    assert_eq!(rehearsed["changes"].as_array().unwrap().len(), 2, "{rehearsed}");
    assert_eq!(rig.first()["address"], "127.0.0.1:9001");
    assert_eq!(rig.post("/api/v1/reload", "").json(), rehearsed);
    assert_eq!(rig.first()["address"], "127.0.0.1:9003");
    std::fs::write(&rig.file, "clusters: [{ nmae: app }]").unwrap();
    let refused = rig.post("/api/v1/reload", "");
    refused.problem(422);
    assert!(refused.json()["problems"].to_string().contains("nmae"), "{}", refused.body);
    assert_eq!(rig.first()["address"], "127.0.0.1:9003");
}

#[test]
fn a_drain_is_passed_on() {
    let rig = Rig::start(None);
    assert_eq!(rig.post("/api/v1/drain", "").status, 202);
    // It waits for ever if nobody passed it on.
    thread::block_on(rig.handle.drain_asked()).unwrap();
}

/// Reads a stream of events up to the next transition.
fn next_transition(stream: &mut impl BufRead) -> shape::Transition {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// Follows the events, and returns when the stream is open.
fn follow(rig: &Rig, headers: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(open(rig.admin, "GET", "/api/v1/events", headers, ""));
    let mut line = String::new();
    while !line.starts_with("retry:") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
    stream
}

#[test]
fn transitions_are_streamed_and_can_be_taken_up_again() {
    let rig = Rig::start(None);
    let path = "/api/v1/clusters/app/endpoints/127.0.0.1:9001";
    let mut stream = follow(&rig, "");
    rig.post(&format!("{path}/drain?reason=deploy"), "");
    rig.post(&format!("{path}/ready"), "");
    let drained = next_transition(&mut stream);
    assert_eq!((drained.cluster.as_str(), drained.endpoint.as_str()), ("app", "127.0.0.1:9001"));
    assert_eq!((drained.from.as_str(), drained.to.as_str()), ("healthy", "draining"));
    assert_eq!((drained.reasons[0].code.as_str(), drained.reasons[0].detail.as_str()), ("draining", "deploy"));
    let back = next_transition(&mut stream);
    assert_eq!((back.id, back.to.as_str()), (drained.id + 1, "healthy"));

    let mut later = follow(&rig, &format!("Last-Event-ID: {}\r\n", drained.id));
    assert_eq!(next_transition(&mut later), back);
    let mut from_another_life = follow(&rig, "Last-Event-ID: 900000\r\n");
    while next_transition(&mut from_another_life) != back {}
    ask(rig.admin, "GET", "/api/v1/events", "Last-Event-ID: x\r\n", "").problem(400);
}

#[test]
fn readers_of_events_are_bounded_and_one_that_leaves_makes_room() {
    let rig = Rig::start(None);
    let mut readers: Vec<_> = (0..events::READERS).map(|_| follow(&rig, "")).collect();
    rig.get("/api/v1/events").problem(503);
    assert_eq!(rig.get("/livez").status, 200);
    drop(readers.pop());
    while open_status(&rig) == 503 {
        std::thread::yield_now();
    }
}

/// The status that a new reader of events gets.
fn open_status(rig: &Rig) -> u16 {
    let mut line = String::new();
    BufReader::new(open(rig.admin, "GET", "/api/v1/events", "", "")).read_line(&mut line).unwrap();
    line[9..12].parse().unwrap()
}

#[test]
fn with_a_token_only_liveness_and_readiness_are_open() {
    let rig = Rig::start(Some("s3cret"));
    for path in ["/livez", "/readyz", "/readyz?cluster=app"] {
        assert_eq!(rig.get(path).status, 200, "{path}");
    }
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/events", "/api/v1/config", "/nowhere"] {
        let reply = rig.get(path);
        reply.problem(401);
        assert!(reply.has("www-authenticate: Bearer"), "{path}: {}", reply.head);
    }
    rig.post("/api/v1/drain", "").problem(401);
    ask(rig.admin, "POST", "/api/v1/drain", "Authorization: Bearer s3cre\r\n", "").problem(401);
    let known = ask(rig.admin, "GET", "/api/v1/status", "Authorization: Bearer s3cret\r\n", "");
    assert_eq!(known.status, 200);
    assert_eq!(ask(rig.metrics, "GET", "/metrics", "", "").status, 200);
}

#[test]
fn pages_from_elsewhere_are_kept_out() {
    let rig = Rig::start(None);
    for path in ["/livez", "/api/v1/status"] {
        ask(rig.admin, "GET", path, "Host: evil.example.com\r\n", "").problem(403);
        assert_eq!(ask(rig.admin, "GET", path, "Host: localhost:1\r\n", "").status, 200);
    }
    ask(rig.admin, "POST", "/api/v1/drain", "Origin: http://evil.example.com\r\n", "").problem(403);
    let freeze = "/api/v1/clusters/app/freeze";
    assert_eq!(ask(rig.admin, "POST", freeze, &format!("Origin: http://{}\r\n", rig.admin), "").status, 200);
}

#[test]
fn the_metrics_listener_serves_scrapers_and_kubelets_alone() {
    let rig = Rig::start(None);
    let get = |path: &str| ask(rig.metrics, "GET", path, "Host: pulsegate.monitoring.svc:9910\r\n", "");
    assert_eq!(get("/livez").status, 200);
    assert_eq!(get("/readyz").status, 200);
    let page = get("/metrics");
    for sample in [
        "pulsegate_endpoint_up{cluster=\"app\",endpoint=\"127.0.0.1:9001\"} 1",
        "pulsegate_config_last_reload_successful 1",
        "pulsegate_signals_dropped_total{kind=\"reset\"} 0",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(page.body.lines().any(|line| line == sample), "{sample}\n{}", page.body);
    }
    for path in ["/", "/api/v1/status", "/api/v1/config", "/api/v1/events"] {
        get(path).problem(404);
    }
    ask(rig.metrics, "POST", "/api/v1/drain", "", "").problem(404);
    ask(rig.metrics, "POST", "/metrics", "", "").problem(405);
}

#[test]
fn a_connection_is_kept_and_a_head_without_end_is_bounded() {
    let rig = Rig::start(None);
    let mut stream = TcpStream::connect(rig.admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reader = BufReader::new(&stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while reader.read_line(&mut line).unwrap() > 0 && !line.ends_with("alive\n") {}
    }
    let huge = format!("X-Long: {}\r\n", "x".repeat(100_000));
    assert_eq!(ask(rig.admin, "GET", "/livez", &huge, "").status, 431);
}

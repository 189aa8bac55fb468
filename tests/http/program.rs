//! The program under test: started with a configuration, asked for its metrics and its memory, ended with the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::origin::Origin;
use crate::wire::Peer;

/// Between two looks at something that another process is about to do.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Looks at most: 20 s.
const LOOKS: usize = 2000;

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    file: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
    listeners: Vec<(String, SocketAddr)>,
    admin: SocketAddr,
    /// It has been told to end, and cannot be asked any more.
    ends: std::cell::Cell<bool>,
}

impl Proxy {
    /// One listener, `web`, and one cluster, `app`, without probes, that consists of this endpoint.
    pub(crate) fn before(origin: &Origin) -> Self {
        Self::with_route(origin, "")
    }

    /// The same, with more in its one route: flow style, such as `timeout: 1s, retries: off`.
    pub(crate) fn with_route(origin: &Origin, route: &str) -> Self {
        Self::start(&format!(
            "workers: 1
listeners:
  - {{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: app, {route} }}] }}
clusters:
  - {{ name: app, endpoints: [\"{}\"], health: off }}
",
            origin.address
        ))
    }

    /// A proxy with this configuration, to which only the admin interface and the log are added.
    pub(crate) fn start(configuration: &str) -> Self {
        let number = STARTED.fetch_add(1, SeqCst);
        let name = format!("http-{}-{number}.yaml", std::process::id());
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let text = format!("admin: {{ address: 127.0.0.1:0 }}\nlog: {{ format: json }}\n{configuration}");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
        command.arg("run").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (mut listeners, mut admin, mut said) = (Vec::new(), None, Vec::new());
        for line in lines.by_ref() {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            said.push(line);
            let address = |key: &str| event[key].as_str().and_then(|text| text.parse().ok());
            match event["message"].as_str() {
                Some("listening") => {
                    // Those in the file system have none.
                    listeners.extend(address("address").map(|at| (event["listener"].as_str().unwrap().to_owned(), at)))
                }
                Some("started") => break,
                _ => admin = admin.or_else(|| address("admin_address")),
            }
        }
        let admin = admin.unwrap_or_else(|| panic!("it did not start:\n{}", said.join("\n")));
        let log = Arc::new(Mutex::new(said));
        let written = Arc::clone(&log);
        std::thread::spawn(move || lines.for_each(|line| written.lock().unwrap().push(line)));
        Self { child, file, log, listeners, admin, ends: std::cell::Cell::new(false) }
    }

    /// Where the first listener listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners[0].1
    }

    /// Where a listener listens.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.listeners.iter().find(|(found, _)| found == name).unwrap().1
    }

    /// A URL on the first listener.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A client's connection to the first listener.
    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// The sum of the series of a counter or gauge that have these labels, such as `code="499"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let mut admin = Peer::connect(self.admin);
        let page = admin.ask(&format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)).body;
        let series = page.lines().filter(|line| {
            let found = line.split(['{', ' ']).next() == Some(name);
            found && labels.iter().all(|label| line.contains(label))
        });
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Waits until a metric has a value.
    pub(crate) fn until_metric(&self, name: &str, labels: &[&str], wanted: u64) {
        self.until(&format!("{name} {labels:?} is {wanted}"), || self.metric(name, labels) == wanted);
    }

    /// Waits until something holds.
    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..LOOKS {
            if holds() {
                return;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        panic!("it never came to be that {what}\n{}", self.said());
    }

    /// Has it drain, as an operator would.
    pub(crate) fn drain(&self) {
        let mut admin = Peer::connect(self.admin);
        let request = format!("POST /api/v1/drain HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", self.admin);
        let answer = admin.ask(&request);
        assert!(answer.status() < 300, "{answer:?}");
        self.ends.set(true);
    }

    /// What the admin interface answers a GET with.
    pub(crate) fn status(&self) -> String {
        let mut admin = Peer::connect(self.admin);
        admin.ask(&format!("GET /api/v1/status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)).body
    }

    /// The most memory it has had so far, in MiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let panics = || match self.ends.get() {
            true => u64::from(self.said().contains("a bug ended")),
            false => self.metric("pulsegate_panics_total", &[]),
        };
        let healthy = (!std::thread::panicking()).then(panics);
        // It may have ended by itself, which the metric has told.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_file(&self.file));
        match healthy {
            Some(panics) => assert!(panics == 0, "{panics} panics:\n{}", self.said()),
            None => eprintln!("{}", self.said()),
        }
    }
}

//! The systems under test, at equal settings, and what each says of its endpoints.
//!
//! The peers are tuned as far as their manuals allow: tries elsewhere on every failure that can be tried again, and live traffic
//! as evidence. They also get a limit on an endpoint's answer, without which a hang costs each of its victims the whole of the
//! default; Pulsegate keeps that default.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pulsegate::base::time::Timestamp;
use pulsegate::runtime::clock;

use crate::rig::{Endpoint, Folder, Port, Process, Stage, within_patience};

/// A peer's limit on an endpoint's answer.
pub(crate) const PEERS_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks of a watcher at whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pulsegate,
    Haproxy,
    Nginx,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Pulsegate, Self::Haproxy, Self::Nginx];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pulsegate => "Pulsegate",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }
}

/// Something that was said of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    pub(crate) endpoint: usize,
    /// In Pulsegate's words; the peers know `healthy` and `unhealthy`.
    pub(crate) to: String,
    /// The whole of it, as far as it says more.
    pub(crate) words: String,
}

impl Event {
    /// Whether it says that the endpoint gets no new request because it is known to be sick.
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.to.as_str(), "unhealthy" | "ejected")
    }

    /// Whether it says that the endpoint gets requests as long as others do.
    pub(crate) fn is_available(&self) -> bool {
        matches!(self.to.as_str(), "healthy" | "degraded")
    }

    /// Whether it says that something is wrong.
    pub(crate) fn is_bad(&self) -> bool {
        self.is_out() || matches!(self.to.as_str(), "degraded" | "suspect")
    }
}

type Events = Arc<Mutex<Vec<Event>>>;

/// A running system.
#[derive(Debug)]
pub(crate) struct System {
    kind: Kind,
    listener: Port,
    admin: Port,
    pub(crate) process: Process,
    events: Events,
    stop: Arc<AtomicBool>,
}

impl System {
    /// Starts it and waits until every endpoint has answered through it.
    pub(crate) fn start(stage: &Stage, endpoints: &[SocketAddr], folder: &Folder) -> Self {
        let (listener, admin) = (Port::free(1), Port::free(1));
        let (events, stop) = (Events::default(), Arc::new(AtomicBool::new(false)));
        let watch = Watch { events: Arc::clone(&events), stop: Arc::clone(&stop), endpoints: endpoints.to_vec() };
        let process = match stage.kind {
            Kind::Pulsegate => pulsegate(stage, endpoints, folder, listener.address, admin.address),
            Kind::Haproxy => haproxy(stage, endpoints, folder, listener.address, watch.clone()),
            Kind::Nginx => nginx(endpoints, folder, listener.address),
        };
        let system = Self { kind: stage.kind, listener, admin, process, events, stop };
        let answered = within_patience(|| answers(system.address()).then_some(()));
        let said = || std::fs::read_to_string(folder.file("said.log")).unwrap_or_default();
        assert!(answered.is_some(), "{} does not answer; it says: {}", stage.kind.name(), said());
        match stage.kind {
            Kind::Pulsegate => watch.follow_events(system.admin.address),
            Kind::Nginx => watch.tail(folder.file("error.log")),
            Kind::Haproxy => {}
        }
        system
    }

    /// Where it takes requests.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// Connects that this endpoint has refused so far, if the system counts them.
    pub(crate) fn refused(&self, endpoint: &Endpoint) -> Option<f64> {
        if self.kind != Kind::Pulsegate {
            return None;
        }
        let mut page = String::new();
        let mut stream = TcpStream::connect(self.admin.address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin.address).unwrap();
        stream.read_to_string(&mut page).unwrap();
        let named = format!("endpoint=\"{}\"", endpoint.address());
        let wanted = |line: &&str| line.starts_with("pulsegate_upstream_connects_total") && line.contains(&named);
        let refused = page.lines().filter(wanted).filter(|line| line.contains("result=\"refused\""));
        Some(refused.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// What it has said so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// Whether it passes on requests.
fn answers(address: SocketAddr) -> bool {
    let mut line = String::new();
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")?;
        BufReader::new(stream).read_line(&mut line)
    });
    asked.is_ok() && line.contains(" 200 ")
}

fn quiet(mut command: Command, folder: &Folder) -> Process {
    let log = std::fs::File::create(folder.file("said.log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Process::start(&mut command)
}

fn pulsegate(stage: &Stage, endpoints: &[SocketAddr], folder: &Folder, listener: SocketAddr, admin: SocketAddr) -> Process {
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let text = format!(
        "admin: {{ address: {admin} }}
log: {{ level: warn }}
workers: 2
listeners: [{{ address: {listener}, cluster: app }}]
clusters:
  - name: app
    endpoints: [{}]
    health: {{ path: /health, interval: {}ms, timeout: 200ms, fall: 3, rise: 2, panic: {} }}
",
        endpoints.join(", "),
        stage.interval.as_millis(),
        if stage.panic { "0%" } else { "off" },
    );
    std::fs::write(folder.file("pulsegate.yaml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    command.args(["run", "-c", &folder.file("pulsegate.yaml")]);
    quiet(command, folder)
}

fn haproxy(stage: &Stage, endpoints: &[SocketAddr], folder: &Folder, listener: SocketAddr, watch: Watch) -> Process {
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    let interval = stage.interval.as_millis();
    let servers: String = endpoints.iter().enumerate().map(|(n, address)| format!("  server s{n} {address}\n")).collect();
    let text = format!(
        "global
  nbthread 2
  maxconn 4000
  log {} local0
defaults
  mode http
  log global
  timeout connect 1s
  timeout client 60s
  timeout http-keep-alive 75s
  timeout server {}ms
  timeout check 200ms
  retries 2
  option redispatch 1
  retry-on all-retryable-errors
  http-reuse always
  option log-health-checks
frontend web
  bind {listener}
  default_backend app
backend app
  balance roundrobin
  option httpchk GET /health
  default-server inter {interval}ms fastinter {}ms downinter {interval}ms fall 3 rise 2 observe layer7 error-limit 3 on-error mark-down check
{servers}",
        log.local_addr().unwrap(),
        PEERS_LIMIT.as_millis(),
        interval / 2,
    );
    std::fs::write(folder.file("haproxy.cfg"), text).unwrap();
    let mut command = Command::new("haproxy");
    command.env("PATH", path()).args(["-db", "-f", &folder.file("haproxy.cfg")]);
    watch.listen(log);
    quiet(command, folder)
}

fn nginx(endpoints: &[SocketAddr], folder: &Folder, listener: SocketAddr) -> Process {
    let servers: String = endpoints.iter().map(|address| format!("server {address} max_fails=3 fail_timeout=10s; ")).collect();
    let limit = PEERS_LIMIT.as_millis();
    let place = folder.path().display();
    let text = format!(
        "daemon off; pid {place}/nginx.pid; worker_processes 2; error_log {place}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  upstream app {{ zone app 256k; {servers} keepalive 64; }}
  server {{
    listen {listener}; keepalive_timeout 75s; keepalive_requests 100000000;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_connect_timeout 1s; proxy_read_timeout {limit}ms; proxy_send_timeout {limit}ms;
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries 3;
    }}
  }}
}}
"
    );
    std::fs::write(folder.file("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.env("PATH", path()).args(["-e", &folder.file("error.log"), "-p"]).arg(folder.path()).args(["-c", "nginx.conf"]);
    quiet(command, folder)
}

/// Debian keeps servers in folders that are not on everybody's path.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Writes down what a system says.
#[derive(Debug, Clone)]
struct Watch {
    events: Events,
    stop: Arc<AtomicBool>,
    endpoints: Vec<SocketAddr>,
}

impl Watch {
    fn put(&self, endpoint: usize, to: &str, words: &str) {
        let event = Event { at: clock::now(), endpoint, to: to.to_owned(), words: words.to_owned() };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    fn put_named(&self, text: &str, to: &str, words: &str) {
        if let Some(endpoint) = self.endpoints.iter().position(|address| text.contains(&address.to_string())) {
            self.put(endpoint, to, words);
        }
    }

    /// Follows the events of Pulsegate's admin interface.
    fn follow_events(self, admin: SocketAddr) {
        let mut stream = TcpStream::connect(admin).unwrap();
        write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {admin}\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(LOOK)).unwrap();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            self.lines(&mut reader, |watch, line| {
                let Some(text) = line.strip_prefix("data:") else { return };
                let Ok(data) = serde_json::from_str::<serde_json::Value>(text) else { return };
                if let (Some(endpoint), Some(to)) = (data["endpoint"].as_str(), data["to"].as_str()) {
                    let why = data["reasons"].as_array().and_then(|reasons| reasons.first());
                    let why = why.map(|why| format!(": {} {}", why["code"], why["detail"])).unwrap_or_default();
                    watch.put_named(endpoint, to, &format!("{} -> {to}{why}", data["from"]));
                }
            });
        });
    }

    /// Hands on every line until it is told to stop. A reader that has nothing yet is asked again.
    fn lines(&self, reader: &mut impl BufRead, mut each: impl FnMut(&Self, &str)) {
        let mut line = String::new();
        while !self.stop.load(Relaxed) {
            match reader.read_line(&mut line) {
                Ok(0) => return,
                Ok(_) if line.ends_with('\n') => {
                    each(self, line.trim_end());
                    line.clear();
                }
                _ => {}
            }
        }
    }

    /// Takes in HAProxy's log lines.
    fn listen(self, log: UdpSocket) {
        log.set_read_timeout(Some(LOOK)).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while !self.stop.load(Relaxed) {
                let Ok(count) = log.recv(&mut bytes) else { continue };
                let line = String::from_utf8_lossy(&bytes[..count]).into_owned();
                let Some((_, rest)) = line.split_once("Server app/s") else { continue };
                let number = rest.chars().next().and_then(|digit| digit.to_digit(10)).and_then(|n| usize::try_from(n).ok());
                match number {
                    Some(number) if rest.contains(" is DOWN") => self.put(number, "unhealthy", rest),
                    Some(number) if rest.contains(" is UP") => self.put(number, "healthy", rest),
                    _ => {}
                }
            }
        });
    }

    /// Reads nginx's error log, which names the endpoints that it leaves out for a while.
    fn tail(self, log: String) {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(std::fs::File::open(log).unwrap());
            while !self.stop.load(Relaxed) {
                let mut line = String::new();
                if reader.read_line(&mut line).is_ok_and(|count| count == 0) {
                    std::thread::sleep(Duration::from_millis(2));
                } else if line.contains("upstream server temporarily disabled") {
                    self.put_named(&line, "unhealthy", "disabled");
                }
            }
        });
    }
}

//! Endpoints that speak other dialects than ours, each a program that others wrote: grpcio's health service, the actuator of
//! Spring Boot as pyctuator has it, an agent that Datawave's servers run and one that socat does, both read by HAProxy beside us, and load
//! reports in nginx's answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::support::{Folder, PATIENCE, Port, Process, Proxy, get, one_listener, until};

/// Python with the packages that `tests/run` fetches.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python3");

/// A program in a folder of its own, on a port of its own.
#[derive(Debug)]
struct Program {
    port: Port,
    process: Process,
    // After the process, which may write into it until its end.
    folder: Folder,
}

impl Program {
    /// A script of ours for Python with the packages that `tests/run` fetches; nothing where it could not fetch them.
    fn python(script: &str, more: &[&str], file: (&str, &str)) -> Option<Self> {
        if !std::fs::exists(PYTHON).unwrap() {
            eprintln!("left out, since packages of PyPI are not here; tests/run fetches them");
            return None;
        }
        let (folder, port) = (Folder::new(), Port::free());
        folder.write(file.0, file.1);
        let mut command = Command::new(PYTHON);
        command.arg(format!("{}/tests/e2e/services/{script}", env!("CARGO_MANIFEST_DIR")));
        command.arg(folder.path()).arg(port.address().port().to_string()).args(more);
        let process = Process::start(command, &folder.path().join("log"));
        let program = Self { port, process, folder };
        program.wait();
        Some(program)
    }

    /// An agent as people run them: a line that socat sends to whoever connects.
    fn agent(line: &str) -> Self {
        let (folder, port) = (Folder::new(), Port::free());
        folder.write("line", line);
        let mut command = Command::new("socat");
        command.arg(format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", port.address().port()));
        command.arg(format!("SYSTEM:cat {}", folder.file("line")));
        let process = Process::start(command, &folder.path().join("log"));
        let program = Self { port, process, folder };
        program.wait();
        program
    }

    /// The agent that stands beside servers of Datawave: it asks them how they are, and tells in agent lines. Here a file `health` in its
    /// folder is what they answer, for as long as what is returned with it lives; nothing where packages of PyPI could not be fetched.
    fn datawave_agent(health: &str) -> Option<(Self, Process)> {
        const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/datawave-haproxy-agent");
        if !std::fs::exists(AGENT).unwrap() {
            eprintln!("left out, since packages of PyPI are not here; tests/run fetches them");
            return None;
        }
        let (folder, port, pages) = (Folder::new(), Port::free(), Port::free());
        folder.write("health", health);
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(folder.path());
        command.arg(pages.address().port().to_string());
        let server = Process::start(command, &folder.path().join("pages.log"));
        until(PATIENCE, "its server answers", || get(pages.address(), "/health").ok());
        let url = format!("http://{}/health", pages.address());
        folder.write("agent.yml", &format!("dw_health_poller: {{ check_url: '{url}', interval: 0.05 }}\n"));
        let mut command = Command::new(PYTHON);
        command.args(["-m", "datawave_haproxy_agent", "--config", &folder.file("agent.yml"), "--bind", "127.0.0.1"]);
        command.args(["--port", &port.address().port().to_string()]);
        let process = Process::start(command, &folder.path().join("log"));
        let program = Self { port, process, folder };
        program.wait();
        Some((program, server))
    }

    fn wait(&self) {
        until(PATIENCE, "the program listens", || std::net::TcpStream::connect(self.port.address()).ok());
    }

    fn name(&self) -> String {
        self.port.address().to_string()
    }
}

/// A proxy with one cluster of one endpoint, and this beneath its `health`.
fn proxy(endpoint: &str, health: &str) -> Proxy {
    Proxy::start(&one_listener(&format!(
        "clusters:\n  - name: app\n    endpoints: [{endpoint}]\n    health:\n      interval: 200ms\n      {health}\n"
    )))
}

#[test]
fn a_grpc_health_service_is_asked() {
    let Some(mut server) = Program::python("serving.py", &[], ("serving", "SERVING")) else { return };
    let name = server.name();
    let probe = |service: &str| format!("probes: [{{ name: rpc, grpc: {{ service: {service} }} }}]");
    let proxy = proxy(&name, &probe("orders.v1"));
    proxy.wait_for_state(PATIENCE, &name, "healthy");
    for status in ["NOT_SERVING", "UNKNOWN"] {
        server.folder.write("serving", status);
        let (endpoint, _) = proxy.wait_for_state(PATIENCE, &name, "unhealthy");
        assert_eq!(endpoint["reasons"][0]["code"], "probe_status", "{endpoint:#}");
        assert!(endpoint["reasons"][0]["detail"].as_str().unwrap().contains(status), "{endpoint:#}");
        server.folder.write("serving", "SERVING");
        proxy.wait_for_state(PATIENCE, &name, "healthy");
    }
    let other = self::proxy(&name, &probe("nobody.v1"));
    let (endpoint, _) = other.wait_for_state(PATIENCE, &name, "unhealthy");
    assert!(endpoint["reasons"][0]["detail"].as_str().unwrap().contains("NOT_FOUND"), "{endpoint:#}");
    server.process.kill();
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &name, "unhealthy");
    assert_eq!(endpoint["reasons"][0]["code"], "probe_refused", "{endpoint:#}");
}

#[test]
fn a_grpc_server_without_a_health_service_is_what_the_user_says() {
    let Some(server) = Program::python("serving.py", &["without"], ("serving", "SERVING")) else { return };
    let name = server.name();
    let strict = proxy(&name, "probes: [{ grpc: {} }]");
    let (endpoint, _) = strict.wait_for_state(PATIENCE, &name, "unhealthy");
    assert!(endpoint["reasons"][0]["detail"].as_str().unwrap().contains("UNIMPLEMENTED"), "{endpoint:#}");
    let lenient = proxy(&name, "probes: [{ grpc: { unimplemented: healthy } }]");
    lenient.wait_for_state(PATIENCE, &name, "healthy");
}

#[test]
fn an_actuator_is_read() {
    let Some(service) = Program::python("actuator.py", &[], ("note", "")) else { return };
    let name = service.name();
    let report = "path: /actuator/health\n      report: { map: { pool: components.db.details.pool } }";
    let proxy = proxy(&name, report);
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &name, "healthy");
    assert_eq!(endpoint["report"]["pool"], 5.0, "{endpoint:#}");
    let probed = proxy.succeed(&["probe", &format!("http://{name}/actuator/health")]);
    assert!(probed.contains("report: spring, status UP (healthy)"), "{probed}");
    service.folder.write("down", "");
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &name, "unhealthy");
    assert_eq!(endpoint["reasons"][0]["code"], "probe_status", "{endpoint:#}");
    service.folder.remove("down");
    proxy.wait_for_state(PATIENCE, &name, "healthy");
}

/// HAProxy with one server that the agent speaks for.
struct Haproxy {
    _process: Process,
    folder: Folder,
}

impl Haproxy {
    fn start(endpoint: &str, agent: &Program) -> Self {
        let folder = Folder::new();
        let (agent, socket) = (agent.port.address().port(), folder.file("socket"));
        folder.write(
            "haproxy.cfg",
            &format!(
                "global\n  stats socket {socket} level admin\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  \
                 timeout server 1s\nbackend app\n  server one {endpoint} weight 100 check inter 100ms agent-check agent-port {agent} \
                 agent-inter 100ms\n"
            ),
        );
        let mut command = Command::new("haproxy");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin")).args(["-db", "-f", &folder.file("haproxy.cfg")]);
        let process = Process::start(command, &folder.path().join("log"));
        Self { _process: process, folder }
    }

    /// Status and weight of the server, as it shows them.
    fn shows(&self) -> Option<(String, u32)> {
        let mut socket = UnixStream::connect(self.folder.file("socket")).ok()?;
        socket.write_all(b"show stat -1 4 -1\n").ok()?;
        let mut page = String::new();
        socket.read_to_string(&mut page).ok()?;
        let titles: Vec<&str> = page.lines().next()?.trim_start_matches("# ").split(',').collect();
        let row: Vec<&str> = page.lines().nth(1)?.split(',').collect();
        let value = |title: &str| titles.iter().position(|name| *name == title).and_then(|at| row.get(at).copied());
        Some((value("status")?.to_owned(), value("weight")?.parse().ok()?))
    }
}

#[test]
fn an_agents_line_means_what_it_means_to_haproxy() {
    let endpoint = crate::support::Service::start(crate::support::Kind::Python);
    let agent = Program::agent("up ready 100%\n");
    let haproxy = Haproxy::start(&endpoint.name(), &agent);
    let port = agent.port.address().port();
    let probes =
        format!("rise: 1\n      fall: 1\n      probes: [{{ http: {{}} }}, {{ name: agent, agent: {{}}, port: {port} }}]");
    let proxy = proxy(&endpoint.name(), &probes);
    // In this order: what a line does not mention stays.
    let lines = [
        ("up ready 100%", "UP", "healthy"),
        ("50%", "UP", "healthy"),
        ("down #db gone", "DOWN", "unhealthy"),
        ("75%", "DOWN", "unhealthy"),
        ("UP", "UP", "healthy"),
        ("drain", "DRAIN", "draining"),
        ("up", "DRAIN", "draining"),
        ("ready", "UP", "healthy"),
        ("maint", "MAINT", "maintenance"),
        ("up,ready\t30%", "UP", "healthy"),
        ("stopped", "DOWN", "unhealthy"),
        ("what is this", "DOWN", "unhealthy"),
        ("fail", "DOWN", "unhealthy"),
        ("up", "UP", "healthy"),
        // Who gets nothing is drained here; HAProxy shows it as up, with a weight of 0.
        ("0%", "UP", "draining"),
        ("20%", "UP", "healthy"),
    ];
    for (line, theirs, ours) in lines {
        agent.folder.write("line", &format!("{line}\n"));
        until(PATIENCE, &format!("HAProxy takes {line:?} for {theirs}, and shows {:?}", haproxy.shows()), || {
            haproxy.shows().filter(|(status, _)| status.starts_with(theirs))
        });
        proxy.wait_for_state(PATIENCE, &endpoint.name(), ours);
    }
    agent.folder.write("line", "maxconn:3\n");
    let asked = || (proxy.endpoint(&endpoint.name())["most_requests"] == 3).then_some(());
    until(PATIENCE, "the bound is taken over", asked);
    // A weight acts at once with HAProxy; with us after a blackout, which the engine's own tests cover.
    until(PATIENCE, "HAProxy takes over the weight", || haproxy.shows().filter(|(_, weight)| *weight == 20));
}

#[test]
fn an_agent_that_others_wrote_is_understood_as_haproxy_understands_it() {
    let health = |status: &str| {
        format!("{{\"Status\":\"{status}\",\"ConnectionUsagePercent\":20,\"SystemLoad\":0.25,\"SwapBytesUsed\":0}}")
    };
    let Some((agent, mut server)) = Program::datawave_agent(&health("ready")) else { return };
    let endpoint = crate::support::Service::start(crate::support::Kind::Python);
    let haproxy = Haproxy::start(&endpoint.name(), &agent);
    let port = agent.port.address().port();
    let probes =
        format!("rise: 1\n      fall: 1\n      probes: [{{ http: {{}} }}, {{ name: agent, agent: {{}}, port: {port} }}]");
    let proxy = proxy(&endpoint.name(), &probes);
    let agree = |theirs: &str, ours: &str| {
        until(PATIENCE, &format!("HAProxy shows {theirs}, not {:?}", haproxy.shows()), || {
            haproxy.shows().filter(|(status, _)| status.starts_with(theirs))
        });
        proxy.wait_for_state(PATIENCE, &endpoint.name(), ours);
    };
    for (status, theirs, ours) in [
        ("ready", "UP", "healthy"),
        ("drain", "DRAIN", "draining"),
        ("ready", "UP", "healthy"),
        ("maint", "MAINT", "maintenance"),
    ] {
        // Written elsewhere and moved: half a page is none.
        agent.folder.write("health.new", &health(status));
        std::fs::rename(agent.folder.file("health.new"), agent.folder.file("health")).unwrap();
        agree(theirs, ours);
    }
    agent.folder.write("health.new", &health("ready"));
    std::fs::rename(agent.folder.file("health.new"), agent.folder.file("health")).unwrap();
    agree("UP", "healthy");
    // A fifth of its places is taken and a quarter of its processors: 1 - 0.2 * 0.7 - 0.25 * 0.4.
    until(PATIENCE, "HAProxy takes over the weight", || haproxy.shows().filter(|(_, weight)| *weight == 76));
    server.kill();
    agree("DOWN", "unhealthy");
}

#[test]
fn load_reports_of_real_answers_are_read_and_kept_from_clients() {
    let (folder, port) = (Folder::new(), Port::free());
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/services/nginx.conf")).unwrap();
    let load =
        "location / { add_header endpoint-load-metrics \"TEXT cpu_utilization=0.25, rps_fractional=50, named_metrics.queue=7\";";
    let text = text.replace("location / {", load).replace("PORT", &port.address().port().to_string());
    folder.write("nginx.conf", &text.replace("FOLDER", folder.path().to_str().unwrap()));
    folder.write("report.json", "{\"status\":\"UP\"}\n");
    let mut command = Command::new("nginx");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-p").arg(folder.path()).args(["-c", "nginx.conf"]);
    let _nginx = Process::start(command, &folder.path().join("log"));
    until(PATIENCE, "nginx answers", || get(port.address(), "/").ok());
    let name = port.address().to_string();
    // Probes are answered by another location, so what is known of the load comes with answers to requests.
    let proxy = proxy(&name, "path: /health\n      report: { rules: [{ metric: queue, degrade: 5, for: 1 }] }");
    proxy.wait_for_state(PATIENCE, &name, "healthy");
    assert!(get(port.address(), "/").unwrap().header("endpoint-load-metrics").is_some());
    let answer = proxy.get("/");
    assert_eq!((answer.status, answer.header("endpoint-load-metrics")), (200, None));
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &name, "degraded");
    assert_eq!(endpoint["reasons"][0]["code"], "report_queue", "{endpoint:#}");
}

//! Endpoints that push: senders in Python, Node and shell, their silence, their clocks, and a proxy that stands still.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use pulsegate::runtime::clock;
use serde_json::{Value, json};

use crate::support::{Client, Folder, Kind, PATIENCE, Port, Process, Proxy, Service, get, one_listener, until};

const PERIOD: Duration = Duration::from_millis(500);
const TTL: Duration = Duration::from_millis(1750);

/// How often the proxy is stopped for longer than the ttl: a few times, or as often as `STALLS` says.
fn stalls() -> u32 {
    std::env::var("STALLS").map_or(3, |text| text.parse().expect("STALLS is a number"))
}

/// A cluster `app` of these endpoints that push to `port`, with the tokens of a file.
pub(crate) fn pushed(port: &Port, endpoints: &str, tokens: &str) -> String {
    one_listener(&format!(
        "heartbeats: {{ address: {} }}
clusters:
  - name: app
    endpoints: [{endpoints}]
    health:
      heartbeat: {{ period: 500ms, ttl: 1750ms, token_file: {tokens} }}
      report: {{ rules: [{{ metric: queue, eject: 100, for: 1 }}] }}
",
        port.address()
    ))
}

/// Posts one heartbeat and gives the status and what was answered.
fn post(client: &mut Client, token: &str, beat: &Value) -> std::io::Result<(u16, Value)> {
    let body = beat.to_string();
    let answer = client.ask(&format!(
        "POST /v1/heartbeats HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))?;
    Ok((answer.status, answer.json()))
}

/// A sender of our own, whose clock can be set.
pub(crate) struct Sender {
    stop: Arc<AtomicBool>,
    /// Added to its clock, in milliseconds.
    clock: Arc<AtomicI64>,
    acks: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    fn start(to: SocketAddr, endpoint: &str) -> Self {
        Self::of("app", to, endpoint)
    }

    /// For an endpoint of this cluster.
    pub(crate) fn of(cluster: &'static str, to: SocketAddr, endpoint: &str) -> Self {
        let (stop, clock, acks) = (Arc::<AtomicBool>::default(), Arc::<AtomicI64>::default(), Arc::<AtomicU64>::default());
        let theirs = (Arc::clone(&stop), Arc::clone(&clock), Arc::clone(&acks), endpoint.to_owned());
        let thread = std::thread::spawn(move || {
            let (stop, set, acks, endpoint) = theirs;
            let mut client = None;
            for seq in 1_u64.. {
                if stop.load(Relaxed) {
                    return;
                }
                let now = clock::wall().unix_millis().saturating_add_signed(set.load(Relaxed));
                let beat = json!({ "cluster": cluster, "endpoint": endpoint, "boot_id": "b", "seq": seq, "sent_at_ms": now });
                let acked = client.take().or_else(|| Client::connect(to).ok()).and_then(|mut open| {
                    let (status, _) = post(&mut open, "t0", &beat).ok()?;
                    client = Some(open);
                    (status == 200).then_some(())
                });
                acks.fetch_add(u64::from(acked.is_some()), Relaxed);
                std::thread::sleep(PERIOD);
            }
        });
        Self { stop, clock, acks, thread: Some(thread) }
    }

    fn acks(&self) -> u64 {
        self.acks.load(Relaxed)
    }

    /// Waits for so many more acks.
    fn more(&self, n: u64) {
        let wanted = self.acks() + n;
        until(PATIENCE, "more acks", || (self.acks() >= wanted).then_some(()));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A folder with a file of tokens: `t0` for all, `t1` for one endpoint.
pub(crate) fn tokens(one: &str) -> (Folder, String) {
    let folder = Folder::new();
    folder.write("beat.tokens", &format!("# all, and one\nt0\nt1 {one}\n"));
    folder.write("beat.token", "t0\n");
    let file = folder.file("beat.tokens");
    (folder, file)
}

fn example(program: &str, script: &str, arguments: &[&str], log: &Folder) -> Process {
    let mut command = Command::new(program);
    command.arg(format!("{}/examples/{script}", env!("CARGO_MANIFEST_DIR"))).args(arguments);
    Process::start(command, &log.path().join(format!("{script}.log")))
}

#[test]
fn senders_in_python_node_and_shell_are_in_while_they_send() {
    let services = [Kind::Python, Kind::Node, Kind::Python].map(Service::start);
    let names = [0, 1, 2].map(|n: usize| services[n].name());
    let (port, (folder, file)) = (Port::free(), tokens(&names[0]));
    let (url, token) = (format!("http://{}", port.address()), folder.file("beat.token"));
    let mut senders = [("python3", "beat.py"), ("node", "beat.mjs"), ("sh", "beat.sh")]
        .into_iter()
        .zip(&names)
        .map(|((program, script), name)| example(program, script, &[&url, "app", name, &token], &folder))
        .collect::<Vec<_>>();
    let proxy = Proxy::start(&pushed(&port, &names.join(", "), &file));
    for name in &names {
        let (endpoint, _) = proxy.wait_for_state(PATIENCE, name, "healthy");
        assert_eq!(endpoint["heartbeat"]["state"], "ready", "{endpoint:#}");
    }
    until(PATIENCE, "acks are printed", || {
        senders
            .iter()
            .all(|one| one.said().contains("\"state\":\"healthy\"") || one.said().contains("\"state\": \"healthy\""))
            .then_some(())
    });
    assert!((0..10).map(|_| proxy.get("/").text()).any(|text| text == services[0].says()));

    // One is killed, one says goodbye, one goes on.
    senders[0].kill();
    let (endpoint, took) = proxy.wait_for_state(TTL + PERIOD * 2, &names[0], "unhealthy");
    eprintln!("out {took:?} after the kill");
    assert_eq!(endpoint["reasons"][0]["code"], "heartbeat_expired", "{endpoint:#}");
    senders[1].signal("TERM");
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &names[1], "draining");
    assert!(endpoint["reasons"][0]["detail"].as_str().unwrap().contains("bye"), "{endpoint:#}");
    assert_eq!(proxy.endpoint(&names[2])["state"], "healthy");
    assert_eq!(proxy.get("/").text(), services[2].says());
    let page = proxy.page();
    assert!(page.sum("heartbeats_total", &[("endpoint", names[2].as_str()), ("result", "ok")]) >= 2);
    assert!(page.sum("heartbeat_delay_seconds_count", &[("cluster", "app")]) >= 2);

    // A new process at the same place is another incarnation.
    senders[0] = example("python3", "beat.py", &[&url, "app", &names[0], &token], &folder);
    proxy.wait_for_state(PATIENCE, &names[0], "healthy");
    // It is counted a moment after it has been shown.
    let restarts = || proxy.page().sum("heartbeats_total", &[("endpoint", names[0].as_str()), ("result", "restarted")]);
    until(PATIENCE, "its first beat is counted", || (restarts() == 1).then_some(()));
}

#[test]
fn a_stopped_sender_is_out_when_its_time_is_over_and_no_clock_or_stall_matters() {
    let service = Service::start(Kind::Python);
    let (name, other) = (service.name(), "127.0.0.1:1".to_owned());
    let (port, (_folder, file)) = (Port::free(), tokens(&name));
    let sender = Sender::start(port.address(), &name);
    let twin = Sender::start(port.address(), &other);
    let proxy = Proxy::start(&pushed(&port, &format!("{name}, {other}"), &file));
    proxy.wait_for_state(PATIENCE, &name, "healthy");
    proxy.wait_for_state(PATIENCE, &other, "healthy");
    let transitions = || proxy.page().sum("transitions_total", &[("endpoint", name.as_str())]);
    let before = transitions();

    for set in [3_600_000, -3_600_000, 0] {
        sender.clock.store(set, Relaxed);
        sender.more(2);
    }
    let steps = proxy.page().sum("heartbeats_total", &[("endpoint", name.as_str()), ("result", "clock_step")]);
    assert!((2..=4).contains(&steps), "{steps} steps of the clock are told");
    for _ in 0..stalls() {
        proxy.signal("STOP");
        std::thread::sleep(TTL + PERIOD / 2);
        proxy.signal("CONT");
        sender.more(1);
    }
    assert_eq!(transitions(), before, "{:#}", proxy.endpoint(&name));

    drop(twin);
    let stopped = clock::now();
    proxy.wait_for_state(PATIENCE, &other, "unhealthy");
    let took = clock::now().since(stopped);
    eprintln!("out {took:?} after the sender stopped");
    assert!(took < TTL + PERIOD, "{took:?}");
    assert_eq!(transitions(), before);
}

#[test]
fn who_sends_stays_in_over_an_upgrade_and_over_a_reload_that_moves_the_socket() {
    let name = "127.0.0.1:1";
    let (folder, file) = tokens(name);
    let (port, other) = (Port::free(), Port::free());
    let mut proxy = Proxy::start(&pushed(&port, name, &file));
    let sender = Sender::start(port.address(), name);
    proxy.wait_for_state(PATIENCE, name, "healthy");
    let since = proxy.endpoint(name)["since"].clone();
    proxy.upgrade();
    sender.more(5);
    assert_eq!(proxy.endpoint(name)["since"], since, "neither process missed it");
    drop(sender);

    folder.write("found.json", "[\"127.0.0.1:1\", \"127.0.0.1:2\"]");
    let listed = pushed(&other, name, &file);
    let discovered =
        listed.replace(&format!("endpoints: [{name}]"), &format!("discovery: {{ file: {} }}", folder.file("found.json")));
    assert_ne!(listed, discovered);
    proxy.rewrite(&discovered);
    proxy.succeed(&["reload"]);
    let refused = || TcpStream::connect(port.address()).is_err().then_some(());
    until(PATIENCE, "nobody listens there any more", refused);
    let _senders = [Sender::start(other.address(), name), Sender::start(other.address(), "127.0.0.1:2")];
    until(PATIENCE, "both come in by their heartbeats", || {
        let status = proxy.status();
        let states = status["clusters"][0]["endpoints"].as_array()?.iter().map(|one| one["state"].clone());
        (states.collect::<Vec<_>>() == ["healthy", "healthy"]).then_some(())
    });
}

#[test]
fn a_network_that_fails_alone_is_told_and_takes_nobody_out() {
    let name = "127.0.0.1:1";
    let (ports, (_folder, file)) = ([Port::free(), Port::free()], tokens(name));
    let [one, two] = ports.each_ref().map(Port::address);
    let proxy = Proxy::start(&one_listener(&format!(
        "heartbeats: [{{ address: {one} }}, {{ address: {two} }}]
clusters:
  - name: app
    endpoints: [{name}]
    health: {{ heartbeat: {{ period: 100ms, ttl: 500ms, token_file: {file} }} }}
"
    )));
    let mut clients = [one, two].map(|at| Client::connect(at).unwrap());
    let mut seq = 0;
    let mut send = |ways: usize| {
        seq += 1;
        for client in &mut clients[..ways] {
            let beat = json!({ "cluster": "app", "endpoint": name, "boot_id": "b", "seq": seq });
            assert_eq!(post(client, "t0", &beat).unwrap().0, 200);
        }
    };
    let paths = || proxy.endpoint(name)["heartbeat"]["paths"].as_array().unwrap().clone();
    send(2);
    proxy.wait_for_state(PATIENCE, name, "healthy");
    assert!(paths().iter().all(|path| path["reason"].is_null()), "{:?}", paths());
    until(PATIENCE, "the silent one is told", || {
        send(1);
        paths().iter().find(|path| path["address"] == two.to_string())?["reason"]["code"].as_str().map(str::to_owned)
    });
    let endpoint = proxy.endpoint(name);
    assert_eq!((&endpoint["state"], &endpoint["reasons"]), (&json!("healthy"), &json!([])));
    let explained = proxy.succeed(&["explain", "app", name]);
    assert!(explained.contains(&format!("by {two}")) && explained.contains("heartbeat_expired"), "{explained}");
    send(2);
    assert!(paths().iter().all(|path| path["reason"].is_null()), "it is back: {:?}", paths());
}

#[test]
fn endpoints_join_by_their_first_heartbeat_and_leave_by_bye_or_silence() {
    let services = [Kind::Python, Kind::Node].map(Service::start);
    let [one, other] = [services[0].name(), services[1].name()];
    let (port, (_folder, file)) = (Port::free(), tokens(&one));
    let mut senders = [&one, &other].map(|name| Some(Sender::start(port.address(), name)));
    let proxy = Proxy::start(&one_listener(&format!(
        "heartbeats: {{ address: {} }}
clusters:
  - name: app
    discovery: {{ heartbeat: true }}
    health: {{ heartbeat: {{ period: 100ms, ttl: 900ms, token_file: {file} }} }}
",
        port.address()
    )));
    let joined = || -> Vec<String> {
        let endpoints = proxy.status()["clusters"][0]["endpoints"].as_array().unwrap().clone();
        endpoints.iter().map(|endpoint| endpoint["address"].as_str().unwrap().to_owned()).collect()
    };
    for name in [&one, &other] {
        until(PATIENCE, "they join", || joined().contains(name).then_some(()));
        proxy.wait_for_state(PATIENCE, name, "healthy");
    }
    // Who joins others begins with less than its weight.
    for service in &services {
        until(PATIENCE, "each of them is asked", || (proxy.get("/").text() == service.says()).then_some(()));
    }

    let mut client = Client::connect(port.address()).unwrap();
    let stranger = json!({ "cluster": "app", "endpoint": "127.0.0.9:9" });
    for (token, status) in [("wrong", 401), ("t1", 403)] {
        assert_eq!(post(&mut client, token, &stranger).unwrap().0, status);
    }
    assert_eq!(post(&mut client, "t0", &json!({ "cluster": "app", "endpoint": "nowhere" })).unwrap().0, 400);
    assert_eq!(joined().len(), 2);
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(joined().len(), 2, "a reload keeps who has joined");

    drop(senders[0].take());
    let bye = json!({ "cluster": "app", "endpoint": one, "boot_id": "b", "seq": 1_000_000, "state": "bye" });
    let (status, ack) = post(&mut client, "t1", &bye).unwrap();
    assert_eq!((status, &ack["state"]), (200, &json!("draining")));
    until(PATIENCE, "who says bye leaves", || (joined() == [other.clone()]).then_some(()));
    assert_eq!(proxy.get("/").text(), services[1].says());
    drop(senders[1].take());
    proxy.wait_for_state(PATIENCE, &other, "unhealthy");
    until(PATIENCE, "who is silent leaves", || joined().is_empty().then_some(()));
    assert_eq!(proxy.get("/").status, 503);

    let (status, ack) = post(&mut client, "t1", &json!({ "cluster": "app", "endpoint": one, "boot_id": "c" })).unwrap();
    assert_eq!((status, &ack["available"]), (200, &json!(true)), "the first heartbeat admits: {ack}");
    assert_eq!(proxy.get("/").text(), services[0].says());
}

#[test]
fn what_is_said_is_judged_and_what_may_not_be_said_changes_nothing() {
    let services = [Kind::Python, Kind::Node].map(Service::start);
    let [one, other] = [services[0].name(), services[1].name()];
    let (port, (_folder, file)) = (Port::free(), tokens(&one));
    let _senders = [&one, &other].map(|name| Sender::start(port.address(), name));
    let proxy = Proxy::start(&pushed(&port, &format!("{one}, {other}"), &file));
    for name in [&one, &other] {
        proxy.wait_for_state(PATIENCE, name, "healthy");
    }
    let mut client = Client::connect(port.address()).unwrap();
    let mut say = |token: &str, beat: Value| post(&mut client, token, &beat).unwrap();
    let for_other = json!({ "cluster": "app", "endpoint": other });
    for (token, beat, status) in [
        ("wrong", for_other.clone(), 401),
        ("t1", for_other.clone(), 403),
        ("t0", json!({ "cluster": "shop", "endpoint": other }), 404),
        ("t0", json!({ "cluster": "app", "endpoint": "127.0.0.9:9" }), 404),
        ("t0", json!({ "cluster": "app", "endpoint": other, "cpu": 1 }), 400),
        ("t0", json!({ "cluster": "app", "endpoint": other, "period_ms": 0 }), 400),
    ] {
        assert_eq!(say(token, beat).0, status);
    }
    assert_eq!(proxy.endpoint(&other)["state"], "healthy");
    let refused = |result: &str| proxy.page().sum("heartbeats_total", &[("result", result)]);
    assert_eq!((refused("unauthorized"), refused("forbidden"), refused("malformed")), (1, 1, 2));

    let (status, ack) =
        say("t1", json!({ "cluster": "app", "endpoint": one, "boot_id": "b", "seq": 1_000_000, "report": { "queue": 500 } }));
    assert_eq!((status, &ack["seq"], &ack["ttl_ms"], &ack["next_in_ms"]), (200, &json!(1_000_000), &json!(1750), &json!(500)));
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &one, "ejected");
    assert_eq!(endpoint["reasons"][0]["code"], "report_queue");
    let (_, ack) = say("t1", json!({ "cluster": "app", "endpoint": one, "boot_id": "b", "seq": 1_000_001 }));
    assert_eq!((&ack["state"], &ack["available"], &ack["reasons"]), (&json!("ejected"), &json!(false), &json!(["report_queue"])));
    let (_, ack) =
        say("t0", json!({ "cluster": "app", "endpoint": other, "boot_id": "b", "seq": 1_000_000, "state": "failing" }));
    assert_eq!((&ack["state"], &ack["reasons"]), (&json!("unhealthy"), &json!(["report_status"])));
    assert!(proxy.succeed(&["explain", "app", &other]).contains("failing"));
}

/// Answers every request with the same bytes but for the nonce, which it treats as it is told.
pub(crate) fn answering(echo: &'static str) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(std::thread::spawn(move || socket.incoming().flatten().for_each(|stream| answer_all(stream, echo))));
    address
}

fn answer_all(stream: TcpStream, echo: &str) {
    use std::io::{BufRead, BufReader, Write};
    let mut reader = BufReader::new(stream);
    let (mut line, mut nonce) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            if name.eq_ignore_ascii_case("pulsegate-nonce") {
                nonce = value.to_owned();
            }
        } else if line.trim_end().is_empty() {
            let nonce = echo.replace("NONCE", &nonce);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{nonce}\r\nok");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        line.clear();
    }
}

#[test]
fn an_answer_without_the_probes_nonce_is_none() {
    let endpoints =
        [answering("Pulsegate-Nonce: NONCE\r\n"), answering(""), answering("Pulsegate-Nonce: 0123456789abcdef01234567\r\n")]
            .map(|address| address.to_string());
    let cluster = |name: &str, acknowledge: &str, n: usize| {
        format!(
            "  - {{ name: {name}, endpoints: [{}], health: {{ path: /health, interval: 200ms, acknowledge: {acknowledge} }} }}\n",
            endpoints[..n].join(", ")
        )
    };
    let clusters =
        format!("clusters:\n{}{}{}", cluster("app", "required", 3), cluster("maybe", "optional", 2), cluster("never", "off", 3));
    let proxy = Proxy::start(&one_listener(&clusters));
    let states = |cluster: &str| -> Vec<String> {
        let status = proxy.status();
        let found = status["clusters"].as_array().unwrap().iter().find(|one| one["name"] == cluster).unwrap().clone();
        found["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint["state"].as_str().unwrap().to_owned()).collect()
    };
    until(PATIENCE, "first verdicts", || (states("app") == ["healthy", "unhealthy", "unhealthy"]).then_some(()));
    for unacknowledged in &endpoints[1..] {
        assert_eq!(proxy.endpoint(unacknowledged)["reasons"][0]["code"], "probe_unacknowledged");
    }
    until(PATIENCE, "first verdicts", || (states("maybe") == ["healthy", "healthy"]).then_some(()));
    until(PATIENCE, "first verdicts", || (states("never") == ["healthy", "healthy", "healthy"]).then_some(()));
    assert_eq!(get(proxy.admin(), "/readyz").unwrap().status, 200);
}

//! `pulsegate beat`: when it ends, what it says at its end, and what proxies that never answer do to it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::heartbeats::{pushed, tokens};
use crate::support::{Folder, Kind, PATIENCE, Port, Process, Proxy, Service, until};

#[test]
fn the_sender_ends_when_too_few_acknowledge_and_says_goodbye_when_told_to() {
    let service = Service::start(Kind::Python);
    let name = service.name();
    let (port, nobody, (folder, file)) = (Port::free(), Port::free(), tokens(&name));
    let proxy = Proxy::start(&pushed(&port, &name, &file));
    let [here, nowhere] = [&port, &nobody].map(|port| format!("http://{}", port.address()));
    let beat = |require: &str, log: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
        command.args(["beat", "--to", &here, "--to", &nowhere, "--require", require, "--cluster", "app", "--endpoint", &name]);
        command.args(["--token-file", &file, "--report-command", "echo '{\"queue\": 7}'"]);
        Process::start(command, &folder.path().join(log))
    };

    let mut majority = beat("majority", "majority.log");
    let (status, took) = majority.exit(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", majority.said());
    eprintln!("cut off after {took:?}");
    assert!(majority.said().contains("1 of 2 proxies have acknowledged"), "{}", majority.said());

    let any = beat("any", "any.log");
    let restarted = [("endpoint", name.as_str()), ("result", "restarted")];
    until(PATIENCE, "the second one sends", || (proxy.page().sum("heartbeats_total", &restarted) == 1).then_some(()));
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &name, "healthy");
    assert_eq!(endpoint["heartbeat"]["state"], "ready");
    until(PATIENCE, "its report is read", || (proxy.endpoint(&name)["report"]["queue"] == 7.0).then_some(()));
    any.signal("TERM");
    let (endpoint, _) = proxy.wait_for_state(PATIENCE, &name, "draining");
    assert!(endpoint["reasons"][0]["detail"].as_str().unwrap().contains("bye"), "{endpoint:#}");
}

/// A socket whose queue is full: the system leaves whoever connects to it without an answer.
fn full() -> (Socket, TcpStream) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let waiting = TcpStream::connect(socket.local_addr().unwrap().as_socket().unwrap()).unwrap();
    (socket, waiting)
}

/// `pulsegate beat` for an endpoint, to these proxies.
fn beat(to: &[SocketAddr], require: &str, endpoint: &str, (folder, tokens): &(Folder, String), more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    command.args(["beat", "--require", require, "--cluster", "app", "--endpoint", endpoint, "--token-file", tokens]).args(more);
    command.args(to.iter().flat_map(|proxy| ["--to".to_owned(), format!("http://{proxy}")]));
    let log = to.iter().map(|proxy| proxy.port().to_string()).collect::<Vec<_>>().join("-");
    Process::start(command, &folder.path().join(format!("{require}-{log}.log")))
}

#[test]
fn proxies_that_never_answer_cost_the_others_no_heartbeat() {
    let name = "127.0.0.1:1";
    let known = tokens(name);
    let ports = [Port::free(), Port::free()];
    let [one, other] = ports.each_ref().map(Port::address);
    let config = |port| pushed(port, name, &known.1).replace("period: 500ms, ttl: 1750ms", "period: 200ms, ttl: 1400ms");
    let proxies = ports.each_ref().map(|port| Proxy::start(&config(port)));
    // The system takes the connections of one, and drops those to the other.
    let (deaf, (full, _waiting)) = (TcpListener::bind("127.0.0.1:0").unwrap(), full());
    let (deaf, full) = (deaf.local_addr().unwrap(), full.local_addr().unwrap().as_socket().unwrap());

    let mut majority = beat(&[deaf, one, full], "majority", name, &known, &[]);
    let (status, took) = majority.exit(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", majority.said());
    eprintln!("cut off after {took:?}");
    let said = majority.said();
    assert!(said.contains("1 of 3 proxies have acknowledged") && said.matches("no ack within").count() >= 2, "{said}");

    // The command is slower than any ttl: nobody is missed before the first heartbeat.
    let slow = ["--report-command", "sleep 2; echo '{\"queue\": 7}'"];
    let mut any = beat(&[full, one, deaf], "any", name, &known, &slow);
    until(PATIENCE, "it reports", || (proxies[0].endpoint(name)["report"]["queue"] == 7.0).then_some(()));
    let left = |proxy: &Proxy| proxy.page().sum("transitions_total", &[("endpoint", name), ("from", "healthy")]);
    let before = left(&proxies[0]);
    goes_on(&proxies[..1], name);
    assert!(left(&proxies[0]) == before && !any.has_ended(), "{}", any.said());
    any.signal("TERM");
    let (status, _) = any.exit(PATIENCE);
    assert_eq!(status.code(), Some(0));
    proxies[0].wait_for_state(PATIENCE, name, "draining");

    let mut majority = beat(&[deaf, one, other], "majority", name, &known, &[]);
    for proxy in &proxies {
        proxy.wait_for_state(PATIENCE, name, "healthy");
    }
    goes_on(&proxies, name);
    assert!(!majority.has_ended(), "{}", majority.said());
    let [_one, other] = proxies;
    drop(other);
    let (status, _) = majority.exit(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", majority.said());
    assert!(majority.said().contains("1 of 3 proxies have acknowledged"), "{}", majority.said());
}

/// Waits until each of them has taken more heartbeats than a ttl has room for.
fn goes_on(proxies: &[Proxy], endpoint: &str) {
    let came = |proxy: &Proxy| proxy.page().sum("heartbeats_total", &[("endpoint", endpoint), ("result", "ok")]);
    let wanted: Vec<u64> = proxies.iter().map(|proxy| came(proxy) + 8).collect();
    until(PATIENCE, "more heartbeats", || {
        proxies.iter().zip(&wanted).all(|(proxy, wanted)| came(proxy) >= *wanted).then_some(())
    });
}

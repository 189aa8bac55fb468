//! Every limit of a listener, crossed; and leaving.

use std::time::Duration;

use super::rig::{Rig, answers, endpoint};
use crate::cluster::ListenerError;
use crate::proxy::{Leave, Stage};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn errors(rig: &Rig, reason: ListenerError) -> u64 {
    rig.live.world().load().listeners[0].cells[0].errors[reason as usize].get()
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let rig = Rig::start_with(&[answers(OK)], |settings| {
        settings.listener.limits.head_bytes = 10_000;
        settings.listener.limits.head_count = 10;
    });
    assert_eq!(rig.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9_000))).status(), 200);
    assert_eq!(rig.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(11_000))).status(), 431);
    assert_eq!(rig.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(9))).status(), 200);
    assert_eq!(rig.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(10))).status(), 431);
}

#[test]
fn a_slow_head_is_closed() {
    let rig = Rig::start_with(&[answers(OK)], |settings| settings.listener.limits.head_timeout = Duration::from_millis(60));
    let mut silent = rig.connect();
    assert!(silent.at_end());
    let mut slow = rig.connect();
    slow.send(GET);
    assert_eq!(slow.reply(false).status(), 200);
    slow.send("GET / HT");
    assert!(slow.at_end());
    assert_eq!(errors(&rig, ListenerError::HeadTimeout), 2);
}

#[test]
fn an_idle_connection_is_closed_after_its_own_time() {
    let rig = Rig::start_with(&[answers(OK)], |settings| settings.listener.limits.keepalive_timeout = Duration::from_millis(60));
    let mut client = rig.connect();
    client.send(GET);
    assert_eq!(client.reply(false).status(), 200);
    assert!(client.at_end());
    assert_eq!(errors(&rig, ListenerError::HeadTimeout), 0);
}

#[test]
fn a_connection_too_many_is_closed() {
    let rig = Rig::start_with(&[answers(OK)], |settings| settings.listener.limits.connections = 1);
    let mut first = rig.connect();
    first.send(GET);
    assert_eq!(first.reply(false).status(), 200);
    let mut second = rig.connect();
    assert!(second.at_end());
    assert_eq!(errors(&rig, ListenerError::ConnectionLimit), 1);
    first.send(GET);
    assert_eq!(first.reply(false).status(), 200);
}

#[test]
fn a_body_that_stands_still_ends_the_exchange() {
    let limit = Duration::from_millis(60);
    let rig = Rig::start_with(&[answers(OK)], |settings| settings.route.idle_timeout = Some(limit));
    let mut client = rig.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    assert_eq!(client.reply(false).status(), 408);
    let half = endpoint(|mut client| {
        drop(client.request());
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
        let _ = client.at_end();
    });
    let rig = Rig::start_with(&[half], |settings| settings.route.idle_timeout = Some(limit));
    let mut client = rig.connect();
    client.send(GET);
    assert_eq!(client.request_head().unwrap().status(), 200);
    let mut rest = String::new();
    drop(std::io::Read::read_to_string(&mut client.stream, &mut rest));
    assert_eq!(rest, "ab");
    assert_eq!(errors(&rig, ListenerError::IdleTimeout), 1);
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let endless = endpoint(|mut client| {
        drop(client.request());
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let chunk = "x".repeat(100_000);
        while std::io::Write::write_all(client.stream.get_mut(), chunk.as_bytes()).is_ok() {}
    });
    let rig = Rig::start_with(&[endless], |settings| settings.route.idle_timeout = Some(Duration::from_millis(100)));
    let mut client = rig.connect();
    client.send(GET);
    while errors(&rig, ListenerError::IdleTimeout) == 0 {
        std::thread::yield_now();
    }
    drop(client);
}

#[test]
fn leaving_finishes_what_there_is() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
    let slow = endpoint(move |mut client| {
        drop(client.request());
        wait.lock().unwrap().recv().unwrap();
        client.send(OK);
    });
    let mut rig = Rig::start(&[slow]);
    let mut idle = rig.connect();
    let mut busy = rig.connect();
    busy.send(GET);
    while rig.endpoints[0].in_flight() == 0 {
        std::thread::yield_now();
    }
    rig.stage.send_replace(Stage::Closing(Leave { idle_grace: Duration::from_millis(50), timeout: Duration::from_secs(20) }));
    // It never sent anything, and goes after the grace.
    assert!(idle.at_end());
    assert!(std::net::TcpStream::connect(rig.address).is_err());
    go.send(()).unwrap();
    let reply = busy.reply(false);
    assert_eq!((reply.status(), reply.header("connection")), (200, Some("close")));
    assert!(busy.at_end());
    rig.join();
}

#[test]
fn a_request_on_an_idle_connection_is_answered_while_leaving() {
    let mut rig = Rig::start(&[answers(OK)]);
    let mut client = rig.connect();
    client.send(GET);
    assert_eq!(client.reply(false).status(), 200);
    rig.stage.send_replace(Stage::Closing(Leave { idle_grace: Duration::from_secs(5), timeout: Duration::from_secs(20) }));
    client.send(GET);
    let reply = client.reply(false);
    assert_eq!((reply.status(), reply.header("connection")), (200, Some("close")));
    assert!(client.at_end());
    rig.join();
}

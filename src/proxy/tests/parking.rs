//! Connections that idle: they keep nothing but their socket, and nobody notices.

use std::time::Duration;

use super::rig::{Client, Rig, answers};
use crate::proxy::parked::seen;
use crate::proxy::{Leave, Stage};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn ask(client: &mut Client) {
    client.send(GET);
    assert_eq!(client.reply(false).status(), 200);
}

/// Waits until a client's connection is parked.
fn park(client: &Client) {
    let address = client.stream.get_ref().local_addr().unwrap();
    while !seen::take(address) {
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_that_was_parked_goes_on_as_if_nothing_had_been() {
    let rig = Rig::start(&[answers(OK)]);
    let mut client = rig.connect();
    for _ in 0..3 {
        ask(&mut client);
        park(&client);
    }
    client.send("GET / HTTP/1.1\r\nHo");
    client.send(&format!("st: a\r\n\r\n{GET}"));
    assert_eq!((client.reply(false).status(), client.reply(false).status()), (200, 200));
    park(&client);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.reply(false).status(), 200);
    assert!(client.at_end());
}

#[test]
fn a_parked_connection_is_closed_when_its_time_is_over_and_when_its_client_leaves() {
    let keepalive = Duration::from_millis(300);
    let rig = Rig::start_with(&[answers(OK)], |settings| settings.listener.limits.keepalive_timeout = keepalive);
    let mut waiting = rig.connect();
    ask(&mut waiting);
    park(&waiting);
    assert!(waiting.at_end());
    let mut leaving = rig.connect();
    ask(&mut leaving);
    park(&leaving);
    leaving.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(leaving.at_end());
}

#[test]
fn a_worker_that_closes_takes_leave_of_parked_connections() {
    let mut rig = Rig::start(&[answers(OK)]);
    let (mut idle, mut late) = (rig.connect(), rig.connect());
    for client in [&mut idle, &mut late] {
        ask(client);
        park(client);
    }
    let leave = Leave { idle_grace: Duration::from_millis(500), timeout: Duration::from_secs(5) };
    rig.stage.send_replace(Stage::Closing(leave));
    late.send(GET);
    let last = late.reply(false);
    assert_eq!(last.status(), 200);
    assert!(late.at_end() && idle.at_end());
    rig.join();
}

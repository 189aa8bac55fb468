//! Limits that are met: who waits, who is turned away, and what becomes of connections that idle.

use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::rig::{Client, PATIENCE, Rig, answers, endpoint};
use crate::health::verdict::EndpointView;
use crate::runtime::clock;
use crate::traffic::limits::{Limit, Limits};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An endpoint that tells when a request has come, and answers when it is told to.
struct Held {
    arrived: Receiver<()>,
    answer: SyncSender<()>,
}

fn held() -> (std::net::SocketAddr, Held) {
    let (arrive, arrived) = sync_channel(100);
    let (answer, answers) = sync_channel(100);
    let answers = Arc::new(Mutex::new(answers));
    let address = endpoint(move |mut client| {
        while client.request().is_some() {
            if arrive.send(()).is_err() {
                return;
            }
            if answers.lock().unwrap().recv_timeout(PATIENCE).is_err() {
                return;
            }
            client.send(OK);
        }
    });
    (address, Held { arrived, answer })
}

impl Held {
    fn wait(&self) {
        self.arrived.recv_timeout(PATIENCE).expect("a request comes");
    }

    fn go(&self) {
        self.answer.send(()).unwrap();
    }
}

fn limits() -> Limits {
    Limits { pending: 10, queue_timeout: PATIENCE, ..Limits::none() }
}

fn ask(rig: &Rig) -> Client {
    let mut client = rig.connect();
    client.send(GET);
    client
}

fn waits_for(rig: &Rig, pending: u32) {
    while rig.live.world().load().clusters[0].gate().pending.get() != pending {
        std::thread::yield_now();
    }
}

#[test]
fn what_exceeds_a_limit_without_a_queue_is_turned_away_at_once() {
    for (limit, limits) in [
        (Limit::Requests, Limits { requests: Some(1), pending: 0, ..limits() }),
        (Limit::EndpointRequests, Limits { endpoint_requests: Some(1), pending: 0, ..limits() }),
        (Limit::Connections, Limits { connections: Some(1), pending: 0, ..limits() }),
        (Limit::EndpointConnections, Limits { endpoint_connections: Some(1), pending: 0, ..limits() }),
    ] {
        let (address, held) = held();
        let rig = Rig::start(&[address]);
        rig.limit(limits);
        let mut first = ask(&rig);
        held.wait();
        let second = rig.ask(GET);
        assert_eq!(second.status(), 503, "{limit:?}");
        assert_eq!(second.header("proxy-status"), Some("pulsegate; error=connection_limit_reached"));
        assert_eq!(second.header("retry-after"), Some("1"));
        assert!(second.body.contains(&format!("limits.{}, 1", limit.as_str())), "{}", second.body);
        assert_eq!(rig.rejected(limit), 1);
        held.go();
        assert_eq!(first.reply(false).status(), 200);
        let third = ask(&rig);
        held.wait();
        held.go();
        let mut third = third;
        assert_eq!(third.reply(false).status(), 200, "{limit:?}: what was taken has been given back");
    }
}

#[test]
fn an_endpoint_is_not_to_blame_for_what_a_request_waited_here() {
    let (address, held) = held();
    let rig = Rig::start(&[address]);
    rig.limit(Limits { requests: Some(1), ..limits() });
    let mut first = ask(&rig);
    held.wait();
    let mut second = ask(&rig);
    waits_for(&rig, 1);
    let freed = clock::now();
    held.go();
    assert_eq!(first.reply(false).status(), 200);
    held.wait();
    let snapshot = rig.live.world().load().clusters[0].snapshot().load();
    let owes_since = snapshot.endpoints[0].cells(0).oldest_unanswered.get();
    assert!(owes_since >= freed.as_nanos(), "it was sent the second request only after {freed:?}");
    held.go();
    assert_eq!(second.reply(false).status(), 200);
}

#[test]
fn what_waits_goes_on_in_order_and_the_queue_is_bounded() {
    for limits in [
        Limits { requests: Some(1), ..limits() },
        Limits { endpoint_requests: Some(1), ..limits() },
        Limits { connections: Some(1), ..limits() },
        Limits { endpoint_connections: Some(1), ..limits() },
    ] {
        let (address, held) = held();
        let rig = Rig::start(&[address]);
        rig.limit(Limits { pending: 2, ..limits });
        let mut first = ask(&rig);
        held.wait();
        let mut second = ask(&rig);
        waits_for(&rig, 1);
        let mut third = ask(&rig);
        waits_for(&rig, 2);
        assert!(rig.ask(GET).body.contains("limits.pending, 2"));
        assert_eq!(rig.rejected(Limit::Pending), 1);
        held.go();
        assert_eq!(first.reply(false).status(), 200);
        for client in [&mut second, &mut third] {
            held.wait();
            held.go();
            assert_eq!(client.reply(false).status(), 200);
        }
        waits_for(&rig, 0);
    }
}

#[test]
fn nobody_waits_longer_than_the_queue_allows() {
    let (address, held) = held();
    let rig = Rig::start(&[address]);
    rig.limit(Limits { requests: Some(1), queue_timeout: Duration::from_millis(50), ..limits() });
    let mut first = ask(&rig);
    held.wait();
    let second = rig.ask(GET);
    assert_eq!((second.status(), rig.rejected(Limit::QueueTimeout)), (503, 1));
    assert!(second.body.contains("limits.queue_timeout, 50ms"), "{}", second.body);
    held.go();
    assert_eq!(first.reply(false).status(), 200);
}

#[test]
fn what_an_endpoint_asks_for_bounds_it_below_the_limit() {
    let (address, held) = held();
    let rig = Rig::start(&[address]);
    let endpoint = Arc::clone(&rig.live.world().load().clusters[0].snapshot().load().endpoints[0]);
    let asks = |most| endpoint.show(EndpointView { most_requests: most, ..EndpointView::clone(&endpoint.view()) });
    asks(Some(1));
    rig.limit(Limits { asked: true, endpoint_requests: Some(5), pending: 0, ..limits() });
    let mut first = ask(&rig);
    held.wait();
    let second = rig.ask(GET);
    assert_eq!((second.status(), rig.rejected(Limit::EndpointRequests)), (503, 1));
    assert!(second.body.contains("what its agents ask for"), "{}", second.body);
    asks(None);
    let mut third = ask(&rig);
    held.wait();
    // Whose is answered first is nobody's business.
    held.go();
    held.go();
    for client in [&mut first, &mut third] {
        assert_eq!(client.reply(false).status(), 200);
    }
}

#[test]
fn an_endpoint_at_its_limit_is_passed_over() {
    let (address, held) = held();
    let rig = Rig::start(&[address, answers(OK)]);
    rig.limit(Limits { endpoint_requests: Some(1), pending: 0, ..limits() });
    let mut stuck = ask(&rig);
    let mut others = 0;
    // In turn, so that the first or the second one gets stuck.
    let held_now = held.arrived.recv_timeout(Duration::from_millis(200)).is_ok();
    if !held_now {
        assert_eq!(stuck.reply(false).status(), 200);
        stuck = ask(&rig);
        held.wait();
    }
    for _ in 0..6 {
        assert_eq!(rig.ask(GET).status(), 200);
        others += 1;
    }
    assert_eq!(others, 6);
    held.go();
    assert_eq!(stuck.reply(false).status(), 200);
}

#[test]
fn a_connection_that_idles_makes_room_for_one_to_another_endpoint() {
    let rig = Rig::start(&[answers(OK), answers(OK)]);
    rig.limit(Limits { connections: Some(1), ..limits() });
    for _ in 0..4 {
        assert_eq!(rig.ask(GET).status(), 200);
    }
    assert!(rig.endpoints.iter().map(|one| one.connections.get()).sum::<u32>() <= 1);
    assert_eq!(rig.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status(), 200);
}

#[test]
fn no_more_connections_idle_than_may() {
    let (address, held) = held();
    let rig = Rig::start_with(&[address], |settings| settings.upstream.idle_connections = 2);
    let mut clients = [(); 4].map(|()| ask(&rig));
    clients.iter().for_each(|_| held.wait());
    clients.iter().for_each(|_| held.go());
    clients.iter_mut().for_each(|client| assert_eq!(client.reply(false).status(), 200));
    let cells = rig.endpoints[0].cells(0);
    while cells.active.get() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(cells.idle.get(), 2);
}

#[test]
fn a_connection_that_nobody_takes_is_waited_for_only_so_long() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Whoever comes when the queue is full gets no answer to his first packet.
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting: Vec<TcpStream> = (0..10).map_while(connect).collect();
    assert!(waiting.len() < 10, "the queue has an end");
    let rig = Rig::start_with(&[address], |settings| settings.upstream.connect_timeout = Duration::from_millis(50));
    let answer = rig.ask(GET);
    assert_eq!((answer.status(), answer.header("proxy-status")), (504, Some("pulsegate; error=connection_timeout")));
}

//! Slow sides: what one does not take is not asked of the other, and what is late is answered for.

use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use pulsegate::runtime::clock;
use socket2::SockRef;

use crate::origin::{Origin, ok};
use crate::program::Proxy;
use crate::wire::{PATIENCE, Peer};

/// A write that takes longer finds a full queue: nobody reads.
const STUCK: Duration = Duration::from_millis(500);
/// Clients at once. What is kept for each shows in the sum.
const CLIENTS: usize = 32;

/// What the system itself may hold between two pairs of sockets, in bytes, and a little that we hold.
fn in_transit() -> u64 {
    let most = |name: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        text.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    2 * (most("tcp_rmem") + most("tcp_wmem")) + (1 << 20)
}

/// Writes until nobody takes anything any more, and gives the number of bytes.
fn fill(peer: &mut Peer) -> u64 {
    peer.socket().set_write_timeout(Some(STUCK)).unwrap();
    let piece = vec![b'x'; 1 << 16];
    let (mut sent, most) = (0, 2 * in_transit());
    let mut socket = peer.socket();
    while let Ok(length) = socket.write(&piece) {
        sent += u64::try_from(length).unwrap();
        if sent > most {
            break;
        }
    }
    sent
}

#[test]
fn clients_that_read_nothing_cost_little_memory_and_stop_the_endpoint() {
    let (tell, told) = sync_channel(CLIENTS);
    let origin = Origin::serving(move |mut peer| {
        drop(peer.request());
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        tell.send(fill(&mut peer)).unwrap();
        // Held until the client goes.
        assert!(peer.at_end());
        tell.send(0).unwrap();
    });
    let proxy = Proxy::before(&origin);
    let clients: Vec<Peer> = (0..CLIENTS)
        .map(|_| {
            let mut client = proxy.connect();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    for _ in &clients {
        let sent = told.recv_timeout(PATIENCE).unwrap();
        assert!(sent < in_transit(), "the endpoint could send {sent} bytes to nobody");
    }
    assert!(proxy.peak_memory() < 50, "{} MiB", proxy.peak_memory());
    drop(clients);
    for _ in 0..CLIENTS {
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 0);
    }
    proxy.until_metric("pulsegate_requests_total", &["code=\"499\""], 32);
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
}

#[test]
fn endpoints_that_read_nothing_cost_little_memory_and_stop_the_client() {
    let (hold, held) = sync_channel::<Peer>(CLIENTS);
    let origin = Origin::serving(move |mut peer| {
        drop(peer.head());
        hold.send(peer).unwrap();
    });
    let proxy = Proxy::before(&origin);
    let uploads: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = proxy.connect();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n");
            std::thread::spawn(move || (fill(&mut client), client))
        })
        .collect();
    let stuck: Vec<_> = uploads.into_iter().map(|upload| upload.join().unwrap()).collect();
    for (sent, _) in &stuck {
        assert!(*sent < in_transit(), "the client could send {sent} bytes to nobody");
    }
    assert!(proxy.peak_memory() < 50, "{} MiB", proxy.peak_memory());
    drop(stuck);
    drop(held);
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
}

#[test]
fn a_client_that_takes_a_byte_at_a_time_gets_all_of_them() {
    let body = "0123456789".repeat(20_000);
    let whole = body.clone();
    let origin = Origin::answering(move |_| ok(&body));
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    SockRef::from(client.socket()).set_recv_buffer_size(2048).unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().unwrap().status(), 200);
    let mut got = Vec::new();
    while got.len() < whole.len() {
        let piece = client.reader().fill_buf().unwrap();
        let length = piece.len().min(101);
        got.extend_from_slice(&piece[..length]);
        client.reader().consume(length);
    }
    assert_eq!(got, whole.as_bytes());
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").body.len(), whole.len());
}

#[test]
fn an_endpoint_that_is_late_is_504_and_its_late_answer_is_nobodys() {
    let (go, wait) = sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let (done, sent) = sync_channel::<bool>(1);
    let origin = Origin::serving(move |mut peer| {
        while let Ok(request) = peer.request() {
            if request.target() == "/late" {
                wait.lock().unwrap().recv().unwrap();
                done.send(peer.send(ok("late"))).unwrap();
            } else {
                peer.send(ok(request.target()));
            }
        }
    });
    let proxy = Proxy::with_route(&origin, "timeout: 200ms");
    let mut client = proxy.connect();
    assert_eq!(client.ask("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").body, "/first");
    let answer = client.ask("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status(), answer.error()), (504, Some("http_response_timeout")), "{answer:?}");
    go.send(()).unwrap();
    sent.recv_timeout(PATIENCE).unwrap();
    for number in 0..5 {
        let target = format!("/next/{number}");
        assert_eq!(client.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).body, target);
    }
}

#[test]
fn an_endpoint_that_pauses_in_a_body_is_waited_for_up_to_the_idle_timeout() {
    let origin = Origin::serving(|mut peer| {
        while let Ok(request) = peer.request() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            if request.target() == "/stalls" {
                assert!(peer.at_end());
                return;
            }
            std::thread::sleep(Duration::from_millis(400));
            peer.send("half");
        }
    });
    // The whole takes longer than `timeout`, which is for the head only.
    let proxy = Proxy::with_route(&origin, "timeout: 200ms, idle_timeout: 2s");
    let mut client = proxy.connect();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").body, "halfhalf");
    client.send("GET /stalls HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.answer(false).is_err(), "half of a body is no answer");
    proxy.until_metric("pulsegate_downstream_errors_total", &["reason=\"idle_timeout\""], 1);
    proxy.until_metric("pulsegate_upstream_requests_active", &[], 0);
}

/// An answer that comes before the request has been sent must not leave the rest of that request in the way of the next one.
#[test]
fn an_endpoint_that_answers_early_and_reads_no_further_holds_nobody_up() {
    let mut size = capacity(&little()) + 10_000;
    for _ in 0..12 {
        match answered_early(size) {
            Early::Held => return,
            // How much the system takes depends on how it is given to it.
            Early::Left(bytes) => size -= bytes + 20_000,
            Early::Sent => size += 30_000,
        }
    }
    panic!("the proxy never held the rest of a request");
}

/// What the proxy had of an upload when it was answered.
enum Early {
    /// Some of it, after it had taken all.
    Held,
    /// It had not taken so many bytes.
    Left(usize),
    /// Nothing any more: it had sent all.
    Sent,
}

/// Somebody for whom the system keeps little that has not been read.
fn little() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    listener
}

/// Uploads so many bytes to an endpoint that reads none of them and answers all the same.
fn answered_early(size: usize) -> Early {
    let listener = little();
    let address = listener.local_addr().unwrap();
    let (go, wait) = sync_channel::<()>(0);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut peer = Peer::new(stream);
            let told = if number == 0 { wait.recv().is_ok() } else { peer.head().is_ok() };
            if !told || !peer.send(ok("early")) {
                return;
            }
            held.push(peer);
        }
    });
    let proxy = Proxy::start(&format!(
        "workers: 1
listeners:
  - {{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: app, timeout: 5s }}] }}
clusters:
  - {{ name: app, endpoints: [\"{address}\"], health: off }}
"
    ));
    let mut client = proxy.connect();
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
    client.send("x".repeat(size));
    let port = client.socket().local_addr().unwrap().port();
    let looks_until = clock::now() + Duration::from_secs(1);
    while waiting(port) > 0 && clock::now() < looks_until {
        std::thread::sleep(Duration::from_millis(5));
    }
    match waiting(port) {
        0 if waiting(address.port()) >= size => return Early::Sent,
        0 => {}
        left => return Early::Left(left),
    }
    go.send(()).unwrap();
    assert_eq!(client.answer(false).unwrap().body, "early");
    let next = proxy.connect().ask("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((next.status(), next.body.as_str()), (200, "early"), "{next:?}");
    Early::Held
}

/// How many bytes can be sent to somebody who accepts and reads nothing.
fn capacity(listener: &TcpListener) -> usize {
    let mut sender = Peer::connect(listener.local_addr().unwrap());
    let _receiver = listener.accept().unwrap();
    usize::try_from(fill(&mut sender)).unwrap()
}

/// How many bytes the system holds on the connections of a port, sent and not acknowledged or received and not read.
fn waiting(port: u16) -> usize {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Of a busy machine it has many thousand lines.
    let lines = table.lines().filter(|line| line.contains(&port));
    let ends = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues = ends.filter(|end| end[1].ends_with(&port) || end[2].ends_with(&port)).map(|end| {
        let (sent, received) = end[4].split_once(':').unwrap();
        usize::from_str_radix(sent, 16).unwrap() + usize::from_str_radix(received, 16).unwrap()
    });
    queues.sum()
}

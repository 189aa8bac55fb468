//! Endpoints that are told who the client is: what a connection begins with, and whose it is.

use std::io::{BufRead, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver};

use crate::origin::{Origin, ok};
use crate::program::Proxy;
use crate::wire::{PATIENCE, Peer};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What an endpoint has seen of a connection, by its number.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// It began with this header, and this byte behind it.
    Begun(usize, Vec<u8>, u8),
    /// It has ended.
    Ended(usize),
}

/// An endpoint that answers with the number of the connection.
struct Endpoint {
    origin: Origin,
    events: Receiver<Event>,
}

impl Endpoint {
    fn start() -> Self {
        let (tell, events) = mpsc::sync_channel(16);
        let numbers = AtomicUsize::new(0);
        let origin = Origin::serving(move |mut peer| {
            let number = numbers.fetch_add(1, SeqCst);
            let Some((header, next)) = beginning(&mut peer) else { return };
            // The test may have seen enough.
            drop(tell.send(Event::Begun(number, header, next)));
            while next != 0x16
                && let Ok(request) = peer.request()
                && peer.send(ok(&format!("{number} {}", request.target())))
            {}
            drop(tell.send(Event::Ended(number)));
        });
        Self { origin, events }
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).unwrap()
    }
}

/// A header, if one comes, and the first byte behind it; none if nothing comes.
fn beginning(peer: &mut Peer) -> Option<(Vec<u8>, u8)> {
    let reader = peer.reader();
    let mut header = Vec::new();
    match reader.fill_buf().ok()?.first()? {
        b'P' => drop(reader.read_until(b'\n', &mut header).ok()?),
        b'\r' => {
            header.resize(16, 0);
            reader.read_exact(&mut header).ok()?;
            let mut rest = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
            reader.read_exact(&mut rest).ok()?;
            header.extend(rest);
        }
        _ => {}
    }
    Some((header, *reader.fill_buf().ok()?.first()?))
}

fn v1(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
}

fn v2(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let ip = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let kind: &[u8] = if from.is_ipv4() { &[0x21, 0x11, 0, 12] } else { &[0x21, 0x21, 0, 36] };
    [SIGNATURE, kind, &ip(from), &ip(to), &from.port().to_be_bytes(), &to.port().to_be_bytes()].concat()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn a_connection_names_its_client_and_is_nobody_elses() {
    for (version, header) in [("v1", v1 as fn(SocketAddr, SocketAddr) -> Vec<u8>), ("v2", v2)] {
        let endpoint = Endpoint::start();
        let proxy = Proxy::start(&format!(
            "workers: 1
listeners:
  - {{ name: web, address: 127.0.0.1:0, cluster: app }}
  - {{ name: behind, address: 127.0.0.1:0, cluster: app, proxy_protocol: true, trusted_proxies: [127.0.0.1] }}
  - {{ name: secured, address: 127.0.0.1:0, cluster: secured }}
clusters:
  - {{ name: app, endpoints: [\"{0}\"], health: off, protocol: auto, proxy_protocol: {version} }}
  - {{ name: secured, endpoints: [\"{0}\"], health: off, protocol: auto, tls: {{}}, proxy_protocol: {version} }}
",
            endpoint.origin.address
        ));
        let web = proxy.listener("web");
        let (mut one, mut two) = (Peer::connect(web), Peer::connect(web));
        let own = |client: &Peer| header(client.socket().local_addr().unwrap(), web);
        assert_eq!(one.ask(&get("/a")).body, "0 /a");
        assert_eq!(endpoint.event(), Event::Begun(0, own(&one), b'G'));
        assert_eq!(two.ask(&get("/b")).body, "1 /b", "another client's connection waits, and is not taken");
        assert_eq!(endpoint.event(), Event::Begun(1, own(&two), b'G'));
        assert_eq!(one.ask(&get("/c")).body, "0 /c", "a client's own connection is used again");
        drop(one);
        assert_eq!(endpoint.event(), Event::Ended(0), "it is closed with the client's");
        assert_eq!(two.ask(&get("/d")).body, "1 /d");

        // What a proxy in front tells is passed on, and beside an address of the other family ours is written as one of that.
        let behind = proxy.listener("behind");
        let mut client = Peer::connect(behind);
        client.send("PROXY TCP6 2001:db8::7 2001:db8::1 9 80\r\n");
        assert_eq!(client.ask(&get("/e")).body, "2 /e");
        let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), behind.port());
        assert_eq!(endpoint.event(), Event::Begun(2, header("[2001:db8::7]:9".parse().unwrap(), mapped), b'G'));

        // The header stands before everything else, TLS included.
        let secured = proxy.listener("secured");
        let mut client = Peer::connect(secured);
        assert_eq!(client.ask(&get("/f")).status(), 502);
        let wanted = header(client.socket().local_addr().unwrap(), secured);
        assert_eq!(endpoint.event(), Event::Begun(3, wanted, 0x16));
    }
}

#[test]
fn probes_speak_for_themselves() {
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    for (version, wanted) in [("v1", b"PROXY UNKNOWN\r\n".to_vec()), ("v2", local)] {
        let (endpoint, manager) = (Endpoint::start(), Endpoint::start());
        let _proxy = Proxy::start(&format!(
            "workers: 1
listeners: [{{ name: web, address: 127.0.0.1:0, cluster: app }}]
clusters:
  - name: app
    endpoints: [\"{}\"]
    proxy_protocol: {version}
    health:
      probes:
        - {{ name: own, http: {{ path: /health }} }}
        - {{ name: manager, http: {{ path: /health }}, port: {} }}
",
            endpoint.origin.address,
            manager.origin.address.port()
        ));
        assert_eq!(endpoint.event(), Event::Begun(0, wanted, b'G'));
        assert_eq!(manager.event(), Event::Begun(0, Vec::new(), b'G'), "another port knows nothing of headers");
    }
}

//! TLS and HTTP/2 towards endpoints: who is believed, what is spoken, and which requests are sent again.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::certificates::Certificates;
use crate::curl::curl;
use crate::origin::{Origin, seen};
use crate::program::Proxy;
use crate::wire::Peer;

/// An endpoint that speaks TLS and either protocol, and believes certificates of the authority: another proxy.
fn endpoint(certificates: &Certificates, origin: &Origin) -> Proxy {
    certificates.sign("inner", "inner", &["orders.internal", "127.0.0.1"]);
    let file = |name: &str| certificates.file(name);
    Proxy::start(&format!(
        "workers: 1
listeners:
  - name: web
    address: 127.0.0.1:0
    tls: {{ cert: {}, key: {}, client_ca: {}, client_auth: optional }}
    cluster: app
clusters: [{{ name: app, endpoints: [\"{}\"], health: off }}]
",
        file("inner.crt"),
        file("inner.key"),
        file("ca.crt"),
        origin.address
    ))
}

#[test]
fn endpoints_are_believed_by_authority_and_name_and_learn_who_we_are() {
    let (certificates, strangers, origin) = (Certificates::new(), Certificates::new(), Origin::echo());
    let inner = endpoint(&certificates, &origin);
    certificates.sign("edge", "edge", &[]);
    let (ca, other) = (certificates.file("ca.crt"), strangers.file("ca.crt"));
    let own = format!("cert: {}, key: {}", certificates.file("edge.crt"), certificates.file("edge.key"));
    let itself = certificates.file("inner.crt");
    let (address, plain) = (inner.address(), origin.address);
    // What a cluster is told, where it goes, and what comes of it: the protocol of the endpoint's Via, or our own error.
    let cases = [
        (format!("protocol: http1, tls: {{ ca: {ca} }}"), address, Ok("1.1")),
        (format!("protocol: http2, tls: {{ ca: {ca}, server_name: orders.internal }}"), address, Ok("2.0")),
        (format!("protocol: auto, tls: {{ ca: {ca}, {own} }}"), address, Ok("2.0")),
        (format!("tls: {{ ca: {itself} }}"), address, Err("tls_certificate_error")),
        (format!("tls: {{ ca: {other} }}"), address, Err("tls_certificate_error")),
        (format!("tls: {{ ca: {ca}, server_name: other.internal }}"), address, Err("tls_certificate_error")),
        ("tls: {}".to_owned(), address, Err("tls_certificate_error")),
        (format!("tls: {{ ca: {ca} }}"), plain, Err("tls_protocol_error")),
        (format!("protocol: http2, tls: {{ ca: {ca} }}"), plain, Err("tls_protocol_error")),
    ];
    let mut text = String::from("workers: 1\nlisteners:\n");
    for number in 0..cases.len() {
        text += &format!("  - {{ name: l{number}, address: 127.0.0.1:0, cluster: c{number} }}\n");
    }
    text += "clusters:\n";
    for (number, (settings, address, _)) in cases.iter().enumerate() {
        text += &format!("  - {{ name: c{number}, endpoints: [\"{address}\"], health: off, {settings} }}\n");
    }
    let proxy = Proxy::start(&text);
    for (number, (settings, _, wanted)) in cases.iter().enumerate() {
        let url = format!("http://{}/some?path", proxy.listener(&format!("l{number}")));
        for how in ["--http1.1", "--http2-prior-knowledge"] {
            let got = curl(&[how, &url, "--data", "body"]);
            match wanted {
                Ok(version) => {
                    assert_eq!(got.status(), 200, "{settings} {got:?}");
                    let via = seen(&got.body, "via").unwrap_or_default();
                    assert!(via.ends_with(&format!(", {version} pulsegate")), "{settings} {via}");
                    assert!(got.body.starts_with("POST /some?path ") && got.body.contains("\nbody\n"), "{got:?}");
                    let subject = settings.contains("edge.crt").then_some("CN=edge");
                    assert_eq!(seen(&got.body, "x-client-cert-subject"), subject);
                }
                Err(error) => {
                    assert_eq!(got.status(), 502, "{settings} {got:?}");
                    assert_eq!(got.head().error(), Some(*error), "{settings} {got:?}");
                }
            }
        }
        let tls = proxy.metric("pulsegate_upstream_connects_total", &[&format!("cluster=\"c{number}\""), "result=\"tls\""]);
        assert_eq!(tls > 0, wanted.is_err(), "{settings}");
    }
}

#[test]
fn probes_go_over_the_tls_of_their_cluster_unless_they_are_told_not_to() {
    let (certificates, strangers, origin) = (Certificates::new(), Certificates::new(), Origin::echo());
    let inner = endpoint(&certificates, &origin);
    let (ca, other) = (certificates.file("ca.crt"), strangers.file("ca.crt"));
    let (address, port) = (inner.address(), origin.address.port());
    let proxy = Proxy::start(&format!(
        "workers: 1
listeners: [{{ name: web, address: 127.0.0.1:0, cluster: believed }}]
clusters:
  - {{ name: believed, endpoints: [\"{address}\"], tls: {{ ca: {ca} }}, health: {{ path: / }} }}
  - {{ name: connected, endpoints: [\"{address}\"], tls: {{ ca: {ca} }}, health: {{ probes: [{{ tcp: {{}} }}] }} }}
  - {{ name: clear, endpoints: [\"{address}\"], tls: {{ ca: {other} }}, health: {{ path: /, port: {port}, tls: off }} }}
  - {{ name: strange, endpoints: [\"{address}\"], tls: {{ ca: {other} }}, health: {{ path: / }} }}
  - {{ name: strange-tcp, endpoints: [\"{address}\"], tls: {{ ca: {other} }}, health: {{ probes: [{{ tcp: {{}} }}] }} }}
  - {{ name: one, endpoints: [\"{address}\"], tls: {{ ca: {ca} }}, health: {{ probes: [{{ http: {{ path: /, body_contains: \"via: 1.1 pulsegate\" }} }}] }} }}
  - {{ name: two, endpoints: [\"{address}\"], tls: {{ ca: {ca} }}, protocol: http2, health: {{ probes: [{{ http: {{ path: /, body_contains: \"via: 2.0 pulsegate\" }} }}] }} }}
  - {{ name: either, endpoints: [\"{address}\"], tls: {{ ca: {ca} }}, protocol: auto, health: {{ probes: [{{ http: {{ path: /, body_contains: \"via: 2.0 pulsegate\" }} }}] }} }}
  - {{ name: elsewhere, endpoints: [\"{address}\"], tls: {{ ca: {ca} }}, protocol: http2, health: {{ path: /, port: {port}, tls: off }} }}
"
    ));
    let status: serde_json::Value = serde_json::from_str(&proxy.status()).unwrap();
    let seen: Vec<(&str, &str, &str)> = status["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cluster| {
            let endpoint = &cluster["endpoints"][0];
            let code = endpoint["reasons"][0]["code"].as_str().unwrap_or_default();
            (cluster["name"].as_str().unwrap(), endpoint["state"].as_str().unwrap(), code)
        })
        .collect();
    let wanted = [
        ("believed", "healthy", ""),
        ("connected", "healthy", ""),
        ("clear", "healthy", ""),
        ("strange", "unhealthy", "probe_tls"),
        ("strange-tcp", "unhealthy", "probe_tls"),
        ("one", "healthy", ""),
        ("two", "healthy", ""),
        ("either", "healthy", ""),
        ("elsewhere", "healthy", ""),
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn exchanges_share_a_connection_and_a_drain_of_the_endpoint_costs_none() {
    let origin = Origin::echo();
    let inner = || Proxy::before(&origin);
    let (first, second) = (inner(), inner());
    let proxy = Proxy::start(&format!(
        "workers: 1
listeners: [{{ name: web, address: 127.0.0.1:0, cluster: app }}]
clusters: [{{ name: app, endpoints: [\"{}\", \"{}\"], protocol: http2, health: {{ path: / }} }}]
",
        first.address(),
        second.address()
    ));
    let url = proxy.url("/");
    let load = std::thread::spawn(move || {
        let mut command = std::process::Command::new("h2load");
        command.args(["-n", "4000", "-c", "4", "-m", "5", &url]);
        let output = command.output().unwrap_or_else(|error| panic!("h2load: {error}; tests/run installs it"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    while first.metric("pulsegate_requests_total", &["code=\"200\""]) < 300 {}
    assert_eq!(proxy.metric("pulsegate_upstream_connects_total", &["result=\"ok\""]), 2, "one for each endpoint");
    first.drain();
    let said = load.join().unwrap();
    assert!(said.contains("4000 succeeded, 0 failed, 0 errored"), "{said}\n{}", proxy.said());
}

/// An endpoint that reads requests' heads by HTTP/2, and then does this: with the number of the request, from 0, and the four
/// bytes of its stream.
fn refusing(then: impl Fn(usize, &[u8], &mut std::net::TcpStream) + Send + Sync + 'static) -> (Origin, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let origin = Origin::serving(move |mut peer: Peer| {
        let mut preface = [0; 24];
        let Ok(()) = peer.reader().read_exact(&mut preface) else { return };
        let mut socket = peer.socket().try_clone().unwrap();
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        loop {
            let mut head = [0; 9];
            let Ok(()) = peer.reader().read_exact(&mut head) else { return };
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            let Ok(()) = peer.reader().read_exact(&mut payload) else { return };
            if head[3] == 1 {
                let number = counted.fetch_add(1, SeqCst);
                then(number, &head[5..], &mut socket);
            }
        }
    });
    (origin, requests)
}

const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
const RESET: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];
/// An answer of 200 without a body, but for the number of its stream and what follows that.
const OK: &[u8] = &[0, 0, 1, 1, 5];
const STATUS_200: u8 = 0x88;

#[test]
fn what_an_endpoint_refuses_unseen_is_sent_again_and_nothing_else_is() {
    let cases: [(&str, &[u8], bool); 3] = [("goaway", GOAWAY, true), ("refused", REFUSED, true), ("reset", RESET, false)];
    for (name, refusal, again) in cases {
        let (origin, requests) = refusing(move |number, stream, socket| {
            // The second try may come on the same connection, if that has not been taken back.
            let answer = if number == 0 { refusal.to_vec() } else { [OK, stream, &[STATUS_200]].concat() };
            drop(socket.write_all(&answer));
        });
        let proxy = Proxy::start(&format!(
            "workers: 1
listeners: [{{ name: web, address: 127.0.0.1:0, cluster: app }}]
clusters: [{{ name: app, endpoints: [\"{}\"], protocol: http2, health: off }}]
",
            origin.address
        ));
        let got = curl(&[&proxy.url("/"), "--request", "POST"]);
        let wanted = if again { (200, 2) } else { (502, 1) };
        assert_eq!((got.status(), requests.load(SeqCst)), wanted, "{name} {got:?}");
    }
}

#[test]
fn authorities_and_our_own_certificate_are_read_again_when_their_files_change() {
    let (certificates, strangers, origin) = (Certificates::new(), Certificates::new(), Origin::echo());
    let inner = endpoint(&certificates, &origin);
    certificates.sign("edge", "first", &[]);
    let (trust, stranger) = (certificates.file("trust.crt"), strangers.file("ca.crt"));
    std::fs::copy(&stranger, &trust).unwrap();
    let proxy = Proxy::start(&format!(
        "workers: 1
listeners: [{{ name: web, address: 127.0.0.1:0, cluster: app }}]
clusters:
  - name: app
    endpoints: [\"{}\"]
    tls: {{ ca: {trust}, cert: {}, key: {} }}
    pool: {{ idle_timeout: 1ms }}
    health: {{ path: /, interval: 200ms, timeout: 200ms }}
",
        inner.address(),
        certificates.file("edge.crt"),
        certificates.file("edge.key"),
    ));
    let state = || {
        let status: serde_json::Value = serde_json::from_str(&proxy.status()).unwrap();
        status["clusters"][0]["endpoints"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(), "unhealthy", "probes do not believe it either");
    std::fs::copy(certificates.file("ca.crt"), &trust).unwrap();
    proxy.until("probes believe it", || state() == "healthy");
    let subject = || {
        let got = curl(&[&proxy.url("/")]);
        assert_eq!(got.status(), 200, "{got:?}");
        seen(&got.body, "x-client-cert-subject").unwrap_or_default().to_owned()
    };
    assert_eq!(subject(), "CN=first");
    // A broken file changes nothing but the log.
    std::fs::write(&trust, "no certificate\n").unwrap();
    proxy.until("the broken file is told", || proxy.said().contains("cannot be used; the old ones stay"));
    assert_eq!(subject(), "CN=first");
    std::fs::copy(certificates.file("ca.crt"), &trust).unwrap();
    certificates.sign("edge", "second", &[]);
    proxy.until("the new certificate is shown", || subject() == "CN=second");
}

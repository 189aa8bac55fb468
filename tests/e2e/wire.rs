//! How much goes over the wire for one look at an endpoint: a probe with its answer, and a heartbeat with its ack.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::{Folder, Kind, PATIENCE, Port, Process, Proxy, Service, one_listener, until};

/// What a look may cost, in bytes of HTTP both ways.
const MOST: usize = 700;

/// Passes connections on, and keeps what is said on them: of each, both ways.
struct Tap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

type Heard = Arc<Mutex<[Vec<u8>; 2]>>;

impl Tap {
    fn on(to: SocketAddr) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heard) = (socket.local_addr().unwrap(), Arc::<Mutex<Vec<Heard>>>::default());
        let all = Arc::clone(&heard);
        drop(std::thread::spawn(move || {
            for client in socket.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let said = Heard::default();
                all.lock().unwrap().push(Arc::clone(&said));
                for way in 0..2 {
                    let ends = [&client, &server].map(|end| end.try_clone().unwrap());
                    pass_on(ends, way, Arc::clone(&said));
                }
            }
        }));
        Self { address, heard }
    }

    /// Requests with their answers, in bytes, of every connection on which as many came back as went there.
    fn exchanges(&self) -> Vec<usize> {
        let count = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).matches(text).count();
        let of = |heard: &Heard| {
            let [asked, answered] = &*heard.lock().unwrap();
            let (requests, answers) = (count(asked, " HTTP/1.1\r\n"), count(answered, "HTTP/1.1 200"));
            (requests == answers && requests > 0).then(|| (asked.len() + answered.len()) / requests)
        };
        self.heard.lock().unwrap().iter().filter_map(of).collect()
    }
}

/// Passes on what is said on two connections one way, and keeps it.
fn pass_on([client, server]: [TcpStream; 2], way: usize, said: Heard) {
    let (from, to) = if way == 0 { (client, server) } else { (server, client) };
    drop(std::thread::spawn(move || copy(from, to, |bytes| said.lock().unwrap()[way].extend(bytes))));
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut room = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut room) {
        keep(&room[..n]);
        if to.write_all(&room[..n]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

#[test]
fn a_look_at_an_endpoint_is_less_than_seven_hundred_bytes() {
    let services = [Kind::Nginx, Kind::Node, Kind::Python].map(Service::start);
    let taps = services.each_ref().map(|service| Tap::on(service.address()));
    let names = taps.each_ref().map(|tap| tap.address.to_string());
    let (port, folder) = (Port::free(), Folder::new());
    folder.write("beat.tokens", "0123456789abcdef0123456789abcdef\n");
    let proxy = Proxy::start(&one_listener(&format!(
        "heartbeats: {{ address: {} }}
clusters:
  - name: app
    endpoints: [{}]
    health:
      path: /health
      interval: 200ms
      report: {{ format: none }}
      acknowledge: optional
      heartbeat: {{ period: 200ms, ttl: 60s, token_file: {} }}
",
        port.address(),
        names.join(", "),
        folder.file("beat.tokens")
    )));
    let inlet = Tap::on(port.address());
    let url = format!("http://{}", inlet.address);
    let mut beat = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    beat.args(["beat", "--to", &url, "--cluster", "app", "--endpoint", &names[0], "--token-file", &folder.file("beat.tokens")]);
    let _sender = Process::start(beat, &folder.path().join("beat.log"));
    for (name, seq) in names[1..].iter().zip([17, 1_000_000]) {
        let body = json!({ "cluster": "app", "endpoint": name, "boot_id": "0123456789abcdef0123456789abcdef", "seq": seq,
            "sent_at_ms": 1_795_478_400_007_u64, "period_ms": 2000, "state": "ready" });
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--header", "Authorization: Bearer 0123456789abcdef0123456789abcdef"]);
        let sent = curl.args(["--json", &body.to_string(), &format!("{url}/v1/heartbeats")]).output().unwrap();
        assert!(sent.status.success(), "{sent:?}");
    }
    for (name, tap) in names.iter().zip(&taps) {
        proxy.wait_for_state(PATIENCE, name, "healthy");
        let (all, _) = until(PATIENCE, "a probe", || Some(tap.exchanges()).filter(|all| !all.is_empty()));
        eprintln!("probes of {name} with their answers: {all:?} bytes");
        assert!(all.iter().all(|bytes| *bytes < MOST), "{all:?}");
    }
    let (all, _) = until(PATIENCE, "beats of all three", || Some(inlet.exchanges()).filter(|all| all.len() >= 3));
    eprintln!("beats with their acks: {all:?} bytes");
    assert!(all.iter().all(|bytes| *bytes < MOST), "{all:?}");
}

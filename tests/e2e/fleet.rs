//! Three proxies that agree on health, each on a host of its own: paths that fail for one of them, endpoints that fail for
//! all, and a proxy that is cut off from the others.

use std::process::Command;

use serde_json::Value;

use crate::support::{Folder, Network, PATIENCE, Page, Process, until};

/// The host of the endpoint, after those of the proxies.
const ENDPOINT: usize = 4;
/// The host of one that is always well, so that nobody has to make do with a suspect.
const OTHER: usize = 5;
const SIZE: usize = 3;

const SERVER: &str = "
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('content-length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *words):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64
Server((sys.argv[1], 9000), Handler).serve_forever()
";

/// Three proxies and two endpoints.
struct Village {
    network: Network,
    _programs: Vec<Process>,
    _folder: Folder,
}

impl Village {
    /// `None` if this user may not make networks.
    fn new() -> Option<Self> {
        let Some(network) = Network::of(OTHER) else {
            eprintln!("left out, since only root can make a network of its own");
            return None;
        };
        let folder = Folder::new();
        folder.write("fleet.key", "# the first one signs\na key that nobody else has\nan older key of this fleet\n");
        let mut programs = Vec::new();
        for host in [ENDPOINT, OTHER] {
            let command = network.command(host, &["python3", "-c", SERVER, &Network::address(host)]);
            programs.push(Process::start(command, &folder.path().join(format!("endpoint-{host}.log"))));
        }
        for host in 1..=SIZE {
            folder.write(&format!("{host}.yaml"), &config(host));
            let program = env!("CARGO_BIN_EXE_pulsegate");
            let command: Command = network.command(host, &[program, "run", "-c", &folder.file(&format!("{host}.yaml"))]);
            programs.push(Process::start(command, &folder.path().join(format!("proxy-{host}.log"))));
        }
        let village = Self { network, _programs: programs, _folder: folder };
        for host in 1..=SIZE {
            village.wait(host, "all is well and everybody is heard", |seen| {
                seen.state == "healthy" && seen.metric("fleet_peers", &[("state", "alive")]) == 2
            });
        }
        Some(village)
    }

    fn look(&self, host: usize) -> Option<Seen> {
        let admin = |path: &str| self.network.fetch(host, &format!("http://127.0.0.1:9900{path}"));
        let status: Value = serde_json::from_str(&admin("/api/v1/status")?).ok()?;
        let endpoint = status["clusters"][0]["endpoints"][0].clone();
        let page = Page::new(admin("/metrics")?);
        let state = endpoint["state"].as_str()?.to_owned();
        let codes = endpoint["reasons"].as_array()?.iter().filter_map(|reason| reason["code"].as_str().map(str::to_owned));
        Some(Seen { state, codes: codes.collect(), page })
    }

    #[track_caller]
    fn wait(&self, host: usize, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let (seen, took) = until(PATIENCE, &format!("proxy {host}: {what}"), || self.look(host).filter(&is));
        eprintln!("proxy {host}: {what} after {took:?}");
        seen
    }

    /// A proxy has kept the endpoint all along.
    #[track_caller]
    fn assert_kept(&self, host: usize) {
        let seen = self.look(host).unwrap();
        assert_eq!(seen.state, "healthy", "proxy {host}: {:?}", seen.codes);
        let left = seen.page.sum("transitions_total", &[("endpoint", &endpoint()), ("from", "healthy")]);
        assert_eq!(left, 0, "proxy {host}");
    }
}

/// What one proxy says of the endpoint.
struct Seen {
    state: String,
    codes: Vec<String>,
    page: Page,
}

impl Seen {
    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.page.one(name, labels)
    }

    fn is(&self, state: &str, code: &str) -> bool {
        self.state == state && self.codes.iter().any(|known| known == code)
    }
}

fn endpoint() -> String {
    format!("{}:9000", Network::address(ENDPOINT))
}

fn config(host: usize) -> String {
    let others: Vec<String> =
        (1..=SIZE).filter(|other| *other != host).map(|other| format!("{}:9902", Network::address(other))).collect();
    format!(
        "fleet: {{ name: edge, self: edge-{host}, address: {}:9902, peers: [{}], size: {SIZE}, key_file: fleet.key }}
clusters:
  - name: app
    endpoints: [{}, {}:9000]
    health: {{ path: /, interval: 300ms, timeout: 250ms, fall: 3, quorum: true, damping: off }}
",
        Network::address(host),
        others.join(", "),
        endpoint(),
        Network::address(OTHER),
    )
}

#[test]
fn who_alone_cannot_reach_an_endpoint_stops_sending_to_it_and_nobody_else_does() {
    let Some(village) = Village::new() else { return };
    for both in [false, true] {
        village.network.deafen(1, ENDPOINT);
        if both {
            village.network.silence(1, ENDPOINT);
        }
        let seen = village.wait(1, "cut from the endpoint, says so", |seen| seen.is("suspect", "local_unreachable"));
        assert_eq!(seen.metric("endpoint_up", &[("endpoint", &endpoint())]), 0);
        village.wait(2, "knows that one says down", |_| {
            let fleet = village.network.fetch(2, "http://127.0.0.1:9900/api/v1/fleet").unwrap_or_default();
            says(&fleet, "edge-1") == Some("down".to_owned()) && says(&fleet, "edge-2") == Some("up".to_owned())
        });
        village.network.mend(1);
        village.wait(1, "takes it back", |seen| seen.state == "healthy");
        village.assert_kept(2);
        village.assert_kept(3);
    }
}

#[test]
fn what_most_find_dead_is_out_everywhere() {
    let Some(village) = Village::new() else { return };
    village.network.deafen(1, ENDPOINT);
    village.network.deafen(2, ENDPOINT);
    village.wait(1, "finds it dead", |seen| seen.is("unhealthy", "probe_timeout"));
    village.wait(2, "finds it dead", |seen| seen.is("unhealthy", "probe_timeout"));
    let seen = village.wait(3, "believes the others", |seen| seen.is("ejected", "quorum"));
    assert_eq!(seen.metric("endpoint_up", &[("endpoint", &endpoint())]), 0);
    village.network.mend(1);
    for host in [1, 3] {
        village.wait(host, "takes it back", |seen| seen.state == "healthy");
    }
}

#[test]
fn a_proxy_that_is_cut_off_changes_no_verdict_of_the_fleet() {
    let Some(village) = Village::new() else { return };
    for other in [2, 3, ENDPOINT] {
        village.network.deafen(1, other);
        village.network.silence(1, other);
    }
    let seen = village.wait(1, "goes by its own evidence", |seen| {
        seen.is("suspect", "local_unreachable") && seen.metric("fleet_quorum", &[]) == 0
    });
    assert_eq!(seen.metric("fleet_peers", &[("state", "dead")]), 2);
    village.wait(2, "misses it", |seen| seen.metric("fleet_peers", &[("state", "dead")]) == 1);
    let seen = village.look(3).unwrap();
    assert_eq!(seen.metric("fleet_quorum", &[]), 1);
    village.assert_kept(2);
    village.assert_kept(3);
}

/// What a proxy says of the endpoint, in the answer of `GET /api/v1/fleet`.
fn says(fleet: &str, name: &str) -> Option<String> {
    let fleet: Value = serde_json::from_str(fleet).ok()?;
    let member = fleet["members"].as_array()?.iter().find(|member| member["name"] == name)?;
    member["votes"]["app"][endpoint()].as_str().map(str::to_owned)
}

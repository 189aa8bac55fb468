//! Heartbeats that nobody may send, by the thousand: they cost an answer and a count, are explained once, and change nothing.

use std::net::SocketAddr;
use std::time::Duration;

use pulsegate::runtime::clock;
use serde_json::{Value, json};

use crate::support::{Client, Folder, PATIENCE, Port, Proxy, get, one_listener, until};

const NAME: &str = "127.0.0.1:1";
const STRANGERS: u64 = 10_000;
const CLIENTS: u64 = 8;

/// What a client posts and is answered.
fn post(client: &mut Client, token: &str, body: &str) -> u16 {
    let request = format!(
        "POST /v1/heartbeats HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.ask(&request).unwrap().status
}

fn beat(endpoint: &str) -> Value {
    json!({ "cluster": "app", "endpoint": endpoint })
}

/// Memory of the process, in bytes.
fn memory(proxy: &Proxy) -> u64 {
    let page = get(proxy.admin(), "/metrics").unwrap().text();
    let value = page.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
    value.parse().unwrap()
}

fn proxy(port: &Port, folder: &Folder) -> Proxy {
    folder.write("beat.tokens", &format!("all\nalone {NAME}\n"));
    let proxy = Proxy::start(&one_listener(&format!(
        "heartbeats: {{ address: {} }}
clusters:
  - name: app
    endpoints: ['{NAME}', '127.0.0.1:2']
    health: {{ heartbeat: {{ period: 1s, ttl: 60s, token_file: {} }} }}
  - name: open
    discovery: {{ heartbeat: true }}
    health: {{ heartbeat: {{ token_file: {} }} }}
",
        port.address(),
        folder.file("beat.tokens"),
        folder.file("beat.tokens")
    )));
    let mut client = Client::connect(port.address()).unwrap();
    for endpoint in [NAME, "127.0.0.1:2"] {
        assert_eq!(post(&mut client, "all", &beat(endpoint).to_string()), 200);
        proxy.wait_for_state(PATIENCE, endpoint, "healthy");
    }
    proxy
}

fn series(proxy: &Proxy) -> usize {
    let page = get(proxy.admin(), "/metrics").unwrap().text();
    page.lines().filter(|line| line.starts_with("pulsegate_heartbeats_total{")).count()
}

fn explained(proxy: &Proxy) -> usize {
    proxy.said().matches("heartbeat refused").count()
}

#[test]
fn ten_thousand_strangers_cost_nothing_that_stays() {
    let (port, folder) = (Port::free(), Folder::new());
    let proxy = proxy(&port, &folder);
    let strange = |at: SocketAddr, first: u64| {
        let mut client = Client::connect(at).unwrap();
        for n in (first..STRANGERS).step_by(usize::try_from(CLIENTS).unwrap()) {
            let name = format!("10.{}.{}.{}:9000", n >> 16, (n >> 8) & 255, n & 255);
            let (token, cluster, wanted) = match n % 3 {
                0 => ("all", "app", 404),
                1 => ("made-up", "app", 401),
                _ => ("made-up", "open", 401),
            };
            let body = json!({ "cluster": cluster, "endpoint": name, "boot_id": format!("b{n}"), "seq": n });
            assert_eq!(post(&mut client, token, &body.to_string()), wanted, "{body}");
        }
    };
    // The first of each kind makes its series and its line.
    strange(port.address(), STRANGERS - 3 * CLIENTS);
    until(PATIENCE, "one is told for each kind and cluster", || (explained(&proxy) == 3).then_some(()));
    let (before, lines) = (memory(&proxy), series(&proxy));
    let transitions = proxy.page().sum("transitions_total", &[]);
    let began = clock::now();
    std::thread::scope(|scope| {
        for first in 0..CLIENTS {
            let at = port.address();
            scope.spawn(move || strange(at, first));
        }
    });
    eprintln!("{STRANGERS} strangers in {:?}", clock::now().since(began));
    let refused = proxy.page().sum("heartbeats_total", &[("endpoint", "")]);
    assert!(refused >= STRANGERS, "{refused}");
    assert_eq!((explained(&proxy), series(&proxy)), (3, lines));
    let grown = memory(&proxy).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    assert_eq!(proxy.page().sum("transitions_total", &[]), transitions);
    assert_eq!(proxy.status()["clusters"][1]["endpoints"], json!([]));
    assert_eq!(proxy.endpoint(NAME)["state"], "healthy");
}

#[test]
fn whatever_is_wrong_with_a_heartbeat_is_refused_counted_and_explained_once() {
    let (port, folder) = (Port::free(), Folder::new());
    let proxy = proxy(&port, &folder);
    let with = |field: &str, value: Value| {
        let mut all = beat(NAME);
        all[field] = value;
        all.to_string()
    };
    let counted = |result: &str| proxy.page().sum("heartbeats_total", &[("result", result)]);
    let good = beat(NAME).to_string();
    let transitions = proxy.page().sum("transitions_total", &[]);
    let mut kinds = 0;
    for (what, token, body, status, result) in [
        ("a wrong token", "made-up", good.clone(), 401, "unauthorized"),
        ("a wrong cluster", "all", json!({ "cluster": "shop", "endpoint": NAME }).to_string(), 404, "unknown_cluster"),
        ("another endpoint's token", "alone", beat("127.0.0.1:2").to_string(), 403, "forbidden"),
        ("an unknown endpoint", "all", beat("127.0.0.1:3").to_string(), 404, "unknown_endpoint"),
        ("too long a body", "all", with("report", json!({ "x": "x".repeat(70_000) })), 413, "too_large"),
        ("no JSON", "all", "cluster=app".to_owned(), 400, "malformed"),
        ("half of it", "all", good[..good.len() / 2].to_owned(), 400, "malformed"),
        ("an unknown field", "all", with("cpu", json!(0.5)), 400, "malformed"),
        ("no period", "all", with("period_ms", json!(0)), 400, "malformed"),
        ("an endless period", "all", with("period_ms", json!(1e15)), 400, "malformed"),
        ("a period that is none", "all", with("period_ms", json!("2s")), 400, "malformed"),
    ] {
        let (before, told) = (counted(result), explained(&proxy));
        for _ in 0..2 {
            assert_eq!(post(&mut Client::connect(port.address()).unwrap(), token, &body), status, "{what}");
        }
        assert_eq!(counted(result), before + 2, "{what}");
        let new = usize::from(before == 0);
        kinds += new;
        until(Duration::from_secs(5), what, || (explained(&proxy) == told + new).then_some(()));
    }
    assert_eq!(explained(&proxy), kinds, "{}", proxy.said());
    assert_eq!(proxy.page().sum("transitions_total", &[]), transitions);
    assert_eq!(proxy.endpoint(NAME)["state"], "healthy");
}

//! Connections that leave HTTP behind: a real client and a real server, and how such a connection ends.

use std::process::Command;

use crate::support::{Client, PATIENCE, Port, Process, Proxy, one_listener, until};

/// The system's own Python, whose package brings the library.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/services/websocket.py");

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new(PYTHON);
    command.arg(SCRIPT).args(arguments);
    command
}

#[test]
fn a_websocket_passes_unchanged_and_ends_with_the_drain() {
    let port = Port::free();
    let folder = crate::support::Folder::new();
    let number = port.address().port().to_string();
    let _server = Process::start(python(&["serve", &number]), &folder.path().join("server.log"));
    let config = one_listener(&format!(
        "drain_timeout: 2s\nclusters:\n  - {{ name: app, endpoints: [\"{}\"], health: {{ probes: [{{ tcp: {{}} }}] }} }}\n",
        port.address()
    ));
    let mut proxy = Proxy::start(&config);
    let name = port.address().to_string();
    proxy.wait_for_state(PATIENCE, &name, "healthy");
    let url = format!("ws://{}/chat", proxy.address());
    let client = Process::start(python(&["run", &url]), &folder.path().join("client.log"));
    let said = |word: &str| until(PATIENCE, word, || client.said().lines().any(|line| line == word).then_some(()));
    said("passed");
    said("open");
    assert_eq!(proxy.endpoint(&name)["in_flight"], 1, "it is in flight");
    assert!(proxy.page().sum("requests_total", &[("code", "101")]) >= 3);
    proxy.signal("TERM");
    let (status, _) = proxy.exit(PATIENCE);
    assert_eq!(status.code(), Some(0));
    said("closed");
}

#[test]
fn an_upgrade_is_idle_only_for_so_long_and_never_smuggles() {
    let port = Port::free();
    let folder = crate::support::Folder::new();
    let number = port.address().port().to_string();
    let _server = Process::start(python(&["serve", &number]), &folder.path().join("server.log"));
    let config = format!(
        "admin: {{ address: ADMIN }}
workers: 2
listeners:
  - name: web
    address: LISTENER
    routes:
      - {{ match: {{ path: /h2 }}, cluster: h2, retries: off }}
      - {{ cluster: app, upgrade_idle_timeout: 500ms }}
clusters:
  - {{ name: app, endpoints: [\"{0}\"], health: {{ probes: [{{ tcp: {{}} }}] }} }}
  - {{ name: h2, protocol: http2, endpoints: [\"{0}\"] }}
",
        port.address()
    );
    let proxy = Proxy::start(&config);
    proxy.wait_for_state(PATIENCE, &port.address().to_string(), "healthy");
    let request = |path: &str, protocol: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            proxy.address()
        )
    };
    let mut client = Client::connect(proxy.address()).unwrap();
    client.send(&request("/", "websocket")).unwrap();
    let head = client.head().unwrap();
    assert_eq!((head.status, head.header("connection")), (101, Some("upgrade")));
    assert_eq!(head.header("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(client.line().is_err(), "it stood still");

    let refused = Client::connect(proxy.address()).unwrap().ask(&request("/h2", "websocket")).unwrap();
    assert_eq!((refused.status, refused.header("proxy-status")), (502, Some("pulsegate; error=http_upgrade_failed")));
    let plain = Client::connect(proxy.address()).unwrap().ask(&request("/", "h2c")).unwrap();
    assert_eq!(plain.status, 426, "the server was asked for no upgrade");
}

//! Endpoints that speak nothing but HTTP/2 in the clear: a real one is probed and asked as it wants to be.

use std::process::Command;

use crate::support::{Folder, PATIENCE, Port, Process, Proxy, get, until};

/// Debian's nginx, which knows no HTTP/1.1 on such a port.
fn nginx(folder: &Folder, port: &Port) -> Process {
    let at = port.address();
    let text = format!(
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr warn; events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen {at} http2; keepalive_requests 10;
    location / {{ return 200 \"$server_protocol\\n\"; }}
    location = /health {{ default_type application/json; return 200 '{{\"status\":\"UP\",\"cpu\":0.25}}'; }}
  }}
}}
"
    );
    folder.write("nginx.conf", &text);
    let mut command = Command::new("nginx");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-p").arg(folder.path()).args(["-c", "nginx.conf"]);
    Process::start(command, &folder.path().join("nginx.log"))
}

#[test]
fn who_speaks_http2_alone_is_probed_over_it_and_its_report_is_read() {
    let (folder, port) = (Folder::new(), Port::free());
    let name = port.address().to_string();
    let mut service = nginx(&folder, &port);
    until(PATIENCE, "nginx listens", || std::net::TcpStream::connect(port.address()).ok());
    let health = "interval: 150ms, timeout: 150ms, rise: 1";
    let proxy = Proxy::start(&format!(
        "admin: {{ address: ADMIN }}
workers: 1
listeners: [{{ name: web, address: LISTENER, cluster: app }}]
clusters:
  - {{ name: app, endpoints: [{name}], protocol: http2, health: {{ path: /health, {health} }} }}
  - {{ name: fetched, endpoints: [{name}], protocol: http2, health: {{ probes: [{{ tcp: {{}} }}], report: {{ path: /health }}, {health} }} }}
  - {{ name: wrong, endpoints: [{name}], protocol: http1, health: {{ path: /health, {health} }} }}
"
    ));
    assert_eq!(get(proxy.address(), "/").unwrap().text(), "HTTP/2.0\n");
    let state = |cluster: usize| proxy.status()["clusters"][cluster]["endpoints"][0].clone();
    assert_eq!((state(0)["state"].clone(), state(0)["report"]["cpu"].clone()), ("healthy".into(), 0.25.into()));
    until(PATIENCE, "a report is fetched", || (state(1)["report"]["cpu"] == 0.25).then_some(()));
    assert_eq!(state(2)["state"], "unhealthy");

    // nginx ends a connection after ten requests; that costs no probe.
    let passes = || proxy.page().one("probes_total", &[("cluster", "app"), ("result", "pass")]);
    until(PATIENCE, "thirty probes pass", || (passes() >= 30).then_some(()));
    assert_eq!(
        proxy.page().sum("probes_total", &[("cluster", "app")]),
        proxy.page().sum("probes_total", &[("cluster", "app"), ("result", "pass")])
    );
    service.kill();
    proxy.wait_for_state(PATIENCE, &name, "unhealthy");
    let _service = nginx(&folder, &port);
    proxy.wait_for_state(PATIENCE, &name, "healthy");
}

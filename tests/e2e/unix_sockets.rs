//! Sockets in the file system on both sides: real clients come in by them, a real service answers behind one, and their files
//! live as long as somebody serves on them.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::support::{Folder, PATIENCE, Port, Process, Proxy, get, until};

/// A folder whose path is short enough for sockets, gone at the end.
struct Short(PathBuf);

impl Short {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pg-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Debian's nginx on a socket, which tells what it was told of the client.
fn nginx(folder: &Short) -> Process {
    let socket = folder.file("app.sock");
    // One that was killed leaves its file, and nginx would not start.
    drop(std::fs::remove_file(&socket));
    let seen = "$request_method $host for=$http_x_forwarded_for host=$http_x_forwarded_host proto=$http_x_forwarded_proto";
    let text = format!(
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr warn; events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{ listen unix:{socket}; location / {{ return 200 \"{seen}\\n\"; }} location = /health {{ return 200 \"$host\\n\"; }} }}
}}
"
    );
    std::fs::write(folder.file("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-p").arg(&folder.0).args(["-c", "nginx.conf"]);
    Process::start(command, &folder.0.join("nginx.log"))
}

/// What curl gets through a socket, with these words more.
fn curl(socket: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--max-time", "20", "--unix-socket", socket]).args(more);
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("curl: {error}; tests/run installs it"));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What comes of these bytes on a socket, to the end.
fn raw(socket: &str, bytes: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    // A reset is an answer too.
    drop(stream.read_to_string(&mut answer));
    answer
}

fn config(folder: &Short, web: &str) -> String {
    let app = folder.file("app.sock");
    format!(
        "admin: {{ address: ADMIN }}
workers: 2
state_file: state.json
listeners:
  - {{ name: port, address: LISTENER, cluster: app }}
  - {{ name: web, address: \"unix:{}\", {web} cluster: app }}
clusters:
  - name: app
    endpoints: [\"unix:{app}\"]
    health:
      interval: 300ms
      timeout: 250ms
      probes: [{{ http: {{ path: /health, body_contains: localhost }} }}, {{ tcp: {{}} }}]
      require: all
",
        folder.file("web.sock")
    )
}

#[test]
fn clients_and_endpoints_meet_at_files() {
    let folder = Short::new("meet");
    let (mut service, socket) = (nginx(&folder), folder.file("web.sock"));
    let app = format!("unix:{}", folder.file("app.sock"));
    until(PATIENCE, "nginx listens", || UnixStream::connect(folder.file("app.sock")).ok());
    let proxy = Proxy::start(&config(&folder, "socket_mode: \"0600\","));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let said = curl(&socket, &[version, "--header", "X-Forwarded-For: 10.0.0.1", "http://shop.test/some"]);
        assert_eq!(said, (Some(0), "GET shop.test for= host=shop.test proto=http\n".to_owned()));
    }
    let seen = proxy.get("/").text();
    assert!(seen.contains(" for=127.0.0.1 "), "{seen}");

    assert_eq!(proxy.endpoint(&app)["state"], "healthy");
    assert_eq!(proxy.page().one("endpoint_up", &[("cluster", "app"), ("endpoint", &app)]), 1);
    assert_eq!(proxy.page().sum("requests_total", &[("listener", "web"), ("code", "200")]), 2);
    assert!(proxy.succeed(&["explain", "app", &app]).contains(&app));
    assert!(proxy.succeed(&["probe", "app", "-c", &proxy.file("pulsegate.yaml")]).contains(&app));
    proxy.succeed(&["drain", "app", &app, "--reason", "tests"]);
    assert_eq!(proxy.endpoint(&app)["state"], "draining");
    proxy.succeed(&["ready", "app", &app]);
    assert_eq!(proxy.endpoint(&app)["state"], "healthy");

    service.kill();
    proxy.wait_for_state(PATIENCE, &app, "unhealthy");
    let reason = proxy.endpoint(&app)["reasons"][0]["code"].clone();
    assert!(reason == "probe_refused" || reason == "refused", "{reason}");
    let _service = nginx(&folder);
    proxy.wait_for_state(PATIENCE, &app, "healthy");
    assert_eq!(curl(&socket, &["http://a/"]).0, Some(0));
}

#[test]
fn who_comes_by_a_file_is_believed_only_if_that_is_said() {
    let folder = Short::new("believed");
    let (_service, socket) = (nginx(&folder), folder.file("web.sock"));
    until(PATIENCE, "nginx listens", || UnixStream::connect(folder.file("app.sock")).ok());
    let get = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let announced = format!("PROXY TCP4 192.0.2.7 192.0.2.1 9 80\r\n{get}");
    let proxy = Proxy::start(&config(&folder, "proxy_protocol: true, trusted_proxies: [10.9.9.9],"));
    assert!(raw(&socket, get).ends_with(" for= host=a proto=http\n"));
    assert!(raw(&socket, &announced).starts_with("HTTP/1.1 400 "));
    proxy.rewrite(&config(&folder, "proxy_protocol: true, trusted_proxies: [\"unix:\"],"));
    assert_eq!(proxy.reload().status, 200);
    // Who is told of is a client of his own, and not trusted.
    assert!(raw(&socket, &announced).ends_with(" for=192.0.2.7 host=a proto=http\n"));
    assert!(raw(&socket, &format!("PROXY UNKNOWN\r\n{get}")).ends_with(" for=10.0.0.1 host=a proto=https\n"));
    assert_eq!(raw(&socket, get), "", "who must announce himself and does not is closed");
    assert_eq!(proxy.page().sum("downstream_errors_total", &[("listener", "web"), ("reason", "proxy_header")]), 1);
}

#[test]
fn a_file_stays_over_reloads_upgrades_and_kills_and_goes_at_the_end() {
    let folder = Short::new("stays");
    let (_service, socket) = (nginx(&folder), folder.file("web.sock"));
    until(PATIENCE, "nginx listens", || UnixStream::connect(folder.file("app.sock")).ok());
    let mut proxy = Proxy::start(&config(&folder, ""));
    let mode = || std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o666);

    let (going, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let load = {
        let (socket, going, answered) = (socket.clone(), Arc::clone(&going), Arc::clone(&answered));
        std::thread::spawn(move || {
            while going.load(SeqCst) {
                let said = raw(&socket, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                assert!(said.starts_with("HTTP/1.1 200 "), "{said:?}");
                answered.fetch_add(1, SeqCst);
            }
        })
    };
    let go_on = || {
        let until_then = answered.load(SeqCst) + 50;
        until(PATIENCE, "requests go on", || (answered.load(SeqCst) >= until_then).then_some(()));
    };
    go_on();
    proxy.rewrite(&config(&folder, "socket_mode: \"0660\","));
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(mode(), 0o660);
    for _ in 0..2 {
        proxy.upgrade();
        go_on();
    }
    going.store(false, SeqCst);
    load.join().unwrap();

    // Another process does not get it, and a file that is none is not touched.
    let trial = |address: &str| {
        let file = folder.file("second.yaml");
        let admin = Port::free();
        let text = format!(
            "admin: {{ address: \"{}\" }}\nlisteners: [{{ address: \"unix:{address}\", cluster: app }}]\n\
             clusters: [{{ name: app, endpoints: [127.0.0.1:1], health: off }}]\n",
            admin.address()
        );
        std::fs::write(&file, text).unwrap();
        let said = proxy.run(&["run", "-c", &file]);
        assert_ne!(said.code, Some(0));
        said.err
    };
    let said = trial(&socket);
    assert!(said.contains("in use by another process"), "{said}");
    let precious = folder.file("precious");
    std::fs::write(&precious, "precious").unwrap();
    let said = trial(&precious);
    assert!(said.contains("no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");

    proxy.restart();
    assert_eq!(curl(&socket, &["http://a/"]).0, Some(0), "what the killed one left was replaced");
    proxy.signal("TERM");
    let (status, _) = proxy.exit(PATIENCE);
    assert!(status.success(), "{status}");
    assert!(!std::fs::exists(&socket).unwrap());
}

#[test]
fn a_file_of_the_service_manager_stays_the_managers() {
    let (short, folder, admin) = (Short::new("manager"), Folder::new(), Port::free());
    let (_service, socket) = (nginx(&short), short.file("web.sock"));
    let listener = UnixListener::bind(&socket).unwrap();
    folder.write(
        "pulsegate.yaml",
        &format!(
            "admin: {{ address: \"{}\" }}\nworkers: 2\nlisteners: [{{ name: web, address: \"unix:{socket}\", cluster: app }}]\n\
             clusters: [{{ name: app, endpoints: [\"unix:{}\"], health: {{ path: /health, interval: 200ms }} }}]\n",
            admin.address(),
            short.file("app.sock")
        ),
    );
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" run -c \"$1\""]);
    command.args([env!("CARGO_BIN_EXE_pulsegate"), &folder.file("pulsegate.yaml")]);
    let mut process = Process::start_with(command, OwnedFd::from(listener), &folder.path().join("pulsegate.log"));
    until(PATIENCE, "it is ready", || get(admin.address(), "/readyz").ok().filter(|answer| answer.status == 200));
    assert_eq!(curl(&socket, &["http://a/"]), (Some(0), "GET a for= host=a proto=http\n".to_owned()));
    process.signal("TERM");
    process.exit(PATIENCE);
    assert!(std::fs::exists(&socket).unwrap(), "{}", process.said());
}

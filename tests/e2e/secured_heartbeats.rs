//! Heartbeats under TLS: certificates that OpenSSL makes, beats that curl sends, and renewal while senders stay connected.

use std::process::Command;

use serde_json::Value;

use crate::support::{Folder, PATIENCE, Port, Process, Proxy, get, one_listener, until};

const NAME: &str = "127.0.0.1:1";

/// An authority and what it has signed, by Debian's OpenSSL.
struct Authority(Folder);

impl Authority {
    fn new() -> Self {
        let authority = Self(Folder::new());
        let made =
            ["-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt", "-addext", "basicConstraints=critical,CA:TRUE"];
        authority.openssl(&["req", "-x509", "-days", "2"], &made);
        authority.0.write("alone.ext", "subjectAltName=IP:127.0.0.1\n");
        authority.0.write("beat.tokens", "t0\n");
        authority
    }

    /// Signs `NAME.crt` for 127.0.0.1, valid for so many days, with `NAME.key`.
    fn sign(&self, name: &str, days: u32) {
        let [key, request, cert, new] = ["key", "csr", "crt", "new"].map(|kind| format!("{name}.{kind}"));
        let days = days.to_string();
        self.openssl(&["req"], &["-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &request]);
        let signed = ["-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "alone.ext", "-days", &days];
        self.run("openssl", &[&["x509", "-in", &request, "-out", &new], &signed[..]].concat());
        std::fs::rename(self.0.path().join(new), self.0.path().join(cert)).unwrap();
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        self.run("openssl", &[first, &key, rest].concat());
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// One beat by curl with these options; what is answered, or nothing without an answer.
    fn curl(&self, port: &Port, options: &[&str]) -> Option<Value> {
        let url = format!("https://{}/v1/heartbeats", port.address());
        let body = format!(r#"{{"cluster":"app","endpoint":"{NAME}"}}"#);
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "5", "--header", "Authorization: Bearer t0", "--json", &body]);
        let output = command.args(options).arg(url).current_dir(self.0.path()).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }
}

fn secured(port: &Port, authority: &Authority, client_auth: &str) -> Proxy {
    let file = |name: &str| authority.0.file(name);
    Proxy::start(&one_listener(&format!(
        "heartbeats:
  address: {}
  tls: {{ cert: {}, key: {}{client_auth} }}
clusters:
  - name: app
    endpoints: [{NAME}]
    health: {{ heartbeat: {{ period: 300ms, ttl: 60s, token_file: {} }} }}
",
        port.address(),
        file("edge.crt"),
        file("edge.key"),
        file("beat.tokens")
    )))
}

#[test]
fn beats_come_in_under_tls_from_who_shows_a_certificate() {
    let (authority, port) = (Authority::new(), Port::free());
    authority.sign("edge", 2);
    authority.sign("sender", 2);
    let stranger = Authority::new();
    stranger.sign("sender", 2);
    let proxy = secured(&port, &authority, &format!(", client_ca: {}", authority.0.file("ca.crt")));
    let refused = || proxy.page().sum("heartbeats_total", &[("result", "handshake")]);

    let shown = ["--cacert", "ca.crt", "--cert", "sender.crt", "--key", "sender.key"];
    assert_eq!(authority.curl(&port, &shown[..2]), None, "no certificate");
    until(PATIENCE, "it is counted", || (refused() == 1).then_some(()));
    let [cert, key] = ["sender.crt", "sender.key"].map(|name| stranger.0.file(name));
    assert_eq!(authority.curl(&port, &["--cacert", "ca.crt", "--cert", &cert, "--key", &key]), None, "another authority's");
    assert!(get(port.address(), "/").is_err(), "no TLS at all");
    until(PATIENCE, "they are counted", || (refused() == 3).then_some(()));
    assert_eq!(proxy.endpoint(NAME)["state"], "unknown");
    assert_eq!(proxy.said().matches("heartbeat refused").count(), 1, "{}", proxy.said());

    let ack = authority.curl(&port, &shown).unwrap();
    assert_eq!((&ack["state"], &ack["available"]), (&"healthy".into(), &true.into()));
    proxy.wait_for_state(PATIENCE, NAME, "healthy");

    let beat = |options: &[&str], log: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
        command.args(["beat", "--to", &format!("https://{}", port.address()), "--cluster", "app", "--endpoint", NAME]);
        command.args(["--token-file", "beat.tokens", "--period", "100ms"]).args(options).current_dir(authority.0.path());
        Process::start(command, &authority.0.path().join(log))
    };
    let mut unsure = beat(&[], "unsure.log");
    let (status, _) = unsure.exit(PATIENCE);
    assert_eq!(status.code(), Some(1));
    assert!(unsure.said().contains("certificate"), "{}", unsure.said());
    let sender = beat(&["--ca", "ca.crt", "--cert", "sender.crt", "--key", "sender.key"], "sender.log");
    until(PATIENCE, "the sender is heard", || sender.said().contains("healthy").then_some(()));
    sender.signal("TERM");
    proxy.wait_for_state(PATIENCE, NAME, "draining");
}

#[test]
fn a_certificate_is_renewed_under_senders_and_a_reload_turns_tls_on() {
    let (authority, port) = (Authority::new(), Port::free());
    authority.sign("edge", 2);
    let proxy = secured(&port, &authority, "");
    assert!(authority.curl(&port, &["--cacert", "ca.crt"]).is_some());
    let ends = |proxy: &Proxy| {
        let page = get(proxy.admin(), "/metrics").unwrap().text();
        let series = "pulsegate_tls_certificate_not_after_timestamp_seconds{listener=\"heartbeats[0]\"";
        let line = page.lines().find(|line| line.starts_with(series))?.to_owned();
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let before = ends(&proxy).unwrap();
    authority.sign("edge", 30);
    until(PATIENCE, "the new one is in force", || ends(&proxy).filter(|end| *end > before + 86_400.0));
    let shown = authority.run(
        "sh",
        &["-c", &format!("openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -enddate", port.address())],
    );
    let file = authority.run("openssl", &["x509", "-noout", "-enddate", "-in", "edge.crt"]);
    assert_eq!(shown, file);

    let text = std::fs::read_to_string(proxy.file("pulsegate.yaml")).unwrap();
    let clear: String = text.lines().filter(|line| !line.contains("tls:")).map(|line| format!("{line}\n")).collect();
    proxy.rewrite(&clear);
    proxy.succeed(&["reload"]);
    let plain = || get(port.address(), "/").ok().filter(|answer| answer.status == 404);
    until(PATIENCE, "it speaks in the clear", plain);
    assert_eq!(ends(&proxy), None);
    proxy.rewrite(&text);
    proxy.succeed(&["reload"]);
    until(PATIENCE, "TLS is back", || authority.curl(&port, &["--cacert", "ca.crt"]));
}

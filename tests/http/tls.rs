//! TLS towards clients, as curl and openssl see it: which certificate, who is let in, what outlives a renewal.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::curl::{Got, curl};
use crate::origin::{Origin, seen};
use crate::program::Proxy;
use crate::wire::Peer;

/// A proxy in front of an echo with one TLS listener; `tls` is more of its settings, in flow style.
fn proxy(certificates: &Certificates, origin: &Origin, tls: &str, limits: &str) -> Proxy {
    certificates.sign("site", "site", &["site.test", "127.0.0.1"]);
    certificates.sign("wild", "wild", &["*.wild.test"]);
    let file = |name: &str| certificates.file(name);
    Proxy::start(&format!(
        "workers: 1
listeners:
  - name: web
    address: 127.0.0.1:0
    limits: {{ {limits} }}
    tls: {{ certificates: [{{ cert: {}, key: {} }}, {{ cert: {}, key: {} }}], {tls} }}
    cluster: app
clusters:
  - {{ name: app, endpoints: [\"{}\"], health: off }}
",
        file("site.crt"),
        file("site.key"),
        file("wild.crt"),
        file("wild.key"),
        origin.address
    ))
}

/// Asks a name that is the proxy's, believing the authority.
fn ask(certificates: &Certificates, address: SocketAddr, name: &str, more: &[&str]) -> Got {
    let resolve = format!("{name}:{}:127.0.0.1", address.port());
    let url = format!("https://{name}:{}/", address.port());
    let ca = certificates.file("ca.crt");
    curl(&[&["--cacert", &ca, "--resolve", &resolve, &url], more].concat())
}

/// Runs `openssl s_client` with nothing to say, and gives what it says.
fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("openssl: {error}; tests/run installs it"));
    // A request, whose answer comes behind the tickets.
    let request = b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";
    drop(child.stdin.as_mut().unwrap().write_all(request));
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate_and_the_client_the_protocol() {
    let (certificates, origin) = (Certificates::new(), Origin::echo());
    let proxy = proxy(&certificates, &origin, "", "");
    let address = proxy.address();
    for (name, protocol, version) in
        [("site.test", "--http2", "HTTP/2"), ("a.wild.test", "--http1.1", "HTTP/1.1"), ("b.wild.test", "--http2", "HTTP/2")]
    {
        let got = ask(&certificates, address, name, &[protocol, "--header", "X-Forwarded-Proto: http"]);
        assert_eq!((got.exit, got.status()), (0, 200), "{name} {got:?}");
        assert!(got.head().first.starts_with(version), "{got:?}");
        assert_eq!(seen(&got.body, "x-forwarded-proto"), Some("https"));
    }
    // The default certificate has another name, which is for the client to refuse.
    assert_eq!(ask(&certificates, address, "wild.test", &[]).exit, 60);
    assert_eq!(ask(&certificates, address, "a.b.wild.test", &[]).exit, 60);
    for (version, agreed) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let said = s_client(address, &[version, "-ign_eof", "-servername", "site.test"]);
        assert!(said.contains(agreed) && said.contains("200 OK"), "{said}");
        assert!(said.contains("closed") && !said.contains("unexpected eof"), "the end is told as TLS has it: {said}");
    }
    let said = s_client(address, &["-tls1_1", "-cipher", "ALL@SECLEVEL=0", "-servername", "site.test"]);
    assert!(said.contains("Cipher is (NONE)"), "{said}");
    proxy.until_metric("pulsegate_downstream_errors_total", &["reason=\"handshake\""], 1);
    assert!(proxy.metric("pulsegate_tls_certificate_not_after_timestamp_seconds", &["site.crt"]) > 1_700_000_000);
}

#[test]
fn clients_show_certificates_that_are_believed_and_endpoints_learn_whose() {
    let (certificates, strangers, origin) = (Certificates::new(), Certificates::new(), Origin::echo());
    certificates.sign("client", "Zoë, of Shop", &[]);
    strangers.sign("client", "root", &[]);
    let cert = |of: &Certificates| [of.file("client.crt"), of.file("client.key")];
    let client_ca = |auth: &str| format!("client_ca: {}, client_auth: {auth}", certificates.file("ca.crt"));
    for (auth, without) in [("required", 56), ("optional", 0)] {
        let proxy = proxy(&certificates, &origin, &client_ca(auth), "");
        let ask = |more: &[&str]| ask(&certificates, proxy.address(), "site.test", more);
        for protocol in ["--http1.1", "--http2"] {
            let spoofed = [protocol, "--header", "X-Client-Cert-Subject: CN=root"];
            let [crt, key] = cert(&certificates);
            let got = ask(&[&spoofed[..], &["--cert", &crt, "--key", &key]].concat());
            assert_eq!((got.exit, seen(&got.body, "x-client-cert-subject")), (0, Some("CN=Zo%C3%AB\\,%20of%20Shop")), "{got:?}");
            let got = ask(&spoofed);
            assert_eq!(got.exit != 0, without != 0, "{got:?}");
            assert_eq!(seen(&got.body, "x-client-cert-subject"), None);
            let [crt, key] = cert(&strangers);
            let got = ask(&[&spoofed[..], &["--cert", &crt, "--key", &key]].concat());
            assert_ne!(got.exit, 0, "{got:?}");
        }
        let refused = if without == 0 { 2 } else { 4 };
        proxy.until_metric("pulsegate_downstream_errors_total", &["reason=\"handshake\""], refused);
    }
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let (certificates, origin) = (Certificates::new(), Origin::echo());
    let proxy = proxy(&certificates, &origin, "", "");
    let session = certificates.file("session");
    let first = s_client(proxy.address(), &["-ign_eof", "-servername", "site.test", "-tls1_3", "-sess_out", &session]);
    assert!(first.contains("200 OK"), "{first}");
    let served = || {
        let said = s_client(proxy.address(), &["-ign_eof", "-servername", "site.test", "-showcerts"]);
        said.lines().find(|line| line.contains("s:CN")).unwrap_or_default().trim().to_owned()
    };
    assert!(served().ends_with("CN = site"), "{}", served());
    // Nothing but the name of the subject tells the two apart.
    certificates.sign("site", "renewed", &["site.test", "127.0.0.1"]);
    while !served().ends_with("CN = renewed") {}
    let again = s_client(proxy.address(), &["-ign_eof", "-servername", "site.test", "-tls1_3", "-sess_in", &session]);
    assert!(again.contains("Reused, TLSv1.3"), "a ticket outlives the renewal: {again}");
    std::fs::write(certificates.file("site.key"), "no key").unwrap();
    while !proxy.said().contains("cannot be used; the old ones stay") {}
    assert!(served().ends_with("CN = renewed"), "{}", served());
}

/// As a volume of Kubernetes does it: the files are below a link to a folder, and the link is swapped.
#[test]
fn a_certificate_behind_a_link_that_is_swapped_is_taken() {
    let (certificates, origin) = (Certificates::new(), Origin::echo());
    let point_to = |version: &str| {
        std::fs::create_dir(certificates.file(version)).unwrap();
        certificates.sign(&format!("{version}/site"), version, &["site.test", "127.0.0.1"]);
        symlink(version, certificates.file("data.new")).unwrap();
        std::fs::rename(certificates.file("data.new"), certificates.file("data")).unwrap();
    };
    point_to("one");
    let proxy = Proxy::start(&format!(
        "workers: 1
listeners: [{{ name: web, address: 127.0.0.1:0, tls: {{ cert: {}, key: {} }}, cluster: app }}]
clusters: [{{ name: app, endpoints: [\"{}\"], health: off }}]
",
        certificates.file("data/site.crt"),
        certificates.file("data/site.key"),
        origin.address
    ));
    let served = || s_client(proxy.address(), &["-ign_eof", "-servername", "site.test", "-showcerts"]);
    assert!(served().contains("CN = one"), "{}", served());
    point_to("two");
    proxy.until("the other certificate is shown", || served().contains("CN = two"));
}

#[test]
fn handshakes_are_bounded_in_time_and_number() {
    let (certificates, origin) = (Certificates::new(), Origin::echo());
    let proxy = proxy(&certificates, &origin, "", "handshakes: 1, head_timeout: 300ms");
    let mut silent = Peer::connect(proxy.address());
    let errors = |reason: &str| proxy.metric("pulsegate_downstream_errors_total", &[&format!("reason=\"{reason}\"")]);
    // Whoever comes while the first one still has its place is closed.
    while errors("handshake_limit") == 0 {
        drop(ask(&certificates, proxy.address(), "site.test", &[]));
        assert!(errors("handshake_limit") + errors("handshake_timeout") < 2, "{}", proxy.said());
    }
    assert!(silent.at_end());
    proxy.until_metric("pulsegate_downstream_errors_total", &["reason=\"handshake_timeout\""], 1);
    assert_eq!(ask(&certificates, proxy.address(), "site.test", &[]).status(), 200);
    // Whoever speaks no TLS at all is no client either; who only looks whether somebody listens is no trouble.
    assert_ne!(curl(&[&proxy.url("/")]).exit, 0);
    drop(Peer::connect(proxy.address()));
    proxy.until_metric("pulsegate_downstream_errors_total", &["reason=\"handshake\""], 1);
}

#[test]
fn a_redirect_to_https_leads_to_what_comes_by_tls_and_takes_none_of_it() {
    let (certificates, origin) = (Certificates::new(), Origin::echo());
    certificates.sign("site", "site", &["site.test"]);
    let proxy = Proxy::start(&format!(
        "workers: 1
listeners:
  - {{ name: plain, address: 127.0.0.1:0, trusted_proxies: [127.0.0.1], routes: [&redirect {{ redirect: https }}, &all {{ cluster: app }}] }}
  - {{ name: secured, address: 127.0.0.1:0, tls: {{ cert: {}, key: {} }}, routes: [*redirect, *all] }}
clusters: [{{ name: app, endpoints: [\"{}\"], health: off }}]
",
        certificates.file("site.crt"),
        certificates.file("site.key"),
        origin.address
    ));
    let plain = proxy.listener("plain");
    let got = curl(&[&format!("http://{plain}/a?b=c")]);
    assert_eq!((got.status(), got.head().header("location")), (308, Some("https://127.0.0.1/a?b=c")), "{got:?}");
    for version in ["--http1.1", "--http2"] {
        let got = ask(&certificates, proxy.listener("secured"), "site.test", &[version]);
        assert_eq!(got.status(), 200, "{got:?}");
        assert_eq!(seen(&got.body, "x-forwarded-proto"), Some("https"));
    }
    // A balancer in front that ends TLS is believed.
    let got = curl(&[&format!("http://{plain}/"), "--header", "X-Forwarded-Proto: https"]);
    assert_eq!(got.status(), 200, "{got:?}");
}

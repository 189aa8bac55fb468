//! Headers on their way through: what is added, replaced, kept and taken away.

use crate::curl::curl;
use crate::origin::{Origin, seen, shown};
use crate::program::Proxy;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Asks with these header lines, and gives what the endpoint saw.
fn echo(proxy: &Proxy, url: &str, lines: &[&str]) -> String {
    let mut arguments = vec![url];
    for line in lines {
        arguments.extend(["--header", line]);
    }
    let got = curl(&arguments);
    assert_eq!((got.exit, got.status()), (0, 200), "{got:?}\n{}", proxy.said());
    got.body
}

#[test]
fn an_endpoint_learns_who_asked_and_by_which_way() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let body = echo(&proxy, &proxy.url("/"), &["Host: shop.example:8080"]);
    let check = |name: &str, wanted: &str| assert_eq!(seen(&body, name), Some(wanted), "{name} in {body}");
    check("host", "shop.example:8080");
    check("x-forwarded-for", "127.0.0.1");
    check("x-forwarded-proto", "http");
    check("x-forwarded-host", "shop.example:8080");
    check("via", "1.1 pulsegate");
    let id = seen(&body, "x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let trace = seen(&body, "traceparent").unwrap();
    assert!(trace.len() == 55 && trace.starts_with("00-"), "{trace}");
    let again = echo(&proxy, &proxy.url("/"), &[]);
    assert_ne!(seen(&again, "x-request-id").unwrap(), id);
    assert_ne!(seen(&again, "traceparent").unwrap(), trace);
}

const CLAIMS: [&str; 7] = [
    "X-Forwarded-For: 10.9.8.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: other.example",
    "X-Forwarded-Port: 443",
    "Forwarded: for=10.9.8.7",
    "X-Client-Cert-Subject: CN=root",
    "Via: 1.1 outer",
];

#[test]
fn claims_of_a_client_are_replaced_and_those_of_a_trusted_proxy_extended() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners:
  - {{ name: open, address: 127.0.0.1:0, cluster: app, trusted_proxies: [10.0.0.0/8] }}
  - {{ name: inner, address: 127.0.0.1:0, cluster: app, trusted_proxies: [127.0.0.0/8] }}
clusters:
  - {{ name: app, endpoints: [\"{}\"], health: off }}
",
        origin.address
    ));
    let url = |name: &str| format!("http://{}/", proxy.listener(name));
    let open = echo(&proxy, &url("open"), &CLAIMS);
    let host = proxy.listener("open").to_string();
    for (name, wanted) in [
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some(host.as_str())),
        ("x-forwarded-port", None),
        ("forwarded", None),
        ("x-client-cert-subject", None),
        ("via", Some("1.1 outer, 1.1 pulsegate")),
    ] {
        assert_eq!(seen(&open, name), wanted, "{name} in {open}");
    }
    let inner = echo(&proxy, &url("inner"), &CLAIMS);
    for (name, wanted) in [
        ("x-forwarded-for", Some("10.9.8.7, 127.0.0.1")),
        ("x-forwarded-proto", Some("https")),
        ("x-forwarded-host", Some("other.example")),
        ("x-client-cert-subject", None),
    ] {
        assert_eq!(seen(&inner, name), wanted, "{name} in {inner}");
    }
}

/// Naming a header there takes it away, but only what the client itself sent.
#[test]
fn a_client_cannot_name_our_headers_in_connection_to_take_them_away() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let line = "Connection: close, x-forwarded-for, x-forwarded-host, via, host, content-length, x-request-id, traceparent";
    let got = curl(&["--header", line, "--data", "some=body", &proxy.url("/")]);
    for name in ["x-forwarded-for", "x-forwarded-host", "via", "host", "x-request-id", "traceparent"] {
        assert!(seen(&got.body, name).is_some(), "{name} in {got:?}");
    }
    assert_eq!(seen(&got.body, "content-length"), Some("9"));
}

#[test]
fn ids_are_kept_if_they_are_well_formed() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let check = |line: &str, name: &str, kept: bool| {
        let body = echo(&proxy, &proxy.url("/"), &[line]);
        let (_, value) = line.split_once(": ").unwrap();
        let found = seen(&body, name).unwrap();
        assert_eq!(found == value, kept, "{line} became {found}");
    };
    check("X-Request-Id: order-17_a", "x-request-id", true);
    check("X-Request-Id: two words", "x-request-id", false);
    check("X-Request-Id: <script>", "x-request-id", false);
    check(&format!("X-Request-Id: {}", "a".repeat(129)), "x-request-id", false);
    check(&format!("traceparent: {TRACE}"), "traceparent", true);
    check("traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01", "traceparent", false);
    check("traceparent: nonsense", "traceparent", false);
    let body = echo(&proxy, &proxy.url("/"), &[&format!("traceparent: {TRACE}"), "tracestate: a=1"]);
    assert_eq!(seen(&body, "tracestate"), Some("a=1"));
}

#[test]
fn what_concerns_one_connection_goes_no_further() {
    let origin = Origin::answering(|request| {
        let body = shown(request);
        let head = "HTTP/1.1 200 OK\r\nConnection: x-inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
                    Upgrade: h2c\r\nX-Kept: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    });
    let proxy = Proxy::before(&origin);
    let got = curl(&[
        "--header",
        "Connection: keep-alive, X-Outer",
        "--header",
        "X-Outer: 1",
        "--header",
        "Keep-Alive: 5",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Proxy-Authorization: Basic eDp5",
        "--header",
        "Proxy-Connection: keep-alive",
        "--header",
        "Cookie: a=1",
        &proxy.url("/"),
    ]);
    for gone in ["connection", "x-outer", "keep-alive", "upgrade", "proxy-authorization", "proxy-connection", "te"] {
        assert_eq!(seen(&got.body, gone), None, "{gone} in {}", got.body);
    }
    assert_eq!(seen(&got.body, "cookie"), Some("a=1"));
    for gone in ["connection", "x-inner", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(got.head().header(gone), None, "{gone} in {:?}", got.head());
    }
    assert_eq!((got.head().header("x-kept"), got.head().count("set-cookie")), (Some("1"), 2));
}

#[test]
fn rules_of_a_route_apply_both_ways() {
    let origin = Origin::answering(|request| {
        let body = shown(request);
        let head = "HTTP/1.1 200 OK\r\nServer: secret\r\nX-Powered-By: secret\r\nCache-Control: private\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    });
    let proxy = Proxy::with_route(
        &origin,
        "headers: { request: { set: { x-team: orders, user-agent: proxied }, remove: [x-debug] }, \
         response: { set: { cache-control: no-store }, remove: [server, x-powered-by] } }",
    );
    let got = curl(&["--header", "X-Debug: 1", "--header", "X-Team: mine", "--header", "x-team: again", &proxy.url("/")]);
    assert_eq!(seen(&got.body, "x-team"), Some("orders"));
    assert_eq!(seen(&got.body, "user-agent"), Some("proxied"));
    assert_eq!(seen(&got.body, "x-debug"), None);
    assert_eq!(got.head().header("cache-control"), Some("no-store"));
    assert_eq!((got.head().header("server"), got.head().header("x-powered-by")), (None, None));
}

#[test]
fn values_pass_byte_for_byte() {
    let origin = Origin::answering(|request| {
        let value = request.header("x-value").unwrap_or("none");
        format!("HTTP/1.1 200 OK\r\nX-Value: {value}\r\nContent-Length: 0\r\n\r\n")
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.connect();
    for value in ["plain", "with  two spaces", "tab\tinside", "gr\u{fc}n \u{2713}", "\"quoted, list\", a;b=c", &"x".repeat(9000)]
    {
        let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Value: {value} \t\r\n\r\n"));
        assert_eq!(answer.header("x-value"), Some(value));
    }
}

#[test]
fn a_request_that_goes_round_in_circles_is_stopped() {
    let origin = Origin::echo();
    let proxy = Proxy::before(&origin);
    let via = format!("Via: {}", ["1.1 pulsegate"; 16].join(", "));
    let got = curl(&["--header", &via, &proxy.url("/")]);
    assert_eq!((got.status(), got.head().error()), (502, Some("proxy_loop_detected")), "{got:?}");
}

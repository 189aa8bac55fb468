//! What passes through unchanged, what is added, and what we answer ourselves.

use std::sync::Arc;

use super::rig::{Rig, answers, endpoint, refuses, snapshot};
use crate::cluster::{Snapshot, World};
use crate::traffic::policy::Match;

#[test]
fn a_request_and_its_answer_pass() {
    let origin = endpoint(|mut client| {
        while let Some(request) = client.request() {
            let seen = format!("{}\n{:?}", request.first, request.head);
            client.send(&format!(
                "HTTP/1.1 201 Made Up\r\nContent-Length: {}\r\nX-Kept: 1\r\nKeep-Alive: x\r\n\r\n{seen}",
                seen.len()
            ));
        }
    });
    let rig = Rig::start(&[origin]);
    let reply = rig
        .ask("GET /a%20b?c=%2e HTTP/1.1\r\nHost: Shop:81\r\nConnection: x-gone\r\nX-Gone: 1\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
    assert_eq!(reply.first, "HTTP/1.1 201 Made Up");
    assert_eq!(reply.header("x-kept"), Some("1"));
    assert_eq!(reply.header("keep-alive"), None);
    assert!(reply.body.starts_with("GET /a%20b?c=%2e HTTP/1.1\n"), "{}", reply.body);
    for wanted in [
        r#"("host", "Shop:81")"#,
        r#"("x-forwarded-for", "127.0.0.1")"#,
        r#"("via", "1.1 pulsegate")"#,
        "traceparent",
        "x-request-id",
    ] {
        assert!(reply.body.contains(wanted), "{wanted} in {}", reply.body);
    }
    assert!(!reply.body.contains("x-gone"));
}

#[test]
fn routes_and_members_of_a_reload_come_into_force_together() {
    let rig = Rig::start(&[
        answers("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"),
        answers("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"),
    ]);
    let cluster = Arc::clone(&rig.live.world().load().clusters[0]);
    let upstream = cluster.snapshot().load().upstream;
    let ask = || rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").body;
    cluster.publish(snapshot(&rig.endpoints[..1], &rig.endpoints, upstream));
    assert_eq!(ask(), "old");
    cluster.publish(Snapshot { generation: 1, ..snapshot(&rig.endpoints[1..], &rig.endpoints, upstream) });
    assert_eq!(ask(), "old", "the world that it belongs to is not there yet");
    rig.live.publish(World { generation: 1, clusters: vec![cluster], ..World::default() });
    assert_eq!(ask(), "new", "even by a listener that is in no world any more");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let rig = Rig::start(&[answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]);
    let mut client = rig.connect();
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.reply(false).body, "ok");
    }
    assert_eq!(rig.endpoints[0].cells(0).connects[0].get(), 1);
    assert_eq!(rig.statuses(5), [(200, 5)]);
    assert_eq!(rig.endpoints[0].in_flight(), 0);
}

#[test]
fn no_route_is_404_and_nobody_available_is_503() {
    let rig = Rig::start_with(&[answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")], |settings| {
        settings.route.matches = Match { path_prefixes: vec!["/a".into()], ..Match::default() };
    });
    let reply = rig.ask("GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.status(), 404);
    assert_eq!(reply.header("proxy-status"), Some("pulsegate; error=destination_not_found"));
    let upstream = rig.live.world().load().clusters[0].snapshot().load().upstream;
    rig.live.world().load().clusters[0].publish(snapshot(&[], &rig.endpoints, upstream));
    let reply = rig.ask("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.header("proxy-status"), Some("pulsegate; error=destination_unavailable"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(rig.ask("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n").status(), 503);
    assert_eq!(rig.statuses(2), [(503, 2)]);
}

#[test]
fn a_prefix_is_stripped_and_rules_apply() {
    let origin = endpoint(|mut client| {
        while let Some(request) = client.request() {
            let seen = format!("{} {:?}", request.first, request.header("x-team"));
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nServer: secret\r\n\r\n{seen}", seen.len()));
        }
    });
    let rig = Rig::start_with(&[origin], |settings| {
        settings.route.matches = Match { path_prefixes: vec!["/api".into()], ..Match::default() };
        settings.route.strip_prefix = true;
        settings.route.request_headers.set.push(("x-team".parse().unwrap(), "a".parse().unwrap()));
        settings.route.response_headers.remove.push("server".parse().unwrap());
    });
    let reply = rig.ask("GET /api/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.body, r#"GET /x?y HTTP/1.1 Some("a")"#);
    assert_eq!(reply.header("server"), None);
}

#[test]
fn old_clients_and_absolute_targets_are_served() {
    let origin = endpoint(|mut client| {
        while let Some(request) = client.request() {
            let seen = format!("{} {:?}", request.first, request.header("host"));
            client.send(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{seen}\r\n0\r\n\r\n", seen.len()));
        }
    });
    let rig = Rig::start(&[origin]);
    let reply = rig.ask("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(reply.header("transfer-encoding"), None);
    assert!(reply.body.starts_with("GET /x HTTP/1.1 Some(\"127.0.0.1:"), "{}", reply.body);
    assert_eq!(rig.ask("GET http://Shop/x HTTP/1.1\r\nHost: shop\r\n\r\n").body, r#"GET /x HTTP/1.1 Some("Shop")"#);
    assert_eq!(rig.ask("OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n").body, r#"OPTIONS * HTTP/1.1 Some("shop")"#);
    assert_eq!(rig.ask("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").status(), 501);
}

#[test]
fn failures_have_their_status_and_token() {
    let check = |origin, wanted: u16, token: &str| {
        let rig = Rig::start_with(&[origin], |settings| settings.route.retries.attempts = 1);
        let reply = rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((reply.status(), reply.header("proxy-status")), (wanted, Some(format!("pulsegate; error={token}").as_str())));
        assert_eq!(rig.endpoints[0].in_flight(), 0);
    };
    check(refuses(), 502, "connection_refused");
    check(endpoint(|mut client| drop(client.request())), 502, "connection_terminated");
    check(answers("nonsense\r\n\r\n"), 502, "http_protocol_error");
    check(answers("HTTP/1.1 101 Switching Protocols\r\n\r\n"), 502, "http_upgrade_failed");
    check(answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 502, "http_response_transfer_coding");
    check(
        answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
        502,
        "http_response_transfer_coding",
    );
    check(answers("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), 502, "http_protocol_error");
    let huge = endpoint(|mut client| {
        drop(client.request());
        client.send(&format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(70_000)));
    });
    check(huge, 502, "http_response_header_section_size");
}

//! What ties requests to endpoints and routes to clusters: cookies, keys, shares, and answers that need no endpoint.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::rig::{Reply, Rig, Settings, answers, endpoint};
use crate::cluster::{Affinity, Phase};
use crate::traffic::affinity::{Balance, HashOn, Key, Sticky};
use crate::traffic::policy::Action;

/// An endpoint that says who it is.
fn named(name: &'static str) -> SocketAddr {
    endpoint(move |mut client| {
        while client.request().is_some() {
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
        }
    })
}

fn tied(balance: Balance, sticky: Option<Sticky>) -> Rig {
    let rig = Rig::start(&[named("a"), named("b"), named("c")]);
    let addresses: Vec<String> = rig.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    let endpoints = addresses.iter().map(|address| (address.as_str(), 1));
    rig.publish_with(&rig.endpoints, Arc::new(Affinity::new(&balance, sticky.as_ref(), "app", endpoints)));
    rig
}

fn sticky() -> Option<Sticky> {
    Some(Sticky { cookie: "route".into(), keys: vec![Key::new("0123456789abcdef").unwrap()] })
}

fn ask(rig: &Rig, more: &str) -> Reply {
    let reply = rig.ask(&format!("GET /x HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
    assert_eq!(reply.status(), 200);
    reply
}

fn pair(reply: &Reply) -> String {
    reply.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned()
}

#[test]
fn a_client_stays_with_the_endpoint_of_its_cookie() {
    let rig = tied(Balance::default(), sticky());
    for _ in 0..3 {
        let first = ask(&rig, "");
        let cookie = format!("Cookie: x=y; {}\r\n", pair(&first));
        for _ in 0..4 {
            let again = ask(&rig, &cookie);
            assert_eq!((again.body.as_str(), again.header("set-cookie")), (first.body.as_str(), None));
        }
    }
}

#[test]
fn a_cookie_that_leads_nowhere_is_set_anew() {
    let rig = tied(Balance::default(), sticky());
    let first = ask(&rig, "");
    let good = pair(&first);
    for bad in ["route=nonsense".to_owned(), format!("{good}0"), good.replace("route=", "route=0")] {
        let again = ask(&rig, &format!("Cookie: {bad}\r\n"));
        assert!(again.header("set-cookie").is_some(), "{bad}");
    }
    let home =
        rig.endpoints.iter().position(|one| one.cells(0).classes[1].get() > 0 && first.body == name_of(&rig, one)).unwrap();
    let others: Vec<_> = rig.endpoints.iter().filter(|one| !Arc::ptr_eq(one, &rig.endpoints[home])).cloned().collect();
    let affinity = Arc::clone(&rig.live.world().load().clusters[0].snapshot().load().affinity);
    rig.publish_with(&others, affinity);
    let moved = ask(&rig, &format!("Cookie: {good}\r\n"));
    assert!(moved.body != first.body, "its endpoint gets no traffic any more");
    assert_ne!(pair(&moved), good);
}

/// What an endpoint says.
fn name_of(rig: &Rig, wanted: &Arc<crate::cluster::Endpoint>) -> String {
    let place = rig.endpoints.iter().position(|one| Arc::ptr_eq(one, wanted)).unwrap();
    ["a", "b", "c"][place].to_owned()
}

#[test]
fn equal_keys_lead_to_the_same_endpoint() {
    let header = Balance::Hash(HashOn::Header("x-user".parse().unwrap()));
    let rig = tied(header, None);
    let mut homes = BTreeMap::new();
    for _ in 0..3 {
        for user in 0..20 {
            let body = ask(&rig, &format!("X-User: {user}\r\n")).body;
            assert_eq!(*homes.entry(user).or_insert_with(|| body.clone()), body);
        }
    }
    let used: std::collections::BTreeSet<&String> = homes.values().collect();
    assert_eq!(used.len(), 3, "{homes:?}");
    assert_eq!(rig.live.world().load().clusters[0].load(), 0, "everybody who was counted in is counted out");
}

#[test]
fn a_redirect_names_the_same_place_by_https() {
    let rig =
        Rig::start_with(&[], |settings: &mut Settings| settings.route.action = Action::RedirectToHttps { port: Some(8443) });
    let reply = rig.ask("GET /a/b?c=d HTTP/1.1\r\nHost: Shop.example:8080\r\n\r\n");
    assert_eq!((reply.status(), reply.header("location")), (308, Some("https://shop.example/a/b?c=d")));
    assert_eq!((reply.header("proxy-status"), reply.body.as_str()), (Some("pulsegate"), ""));
    assert_eq!(
        rig.ask("POST http://[::1]:80/x HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n").header("location"),
        Some("https://[::1]/x")
    );
    assert_eq!(rig.ask("GET / HTTP/1.0\r\n\r\n").status(), 400);
    let straight = format!("GET /x HTTP/1.1\r\nHost: a:{}\r\n\r\n", rig.address.port());
    assert_eq!(rig.ask(&straight).header("location"), Some("https://a:8443/x"), "who came to our own port finds our other one");
    let usual = Rig::start_with(&[], |settings| settings.route.action = Action::RedirectToHttps { port: None });
    let straight = format!("GET /x HTTP/1.1\r\nHost: a:{}\r\n\r\n", usual.address.port());
    assert_eq!(usual.ask(&straight).header("location"), Some("https://a/x"));
}

#[test]
fn a_redirect_takes_nothing_that_is_https_already() {
    let told = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";
    for (trusted, status) in [(false, 308), (true, 404)] {
        let rig = Rig::start_with(&[], |settings| {
            settings.route.action = Action::RedirectToHttps { port: None };
            settings.listener.trusted_proxies.extend(trusted.then(|| "127.0.0.0/8".parse::<ipnet::IpNet>().unwrap()));
        });
        assert_eq!(rig.ask(told).status(), status, "trusted: {trusted}");
        assert_eq!(rig.ask(&told.replace("https", "http")).status(), 308);
    }
}

#[test]
fn the_health_path_says_what_readyz_says() {
    let rig = Rig::start_with(&[answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")], |settings| {
        settings.listener.health_path = Some("/-/ready".into());
    });
    let ready = |path: &str| rig.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(ready("/-/ready").status(), 503);
    rig.live.enter(Phase::Ready);
    assert_eq!((ready("/-/ready").status(), ready("/-/ready").body.as_str()), (200, "ready\n"));
    assert_eq!((ready("/-/ready?cluster=app").status(), ready("/-/ready?cluster=none").status()), (200, 404));
    assert_eq!(ready("/-/ready/x").header("proxy-status"), None, "everything else goes its way");
    rig.live.enter(Phase::Draining);
    let draining = ready("/-/ready");
    assert_eq!((draining.status(), draining.header("content-type")), (503, Some("application/problem+json")));
    assert!(draining.body.contains("draining"), "{}", draining.body);
}

//! Where requests go by choice: shares of a split, keys and cookies that lead home, and a redirect, with a real client.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::support::{Answer, Client, Folder, Kind, PATIENCE, Proxy, Service, one_listener, three};

fn ask(proxy: &Proxy, more: &str) -> Answer {
    let mut client = Client::connect(proxy.address()).unwrap();
    let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: {}\r\n{more}\r\n", proxy.address())).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "10"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_split_meets_its_shares_and_a_redirect_its_place() {
    let [stable, mut canary] = [Kind::Nginx, Kind::Node].map(Service::start);
    let proxy = Proxy::start(&format!(
        "admin: {{ address: ADMIN }}
workers: 2
listeners:
  - name: web
    address: LISTENER
    health_path: /-/ready
    routes:
      - {{ name: old, match: {{ path_prefix: /old }}, redirect: https }}
      - {{ name: both, split: {{ stable: 90, canary: 10 }} }}
clusters:
  - {{ name: stable, endpoints: [{}] }}
  - {{ name: canary, endpoints: [{}], health: {{ path: /health, interval: 200ms, fall: 1 }} }}
",
        stable.name(),
        canary.name()
    ));
    for _ in 0..200 {
        ask(&proxy, "");
    }
    let by = |cluster: &str| proxy.page().sum("requests_total", &[("route", "both"), ("cluster", cluster)]);
    assert_eq!(by("stable") + by("canary"), 200);
    assert!((16..=24).contains(&by("canary")), "{} of 200", by("canary"));

    let place = format!("http://{}/old/a%20b?c=d", proxy.address());
    let seen = curl(&["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "-H", "Host: Shop.example:8080", &place]);
    assert_eq!(seen, "308 https://shop.example/old/a%20b?c=d");
    assert_eq!(proxy.page().sum("requests_total", &[("route", "old"), ("cluster", ""), ("code", "308")]), 1);
    assert_eq!(curl(&[&format!("http://{}/-/ready", proxy.address())]), "ready\n");

    canary.kill();
    crate::support::until(PATIENCE, "the canary is out", || {
        (proxy.page().one("endpoint_up", &[("cluster", "canary"), ("endpoint", &canary.name())]) == 0).then_some(())
    });
    for _ in 0..40 {
        assert_eq!(ask(&proxy, "").text(), stable.says(), "nobody gets a 503 for a share that nobody serves");
    }
}

#[test]
fn a_cookie_jar_leads_back_to_the_same_endpoint() {
    let mut services = three();
    let folder = Folder::new();
    folder.write("keys", "a-key-that-signs-0123456789\n");
    let names = services.each_ref().map(Service::name).join(", ");
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters:
  - name: app
    endpoints: [{names}]
    sticky: {{ cookie: route, key_file: {} }}
    health: {{ path: /health, interval: 200ms, fall: 1 }}
",
        folder.file("keys")
    )));
    let (jar, place) = (folder.file("jar"), format!("http://{}/", proxy.address()));
    let visit = || curl(&["-b", &jar, "-c", &jar, &place]);
    let home = visit();
    for _ in 0..8 {
        assert_eq!(visit(), home);
    }
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(visit(), home);
    let text = std::fs::read_to_string(&jar).unwrap();
    assert!(!text.contains(&home[home.len() - 5..home.len() - 1]), "the cookie tells where it leads: {text}");

    let service = services.iter_mut().find(|service| service.says() == home).unwrap();
    let gone = service.name();
    service.kill();
    proxy.wait_for_up(PATIENCE, &gone, false);
    let next = visit();
    assert_ne!(next, home);
    for _ in 0..8 {
        assert_eq!(visit(), next, "the new cookie took the old one's place");
    }
}

#[test]
fn a_key_leads_to_the_same_endpoint_in_every_process_and_after_a_reload() {
    let services = three();
    let config = |endpoints: &[&Service]| {
        let names: Vec<String> = endpoints.iter().map(|service| service.name()).collect();
        one_listener(&format!(
            "clusters: [{{ name: app, endpoints: [{}], balance: {{ hash: {{ header: x-user }} }} }}]\n",
            names.join(", ")
        ))
    };
    let [first, second, third] = services.each_ref();
    let homes = |proxy: &Proxy| -> BTreeMap<u32, String> {
        (0..40).map(|user| (user, ask(proxy, &format!("X-User: {user}\r\n")).text())).collect()
    };
    let proxy = Proxy::start(&config(&[first, second, third]));
    let before = homes(&proxy);
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 3, "{before:?}");
    let other = Proxy::start(&config(&[third, first, second]));
    assert_eq!(homes(&other), before, "in another process, and in another order");
    proxy.rewrite(&config(&[first, third]));
    assert_eq!(proxy.reload().status, 200);
    for (user, home) in homes(&proxy) {
        assert!(home == before[&user] || before[&user] == second.says(), "user {user} moved, though only {second:?} left");
    }
    proxy.rewrite(&config(&[first, second, third]));
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(homes(&proxy), before);
}

//! Who connects, as a proxy in front says it.

use crate::support::{Client, Kind, PATIENCE, Proxy, Service, one_listener, until};

#[test]
fn a_trusted_proxy_says_who_connects() {
    let service = Service::start(Kind::Nginx);
    let config = |trusted: &str| {
        one_listener(&format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", service.name()))
            .replace("cluster: app }\n", &format!("cluster: app, proxy_protocol: true, trusted_proxies: [{trusted}] }}\n"))
            .replace("workers: 2\n", "workers: 2\naccess_log: { path: access.log }\n")
    };
    let proxy = Proxy::start(&config("127.0.0.1"));
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address());
    let v2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x7f\0\0\x01\0\x09\0\x50";
    let ask = |pieces: &[&str]| {
        let mut client = Client::connect(proxy.address()).unwrap();
        pieces.iter().for_each(|piece| client.send(piece).unwrap());
        client.answer().map(|answer| answer.status).ok()
    };
    assert_eq!(ask(&["PROXY TCP4 192.0.2.7 127.0.0.1 9 80\r\n", &request]), Some(200));
    assert_eq!(ask(&["PROXY TCP4 192.0.2.8 ", "127.0.0.1 9 80\r", "\n", &request]), Some(200));
    assert_eq!(ask(&[v2, &request]), Some(200));
    assert_eq!(ask(&["PROXY UNKNOWN\r\n", &request]), Some(200));
    assert_eq!(ask(&[&request]), None, "nobody says who connects");
    assert_eq!(proxy.page().one("downstream_errors_total", &[("reason", "proxy_header")]), 1);
    let clients = || -> Vec<String> {
        let text = std::fs::read_to_string(proxy.file("access.log")).unwrap_or_default();
        let client = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["client"].as_str().map(str::to_owned);
        text.lines().filter_map(client).collect()
    };
    until(PATIENCE, "four lines are written", || (clients().len() == 4).then_some(()));
    let mut seen = clients();
    seen.sort();
    assert_eq!(seen, ["1.2.3.4", "127.0.0.1", "192.0.2.7", "192.0.2.8"]);

    proxy.rewrite(&config("10.0.0.0/8"));
    assert_eq!(proxy.reload().status, 200);
    let ask = |pieces: &[&str]| {
        let mut client = Client::connect(proxy.address()).unwrap();
        pieces.iter().for_each(|piece| client.send(piece).unwrap());
        client.answer().unwrap().status
    };
    assert_eq!(ask(&[&request]), 200, "who is not trusted speaks for himself");
    assert_eq!(ask(&["PROXY TCP4 192.0.2.9 127.0.0.1 9 80\r\n", &request]), 400);
}

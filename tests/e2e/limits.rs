//! Limits of a process with two workers: they hold for both together, and what waits is served by either.

use crate::support::misbehaving::{Misbehaving, Misbehaviour};
use crate::support::{Client, Kind, Load, PATIENCE, Page, Proxy, Service, alone, one_listener, until};

/// Sends so many requests, each on a connection of its own, without waiting for an answer.
fn send(proxy: &Proxy, requests: usize) -> Vec<Client> {
    let one = |_| {
        let mut client = Client::connect(proxy.address()).unwrap();
        client.send(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address())).unwrap();
        client
    };
    (0..requests).map(one).collect()
}

#[test]
fn a_limit_of_requests_holds_for_both_workers_together() {
    let hung = Misbehaving::start(Misbehaviour::Hangs);
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters: [{{ name: app, endpoints: [{}], limits: {{ requests: 3, pending: 4, queue_timeout: 20s }} }}]\n",
        hung.name()
    )));
    let _clients = send(&proxy, 12);
    let rejected = || proxy.page().sum("requests_rejected_total", &[("cluster", "app"), ("limit", "pending")]);
    until(PATIENCE, "five of twelve are turned away", || (rejected() == 5).then_some(()));
    assert_eq!(proxy.endpoint(&hung.name())["in_flight"], 3);
    let own = proxy.page().sum("local_responses_total", &[("error", "connection_limit_reached")]);
    assert_eq!(own, 5);
}

#[test]
fn few_connections_serve_many_clients_of_both_workers() {
    let _alone = alone();
    let service = Service::start(Kind::Nginx);
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters: [{{ name: app, endpoints: [{}], limits: {{ connections: 2, queue_timeout: 5s }} }}]\n",
        service.name()
    )));
    let load = Load::start(proxy.address(), "/", 300, 8);
    load.go_on(400);
    let open = proxy.page().sum("upstream_connections", &[]);
    assert!(open <= 2, "{open}");
    load.end(true).assert_all_answered(400);
}

#[test]
fn limits_of_requests_hold_over_http2_where_all_share_a_connection() {
    let hung = Misbehaving::start(Misbehaviour::Hangs);
    // It speaks both, and answers nothing as long as nobody behind it does.
    let inner = Proxy::start(&one_listener(&format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", hung.name())));
    let name = inner.address().to_string();
    for limit in ["requests: 3", "endpoint_requests: 3"] {
        let proxy = Proxy::start(&one_listener(&format!(
            "clusters: [{{ name: app, endpoints: [{name}], protocol: http2, limits: {{ {limit}, pending: 4, queue_timeout: 20s }} }}]\n"
        )));
        let _clients = send(&proxy, 12);
        let rejected = || proxy.page().sum("requests_rejected_total", &[("cluster", "app"), ("limit", "pending")]);
        until(PATIENCE, "five of twelve are turned away", || (rejected() == 5).then_some(()));
        assert_eq!(proxy.endpoint(&name)["in_flight"], 3, "{limit}");
        let open = proxy.page().sum("upstream_connections", &[]);
        assert!(open <= 2, "one for each worker, not {open}");
    }
}

#[test]
fn connections_that_take_a_few_requests_are_as_many_as_needed_within_their_limit() {
    let hung = Misbehaving::start(Misbehaviour::Hangs);
    let inner = one_listener(&format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", hung.name()));
    let inner = Proxy::start(&inner.replace("cluster: app }", "cluster: app, limits: { streams: 2 } }"));
    let name = inner.address().to_string();
    for (limit, connections, too_many) in
        [("connections: 2", 2, 4), ("endpoint_connections: 2", 2, 4), ("connections: none", 6, 0)]
    {
        let proxy = Proxy::start(&one_listener(&format!(
            "clusters: [{{ name: app, endpoints: [{name}], protocol: http2, limits: {{ {limit}, pending: 4, queue_timeout: 20s }} }}]\n"
        )).replace("workers: 2", "workers: 1"));
        let _clients = send(&proxy, 12);
        let are_open = |page: &Page| page.sum("upstream_connections", &[]) == connections;
        let are_rejected = |page: &Page| page.sum("requests_rejected_total", &[("limit", "pending")]) == too_many;
        until(PATIENCE, &format!("with {limit} {connections} connections and {too_many} too many"), || {
            Some(proxy.page()).filter(|page| are_open(page) && are_rejected(page))
        });
        assert_eq!(proxy.endpoint(&name)["in_flight"], 2 * connections, "{limit}");
    }
}

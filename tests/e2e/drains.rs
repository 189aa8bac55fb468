//! The end of the process: whoever was let in is answered, and the exit code says that all went well.

use std::io;
use std::time::Duration;

use crate::support::misbehaving::{Misbehaving, Misbehaviour};
use crate::support::{Client, Kind, Load, PATIENCE, Proxy, Service, alone, get, one_listener, post, until};

/// Until the process ends where nothing keeps it.
const SOON: Duration = Duration::from_secs(6);

/// Requests for `/slow` go to a service of their own.
fn with_slow_route(services: &[Service], slow: &Service) -> String {
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    format!(
        "admin: {{ address: ADMIN }}
workers: 2
drain_delay: 500ms
listeners:
  - name: web
    address: LISTENER
    routes:
      - {{ match: {{ path: /slow }}, cluster: slow }}
      - {{ cluster: app }}
clusters:
  - {{ name: app, endpoints: [{endpoints}], health: {{ path: /health }} }}
  - {{ name: slow, endpoints: [{}] }}
",
        slow.name()
    )
}

fn request(proxy: &Proxy) -> String {
    format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address())
}

#[track_caller]
fn wait_until_closed(proxy: &Proxy) {
    let refused = || Client::connect(proxy.address()).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    until(PATIENCE, "the listener is closed", || refused().then_some(()));
}

#[test]
fn sigterm_under_load_answers_everybody_who_was_let_in() {
    let _alone = alone();
    let services = [Kind::Nginx; 3].map(Service::start);
    let slow = Service::start(Kind::Python);
    let mut proxy = Proxy::start(&with_slow_route(&services, &slow));
    let load = Load::start(proxy.address(), "/", 1000, 16);
    load.go_on(500);

    load.allow_refusal();
    // Each of these takes a second, and is under way when the listener closes.
    let slow_load = Load::start(proxy.address(), "/slow", 8, 8);
    slow_load.allow_refusal();
    let under_way = || proxy.page().sum("upstream_requests_active", &[("cluster", "slow")]);
    until(PATIENCE, "slow requests are under way", || (under_way() >= 4).then_some(()));
    proxy.signal("TERM");
    let unready = || get(proxy.admin(), "/readyz").ok().filter(|answer| answer.status == 503);
    let (unready, _) = until(SOON, "readyz fails", unready);
    assert!(unready.text().contains("draining"), "{}", unready.text());
    let health = proxy.run(&["health"]);
    assert_eq!(health.code, Some(1), "{health:?}");
    let (status, took) = proxy.exit(PATIENCE);
    let (tally, slow_tally) = (load.end(false), slow_load.end(false));
    eprintln!(
        "ended {took:?} later; {} requests, slowest {:?}; {} slow ones",
        tally.answered, tally.slowest, slow_tally.answered
    );
    assert_eq!(status.code(), Some(0));
    tally.assert_all_answered(500);
    slow_tally.assert_all_answered(4);
}

#[test]
fn a_connection_that_rests_is_answered_once_more_and_closed() {
    let service = Service::start(Kind::Nginx);
    let config = one_listener(&format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", service.name()));
    let mut proxy = Proxy::start(&config);
    let mut clients = [0; 4].map(|_| Client::connect(proxy.address()).unwrap());
    for client in &mut clients {
        assert_eq!(client.ask(&request(&proxy)).unwrap().status, 200);
        assert!(client.is_reusable());
    }
    proxy.signal("INT");
    wait_until_closed(&proxy);
    for client in &mut clients[1..] {
        let answer = client.ask(&request(&proxy)).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    let (status, _) = proxy.exit(SOON);
    assert_eq!(status.code(), Some(0));
    assert!(clients[0].line().is_err(), "it is closed without a word");
}

#[test]
fn connections_that_wait_to_be_accepted_are_answered() {
    let service = Service::start(Kind::Nginx);
    let config = one_listener(&format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", service.name()));
    let mut proxy = Proxy::start(&config);
    proxy.signal("STOP");
    // The system takes connections for a process that is stopped; they stand in its accept queue.
    let connect = |_| {
        let mut client = Client::connect(proxy.address()).unwrap();
        client.send(&request(&proxy)).unwrap();
        client
    };
    // More of them than the proxy takes before it hears of the signal.
    let clients: Vec<Client> = (0..400).map(connect).collect();
    proxy.signal("TERM");
    proxy.signal("CONT");
    for mut client in clients {
        assert_eq!(client.answer().unwrap().status, 200);
    }
    let (status, _) = proxy.exit(SOON);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_second_signal_or_the_end_of_drain_timeout_cuts_off_what_is_left() {
    let endpoint = Misbehaving::start(Misbehaviour::Hangs);
    let config = |more: &str| one_listener(&format!("{more}clusters: [{{ name: app, endpoints: [{}] }}]\n", endpoint.name()));
    let begin = |config: &str| {
        let proxy = Proxy::start(config);
        let mut client = Client::connect(proxy.address()).unwrap();
        let asked = endpoint.asked();
        client.send(&request(&proxy)).unwrap();
        until(PATIENCE, "it is under way", || (endpoint.asked() > asked).then_some(()));
        (proxy, client)
    };

    let (mut proxy, mut client) = begin(&config(""));
    proxy.signal("TERM");
    wait_until_closed(&proxy);
    assert!(!proxy.has_ended(), "an exchange is under way");
    proxy.signal("TERM");
    proxy.exit(SOON);
    assert!(client.line().is_err());

    let (mut proxy, mut client) = begin(&config("drain_timeout: 1s\n"));
    assert_eq!(post(proxy.admin(), "/api/v1/drain").unwrap().status, 202);
    let (_, took) = proxy.exit(SOON);
    assert!(took > Duration::from_millis(700), "{took:?}");
    assert!(client.line().is_err());
}

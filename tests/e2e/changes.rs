//! Everything that an operator changes while clients are there, under load over both protocols: no exchange fails.
//!
//! As part of the suite it is short. `PULSEGATE_CHANGES=full cargo test --test e2e changes -- --nocapture` reloads 100 times and upgrades
//! 10 times, and prints what came of it.

use std::time::Duration;

use crate::support::{Kind, Load, PATIENCE, Port, Proxy, Service, Streams, alone, until};

/// Requests a second, over each of both protocols.
const RATE: u32 = 500;

/// A configuration that is another for each number.
fn variant(number: usize, secured: &Port, services: &[Service]) -> String {
    let [first, second, third] = [0, 1, 2].map(|place| services[place].name());
    let third = if number.is_multiple_of(2) { format!(", {third}") } else { String::new() };
    let (attempts, weight, interval) = (2 + number % 2, 1 + number % 3, 400 + 100 * (number % 4));
    format!(
        "admin: {{ address: ADMIN }}
workers: {}
listeners:
  - {{ name: web, address: LISTENER, cluster: app }}
  - name: secured
    address: \"{}\"
    tls: {{ cert: site.crt, key: site.key }}
    limits: {{ streams: {} }}
    routes:
      - {{ name: n{number}, match: {{ path: /n{number} }}, cluster: app }}
      - {{ name: all, cluster: app, retries: {{ attempts: {attempts} }} }}
clusters:
  - name: app
    endpoints: [{first}, {{ address: {second}, weight: {weight} }}{third}]
    health: {{ path: /health, interval: {interval}ms, timeout: 300ms }}
",
        1 + number % 2,
        secured.address(),
        100 + number,
    )
}

#[test]
fn reloads_and_upgrades_under_load_of_both_protocols_cost_no_exchange() {
    let full = std::env::var("PULSEGATE_CHANGES").is_ok_and(|how| how == "full");
    let (reloads, upgrades) = if full { (100, 10) } else { (10, 2) };
    let _alone = alone();
    let (services, secured) = ([Kind::Nginx; 3].map(Service::start), Port::free());
    let made = rcgen::generate_simple_self_signed(["site.test".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    let config = |number: usize| variant(number, &secured, &services);
    let mut proxy = Proxy::start_with(&config(0), &[("site.crt", &certificate), ("site.key", &made.signing_key.serialize_pem())]);
    let (plain, streams) = (Load::start(proxy.address(), "/", RATE, 8), Streams::start(secured.address(), &certificate, RATE, 8));
    plain.go_on(50);
    streams.go_on(50);
    let mut slowest = [Duration::ZERO; 2];
    for number in 1..=reloads {
        proxy.rewrite(&config(number));
        let (answer, took) = until(PATIENCE, "the reload is answered", || Some(proxy.reload()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        slowest[0] = slowest[0].max(took);
        plain.go_on(20);
        streams.go_on(20);
        if number % (reloads / upgrades) == 0 {
            slowest[1] = slowest[1].max(proxy.upgrade());
            plain.go_on(50);
            streams.go_on(50);
        }
    }
    let (answered, connections, failures) = streams.end();
    let plain = plain.end(true);
    eprintln!(
        "{reloads} reloads, slowest {:?}; {upgrades} upgrades, slowest {:?}; {} exchanges over HTTP/1.1, slowest {:?}; {answered} over \
         HTTP/2 and TLS on {connections} connections; {} failed",
        slowest[0],
        slowest[1],
        plain.answered,
        plain.slowest,
        plain.failed + failures.len() as u64,
    );
    assert!(failures.is_empty(), "{} of {answered}: {:?}\n{}", failures.len(), &failures[..failures.len().min(5)], proxy.said());
    plain.assert_all_answered(500);
    assert!(connections >= 8 * upgrades as u64, "every process was asked");
}

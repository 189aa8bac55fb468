//! A proxy through which nothing passes: it hardly wakes, and is all there at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use pulsegate::runtime::clock;

use crate::support::{PATIENCE, Proxy, Service, alone, one_listener, three, until};

/// How often all threads whose names begin so have been woken.
fn wakings(proxy: &Proxy, thread: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.group()[0])).unwrap();
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok());
    let field = |status: &str, name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim).map(str::to_owned));
        value.unwrap()
    };
    let of = statuses.filter(|status| field(status, "Name").starts_with(thread));
    of.map(|status| field(&status, "voluntary_ctxt_switches").parse::<u64>().unwrap()).sum()
}

#[test]
fn a_proxy_through_which_nothing_passes_hardly_wakes() {
    let _alone = alone();
    let services = three();
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    let proxy = Proxy::start(&one_listener(&format!(
        "clusters: [{{ name: app, endpoints: [{endpoints}], health: {{ path: /health, interval: 1s, report: {{ format: none }} }} }}]\n"
    )));
    // A client that stays connected, and says nothing more.
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    assert!(client.read(&mut [0; 1024]).unwrap() > 0);

    let probed = || proxy.page().sum("probes_total", &[("cluster", "app")]);
    let pace = |thread: &str| {
        let (began, before, woken) = (clock::now(), probed(), wakings(&proxy, thread));
        until(PATIENCE, "each is probed twice", || (probed() >= before + 6).then_some(()));
        #[expect(clippy::cast_precision_loss, reason = "wakings of a few seconds")]
        let woken = (wakings(&proxy, thread) - woken) as f64;
        woken / clock::now().since(began).as_secs_f64()
    };
    // It has to come to rest first. Three probes a second wake control some ten times; without a rest each thread wakes sixty times or more.
    for (thread, most) in [("worker-", 24.0), ("control", 35.0)] {
        let rests = || Some(pace(thread)).filter(|pace| *pace < most);
        let (pace, _) = until(PATIENCE, &format!("{thread} hardly wakes"), rests);
        eprintln!("{thread}: {pace:.1} wakings a second");
    }

    // Whoever comes then is served, by the connection that is there and by another.
    client.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(client.read(&mut [0; 1024]).unwrap() > 0);
    assert_eq!(proxy.get("/").status, 200);
}

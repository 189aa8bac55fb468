//! Another process takes over: nobody is refused, nobody's exchange fails, and what is known goes over.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Command;

use crate::support::misbehaving::{Misbehaving, Misbehaviour};
use crate::support::{Client, Folder, Kind, Load, PATIENCE, Port, Process, Proxy, Service, alone, get, one_listener, until};

/// How many upgrades are made under load.
const UPGRADES: usize = 4;

fn config(workers: usize, services: &[Service]) -> String {
    let endpoints = services.iter().map(Service::name).collect::<Vec<_>>().join(", ");
    one_listener(&format!(
        "clusters: [{{ name: app, endpoints: [{endpoints}], health: {{ path: /health, interval: 500ms }} }}]\n"
    ))
    .replace("workers: 2", &format!("workers: {workers}"))
}

#[test]
fn upgrades_under_load_cost_no_request_and_forget_nothing() {
    let _alone = alone();
    let services = [Kind::Nginx; 3].map(Service::start);
    let [well, sick, drained] = services.each_ref().map(Service::name);
    let mut proxy = Proxy::start(&config(2, &services));
    services[1].turn_sick();
    proxy.wait_for_state(PATIENCE, &sick, "unhealthy");
    proxy.succeed(&["drain", "app", &drained, "--for", "1h", "--reason", "new disk"]);
    let known = |proxy: &Proxy| {
        [&well, &sick, &drained].map(|name| {
            let endpoint = proxy.endpoint(name);
            (endpoint["state"].clone(), endpoint["since"].clone(), endpoint["reasons"][0]["detail"].clone())
        })
    };
    let before = known(&proxy);
    let kept = Load::start(proxy.address(), "/", 700, 12);
    let fresh = Load::start_closing(proxy.address(), "/", 300, 6);
    kept.go_on(200);
    for number in 0..UPGRADES {
        proxy.rewrite(&config(1 + number % 3, &services));
        let took = proxy.upgrade();
        eprintln!("upgrade {number} took {took:?}");
        assert_eq!(known(&proxy), before, "after upgrade {number}");
        fresh.go_on(50);
    }
    let history = get(proxy.admin(), &format!("/api/v1/clusters/app/endpoints/{sick}")).unwrap().json()["history"].to_string();
    assert!(history.contains("\"to\":\"unhealthy\""), "{history}");
    services[1].turn_well();
    proxy.wait_for_state(PATIENCE, &sick, "healthy");
    let (kept, fresh) = (kept.end(true), fresh.end(true));
    eprintln!("{} and {} requests, slowest {:?} and {:?}", kept.answered, fresh.answered, kept.slowest, fresh.slowest);
    kept.assert_all_answered(500);
    fresh.assert_all_answered(200);
}

#[test]
fn what_is_under_way_ends_where_it_began_and_an_upgrade_that_fails_changes_nothing() {
    let service = Service::start(Kind::Python);
    let good = one_listener(&format!("clusters: [{{ name: app, endpoints: [{}] }}]\n", service.name()));
    let mut proxy = Proxy::start(&good);
    let group = proxy.group();

    proxy.rewrite("clusters: 7\n");
    proxy.signal("USR2");
    until(PATIENCE, "the upgrade has failed", || proxy.said().contains("the upgrade failed").then_some(()));
    assert_eq!(proxy.group(), group);
    assert_eq!(proxy.get("/").text(), service.says());

    proxy.rewrite(&good);
    let mut client = Client::connect(proxy.address()).unwrap();
    client.send(&format!("GET /slow HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address())).unwrap();
    until(PATIENCE, "it is under way", || (proxy.endpoint(&service.name())["in_flight"] == 1).then_some(()));
    proxy.upgrade();
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_ne!(proxy.group(), group);
    assert_eq!(proxy.get("/").text(), service.says());
    assert_eq!(proxy.status()["phase"], "ready");
}

/// Messages of peers that were believed, and those that came from a run of theirs that is over.
fn heard(proxy: &Proxy) -> (u64, u64) {
    let page = proxy.page();
    let of = |result| page.one("fleet_messages_total", &[("result", result)]);
    (of("ok"), of("stale"))
}

#[test]
fn who_hands_over_says_no_more_to_the_fleet_while_it_ends_what_is_under_way() {
    let hung = Misbehaving::start(Misbehaviour::Hangs);
    let seats = [Port::free(), Port::free()];
    let member = |own: usize, peer: usize| {
        let config = one_listener(&format!(
            "fleet: {{ name: edge, self: edge-{own}, address: {}, peers: [{}], size: 2, key_file: fleet.key }}
clusters: [{{ name: app, endpoints: [{}] }}]\n",
            seats[own].address(),
            seats[peer].address(),
            hung.name()
        ));
        Proxy::start_with(&config, &[("fleet.key", "a key that nobody else has\n")])
    };
    let (leaving, other) = (member(0, 1), member(1, 0));
    until(PATIENCE, "they hear each other", || {
        [&leaving, &other].iter().all(|proxy| proxy.page().one("fleet_peers", &[("state", "alive")]) == 1).then_some(())
    });
    let mut client = Client::connect(leaving.address()).unwrap();
    client.send(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", leaving.address())).unwrap();
    until(PATIENCE, "a request is under way", || (hung.asked() == 1).then_some(()));
    leaving.signal("USR2");
    until(PATIENCE, "another process has taken over", || leaving.said().contains("took over").then_some(()));
    // The first messages of the new process and the last ones of the old may still be among what is not believed.
    let (mut believed, mut stale) = heard(&other);
    until(PATIENCE, "one of them is heard alone", || {
        let now = heard(&other);
        let enough = now.0 >= believed + 5;
        let alone = enough && now.1 == stale;
        if enough {
            (believed, stale) = now;
        }
        alone.then_some(())
    });
    assert_eq!(leaving.group().len(), 2, "the request is under way still");
    assert_eq!(other.page().one("fleet_peers", &[("state", "alive")]), 1);
}

#[test]
fn sockets_of_a_service_manager_are_served() {
    let service = Service::start(Kind::Nginx);
    let (folder, admin) = (Folder::new(), Port::free());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    folder.write(
        "pulsegate.yaml",
        &format!(
            "admin: {{ address: \"{}\" }}\nworkers: 3\nlisteners: [{{ name: web, address: \"{address}\", cluster: app }}]\n\
         clusters: [{{ name: app, endpoints: [{}], health: {{ path: /health }} }}]\n",
            admin.address(),
            service.name()
        ),
    );
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" run -c \"$1\""]);
    command.args([env!("CARGO_BIN_EXE_pulsegate"), &folder.file("pulsegate.yaml")]);
    // It waits with the socket, as those do whose service is started by their connection.
    let mut early = Client::connect(address).unwrap();
    early.send(&format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n")).unwrap();
    let _process = Process::start_with(command, OwnedFd::from(listener), &folder.path().join("pulsegate.log"));
    assert_eq!(early.answer().unwrap().text(), service.says());
    for _ in 0..20 {
        assert_eq!(get(address, "/").unwrap().text(), service.says());
    }
}

#[test]
fn orders_survive_a_restart_in_the_state_file() {
    let services = [Kind::Nginx; 2].map(Service::start);
    let [one, two] = services.each_ref().map(Service::name);
    let config = one_listener(&format!("state_file: state.json\nclusters: [{{ name: app, endpoints: [{one}, {two}] }}]\n"));
    let mut proxy = Proxy::start(&config);
    proxy.succeed(&["drain", "app", "--reason", "rack move"]);
    proxy.succeed(&["maintenance", "app", &one, "--for", "1h", "--reason", "disk"]);
    proxy.succeed(&["freeze", "app"]);
    let shown = |proxy: &Proxy| {
        [&one, &two].map(|name| {
            let endpoint = proxy.endpoint(name);
            let reason = &endpoint["reasons"][0];
            (endpoint["state"].clone(), reason["detail"].clone(), reason["until"].is_string())
        })
    };
    let before = shown(&proxy);
    assert_eq!(before[0], ("maintenance".into(), "disk".into(), true));
    assert_eq!(before[1], ("draining".into(), "rack move".into(), false));
    proxy.restart();
    assert_eq!(shown(&proxy), before);
    assert_eq!(proxy.status()["clusters"][0]["frozen"], true);
    assert_eq!(proxy.succeed(&["thaw", "app"]), "app is not frozen\n");
    proxy.succeed(&["ready", "app"]);
    proxy.restart();
    assert_eq!(proxy.status()["clusters"][0]["frozen"], false);
    assert_eq!(proxy.endpoint(&one)["state"], "healthy");

    proxy.succeed(&["maintenance", "app", &one]);
    proxy.succeed(&["ready", "app", &one, "--for", "1s"]);
    assert_eq!(proxy.endpoint(&one)["state"], "healthy");
    proxy.wait_for_state(PATIENCE, &one, "maintenance");
}

//! Hand-made worlds for this room's tests.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Algorithm, Picker};
use crate::base::address::EndpointAddress;
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::cluster::{Cluster, Endpoint, Listener, Live, Route, Snapshot, Target, Upstream, World};
use crate::config::Config;
use crate::health::verdict::{Code, EndpointView, ProbeView, Reason, State};
use crate::traffic::limits::Limits;
use crate::traffic::route::RouteTable;

/// Workers of a hand-made world.
pub(super) const WORKERS: usize = 2;

pub(super) fn address(text: &str) -> EndpointAddress {
    EndpointAddress::parse(text).unwrap()
}

/// An endpoint of cluster `app` that is healthy.
pub(super) fn endpoint(text: &str, now: Timestamp) -> Arc<Endpoint> {
    let endpoint = Endpoint::new(EndpointId(1), ClusterId(1), "app".into(), address(text), now);
    endpoint.show(view(State::Healthy, now));
    Arc::new(endpoint)
}

/// What a state looks like, with one probe and one report.
pub(super) fn view(state: State, now: Timestamp) -> EndpointView {
    let available = matches!(state, State::Healthy | State::Degraded);
    let probe = ProbeView {
        name: "ready".into(),
        result: Some(if available { "pass" } else { "fail" }),
        latency: Duration::from_micros(800),
        at: now,
        streak: 0,
        passing: available,
        reason: None,
        stamped: None,
        excerpt: "{\"status\":\"UP\"}".into(),
    };
    EndpointView {
        state,
        available,
        admitted: available,
        weight: if available { 1.0 } else { 0.0 },
        since: now,
        reasons: if available { Vec::new() } else { vec![reason(Code::ProbeTimeout, "ready", now)] },
        report: vec![("cpu".into(), 0.31), ("memory".into(), 0.42)],
        report_voids: vec![("queue".into(), "no such field; found jobs.waiting".to_owned())],
        report_at: Some(now),
        probes: vec![probe],
        heartbeat: None,
        role: None,
        most_requests: None,
        next_change: None,
    }
}

pub(super) fn reason(code: Code, probe: &str, now: Timestamp) -> Reason {
    Reason {
        code,
        probe: Some(probe.into()),
        detail: "no complete answer within 1s, 3 times in a row".to_owned(),
        since: now,
        until: None,
    }
}

/// A cluster `app` of these endpoints.
pub(super) fn cluster(endpoints: Vec<Arc<Endpoint>>) -> Arc<Cluster> {
    let snapshot = Snapshot {
        generation: 0,
        members: Box::default(),
        picker: Picker::new(Algorithm::RoundRobin, &[]),
        available: endpoints.iter().filter(|endpoint| endpoint.view().available).count(),
        endpoints: endpoints.into(),
        affinity: Arc::default(),
        upstream: Upstream {
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(4),
            idle_connections: 64,
            protocol: crate::config::model::Protocol::Http1,
            proxy_protocol: None,
        },
        tls: None,
        limits: Limits::none(),
        panic: false,
        frozen: false,
        leadership: None,
    };
    Arc::new(Cluster::new(ClusterId(1), "app".into(), snapshot))
}

/// The configured listener, without a socket.
pub(super) fn listener() -> Listener {
    let [config] = <[_; 1]>::try_from(config().listeners).unwrap();
    Listener {
        table: RouteTable::new(config.routes.iter().map(|route| route.matches.clone()).collect()),
        routes: config.routes.iter().map(|route| Route::new(route.clone(), vec![target()])).collect(),
        config: Arc::new(config),
        cells: Arc::default(),
        connections: Arc::default(),
        handshakes: Arc::default(),
        tls: None,
    }
}

fn target() -> Target {
    Target { name: "app".into(), cluster: Some(0), cells: Arc::default() }
}

/// A world of one listener and one cluster `app`, in force.
pub(super) fn live(endpoints: Vec<Arc<Endpoint>>) -> Arc<Live> {
    let live = Live::new();
    live.publish(World { listeners: vec![listener()], clusters: vec![cluster(endpoints)], ..World::default() });
    Arc::new(live)
}

/// A configuration with a listener `web` and a cluster `app`.
pub(super) fn config() -> Config {
    let text = "
listeners:
  - { name: web, address: 127.0.0.1:8080, routes: [{ match: { host: [pulse.example.com, '*.pulse.internal'] }, cluster: app }] }
clusters:
  - { name: app, health: off, endpoints: [127.0.0.1:9001, { address: 127.0.0.1:9002, weight: 3, backup: true }] }
";
    let nothing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    crate::config::from_text(text, "fixture.yaml", std::path::Path::new("/"), &|_| None, &nothing).unwrap()
}

//! From a configuration to the world that the request path reads.
//!
//! A reload makes a new world, but counts must go on: listeners keep their cells by name, routes theirs by listener, name
//! and cluster.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::{Cluster, Inlet, Listener, Route, RouteCells, Target, World};
use crate::config::{Config, model};
use crate::telemetry::lanes::Lanes;
use crate::tls::{Renewable, Terms};
use crate::traffic::policy::RoutePolicy;
use crate::traffic::route::RouteTable;

/// The world of `config`, with `clusters` in its order, carrying on the counts of `old`.
pub(super) fn world(config: &Config, clusters: Vec<Arc<Cluster>>, old: &World) -> World {
    let positions: HashMap<&str, usize> =
        clusters.iter().enumerate().map(|(position, cluster)| (&*cluster.name, position)).collect();
    let listeners = config.listeners.iter().map(|settings| listener(settings, &positions, old)).collect();
    drop(positions);
    let inlets = config.heartbeats.iter().enumerate().map(|(place, settings)| inlet(place, settings, old)).collect();
    World { generation: old.generation + 1, listeners, inlets, clusters }
}

fn inlet(place: usize, settings: &model::Heartbeats, old: &World) -> Inlet {
    let before = old.inlets.iter().find(|inlet| inlet.config.address == settings.address);
    let terms = settings.tls.as_ref().map(|tls| tls.terms(model::Protocol::Http1));
    Inlet {
        name: format!("heartbeats[{place}]").into(),
        config: settings.clone(),
        tls: terms.map(|terms| terminated(terms, before.and_then(|before| before.tls.as_ref()))),
    }
}

fn listener(settings: &model::Listener, positions: &HashMap<&str, usize>, old: &World) -> Listener {
    let before = old.listeners.iter().find(|listener| listener.config.name == settings.name);
    let kept = before.map(known_cells).unwrap_or_default();
    let routes = settings.routes.iter().map(|policy| route(policy, positions, &kept));
    Listener {
        config: Arc::new(settings.clone()),
        table: RouteTable::new(settings.routes.iter().map(|policy| policy.matches.clone()).collect()),
        routes: routes.collect(),
        cells: before.map(|before| Arc::clone(&before.cells)).unwrap_or_default(),
        connections: before.map(|before| Arc::clone(&before.connections)).unwrap_or_default(),
        handshakes: before.map(|before| Arc::clone(&before.handshakes)).unwrap_or_default(),
        tls: settings
            .tls
            .as_ref()
            .map(|tls| terminated(tls.terms(settings.protocol), before.and_then(|before| before.tls.as_ref()))),
    }
}

/// TLS on these terms: those in force are renewed, so that tickets stay good.
fn terminated(terms: Terms, before: Option<&Arc<Renewable>>) -> Arc<Renewable> {
    // What else could be wrong with terms, lowering has refused.
    let sound = "there is a certificate, and a source of random numbers";
    match before {
        Some(tls) => {
            tls.renew(terms).expect(sound);
            Arc::clone(tls)
        }
        None => Arc::new(Renewable::new(terms).expect(sound)),
    }
}

/// Cells by the names of their route and cluster.
type Known<'a> = HashMap<(&'a str, &'a str), &'a Arc<Lanes<RouteCells>>>;

fn known_cells(before: &Listener) -> Known<'_> {
    let targets = before.routes.iter().flat_map(|route| route.targets().iter().map(move |target| (route, target)));
    targets.map(|(route, target)| ((&*route.policy.name, &*target.name), &target.cells)).collect()
}

fn route(policy: &RoutePolicy, positions: &HashMap<&str, usize>, known: &Known<'_>) -> Route {
    let target = |cluster: &Arc<str>, position: Option<usize>| {
        let cells = known.get(&(&*policy.name, &**cluster)).map(|cells| Arc::clone(cells)).unwrap_or_default();
        Target { name: Arc::clone(cluster), cluster: position, cells }
    };
    let position = |name: &str| positions.get(name).copied().expect("lowering refuses a route to no cluster");
    let shares = policy.action.shares();
    let targets = if shares.is_empty() {
        vec![target(&Arc::from(""), None)]
    } else {
        shares.iter().map(|share| target(&share.cluster, Some(position(&share.cluster)))).collect()
    };
    Route::new(policy.clone(), targets)
}

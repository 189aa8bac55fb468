//! From a configuration to the world that the request path reads.
//!
//! A reload makes a new world, but counts must go on: listeners keep their cells by name, routes theirs by listener, name
//! and cluster.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::{Cluster, Listener, Route, RouteCells, World};
use crate::config::{Config, model};
use crate::telemetry::lanes::Lanes;
use crate::tls::{Renewable, Terms};
use crate::traffic::route::RouteTable;

/// The world of `config`, with `clusters` in its order, carrying on the counts of `old`.
pub(super) fn world(config: &Config, clusters: Vec<Arc<Cluster>>, old: &World) -> World {
    let positions: HashMap<&str, usize> =
        clusters.iter().enumerate().map(|(position, cluster)| (&*cluster.name, position)).collect();
    let listeners = config.listeners.iter().map(|settings| listener(settings, &positions, old)).collect();
    drop(positions);
    World { listeners, clusters }
}

fn listener(settings: &model::Listener, positions: &HashMap<&str, usize>, old: &World) -> Listener {
    let before = old.listeners.iter().find(|listener| listener.config.name == settings.name);
    let routes = settings.routes.iter().map(|policy| {
        let position = positions.get(&*policy.cluster).copied().expect("lowering refuses a route to no cluster");
        let kept = before.and_then(|before| kept_cells(before, policy));
        Route { policy: policy.clone(), cluster: position, cells: kept.unwrap_or_default() }
    });
    Listener {
        config: Arc::new(settings.clone()),
        table: RouteTable::new(settings.routes.iter().map(|policy| policy.matches.clone()).collect()),
        routes: routes.collect(),
        cells: before.map(|before| Arc::clone(&before.cells)).unwrap_or_default(),
        connections: before.map(|before| Arc::clone(&before.connections)).unwrap_or_default(),
        handshakes: before.map(|before| Arc::clone(&before.handshakes)).unwrap_or_default(),
        tls: settings.tls.as_ref().map(|tls| terminated(tls.terms(settings.protocol), before)),
    }
}

/// TLS on these terms: those in force are renewed, so that tickets stay good.
fn terminated(terms: Terms, before: Option<&Listener>) -> Arc<Renewable> {
    // What else could be wrong with terms, lowering has refused.
    let sound = "there is a certificate, and a source of random numbers";
    match before.and_then(|before| before.tls.as_ref()) {
        Some(tls) => {
            tls.renew(terms).expect(sound);
            Arc::clone(tls)
        }
        None => Arc::new(Renewable::new(terms).expect(sound)),
    }
}

fn kept_cells(before: &Listener, policy: &crate::traffic::policy::RoutePolicy) -> Option<Arc<Lanes<RouteCells>>> {
    let same = |route: &&Route| route.policy.name == policy.name && route.policy.cluster == policy.cluster;
    before.routes.iter().find(same).map(|route| Arc::clone(&route.cells))
}

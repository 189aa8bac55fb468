//! What is exported of every listener and route: exchanges by status, our own answers, and connections that ended badly.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;

use super::family::family;
use crate::cluster::{Listener, ListenerError, RouteCells, Token, World};
use crate::telemetry::names;

/// Cells of every worker and the labels they count under.
struct Counted<'a> {
    labels: [&'a str; 3],
    cells: Vec<&'a RouteCells>,
}

/// Every family that has a `listener` label.
pub(super) fn families(world: &World) -> Vec<MetricFamily> {
    let counted: Vec<Counted<'_>> = world.listeners.iter().flat_map(counted).collect();
    vec![requests(&counted), local_responses(&counted), downstream_errors(&world.listeners), certificates(world)]
}

/// The listener's routes, and what no route was found for.
fn counted(listener: &Listener) -> Vec<Counted<'_>> {
    let name: &str = &listener.config.name;
    let unrouted = listener.cells.iter().map(|cells| &cells.unrouted).collect();
    let routes = listener.routes.iter().flat_map(|route| route.targets().iter().map(move |target| (route, target)));
    let routes = routes.map(|(route, target)| Counted {
        labels: [name, &route.policy.name, &target.name],
        cells: target.cells.iter().collect(),
    });
    routes.chain([Counted { labels: [name, "", ""], cells: unrouted }]).collect()
}

fn requests(counted: &[Counted<'_>]) -> MetricFamily {
    family(&names::REQUESTS, |family| {
        for Counted { labels: [listener, route, cluster], cells } in counted {
            let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
            for (status, n) in cells.iter().flat_map(|cells| cells.statuses.counts()) {
                *codes.entry(status).or_default() += n;
            }
            for (status, n) in codes {
                // What has no slot of its own is counted as status 0.
                let code = if status == 0 { "other".to_owned() } else { status.to_string() };
                family.count(&[listener, route, cluster, &code], n);
            }
        }
    })
}

fn local_responses(counted: &[Counted<'_>]) -> MetricFamily {
    family(&names::LOCAL_RESPONSES, |family| {
        for Counted { labels: [listener, route, cluster], cells } in counted {
            for (token, label) in Token::ALL {
                let n = cells.iter().map(|cells| cells.local[token as usize].get()).sum();
                let watched = !route.is_empty() && token == Token::DestinationUnavailable;
                if n > 0 || watched {
                    family.count(&[listener, route, cluster, label], n);
                }
            }
        }
    })
}

/// What is in force, which may be newer than what was configured.
fn certificates(world: &World) -> MetricFamily {
    family(&names::CERTIFICATE_NOT_AFTER, |family| {
        for (owner, configured, tls) in world.terminated() {
            for (files, identity) in configured.certificates.iter().zip(&tls.terms().identities) {
                family.push(&[owner, &files.cert.name], identity.not_after() as f64);
            }
        }
    })
}

fn downstream_errors(listeners: &[Listener]) -> MetricFamily {
    family(&names::DOWNSTREAM_ERRORS, |family| {
        for listener in listeners {
            for (reason, label) in ListenerError::ALL {
                let n = listener.cells.iter().map(|cells| cells.errors[reason as usize].get()).sum();
                family.count(&[&listener.config.name, label], n);
            }
        }
    })
}

//! Whether to send traffic here, in words that say why not.
//!
//! It speaks for the process, not for its clusters, unless it is asked for one: a proxy that called itself unready because
//! one cluster is down would take every other one down with it.

use std::fmt::Write as _;

use crate::cluster::{Cluster, Live, Phase};

/// Endpoints named in one answer; the rest is counted.
const NAMED: usize = 5;

/// What readyz says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Send.
    Ready,
    /// Do not, for this reason.
    NotReady(String),
    /// There is no such cluster.
    NoCluster,
}

/// Looks at the phase, and at a cluster if one is named.
#[must_use]
pub fn of(live: &Live, cluster: Option<&str>) -> Readiness {
    let phase = match live.phase() {
        Phase::Ready => None,
        Phase::Starting => Some("starting: some clusters have no first verdicts yet"),
        Phase::Draining => Some("draining: no new traffic is wanted, exchanges under way finish"),
        Phase::Stopped => Some("stopped"),
    };
    if let Some(phase) = phase {
        return Readiness::NotReady(phase.to_owned());
    }
    let Some(name) = cluster else { return Readiness::Ready };
    match live.world().load().cluster(name) {
        None => Readiness::NoCluster,
        Some(cluster) if cluster.snapshot().load().available > 0 => Readiness::Ready,
        Some(cluster) => Readiness::NotReady(nobody(cluster)),
    }
}

fn nobody(cluster: &Cluster) -> String {
    let endpoints = &cluster.snapshot().load().endpoints;
    let mut text = format!("no endpoint of cluster {:?} is available:", cluster.name);
    for endpoint in endpoints.iter().take(NAMED) {
        let view = endpoint.view();
        let _ = write!(text, " {} is {}", endpoint.address.as_str(), view.state.as_str());
        if let Some(reason) = view.reasons.first() {
            let _ = write!(text, " ({})", reason.code);
        }
        text.push(',');
    }
    text.pop();
    match endpoints.len().saturating_sub(NAMED) {
        0 => {}
        more => text.push_str(&format!(", and {more} more")),
    }
    text
}

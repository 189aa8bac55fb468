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
pub(super) enum Readiness {
    /// Send.
    Ready,
    /// Do not, for this reason.
    NotReady(String),
    /// There is no such cluster.
    NoCluster,
}

/// Looks at the phase, and at a cluster if one is named.
pub(super) fn readiness(live: &Live, cluster: Option<&str>) -> Readiness {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture;
    use crate::health::verdict::State;
    use crate::runtime::clock;

    fn why(live: &Live, cluster: Option<&str>) -> String {
        match readiness(live, cluster) {
            Readiness::NotReady(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_ready_phase_is_ready() {
        let live = fixture::live(vec![fixture::endpoint("a:1", clock::now())]);
        assert!(why(&live, None).starts_with("starting"));
        assert!(why(&live, Some("app")).starts_with("starting"));
        live.enter(Phase::Ready);
        assert_eq!(readiness(&live, None), Readiness::Ready);
        live.enter(Phase::Draining);
        assert!(why(&live, None).starts_with("draining"));
        assert!(why(&live, Some("app")).starts_with("draining"));
        live.enter(Phase::Stopped);
        assert_eq!(why(&live, None), "stopped");
    }

    #[test]
    fn a_cluster_without_available_endpoints_is_not_ready_and_says_who_is_out() {
        let now = clock::now();
        let well = fixture::live(vec![fixture::endpoint("a:1", now)]);
        well.enter(Phase::Ready);
        assert_eq!(readiness(&well, Some("app")), Readiness::Ready);
        assert_eq!(readiness(&well, Some("ap")), Readiness::NoCluster);

        let sick = |n: usize| {
            let endpoint = fixture::endpoint(&format!("a:{n}"), now);
            endpoint.show(fixture::view(State::Unhealthy, now));
            endpoint
        };
        let live = fixture::live((1..=7).map(sick).collect());
        live.enter(Phase::Ready);
        assert_eq!(readiness(&live, None), Readiness::Ready, "the process is not its clusters");
        let text = why(&live, Some("app"));
        assert!(text.contains("a:1 is unhealthy (probe_timeout), a:2 is"), "{text}");
        assert!(text.ends_with("a:5 is unhealthy (probe_timeout), and 2 more"), "{text}");
    }
}

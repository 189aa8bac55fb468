//! What readyz says of worlds in every phase.

use crate::admin::fixture;
use crate::cluster::Live;
use crate::cluster::Phase;
use crate::cluster::readiness::{self, Readiness};
use crate::health::verdict::State;
use crate::runtime::clock;

fn why(live: &Live, cluster: Option<&str>) -> String {
    match readiness::of(live, cluster) {
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
    assert_eq!(readiness::of(&live, None), Readiness::Ready);
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
    assert_eq!(readiness::of(&well, Some("app")), Readiness::Ready);
    assert_eq!(readiness::of(&well, Some("ap")), Readiness::NoCluster);

    let sick = |n: usize| {
        let endpoint = fixture::endpoint(&format!("a:{n}"), now);
        endpoint.show(fixture::view(State::Unhealthy, now));
        endpoint
    };
    let live = fixture::live((1..=7).map(sick).collect());
    live.enter(Phase::Ready);
    assert_eq!(readiness::of(&live, None), Readiness::Ready, "the process is not its clusters");
    let text = why(&live, Some("app"));
    assert!(text.contains("a:1 is unhealthy (probe_timeout), a:2 is"), "{text}");
    assert!(text.ends_with("a:5 is unhealthy (probe_timeout), and 2 more"), "{text}");
}

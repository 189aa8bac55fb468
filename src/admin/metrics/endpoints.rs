//! What is exported of every endpoint: its verdict, what its probes and reports said, and the traffic it got.
//!
//! These families grow with the number of endpoints, so a count that is zero and that no alert waits for is left out. What
//! alerts are made of (up, state, failures) is there from the first scrape on: a counter that appears with its first
//! failure already counted shows no increase.

use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricFamily;

use super::family::{Family, family};
use crate::cluster::{Connect, Endpoint, EndpointCells, World};
use crate::config::Config;
use crate::health::verdict::{EndpointView, State};
use crate::runtime::clock;
use crate::telemetry::cell::Counter;
use crate::telemetry::names;

/// An endpoint and what was shown of it when the scrape began.
struct Seen {
    endpoint: Arc<Endpoint>,
    view: Arc<EndpointView>,
}

impl Seen {
    fn labels(&self) -> [&str; 2] {
        [&self.endpoint.cluster, self.endpoint.address.as_str()]
    }

    fn labels_and<'a>(&'a self, third: &'a str) -> [&'a str; 3] {
        let [cluster, endpoint] = self.labels();
        [cluster, endpoint, third]
    }

    /// The sum of a count over the workers.
    fn sum(&self, count: impl Fn(&EndpointCells) -> u64) -> u64 {
        self.endpoint.all_cells().map(count).sum()
    }
}

/// Every family that has an `endpoint` label and comes from the world.
pub(super) fn families(world: &World) -> Vec<MetricFamily> {
    let snapshots = world.clusters.iter().map(|cluster| cluster.snapshot().load_full());
    let endpoints = snapshots.flat_map(|snapshot| snapshot.endpoints.to_vec());
    let seen: Vec<Seen> = endpoints.map(|endpoint| Seen { view: endpoint.view(), endpoint }).collect();
    let each =
        |metric, fill: fn(&mut Family, &Seen)| family(metric, |family| seen.iter().for_each(|endpoint| fill(family, endpoint)));
    vec![
        each(&names::ENDPOINT_UP, |family, seen| family.count(&seen.labels(), seen.view.available.into())),
        each(&names::ENDPOINT_STATE, state),
        each(&names::ENDPOINT_REASON, reasons),
        each(&names::ENDPOINT_STATE_SINCE, |family, seen| {
            family.push(&seen.labels(), clock::wall_at(seen.view.since).unix_seconds());
        }),
        each(&names::ENDPOINT_WEIGHT, |family, seen| family.push(&seen.labels(), seen.view.weight)),
        each(&names::ENDPOINT_REPORT, report),
        each(&names::REPORTS, reports),
        each(&names::PROBES, probes),
        each(&names::SUSPICION_PHI, |family, seen| {
            if let Some(suspicion) = seen.view.heartbeat.as_ref().and_then(|heartbeat| heartbeat.suspicion) {
                family.push(&seen.labels(), suspicion.phi(clock::now()));
            }
        }),
        each(&names::UPSTREAM_REQUESTS, requests),
        each(&names::UPSTREAM_ACTIVE, |family, seen| family.count(&seen.labels(), seen.endpoint.in_flight().into())),
        each(&names::UPSTREAM_FIRST_BYTE, first_byte),
        each(&names::UPSTREAM_CONNECTIONS, connections),
        each(&names::UPSTREAM_CONNECTS, connects),
    ]
}

/// The weights as configured, with the tier they count in.
pub(super) fn configured_weights(config: &Config) -> MetricFamily {
    family(&names::ENDPOINT_CONFIGURED_WEIGHT, |family| {
        for cluster in &config.clusters {
            for endpoint in &*cluster.endpoints {
                let tier = if endpoint.backup { "backup" } else { "primary" };
                family.count(&[&cluster.name, endpoint.address.as_str(), tier], endpoint.weight.into());
            }
        }
    })
}

fn state(family: &mut Family, seen: &Seen) {
    for state in State::ALL {
        family.count(&seen.labels_and(state.as_str()), (seen.view.state == state).into());
    }
}

fn reasons(family: &mut Family, seen: &Seen) {
    // Two probes may have the same code.
    let mut codes: Vec<String> = seen.view.reasons.iter().map(|reason| reason.code.to_string()).collect();
    codes.sort_unstable();
    codes.dedup();
    for code in &codes {
        family.count(&seen.labels_and(code), 1);
    }
}

fn report(family: &mut Family, seen: &Seen) {
    for (metric, value) in seen.view.report.iter().filter(|(_, value)| value.is_finite()) {
        family.push(&seen.labels_and(metric), *value);
    }
}

/// The results of reading reports, in the order of [`Endpoint::reports`].
const REPORT_RESULTS: [&str; 3] = ["ok", "void", "none"];

fn reports(family: &mut Family, seen: &Seen) {
    let counts = seen.endpoint.reports.each_ref().map(Counter::get);
    if counts != [0; 3] {
        for (result, n) in REPORT_RESULTS.into_iter().zip(counts) {
            family.count(&seen.labels_and(result), n);
        }
    }
}

fn probes(family: &mut Family, seen: &Seen) {
    for probe in seen.endpoint.probe_counts() {
        let [cluster, endpoint] = seen.labels();
        for (result, count) in [("pass", probe.pass), ("fail", probe.fail), ("void", probe.void)] {
            if result != "void" || count > 0 {
                family.count(&[cluster, endpoint, &probe.name, result], count);
            }
        }
    }
}

fn requests(family: &mut Family, seen: &Seen) {
    for (class, label) in EndpointCells::CLASSES.into_iter().enumerate() {
        let n = seen.sum(|cells| cells.classes[class].get());
        if n > 0 || matches!(label, "2xx" | "5xx" | "error") {
            family.count(&seen.labels_and(label), n);
        }
    }
}

fn first_byte(family: &mut Family, seen: &Seen) {
    let nanos = seen.sum(|cells| cells.first_byte_nanos.get());
    let count = seen.sum(|cells| cells.first_bytes.get());
    family.summary(&seen.labels(), Duration::from_nanos(nanos).as_secs_f64(), count);
}

fn connections(family: &mut Family, seen: &Seen) {
    family.count(&seen.labels_and("active"), seen.sum(|cells| cells.active.get()));
    family.count(&seen.labels_and("idle"), seen.sum(|cells| cells.idle.get()));
}

fn connects(family: &mut Family, seen: &Seen) {
    for (result, label) in Connect::ALL {
        family.count(&seen.labels_and(label), seen.sum(|cells| cells.connects[result as usize].get()));
    }
}

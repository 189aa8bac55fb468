//! What is exported of every cluster: how many endpoints are in which state, panic, who leads, durations and retries.

use std::sync::Arc;

use prometheus::proto::MetricFamily;

use super::family::{Family, family};
use crate::cluster::{Cluster, RetryResult, World};
use crate::health::verdict::State;
use crate::telemetry::cell::{BUCKETS, Histogram};
use crate::telemetry::names;
use crate::traffic::limits::Limit;

/// Every family that has a `cluster` label, and is not about each endpoint by itself, and comes from the world.
pub(super) fn families(world: &World) -> Vec<MetricFamily> {
    let each = |metric, fill: fn(&mut Family, &Arc<Cluster>)| {
        family(metric, |family| world.clusters.iter().for_each(|cluster| fill(family, cluster)))
    };
    vec![
        each(&names::CLUSTER_ENDPOINTS, states),
        each(&names::CLUSTER_PANIC, |family, cluster| family.count(&[&cluster.name], cluster.snapshot().load().panic.into())),
        each(&names::CLUSTER_LEADER, leaders),
        each(&names::LEADER_EPOCH, |family, cluster| {
            if let Some(leadership) = &cluster.snapshot().load().leadership {
                family.count(&[&cluster.name], leadership.epoch);
            }
        }),
        each(&names::REQUEST_DURATION, |family, cluster| {
            let (counts, sum) = add_up(cluster.all_cells().map(|cells| &cells.durations));
            family.histogram(&[&cluster.name], &counts, sum);
        }),
        each(&names::RETRIES, retries),
        each(&names::REQUESTS_REJECTED, rejected),
        each(&names::DISCOVERY_LAST_SUCCESS, |family, cluster| {
            if let Some(at) = cluster.last_discovered() {
                family.push(&[&cluster.name], at.unix_millis() as f64 / 1000.0);
            }
        }),
    ]
}

fn states(family: &mut Family, cluster: &Arc<Cluster>) {
    let snapshot = cluster.snapshot().load();
    let held: Vec<State> = snapshot.endpoints.iter().map(|endpoint| endpoint.view().state).collect();
    for state in State::ALL {
        let n = held.iter().filter(|held| **held == state).count();
        family.push(&[&cluster.name, state.as_str()], n as f64);
    }
}

fn leaders(family: &mut Family, cluster: &Arc<Cluster>) {
    let snapshot = cluster.snapshot().load();
    let Some(leadership) = &snapshot.leadership else { return };
    for endpoint in snapshot.endpoints.iter() {
        let leads = leadership.leader.as_ref().is_some_and(|leader| leader.id == endpoint.id);
        family.count(&[&cluster.name, endpoint.address.as_str()], leads.into());
    }
}

fn retries(family: &mut Family, cluster: &Arc<Cluster>) {
    for (result, label) in RetryResult::ALL {
        family.count(&[&cluster.name, label], cluster.all_cells().map(|cells| cells.retries[result as usize].get()).sum());
    }
}

fn rejected(family: &mut Family, cluster: &Arc<Cluster>) {
    for (limit, label) in Limit::ALL {
        family.count(&[&cluster.name, label], cluster.all_cells().map(|cells| cells.rejected[limit as usize].get()).sum());
    }
}

/// Counts per bucket and the sum of seconds over several writers' histograms.
fn add_up<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> ([u64; BUCKETS.len() + 1], f64) {
    histograms.fold(([0; BUCKETS.len() + 1], 0.0), |(mut counts, sum), histogram| {
        counts.iter_mut().zip(histogram.counts()).for_each(|(total, n)| *total += n);
        (counts, sum + histogram.sum_seconds())
    })
}

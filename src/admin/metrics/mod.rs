//! The metrics page: cells are summed when somebody scrapes, never before.
//!
//! The request path counts in cells of its own thread; this collector reads all of them at once, beside what control
//! counts itself and what the system knows of the process.

mod clusters;
mod endpoints;
mod family;
mod fleet;
mod listeners;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

use crate::cluster::{Dropped, Live, Pulse};
use crate::config::Config;
use crate::control::Handle;
use crate::probe::ProbeLag;
use crate::runtime::panics;
use crate::telemetry::log;
use crate::telemetry::names::{self, Metric};
use family::family;

/// The content type of the page.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is exported.
#[derive(Debug)]
pub(super) struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Exports the world's cells, what control counts by itself, and the process.
    ///
    /// # Errors
    /// If two of them have a metric in common.
    pub(super) fn new(handle: &Handle) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(Cells::new(handle.clone())?))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        handle.tallies().collectors().into_iter().try_for_each(|tally| registry.register(tally))?;
        Ok(Self { registry })
    }

    /// The page in the text format.
    ///
    /// # Errors
    /// If a family is not one; a bug.
    pub(super) fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The collector of what the two planes count in cells.
struct Cells {
    descs: Vec<Desc>,
    handle: Handle,
}

impl Cells {
    /// The metrics it makes; the others of the list are counted by control.
    const METRICS: [&'static Metric; 37] = [
        &names::REQUESTS,
        &names::REQUEST_DURATION,
        &names::LOCAL_RESPONSES,
        &names::DOWNSTREAM_ERRORS,
        &names::UPSTREAM_REQUESTS,
        &names::UPSTREAM_ACTIVE,
        &names::UPSTREAM_FIRST_BYTE,
        &names::UPSTREAM_CONNECTIONS,
        &names::UPSTREAM_CONNECTS,
        &names::RETRIES,
        &names::REQUESTS_REJECTED,
        &names::DISCOVERY_LAST_SUCCESS,
        &names::ENDPOINT_UP,
        &names::ENDPOINT_STATE,
        &names::ENDPOINT_REASON,
        &names::ENDPOINT_STATE_SINCE,
        &names::ENDPOINT_WEIGHT,
        &names::ENDPOINT_CONFIGURED_WEIGHT,
        &names::ENDPOINT_REPORT,
        &names::REPORTS,
        &names::CLUSTER_ENDPOINTS,
        &names::CLUSTER_PANIC,
        &names::CLUSTER_LEADER,
        &names::LEADER_EPOCH,
        &names::PROBES,
        &names::SUSPICION_PHI,
        &names::PROBE_LAG,
        &names::STALLS,
        &names::SIGNALS_DROPPED,
        &names::CERTIFICATE_NOT_AFTER,
        &names::ACCESS_LOG_DROPPED,
        &names::LOG_DROPPED,
        &names::PANICS,
        &names::FLEET_PEERS,
        &names::FLEET_QUORUM,
        &names::FLEET_MESSAGES,
        &names::BUILD_INFO,
    ];

    fn new(handle: Handle) -> prometheus::Result<Self> {
        let desc = |metric: &&Metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new())
        };
        Ok(Self { descs: Self::METRICS.iter().map(desc).collect::<prometheus::Result<_>>()?, handle })
    }
}

impl Collector for Cells {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let handle = &self.handle;
        let mut all = families(handle.live(), &handle.config(), handle.dropped(), (handle.probe_lag(), handle.pulse()));
        if let Some(fleet) = handle.fleet() {
            all.extend(fleet::families(&fleet));
        }
        all
    }
}

fn families(live: &Live, config: &Config, dropped: &Dropped, (lag, pulse): (&ProbeLag, &Pulse)) -> Vec<MetricFamily> {
    let world = &live.world().load();
    let mut families = endpoints::families(world);
    families.push(endpoints::configured_weights(config));
    families.extend(clusters::families(world));
    families.extend(listeners::families(world));
    families.push(signals_dropped(dropped));
    families.push(family(&names::PROBE_LAG, |family| family.push(&[], lag.seconds())));
    families.push(stalls(live, pulse));
    let lines = dropped.access_log.load(Relaxed);
    families.push(family(&names::ACCESS_LOG_DROPPED, |family| family.count(&[], lines)));
    families.push(family(&names::LOG_DROPPED, |family| family.count(&[], log::dropped())));
    families.push(family(&names::PANICS, |family| family.count(&[], panics::count())));
    families.push(family(&names::BUILD_INFO, |family| family.count(&[env!("CARGO_PKG_VERSION")], 1)));
    families
}

fn stalls(live: &Live, control: &Pulse) -> MetricFamily {
    let workers = live.pulses.iter().map(Pulse::stalled).sum::<Duration>();
    family(&names::STALLS, |family| {
        family.push(&["control"], control.stalled().as_secs_f64());
        family.push(&["worker"], workers.as_secs_f64());
    })
}

fn signals_dropped(dropped: &Dropped) -> MetricFamily {
    family(&names::SIGNALS_DROPPED, |family| {
        for (kind, n) in
            [("refused", &dropped.refused), ("reset", &dropped.reset), ("load", &dropped.load), ("recall", &dropped.recall)]
        {
            family.count(&[kind], n.load(Relaxed));
        }
    })
}

#[cfg(test)]
mod tests;

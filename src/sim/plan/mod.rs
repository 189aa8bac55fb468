//! What a configuration promises, computed from formulas before anything has failed.
//!
//! Who sets `timeout: 200ms` and `fall: 3` wants to know two things that neither number tells: how long a dead endpoint
//! goes on being asked, and how often a well one is thrown out because packets get lost. Both follow from the schedule and
//! from TCP, and a test holds the formulas against the simulator, which runs the engine itself. Nothing here is measured;
//! what a network or an endpoint does is an [`Assumptions`] that the reader states.

mod cost;
mod detection;
mod loss;
mod race;
mod survival;

pub use cost::Cost;
pub use detection::{Detection, Found, Source};
pub use loss::FalseEjections;
pub use race::Span;
pub use survival::Survival;

use std::sync::Arc;
use std::time::Duration;

use crate::base::units::Ratio;
use crate::config::Config;
use crate::config::model::Cluster;
use crate::traffic::policy::RetryPolicy;

/// What is assumed of the world in which a configuration will run.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumptions {
    /// Shares of packets that are lost, each way and independently: one line of false ejections for each.
    pub losses: Vec<Ratio>,
    /// 99 of 100 probes of a well endpoint are answered within this.
    pub round_trip: Duration,
    /// 99 of 100 answers to live requests come within this.
    pub latency: Duration,
    /// Requests a second to each cluster; 0 means that probes alone judge.
    pub rate: f64,
    /// Proxies with this configuration, each of which probes for itself.
    pub proxies: u32,
    /// How full the endpoints are while all of them are well.
    pub load: Option<Ratio>,
}

impl Default for Assumptions {
    fn default() -> Self {
        let share = |percent: f64| Ratio::try_new(percent / 100.0).unwrap_or_default();
        Self {
            losses: [0.1, 1.0, 5.0].map(share).to_vec(),
            round_trip: Duration::from_millis(1),
            latency: Duration::from_millis(25),
            rate: 0.0,
            proxies: 1,
            load: None,
        }
    }
}

/// What is promised for one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// From a fault to the moment from which on its endpoint gets no new request.
    pub detection: Detection,
    /// Well endpoints thrown out, for each assumed loss.
    pub false_ejections: Vec<FalseEjections>,
    /// From the end of a fault to being available again; `None` where neither probes nor heartbeats tell, or where none can pass.
    pub recovery: Option<Span>,
    /// What probing costs while all is well.
    pub cost: Cost,
    /// How many failures are borne.
    pub survival: Survival,
}

/// The plan of every cluster, in the order of the configuration.
#[must_use]
pub fn plan(config: &Config, assumed: &Assumptions) -> Vec<Plan> {
    config.clusters.iter().map(|cluster| of_cluster(cluster, retries(config, cluster), assumed)).collect()
}

/// The plan of one cluster that is reached with these retries, if any route leads to it.
#[must_use]
pub fn of_cluster(cluster: &Cluster, retries: Option<&RetryPolicy>, assumed: &Assumptions) -> Plan {
    let detection = detection::detection(cluster, retries, assumed);
    Plan {
        cluster: Arc::clone(&cluster.name),
        false_ejections: assumed.losses.iter().map(|loss| loss::false_ejections(cluster, *loss, assumed)).collect(),
        recovery: detection::recovery(cluster, assumed),
        cost: cost::cost(cluster, assumed),
        survival: survival::survival(cluster, retries, &detection, assumed),
        detection,
    }
}

/// How the least patient of the routes to a cluster tries again; `None` if no route leads there.
fn retries<'a>(config: &'a Config, cluster: &Cluster) -> Option<&'a RetryPolicy> {
    let routes = config.listeners.iter().flat_map(|listener| &listener.routes);
    let to_it = routes
        .filter(|route| route.action.shares().iter().any(|share| share.cluster == cluster.name))
        .map(|route| &route.retries);
    to_it.min_by(|a, b| {
        (a.attempts, a.budget.get()).partial_cmp(&(b.attempts, b.budget.get())).unwrap_or(std::cmp::Ordering::Equal)
    })
}

//! What single steps cost, from a pick to a publication: the bars are in `docs/performance.md`.
//!
//! `cargo bench --bench micro --profile dist`; a word behind `--` chooses those whose name contains it. Nothing here uses a
//! socket or waits, so the figures hold for one core that has nothing else to do.

mod clusters;
mod reports;
mod requests;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use pulsegate::base::ids::{ClusterId, EndpointId};
use pulsegate::base::time::Timestamp;
use pulsegate::cluster::{Affinity, Cluster, Endpoint, Snapshot};
use pulsegate::config::{self, Config, model};
use pulsegate::health::{self, Member};

/// Sizes of clusters.
const SIZES: [usize; 3] = [3, 100, 10_000];

fn main() {
    divan::main();
}

/// A moment well after the beginning of time, and some milliseconds.
fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn read(text: &str) -> Config {
    config::from_text(text, "bench", Path::new(""), &|_| None, &|_| Err(ErrorKind::NotFound.into())).expect("it is sound")
}

/// A cluster as control has it: its settings, what is believed of it, and what is published.
struct Scene {
    settings: model::Cluster,
    health: health::Cluster,
    endpoints: Arc<[Arc<Endpoint>]>,
    affinity: Arc<Affinity>,
    live: Cluster,
}

impl Scene {
    /// With so many endpoints, without probes if `watched` is not wanted: then all are healthy.
    fn new(size: usize, watched: bool) -> Self {
        let addresses: Vec<String> = (0..size).map(|n| format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255)).collect();
        let health = if watched { "{ path: /health }" } else { "off" };
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:0, cluster: app }}]\nclusters:\n  - name: app\n    endpoints: [{}]\n    health: {health}\n",
            addresses.join(", ")
        );
        let settings = read(&text).clusters.swap_remove(0);
        let numbered = || (0..).map(EndpointId).zip(settings.endpoints.iter());
        let endpoint = |(id, endpoint): (EndpointId, &model::Endpoint)| {
            Arc::new(Endpoint::new(id, ClusterId(0), "app".into(), endpoint.address.clone(), at(0)))
        };
        let endpoints: Arc<[Arc<Endpoint>]> = numbered().map(endpoint).collect();
        let member = |(id, endpoint): (EndpointId, &model::Endpoint)| Member {
            id,
            address: endpoint.address.text(),
            weight: endpoint.weight,
            backup: endpoint.backup,
        };
        let health = health::Cluster::new(settings.health.clone(), numbered().map(member).collect(), at(0));
        let weighed = settings.endpoints.iter().map(|endpoint| (endpoint.address.as_str(), endpoint.weight));
        let affinity = Arc::new(Affinity::new(&settings.balance, None, "app", weighed));
        let snapshot = Snapshot::of(&settings, &health, &endpoints, &affinity);
        let live = Cluster::new(ClusterId(0), "app".into(), snapshot);
        Self { settings, health, endpoints, affinity, live }
    }

    fn publish(&self) {
        self.live.publish(Snapshot::of(&self.settings, &self.health, &self.endpoints, &self.affinity));
    }
}

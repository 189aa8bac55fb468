//! Endpoints that come and go by their own heartbeats, where a cluster discovers them so.
//!
//! The list of such a cluster is nobody's but what is in force: a first beat adds to it, and who said bye, or has been silent for
//! long, is taken out of it, on the same way as endpoints that a name or a file brings. So a network that was down for a moment
//! makes nobody leave, and what is long gone leaves no trace. How many may join is bounded: a token must not fill the memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::time::Timestamp;
use crate::cluster::Endpoint;
use crate::config::Config;
use crate::config::model::{self, Discovery};
use crate::control::draft::Bench;
use crate::control::memory::Memory;
use crate::control::moves::Moves;
use crate::control::wards::Wards;
use crate::discovery::Found;
use crate::health::signal::BeatState;
use crate::health::verdict::{Code, EndpointView};
use crate::heartbeat::{FirstBeat, Joined, Pushed};

/// The most endpoints of one cluster that may have joined by heartbeats.
pub(super) const MOST_JOINED: usize = 4096;
/// So many times its ttl an endpoint that has expired is kept before it leaves.
const FORGOTTEN_TTLS: u32 = 10;
/// When a cluster that is just being changed is looked at again.
const AGAIN: Duration = Duration::from_millis(100);

/// Who wants to join, and when it is looked who has left.
#[derive(Debug, Default)]
pub(super) struct Joins {
    /// The newest beat of each, by cluster and address.
    newcomers: HashMap<Arc<str>, BTreeMap<Arc<str>, FirstBeat>>,
    looks: HashMap<Arc<str>, Timestamp>,
}

impl Joins {
    /// An endpoint wants to join. An earlier beat of it that waits still is answered no more.
    pub(super) fn hear(&mut self, first: FirstBeat, wards: &Wards) {
        let Some(ward) = wards.find(&first.cluster) else { return };
        let waiting = self.newcomers.entry(Arc::clone(&first.cluster)).or_default();
        let address = first.address.text();
        let known = waiting.contains_key(&address) || ward.find(&address).is_some();
        if !known && ward.endpoints().len() + waiting.len() >= MOST_JOINED {
            // Who asked may have left.
            drop(first.taken.send(None));
            return;
        }
        waiting.insert(address, first);
    }

    /// An endpoint that is there has sent a beat; one that says bye leaves at once.
    pub(super) fn said(&mut self, beat: &Pushed, now: Timestamp) {
        if beat.beat.state == BeatState::Bye
            && let Some(look) = self.looks.get_mut(&beat.endpoint.cluster)
        {
            *look = (*look).min(now);
        }
    }

    /// Begins to let in who wants to join, and to let go who has left. Returns the first beats, to be taken in.
    pub(super) fn gather(&mut self, moves: &mut Moves, wards: &Wards, bench: &mut Bench<'_>) -> Vec<FirstBeat> {
        let is_ours = |name: &str| wards.find(name).is_some_and(|ward| joins(&ward.config));
        self.newcomers.retain(|name, _| is_ours(name));
        self.looks.retain(|name, _| is_ours(name));
        let mut firsts = Vec::new();
        for ward in wards.iter().filter(|ward| joins(&ward.config)) {
            let Some(policy) = ward.config.health.heartbeat else { continue };
            let name = &ward.cluster.name;
            let look = self.looks.entry(Arc::clone(name)).or_insert_with(|| bench.now + policy.ttl);
            if moves.is_under_way(wards, name) {
                *look = (*look).max(bench.now + AGAIN);
                continue;
            }
            let newcomers = self.newcomers.remove(name).unwrap_or_default();
            let is_due = *look <= bench.now;
            if is_due {
                *look = bench.now + policy.ttl;
            }
            if newcomers.is_empty() && !is_due {
                continue;
            }
            let has_left = |endpoint: &&Arc<Endpoint>| is_due && has_left(&endpoint.view(), policy.ttl, bench.now);
            let gone = ward.endpoints().iter().filter(has_left).map(|endpoint| endpoint.address.text()).collect();
            let endpoints = members(&ward.config.endpoints, &gone, newcomers.keys());
            let found = Found { cluster: Arc::clone(name), source: Discovery::Heartbeat, endpoints };
            ward.cluster.discovered(crate::runtime::clock::wall());
            moves.begin(found, wards, bench);
            firsts.extend(newcomers.into_values());
        }
        firsts
    }

    /// When [`Self::gather`] has something to do, whatever is heard.
    pub(super) fn wake(&self) -> Timestamp {
        self.looks.values().copied().min().unwrap_or(Timestamp::NEVER)
    }
}

fn joins(cluster: &model::Cluster) -> bool {
    cluster.discovery == Some(Discovery::Heartbeat)
}

/// Those that stay, and those that come, in order.
fn members<'a>(
    present: &[model::Endpoint],
    gone: &HashSet<Arc<str>>,
    newcomers: impl Iterator<Item = &'a Arc<str>>,
) -> Vec<model::Endpoint> {
    let mut all: BTreeMap<Arc<str>, model::Endpoint> =
        present.iter().map(|endpoint| (endpoint.address.text(), endpoint.clone())).collect();
    all.retain(|address, _| !gone.contains(address));
    for address in newcomers {
        if let Some(endpoint) = model::Endpoint::joined(address) {
            all.entry(Arc::clone(address)).or_insert(endpoint);
        }
    }
    all.into_values().collect()
}

/// Whether an endpoint has said bye, is over after it announced its end, or has been silent for long.
fn has_left(view: &EndpointView, ttl: Duration, now: Timestamp) -> bool {
    let Some(heartbeat) = &view.heartbeat else { return false };
    // Probes that reach it may outvote its silence; then that stands on the heartbeat alone.
    let mut reasons = view.reasons.iter().chain(&heartbeat.reason);
    let expired = reasons.find(|reason| reason.code == Code::HeartbeatExpired);
    heartbeat.state == BeatState::Bye
        || expired.is_some_and(|reason| {
            heartbeat.state == BeatState::Draining || now >= reason.since + ttl.saturating_mul(FORGOTTEN_TTLS)
        })
}

/// A first beat with the endpoint that it has become, and who waits for the answer.
pub(super) fn join(first: FirstBeat, moves: &Moves, wards: &Wards) -> Option<(Pushed, oneshot::Sender<Option<Joined>>)> {
    let ward = wards.find(&first.cluster)?;
    let address = first.address.as_str();
    let endpoint = Arc::clone(ward.find(address).or_else(|| moves.find(ward.cluster.id, address))?);
    let FirstBeat { at, beat, report, taken, .. } = first;
    // Nobody waits for this one: the answer needs the endpoint.
    let (unheard, _) = oneshot::channel();
    Some((Pushed { endpoint, at, beat, report, taken: unheard }, taken))
}

/// A configuration with the endpoints that had joined the process before.
pub(super) fn resumed(config: &Config, memory: &Memory) -> Config {
    let mut config = config.clone();
    for cluster in config.clusters.iter_mut().filter(|cluster| joins(cluster)) {
        let known = memory.clusters.get(&*cluster.name).into_iter().flat_map(HashMap::keys).take(MOST_JOINED);
        let known: BTreeMap<_, _> = known.filter_map(|text| Some((text, model::Endpoint::joined(text)?))).collect();
        cluster.endpoints = known.into_values().collect();
    }
    config
}

//! What operators have ordered and not taken back, and which epochs of leaders are over: for the state file, and for the process that takes over.
//!
//! Times are the calendar's here, since a file outlasts the clock of the process that wrote it. An order about an endpoint
//! that is not there is kept: it may come back with the next reload.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::time::{Timestamp, WallTime};
use crate::control::keeper;
use crate::health::signal::OperatorState;
use crate::runtime::clock;

/// So many orders are kept; what comes then is carried out, and not kept.
const MOST: usize = 100_000;

/// Every order that stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Orders {
    /// In no order of meaning.
    pub(super) endpoints: Vec<Standing>,
    /// Those about whole clusters, which hold for whoever joins later too.
    clusters: Vec<Whole>,
    /// The clusters whose verdicts are frozen.
    pub(super) frozen: Vec<String>,
    /// The highest epoch that anybody of a cluster has said to lead in, by cluster. None below it counts again, whoever has been
    /// restarted meanwhile.
    #[serde(skip_serializing_if = "Epochs::is_empty")]
    pub(super) epochs: Epochs,
}

/// Epochs by cluster.
pub(super) type Epochs = BTreeMap<String, u64>;

/// A whole cluster's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Whole {
    /// As it stands for every endpoint; the address is empty.
    order: Standing,
    /// The endpoints that it has reached. What was ordered of one of them later is not undone.
    reached: BTreeSet<String>,
}

/// One endpoint's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) cluster: String,
    pub(super) endpoint: String,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    since_unix_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_unix_ms: Option<u64>,
    /// Until then `ready` interrupts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready_until_unix_ms: Option<u64>,
}

impl Orders {
    /// Reads the text of [`Self::text`].
    pub(super) fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// As it is written to the state file.
    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// An order has been carried out.
    pub(super) fn note(
        &mut self,
        cluster: &str,
        endpoint: &str,
        state: OperatorState,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) {
        let now = clock::wall().unix_millis();
        self.endpoints.retain(|standing| standing.until_unix_ms.is_none_or(|until| until > now));
        let until = until.map(|until| clock::wall_at(until).unix_millis());
        let place = self.endpoints.iter().position(|one| one.cluster == cluster && one.endpoint == endpoint);
        match (state, place) {
            (OperatorState::Ready, Some(place)) if until.is_some() => self.endpoints[place].ready_until_unix_ms = until,
            (OperatorState::Ready, place) => drop(place.map(|place| self.endpoints.swap_remove(place))),
            (_, place) => {
                let standing = Standing {
                    cluster: cluster.to_owned(),
                    endpoint: endpoint.to_owned(),
                    state: state.as_str().to_owned(),
                    reason: reason.map(str::to_owned),
                    since_unix_ms: now,
                    until_unix_ms: until,
                    ready_until_unix_ms: None,
                };
                match place {
                    Some(place) => self.endpoints[place] = standing,
                    None if self.endpoints.len() < MOST => self.endpoints.push(standing),
                    None => tracing::warn!(cluster, endpoint, "too many orders; this one is not kept"),
                }
            }
        }
    }

    /// An order about a whole cluster has been carried out on these endpoints.
    pub(super) fn note_whole(
        &mut self,
        cluster: &str,
        endpoints: &[Arc<str>],
        state: OperatorState,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) {
        for endpoint in endpoints {
            self.note(cluster, endpoint, state, until, reason);
        }
        let now = clock::wall().unix_millis();
        self.clusters.retain(|whole| whole.order.cluster != cluster || state == OperatorState::Ready);
        self.clusters.retain(|whole| whole.order.until_unix_ms.is_none_or(|until| until > now));
        let until_unix_ms = until.map(|until| clock::wall_at(until).unix_millis());
        if state != OperatorState::Ready {
            let order = Standing {
                cluster: cluster.to_owned(),
                endpoint: String::new(),
                state: state.as_str().to_owned(),
                reason: reason.map(str::to_owned),
                since_unix_ms: now,
                until_unix_ms,
                ready_until_unix_ms: None,
            };
            self.clusters.push(Whole { order, reached: endpoints.iter().map(ToString::to_string).collect() });
        } else if until_unix_ms.is_none() {
            self.clusters.retain(|whole| whole.order.cluster != cluster);
        } else if let Some(whole) = self.clusters.iter_mut().find(|whole| whole.order.cluster == cluster) {
            whole.order.ready_until_unix_ms = until_unix_ms;
        }
    }

    /// Has orders about whole clusters stand for those who have joined since; `endpoints` gives the addresses of a cluster. Whether
    /// there are any.
    pub(super) fn reach(&mut self, endpoints: impl Fn(&str) -> Vec<Arc<str>>) -> bool {
        let (now, before) = (clock::wall().unix_millis(), self.endpoints.len());
        let known: BTreeSet<_> = self.endpoints.iter().map(|one| (one.cluster.clone(), one.endpoint.clone())).collect();
        for Whole { order, reached } in &mut self.clusters {
            let stands = order.until_unix_ms.is_none_or(|until| until > now);
            let joined = endpoints(&order.cluster).into_iter().map(|endpoint| endpoint.to_string());
            for endpoint in joined.filter(|_| stands && reached.len() < MOST).collect::<Vec<_>>() {
                if reached.insert(endpoint.clone()) && !known.contains(&(order.cluster.clone(), endpoint.clone())) {
                    self.endpoints.push(Standing { endpoint, ..order.clone() });
                }
            }
        }
        self.endpoints.len() > before
    }

    /// A cluster has been frozen or thawed.
    pub(super) fn note_frozen(&mut self, cluster: &str, frozen: bool) {
        self.frozen.retain(|name| name != cluster);
        if frozen {
            self.frozen.push(cluster.to_owned());
        }
    }
}

impl Standing {
    /// What was ordered, if this version knows it.
    pub(super) fn state(&self) -> Option<OperatorState> {
        OperatorState::ALL.into_iter().find(|state| state.as_str() == self.state)
    }

    pub(super) fn since(&self) -> Timestamp {
        moment(self.since_unix_ms)
    }

    pub(super) fn until(&self) -> Option<Timestamp> {
        self.until_unix_ms.map(moment)
    }

    pub(super) fn ready_until(&self) -> Option<Timestamp> {
        self.ready_until_unix_ms.map(moment)
    }
}

/// The orders of a state file. One that cannot be read is told, and stops nothing: a proxy that serves everybody is better than none.
pub(super) fn kept(file: &Path) -> Option<Orders> {
    let read = keeper::read(file).map_err(|error| error.to_string());
    let orders = read.and_then(|text| text.as_deref().map(Orders::read).transpose());
    orders.unwrap_or_else(|error| {
        tracing::error!(file = %file.display(), error, "the state file cannot be read; operators' orders are lost");
        None
    })
}

fn moment(unix_millis: u64) -> Timestamp {
    clock::at_wall(WallTime::from_unix_millis(unix_millis))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_word_about_an_endpoint_stands() {
        let mut orders = Orders::default();
        let soon = clock::now() + Duration::from_secs(60);
        orders.note("app", "a:1", OperatorState::Draining, None, Some("deploy"));
        orders.note("app", "a:1", OperatorState::Maintenance, Some(soon), Some("disk"));
        orders.note("app", "b:1", OperatorState::Draining, None, None);
        orders.note("app", "b:1", OperatorState::Ready, None, None);
        orders.note_frozen("app", true);
        let read = Orders::read(&orders.text()).unwrap();
        assert_eq!(read, orders);
        let [standing] = read.endpoints.as_slice() else { panic!("{read:?}") };
        assert_eq!((standing.state(), standing.reason.as_deref()), (Some(OperatorState::Maintenance), Some("disk")));
        assert!(standing.until().unwrap() + Duration::from_millis(200) > soon);
        orders.note("app", "a:1", OperatorState::Ready, Some(soon), None);
        assert!(orders.endpoints[0].ready_until().is_some(), "it comes back");
        orders.note("app", "a:1", OperatorState::Ready, None, None);
        orders.note_frozen("app", false);
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn an_order_about_a_cluster_reaches_who_joins_and_undoes_nothing() {
        let mut orders = Orders::default();
        let addresses = |all: &[&str]| all.iter().map(|address| Arc::from(*address)).collect::<Vec<Arc<str>>>();
        let standing = |orders: &Orders| orders.endpoints.iter().map(|one| one.endpoint.clone()).collect::<BTreeSet<_>>();
        orders.note_whole("app", &addresses(&["a:1", "b:1"]), OperatorState::Draining, None, Some("rack"));
        orders.note("app", "b:1", OperatorState::Ready, None, None);
        let mut orders = Orders::read(&orders.text()).unwrap();
        let now_there = |cluster: &str| if cluster == "app" { addresses(&["a:1", "b:1", "c:1"]) } else { Vec::new() };
        assert!(orders.reach(now_there));
        assert_eq!(standing(&orders), BTreeSet::from(["a:1".to_owned(), "c:1".to_owned()]), "b was let back in by its own name");
        assert_eq!(orders.endpoints[1].reason.as_deref(), Some("rack"));
        assert!(!orders.reach(now_there));
        orders.note_whole("app", &addresses(&["a:1", "b:1", "c:1"]), OperatorState::Ready, None, None);
        assert!(!orders.reach(|_| addresses(&["d:1"])));
        assert_eq!(orders, Orders::default());
        // An order that has run out reaches nobody.
        let over = clock::now() - Duration::from_secs(1);
        orders.note_whole("app", &[], OperatorState::Maintenance, Some(over), None);
        assert!(!orders.reach(|_| addresses(&["d:1"])));
    }

    #[test]
    fn a_file_that_is_none_is_told() {
        for wrong in ["", "7", "{\"endpoints\":[{}]}", "{\"endpoints\":7}"] {
            assert!(Orders::read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Orders::read("{}"), Ok(Orders::default()));
    }
}

//! One endpoint as both planes see it: identity, in-flight count, addresses, cells, and the view that is shown.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::base::address::{EndpointAddress, Site};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::Timestamp;
use crate::cluster::{Count, EndpointCells};
use crate::health::signal::ProbeResult;
use crate::health::verdict::{EndpointView, ProbeView, State};
use crate::telemetry::cell::Counter;
use crate::telemetry::lanes::Lanes;

/// Where an endpoint's address leads; never empty once its name has resolved.
pub type Addresses = Vec<Site>;

/// Control's counts of the runs of one probe of one endpoint.
#[derive(Debug, Clone)]
pub struct ProbeCounts {
    /// The probe's name.
    pub name: Arc<str>,
    /// Runs that passed.
    pub pass: u64,
    /// Runs that failed.
    pub fail: u64,
    /// Runs that could not tell.
    pub void: u64,
}

/// One address in a cluster. It outlives snapshots and reloads as long as it stays configured.
#[derive(Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its cluster's id.
    pub cluster_id: ClusterId,
    /// Its cluster's name.
    pub cluster: Arc<str>,
    /// Its address as configured.
    pub address: EndpointAddress,
    /// All workers move it, and who reads anything else here moves it as well: it needs no cache line of its own.
    in_flight: Count,
    /// The most attempts in flight that it asks for; 0 for no bound.
    most_requests: AtomicU32,
    /// Connections to it, from every worker, idle ones included.
    pub connections: Count,
    resolved: ArcSwap<Addresses>,
    /// Whether there are any, and the state in the view by its place in [`State::ALL`]: probes ask for these alone, thousands of times a
    /// second, and need not go for the rest.
    known: AtomicBool,
    state: AtomicU8,
    workers: Lanes<EndpointCells>,
    /// Nobody who serves requests looks at it.
    view: Mutex<Arc<EndpointView>>,
    /// Nobody who serves requests looks at these either.
    probes: Mutex<Box<[ProbeCounts]>>,
    /// Control's counts of reports: read, void, none.
    pub reports: [Counter; 3],
}

impl Endpoint {
    /// An endpoint, unknown until its first view is stored.
    #[must_use]
    pub fn new(id: EndpointId, cluster_id: ClusterId, cluster: Arc<str>, address: EndpointAddress, now: Timestamp) -> Self {
        let resolved = address.site().map(|site| vec![site]).unwrap_or_default();
        Self {
            id,
            cluster_id,
            cluster,
            address,
            in_flight: Count::default(),
            most_requests: AtomicU32::new(0),
            connections: Count::default(),
            known: AtomicBool::new(!resolved.is_empty()),
            state: AtomicU8::new(State::Unknown as u8),
            resolved: ArcSwap::from_pointee(resolved),
            workers: Lanes::default(),
            view: Mutex::new(Arc::new(unknown(now))),
            probes: Mutex::default(),
            reports: Default::default(),
        }
    }

    /// Attempts in flight, from every worker.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// The most attempts in flight that it asks for, if it does.
    #[must_use]
    pub fn most_requests(&self) -> Option<u32> {
        Some(self.most_requests.load(Relaxed)).filter(|most| *most > 0)
    }

    /// Counts an attempt in; [`Self::leave`] must follow.
    pub fn enter(&self) {
        self.in_flight.enter(None);
    }

    /// Counts an attempt in unless there are as many as `limit` allows; if it did, [`Self::leave`] must follow.
    #[must_use]
    pub fn enter_below(&self, limit: Option<u32>) -> bool {
        self.in_flight.enter(limit)
    }

    /// Counts an attempt out.
    pub fn leave(&self) {
        self.in_flight.leave();
    }

    /// A worker's own cells; workers are numbered from 0.
    #[must_use]
    pub fn cells(&self, worker: usize) -> &EndpointCells {
        &self.workers[worker]
    }

    /// Every worker's cells with its number.
    pub fn numbered_cells(&self) -> impl Iterator<Item = (usize, &EndpointCells)> {
        self.workers.numbered()
    }

    /// Every worker's cells, for summing.
    pub fn all_cells(&self) -> impl Iterator<Item = &EndpointCells> {
        self.workers.iter()
    }

    /// Something from all over it, for whoever will need it soon and wants it to be near by then.
    #[must_use]
    pub fn look_ahead(&self) -> u64 {
        let locks = u64::from(self.view.is_poisoned()) + u64::from(self.probes.is_poisoned());
        locks + u64::from(self.id.0) + self.reports[0].get() + u64::from(self.address.port())
    }

    /// The addresses to connect to, in order; empty if the name has not resolved yet.
    #[must_use]
    pub fn addresses(&self) -> Arc<Addresses> {
        self.resolved.load_full()
    }

    /// Whether there are any; if so, there are from then on.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.known.load(Relaxed)
    }

    /// Replaces the addresses. An empty list is ignored: the last good one stays.
    pub fn resolve(&self, addresses: Addresses) {
        if !addresses.is_empty() {
            self.resolved.store(Arc::new(addresses));
            self.known.store(true, Relaxed);
        }
    }

    /// What is shown of it.
    #[must_use]
    pub fn view(&self) -> Arc<EndpointView> {
        Arc::clone(&self.lock())
    }

    /// The state that is shown.
    #[must_use]
    pub fn state(&self) -> State {
        State::ALL[usize::from(self.state.load(Relaxed))]
    }

    /// Shows it anew; control only.
    pub fn show(&self, view: EndpointView) {
        self.most_requests.store(view.most_requests.unwrap_or(0), Relaxed);
        let mut shown = self.lock();
        self.state.store(view.state as u8, Relaxed);
        match Arc::get_mut(&mut shown) {
            Some(shown) => *shown = view,
            // Somebody is looking at it.
            None => *shown = Arc::new(view),
        }
    }

    /// Shows that it is as before, but for what its last probe found; control only.
    pub fn show_probe(&self, number: usize, probe: ProbeView) {
        if let Some(shown) = Arc::make_mut(&mut self.lock()).probes.get_mut(number) {
            *shown = probe;
        }
    }

    /// Its probes are these from now on, in this order. Counts are kept by name; control only.
    pub fn count_probes<'a>(&self, names: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut counts = self.counts();
        let kept = |name: &Arc<str>| counts.iter().find(|known| known.name == *name).cloned();
        let new = |name: &Arc<str>| ProbeCounts { name: Arc::clone(name), pass: 0, fail: 0, void: 0 };
        *counts = names.into_iter().map(|name| kept(name).unwrap_or_else(|| new(name))).collect();
    }

    /// Counts a run of a probe, by its position, and gives the probe's name, if it is there; control only.
    pub fn probed(&self, number: usize, result: &ProbeResult) -> Option<Arc<str>> {
        let mut counts = self.counts();
        let probe = counts.get_mut(number)?;
        match result {
            ProbeResult::Pass => probe.pass += 1,
            ProbeResult::Fail(_) => probe.fail += 1,
            ProbeResult::Void(_) => probe.void += 1,
        }
        Some(Arc::clone(&probe.name))
    }

    /// How often each of its probes ran, by result.
    #[must_use]
    pub fn probe_counts(&self) -> Vec<ProbeCounts> {
        self.counts().to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, Arc<EndpointView>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Box<[ProbeCounts]>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(now: Timestamp) -> EndpointView {
    EndpointView {
        state: State::Unknown,
        available: false,
        admitted: false,
        weight: 0.0,
        since: now,
        reasons: Vec::new(),
        report: Vec::new(),
        report_voids: Vec::new(),
        report_at: None,
        probes: Vec::new(),
        heartbeat: None,
        role: None,
        most_requests: None,
        next_change: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_alone_is_that_of_the_view() {
        let address = EndpointAddress::parse("orders.internal:80").unwrap();
        let endpoint = Endpoint::new(EndpointId(1), ClusterId(1), "app".into(), address, Timestamp::ZERO);
        assert_eq!((endpoint.state(), endpoint.is_resolved()), (State::Unknown, false));
        for state in State::ALL {
            endpoint.show(EndpointView { state, ..unknown(Timestamp::ZERO) });
            assert_eq!((endpoint.state(), endpoint.view().state), (state, state));
        }
        endpoint.resolve(Vec::new());
        assert!(!endpoint.is_resolved());
        endpoint.resolve(vec![Site::Ip(([127, 0, 0, 1], 80).into())]);
        assert!(endpoint.is_resolved());
    }
}

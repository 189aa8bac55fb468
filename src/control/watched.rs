//! One endpoint under watch: its probes, how often they run, and the lookups of its name.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::base::address::Host;
use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::cluster::{Endpoint, Live};
use crate::config::model;
use crate::control::names;
use crate::control::totals::Totals;
use crate::health::check::{Check, ProbeSpec};
use crate::health::openings::Openings;
use crate::health::policy::Timing;
use crate::health::signal::Signal;
use crate::health::{Glance, Pace};
use crate::probe::{self, Approach, Plan, ProbeLag, Probing};
use crate::runtime::task::Owned;

/// What watching an endpoint needs.
#[derive(Debug, Clone)]
pub(super) struct Watcher {
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) resolved: mpsc::Sender<EndpointId>,
    pub(super) lag: Arc<ProbeLag>,
    /// When first probes may start.
    pub(super) openings: Rc<Cell<Openings>>,
}

/// An endpoint, watched for as long as this lives.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) endpoint: Arc<Endpoint>,
    probing: Option<Probing>,
    pace: Pace,
    totals: Totals,
    /// End when dropped.
    _lookups: Option<Owned>,
}

impl Watcher {
    /// Starts to watch an endpoint: its name is looked up, and its first probes run as soon as they may.
    pub(super) fn watch(&self, endpoint: Arc<Endpoint>, cluster: &model::Cluster) -> Watched {
        let named = matches!(endpoint.address.host(), Host::Name(_));
        let lookups = named.then(|| Owned::spawn(names::look_up(Arc::clone(&endpoint), self.resolved.clone())));
        let mut watched = Watched { endpoint, probing: None, pace: Pace::Fast, totals: Totals::default(), _lookups: lookups };
        self.probe(&mut watched, cluster);
        watched
    }

    /// Starts to watch a reference: an address that is connected to as often as the cluster's endpoints are probed.
    pub(super) fn watch_reference(&self, endpoint: Arc<Endpoint>, timing: Timing) -> Watched {
        let named = matches!(endpoint.address.host(), Host::Name(_));
        let lookups = named.then(|| Owned::spawn(names::look_up(Arc::clone(&endpoint), self.resolved.clone())));
        let spec = ProbeSpec {
            name: "reference".into(),
            check: Check::Tcp,
            address: None,
            port: None,
            source: None,
            tls: false,
            timing,
        };
        let plan = Plan {
            endpoint: Arc::clone(&endpoint),
            probes: vec![Arc::new(spec)],
            report: None,
            report_timing: timing,
            approach: Approach::default(),
            openings: Rc::clone(&self.openings),
        };
        let probing = Some(probe::start(plan, self.signals.clone(), Arc::clone(&self.lag)));
        Watched { endpoint, probing, pace: Pace::Fast, totals: Totals::default(), _lookups: lookups }
    }

    /// Starts the probes of an endpoint anew, as after a change of their settings.
    pub(super) fn probe(&self, watched: &mut Watched, cluster: &model::Cluster) {
        let endpoint = &watched.endpoint;
        endpoint.count_probes(cluster.health.probes.iter());
        watched.pace = Pace::Fast;
        watched.probing = (!cluster.probes.is_empty() || cluster.report.is_some()).then(|| {
            let plan = Plan {
                endpoint: Arc::clone(endpoint),
                probes: cluster.probes.clone(),
                report: cluster.report.clone(),
                report_timing: cluster.report_timing,
                approach: Approach::of(cluster),
                openings: Rc::clone(&self.openings),
            };
            probe::start(plan, self.signals.clone(), Arc::clone(&self.lag))
        });
    }
}

impl Watched {
    /// Ends the probes; what they still have to say is dropped.
    pub(super) fn stop_probes(&mut self) {
        self.probing = None;
    }

    /// Changes how often the probes run.
    pub(super) fn set_pace(&mut self, pace: Pace) {
        if pace != self.pace {
            self.pace = pace;
            if let Some(probing) = &self.probing {
                probing.set_pace(pace);
            }
        }
    }

    /// What live traffic has shown since it was last asked; `None` if nothing and nobody waits for it.
    pub(super) fn glance(&mut self, live: &Live, now: Timestamp) -> Option<Glance> {
        self.totals.glance(&self.endpoint, live, now)
    }

    /// Has each probe that asks for an answer run so many times at once, on connections of their own.
    pub(super) fn confirm(&mut self, runs: u32, cluster: &model::Cluster) {
        if let Some(probing) = &mut self.probing {
            probing.confirm(runs, &self.endpoint, &cluster.probes, &Approach::of(cluster));
        }
    }

    /// Asks for probes at once. However often it is asked, they run no closer together than the fast interval.
    pub(super) fn probe_now(&self) {
        if let Some(probing) = &self.probing {
            probing.probe_now();
        }
    }
}

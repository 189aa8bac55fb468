//! The probes of one endpoint, all of them: one task each, and the orders that control gives them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::sync::mpsc;

use crate::cluster::Endpoint;
use crate::health::Pace;
use crate::health::check::{Acknowledge, Check, HttpCheck, ProbeSpec, StatusRange};
use crate::health::openings::Openings;
use crate::health::policy::Timing;
use crate::health::signal::Signal;
use crate::probe::confirm::Confirmer;
use crate::probe::lag::ProbeLag;
use crate::probe::orders::Orders;
use crate::probe::rounds::{Purpose, Rounds, Told};
use crate::probe::run::Probe;
use crate::probe::target::{Approach, Target};
use crate::report::spec::{Format, Source, Spec};
use crate::runtime::task::Owned;

/// What is probed of one endpoint.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its probes; a result carries its probe's position here.
    pub probes: Vec<Arc<ProbeSpec>>,
    /// What is read of it, if anything.
    pub report: Option<Spec>,
    /// How often a report from a path of its own is fetched.
    pub report_timing: Timing,
    /// How connections to it begin.
    pub approach: Approach,
    /// What there is to spend on fresh connections, shared by all whose probes run on this thread.
    pub openings: Rc<Cell<Openings>>,
}

/// Probes that run for as long as this lives.
#[derive(Debug)]
pub struct Probing {
    /// The task of each, which ends when dropped, and what it is told. Those that vote come first, in their order.
    probes: Box<[(Owned, Rc<Orders>)]>,
    signals: mpsc::Sender<Signal>,
    /// The last confirmations; they end when dropped.
    confirming: Vec<Owned>,
}

/// Starts the probes of an endpoint on this thread, which must allow local tasks. Each runs as soon as there is a place for
/// its first run, and then in its slots.
///
/// Every result is sent to `signals`, the report in an answer right behind the result of its probe; when that queue is full
/// the probe waits. `lag` is set whenever a probe starts in a slot.
#[must_use]
pub fn start(plan: Plan, signals: mpsc::Sender<Signal>, lag: Arc<ProbeLag>) -> Probing {
    let openings = Rc::clone(&plan.openings);
    let probes = probes(plan)
        .map(|(endpoint, probe, purpose)| {
            let orders = Rc::<Orders>::default();
            let told = Told { orders: Rc::clone(&orders), signals: signals.clone() };
            let rounds = Rounds::new(endpoint, probe, purpose, Rc::clone(&openings), Arc::clone(&lag), told);
            (Owned::spawn(Box::new(rounds).go()), orders)
        })
        .collect();
    Probing { probes, signals, confirming: Vec::new() }
}

impl Probing {
    /// Changes how often the probes run. What comes nearer by it is brought forward at once.
    pub fn set_pace(&self, pace: Pace) {
        self.probes.iter().for_each(|(_, orders)| orders.set_pace(pace));
    }

    /// Has each probe that asks the endpoint for an answer run so many times at once, beside its slots, each run on a
    /// connection of its own and with a deadline of three times what the probe usually takes. Earlier ones are given up. `endpoint`,
    /// `probes` and `approach` are those of the plan: they are needed so seldom that they are not kept for each endpoint.
    pub fn confirm(&mut self, runs: u32, endpoint: &Arc<Endpoint>, probes: &[Arc<ProbeSpec>], approach: &Approach) {
        self.confirming.clear();
        for (position, (spec, (_, orders))) in probes.iter().zip(&self.probes).enumerate() {
            let confirmer = Confirmer { endpoint, spec, position, usual: &orders.usual, approach };
            self.confirming.extend(confirmer.start(runs, &self.signals));
        }
    }

    /// Asks every probe for a run at once, over a fresh connection. A run that is under way ends first; runs that are asked
    /// for are at least the fast interval apart, and one that comes too early is kept until then.
    pub fn probe_now(&self) {
        self.probes.iter().for_each(|(_, orders)| orders.ask());
    }
}

fn probes(plan: Plan) -> impl Iterator<Item = (Arc<Endpoint>, Probe, Purpose)> {
    let Plan { endpoint, probes, report, report_timing, approach, .. } = plan;
    let report = report.filter(|spec| spec.format != Format::None).map(Arc::new);
    let fetched = report.clone().and_then(|spec| fetch(spec, report_timing, &endpoint, &approach));
    let words = report.is_some();
    let read = report.filter(|spec| spec.source == Source::FirstHttpProbe);
    let first = probes.iter().position(|spec| matches!(spec.check, Check::Http(_)));
    let owner = Arc::clone(&endpoint);
    let voting = probes.into_iter().enumerate().map(move |(position, spec)| {
        let target = Target::of(&spec, &owner).approached(&spec, &approach, owner.address.port());
        let reads = read.clone().filter(|_| first == Some(position));
        // Where reports are read at all, the status word of every vote counts.
        (Probe::new(spec, &owner.address, target, reads).heeding(words), Purpose::Vote(position))
    });
    let fetched = fetched.map(|probe| (probe, Purpose::Report));
    voting.chain(fetched).map(move |(probe, purpose)| (Arc::clone(&endpoint), probe, purpose))
}

fn fetch(spec: Arc<Spec>, timing: Timing, endpoint: &Arc<Endpoint>, approach: &Approach) -> Option<Probe> {
    let probe = report_probe(&spec, timing)?;
    let target = Target::of(&probe, endpoint).approached(&probe, approach, endpoint.address.port());
    Some(Probe::new(probe, &endpoint.address, target, Some(spec)))
}

/// The probe that fetches a report from a path of its own; `None` if it has none.
pub(super) fn report_probe(spec: &Spec, timing: Timing) -> Option<ProbeSpec> {
    let Source::Own { path, port } = &spec.source else { return None };
    let check = HttpCheck {
        path: Arc::clone(path),
        method: Method::GET,
        host: None,
        headers: HeaderMap::new(),
        status: vec![StatusRange { low: 200, high: 299 }],
        body_contains: None,
        acknowledge: Acknowledge::default(),
    };
    Some(ProbeSpec {
        name: "report".into(),
        check: Check::Http(check),
        address: None,
        port: *port,
        source: None,
        tls: true,
        timing,
    })
}

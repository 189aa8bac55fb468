//! Probes of one endpoint, and the signals they send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::sync::mpsc;

use crate::base::address::EndpointAddress;
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::units::Ratio;
use crate::cluster::Endpoint;
use crate::health::check::{Acknowledge, Check, HttpCheck, ProbeSpec, StatusRange};
use crate::health::policy::Timing;
use crate::health::signal::{Observation, ProbeResult, ProbeRun, ReportReading, Signal};
use crate::probe::{self, Approach, Plan, ProbeLag, Probing};
use crate::report::spec::Spec;
use crate::runtime::{clock, thread};

/// Longer than any test takes on a loaded machine.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// Short enough to wait for, long enough for an answer on a loaded machine.
pub(super) const SHORT: Duration = Duration::from_millis(300);

pub(super) struct Rig {
    pub(super) probing: Probing,
    pub(super) lag: Arc<ProbeLag>,
    pub(super) endpoint: Arc<Endpoint>,
    signals: mpsc::Receiver<Signal>,
}

pub(super) fn run<F: Future>(test: F) -> F::Output {
    thread::block_on(async { tokio::time::timeout(LONG, test).await.expect("the test waits for ever") }).unwrap()
}

pub(super) fn endpoint(address: &str) -> Arc<Endpoint> {
    let address = EndpointAddress::parse(address).unwrap();
    Arc::new(Endpoint::new(EndpointId(7), ClusterId(3), "app".into(), address, clock::now()))
}

/// Once at once, and then only when asked.
pub(super) fn timing(timeout: Duration) -> Timing {
    Timing { interval: LONG, timeout, fast_interval: LONG, down_interval: LONG, jitter: Ratio::ZERO }
}

/// Again and again.
pub(super) fn often(timeout: Duration) -> Timing {
    let often = Duration::from_millis(10);
    Timing { interval: often, fast_interval: often, down_interval: often, ..timing(timeout) }
}

pub(super) fn http_check() -> HttpCheck {
    HttpCheck {
        path: "/health".into(),
        method: Method::GET,
        host: None,
        headers: HeaderMap::new(),
        status: vec![StatusRange { low: 200, high: 299 }],
        body_contains: None,
        acknowledge: Acknowledge::default(),
    }
}

pub(super) fn spec(check: Check, timing: Timing) -> ProbeSpec {
    ProbeSpec { name: "ready".into(), check, address: None, port: None, source: None, tls: true, timing }
}

pub(super) fn http(timing: Timing) -> ProbeSpec {
    spec(Check::Http(http_check()), timing)
}

impl Rig {
    /// Probes without a report.
    pub(super) fn start(address: SocketAddr, probes: Vec<ProbeSpec>) -> Self {
        Self::of(endpoint(&address.to_string()), probes, None, 64)
    }

    pub(super) fn with_report(address: SocketAddr, probes: Vec<ProbeSpec>, report: Spec) -> Self {
        Self::of(endpoint(&address.to_string()), probes, Some(report), 64)
    }

    /// `queue` is how far control may be behind.
    pub(super) fn of(endpoint: Arc<Endpoint>, probes: Vec<ProbeSpec>, report: Option<Spec>, queue: usize) -> Self {
        let (sender, signals) = mpsc::channel(queue);
        let lag = Arc::<ProbeLag>::default();
        let plan = Plan {
            endpoint: Arc::clone(&endpoint),
            probes: probes.into_iter().map(Arc::new).collect(),
            report,
            report_timing: timing(LONG),
            approach: Approach::default(),
            openings: std::rc::Rc::default(),
        };
        let probing = probe::start(plan, sender, Arc::clone(&lag));
        Self { probing, lag, endpoint, signals }
    }

    pub(super) async fn observation(&mut self) -> Observation {
        let signal = self.signals.recv().await.expect("probes run for as long as the rig lives");
        assert_eq!((signal.cluster, signal.endpoint), (ClusterId(3), EndpointId(7)));
        assert!(signal.at <= clock::now());
        signal.observation
    }

    pub(super) async fn probed(&mut self) -> ProbeRun {
        match self.observation().await {
            Observation::Probe(run) => run,
            other => panic!("a probe's result is wanted, and this came: {other:?}"),
        }
    }

    pub(super) async fn result(&mut self) -> ProbeResult {
        self.probed().await.result
    }

    /// The first result that is not void: a loaded machine may stall.
    pub(super) async fn decided(&mut self) -> ProbeResult {
        loop {
            match self.result().await {
                ProbeResult::Void(_) => {}
                result => return result,
            }
        }
    }

    pub(super) async fn reading(&mut self) -> ReportReading {
        match self.observation().await {
            Observation::Report(reading) => reading,
            other => panic!("a report is wanted, and this came: {other:?}"),
        }
    }

    /// Whether anything has been told that was not asked for yet.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.signals.try_recv().is_err()
    }
}

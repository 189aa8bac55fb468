//! The rounds of one probe: a task that runs it in its slots, one run at a time, and tells what each found.
//!
//! Results are never dropped. When control is behind, the task waits with its result, the slots that pass meanwhile are
//! skipped, and no burst follows.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::base::time::Timestamp;
use crate::cluster::Endpoint;
use crate::health::Pace;
use crate::health::check::Check;
use crate::health::openings::Openings;
use crate::health::schedule::Slots;
use crate::health::signal::{Observation, ProbeResult, ProbeRun, ReportReading, Signal};
use crate::probe::lag::ProbeLag;
use crate::probe::orders::Orders;
use crate::probe::run::{Outcome, Probe};
use crate::probe::vigil::{self, Timer};
use crate::report::Asks;
use crate::runtime::clock;

/// A start that is later than this, and than a quarter of the time-out, is late.
const LATE: Duration = Duration::from_millis(20);

/// Intervals for which live traffic may stand in for a probe.
const SPARED: u32 = 5;

/// What the results of a probe are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It votes; its position among the cluster's probes.
    Vote(usize),
    /// It only brings the report, at its own pace whatever the probes find.
    Report,
}

/// A probe, and when it runs.
#[derive(Debug)]
pub(super) struct Rounds {
    endpoint: Arc<Endpoint>,
    probe: Probe,
    purpose: Purpose,
    slots: Slots,
    rng: fastrand::Rng,
    lag: Arc<ProbeLag>,
    told: Told,
    /// How many of the runs asked for have been heard of.
    heard: u32,
    /// Whether a run at once is wanted.
    wanted: bool,
    /// When it began to wait for its turn.
    idle: Timestamp,
    /// When the next one that was asked for may start.
    patience: Timestamp,
    /// When a slot was last taken, and when the probe last ran.
    looked: (Timestamp, Timestamp),
    /// What its last answer began with; most answers are the same again.
    said: Arc<str>,
    timer: Timer,
    /// What all probes together have to spend on connections.
    openings: Rc<Cell<Openings>>,
}

/// Who tells the rounds anything, and whom they tell.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) orders: Rc<Orders>,
    pub(super) signals: mpsc::Sender<Signal>,
}

impl Rounds {
    /// Rounds of a probe that shares `openings` with others; the first run starts when there is a place for it.
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        probe: Probe,
        purpose: Purpose,
        openings: Rc<Cell<Openings>>,
        lag: Arc<ProbeLag>,
        told: Told,
    ) -> Self {
        let now = clock::now();
        let mut places = openings.get();
        let first = places.place(now);
        openings.set(places);
        let mut rng = fastrand::Rng::new();
        let mut slots = Slots::new(probe.spec.timing, endpoint.id, &probe.spec.name, first);
        if purpose == Purpose::Report {
            slots.set_pace(Pace::Normal, now, &mut rng);
        }
        Self {
            endpoint,
            probe,
            purpose,
            slots,
            rng,
            lag,
            told,
            heard: 0,
            wanted: false,
            idle: now,
            patience: now,
            looked: (now, now),
            said: Arc::default(),
            timer: vigil::timer(),
            openings,
        }
    }

    /// Runs the probe until nobody listens any more.
    #[expect(clippy::manual_async_fn, reason = "an async function keeps its arguments twice, and thousands of probes have one")]
    pub(super) fn go(mut self: Box<Self>) -> impl Future<Output = ()> {
        // On the heap is all that is not needed between runs: thousands of probes wait most of the time.
        async move {
            Box::pin(self.probe.target.looked_up()).await;
            loop {
                self.idle = clock::now();
                let fresh = poll_fn(|cx| self.poll_turn(cx)).await;
                if Box::pin(self.once(fresh)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Runs the probe, and waits until there is room for all that it found.
    async fn once(&mut self, fresh: bool) -> Result<(), mpsc::error::SendError<Signal>> {
        let state = self.endpoint.state().as_str();
        let outcome = self.probe.run(state, fresh, &mut self.timer).await;
        for signal in self.tell(outcome) {
            // Hardly ever: most runs need no room for it.
            Box::pin(self.told.signals.send(signal)).await?;
        }
        Ok(())
    }

    /// Tells what a run found, and returns what there is no room for now.
    fn tell(&mut self, outcome: Outcome) -> Vec<Signal> {
        let mut left = Vec::new();
        let (cluster, endpoint, at) = (self.endpoint.cluster_id, self.endpoint.id, outcome.started + outcome.latency);
        let signals = &self.told.signals;
        let mut offer = |observation: Observation| {
            let signal = Signal { cluster, endpoint, at, observation };
            if !left.is_empty() {
                left.push(signal);
            } else if let Err(TrySendError::Full(signal) | TrySendError::Closed(signal)) = signals.try_send(signal) {
                left.push(signal);
            }
        };
        if outcome.result == ProbeResult::Pass {
            self.told.orders.usual.took(outcome.latency);
        }
        match self.purpose {
            Purpose::Vote(position) => {
                let excerpt = outcome.excerpt(&self.said);
                self.said = Arc::clone(&excerpt);
                let Outcome { started, latency, result, reading, heard, stamps, .. } = outcome;
                offer(Observation::Probe(ProbeRun { probe: position, started, latency, result, excerpt, stamps }));
                if let Some(reading) = reading {
                    offer(Observation::Report(reading));
                }
                if let Some((asks, _)) = heard.filter(|(asks, _)| *asks != Asks::default()) {
                    offer(Observation::Asks(asks));
                }
            }
            Purpose::Report => offer(Observation::Report(fetched(outcome))),
        }
        left
    }

    /// Waits for the next run's turn: its slot, or an order. Whoever is woken by an order looks at everything anew. Returns
    /// whether the run takes a fresh connection.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.told.orders.listen(cx.waker());
        loop {
            let now = clock::now();
            self.obey(now);
            if let Some(fresh) = self.take(now) {
                return Poll::Ready(fresh);
            }
            let wake = if self.wanted { self.slots.next().min(self.patience) } else { self.slots.next() };
            vigil::put_off(&mut self.timer, wake);
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    fn obey(&mut self, now: Timestamp) {
        if self.purpose == Purpose::Report {
            return;
        }
        let orders = &self.told.orders;
        self.slots.set_pace(orders.pace(), now, &mut self.rng);
        self.wanted |= orders.asked() != self.heard;
        self.heard = orders.asked();
    }

    /// The run that may start now. One that was asked for takes a fresh connection: what live traffic met was a refused or
    /// a broken one, of which a warm connection knows nothing.
    fn take(&mut self, now: Timestamp) -> Option<bool> {
        let due = self.slots.next();
        if now >= due {
            let mut openings = self.openings.get();
            self.slots.renew_every(openings.stride(now));
            self.openings.set(openings);
        }
        let slot = self.slots.take(now, &mut self.rng);
        if slot.is_some() {
            let late = now.since(due.max(self.idle));
            self.lag.set(late);
            let burden = self.lag.burden(late > LATE.max(self.probe.spec.timing.timeout / 4), now);
            self.slots.stretch(f64::from(burden) / 2.0);
        }
        let slot = slot.filter(|_| !self.is_spared(now));
        let asked = self.wanted && (slot.is_some() || now >= self.patience);
        if asked {
            self.wanted = false;
            self.patience = now + self.spacing();
        }
        slot.map(|slot| slot.fresh || asked).or(asked.then_some(true))
    }

    /// Whether live traffic has just shown what this probe would: a request answered well proves that the endpoint takes
    /// connections, which is all that a tcp probe asks. Not for more than five intervals in a row, nor while anything is in
    /// question.
    fn is_spared(&mut self, now: Timestamp) -> bool {
        let spec = &self.probe.spec;
        let (last, ran) = self.looked;
        let same_place = spec.check == Check::Tcp && spec.address.is_none() && spec.port.is_none();
        let answered = || self.endpoint.all_cells().any(|cells| cells.newest_success_sent.get() > last.as_nanos());
        let recent = now.since(ran) + spec.timing.interval <= spec.timing.interval.saturating_mul(SPARED);
        let spared = same_place && self.slots.pace() == Pace::Normal && recent && answered();
        self.looked = (now, if spared { ran } else { now });
        spared
    }

    /// The least time between two runs that were asked for.
    fn spacing(&self) -> Duration {
        self.probe.spec.timing.fast_interval
    }
}

/// What came of fetching a report: what was read, or why nothing could be.
pub(super) fn fetched(outcome: Outcome) -> ReportReading {
    match (outcome.reading, outcome.result) {
        (Some(reading), _) => reading,
        (None, ProbeResult::Pass) => ReportReading::None,
        (None, ProbeResult::Fail(failure)) => ReportReading::Void(format!("it could not be fetched: {failure}")),
        (None, ProbeResult::Void(why)) => ReportReading::Void(format!("it could not be fetched: {why}")),
    }
}

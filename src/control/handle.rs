//! How everybody else speaks to control: orders over a bounded queue, answers by return.
//!
//! Control alone may change health state, so an order is a question that it answers when it has acted: whoever asks knows
//! that the next request already sees the result.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cluster::{Dropped, Live, Pulse};
use crate::config::Config;
use crate::control::events::EventStream;
use crate::control::fleet::FleetView;
use crate::control::tallies::Tallies;
use crate::health::Entry;
use crate::health::signal::OperatorState;
use crate::probe::ProbeLag;

/// How many orders may wait; whoever comes then waits for a place.
const ORDERS: usize = 64;

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// No cluster has this name.
    #[error("no cluster has the name {0:?}")]
    Cluster(String),
    /// The cluster has no endpoint of this address.
    #[error("no endpoint of the cluster has the address {0:?}")]
    Endpoint(String),
    /// Control has stopped, as it does last when the process ends.
    #[error("control has stopped")]
    Control,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It is in force; or would be, for a dry run.
    Applied {
        /// What changed, one line each; empty if nothing did.
        changes: Vec<String>,
    },
    /// Nothing changed.
    Refused {
        /// Why, one line each; never empty.
        problems: Vec<String>,
    },
}

/// One order.
#[derive(Debug)]
pub(super) enum Order {
    Operate {
        cluster: String,
        /// None: all of the cluster.
        endpoint: Option<String>,
        state: OperatorState,
        span: Option<Duration>,
        reason: Option<String>,
        answer: oneshot::Sender<Result<(), NotFound>>,
    },
    Freeze {
        cluster: String,
        frozen: bool,
        answer: oneshot::Sender<Result<(), NotFound>>,
    },
    History {
        cluster: String,
        endpoint: String,
        answer: oneshot::Sender<Option<Vec<Entry>>>,
    },
    Reload {
        dry_run: bool,
        answer: oneshot::Sender<ReloadOutcome>,
    },
    Memory {
        answer: oneshot::Sender<String>,
    },
    Remember {
        memory: String,
        answer: oneshot::Sender<()>,
    },
    Heartbeats {
        hear: bool,
        answer: oneshot::Sender<()>,
    },
    Settled {
        answer: oneshot::Sender<()>,
    },
    Stop,
}

/// What handles and control share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) live: Arc<Live>,
    pub(super) config: ArcSwap<Config>,
    pub(super) tallies: Tallies,
    pub(super) dropped: Arc<Dropped>,
    pub(super) lag: Arc<ProbeLag>,
    /// Control's own.
    pub(super) pulse: Arc<Pulse>,
    pub(super) drain: watch::Sender<bool>,
    pub(super) fleet: ArcSwapOption<FleetView>,
}

/// A way to control. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    events: EventStream,
}

impl Handle {
    /// A handle, and the queue of its orders.
    pub(super) fn new(shared: Arc<Shared>, events: EventStream) -> (Self, mpsc::Receiver<Order>) {
        let (orders, queue) = mpsc::channel(ORDERS);
        (Self { shared, orders, events }, queue)
    }

    /// The world in force, and the phase.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.shared.live
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.shared.config.load_full()
    }

    /// What control counts.
    #[must_use]
    pub fn tallies(&self) -> &Tallies {
        &self.shared.tallies
    }

    /// Signals and recalls that found a queue full.
    #[must_use]
    pub fn dropped(&self) -> &Dropped {
        &self.shared.dropped
    }

    /// The pulse of control itself.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.shared.pulse
    }

    /// How late the latest probe started against its slot.
    #[must_use]
    pub fn probe_lag(&self) -> &ProbeLag {
        &self.shared.lag
    }

    /// The proxies that agree on health, if there are others.
    #[must_use]
    pub fn fleet(&self) -> Option<Arc<FleetView>> {
        self.shared.fleet.load_full()
    }

    /// The transitions, from where the reader wants.
    #[must_use]
    pub fn events(&self) -> EventStream {
        self.events.clone()
    }

    /// Sets the operator's state of an endpoint, or of every endpoint of the cluster, for a time or until further notice.
    /// Where there is a state file, it is written when this returns.
    ///
    /// # Errors
    /// If there is no such cluster or endpoint, or control has stopped.
    pub async fn operate(
        &self,
        cluster: &str,
        endpoint: Option<&str>,
        state: OperatorState,
        span: Option<Duration>,
        reason: Option<String>,
    ) -> Result<(), NotFound> {
        let (cluster, endpoint) = (cluster.to_owned(), endpoint.map(str::to_owned));
        self.ask(|answer| Order::Operate { cluster, endpoint, state, span, reason, answer })
            .await
            .unwrap_or(Err(NotFound::Control))
    }

    /// Freezes the verdicts of a cluster. Orders of the operator still act.
    ///
    /// # Errors
    /// If there is no such cluster, or control has stopped.
    pub async fn freeze(&self, cluster: &str) -> Result<(), NotFound> {
        self.set_frozen(cluster, true).await
    }

    /// Lets the verdicts of a cluster change again.
    ///
    /// # Errors
    /// If there is no such cluster, or control has stopped.
    pub async fn thaw(&self, cluster: &str) -> Result<(), NotFound> {
        self.set_frozen(cluster, false).await
    }

    async fn set_frozen(&self, cluster: &str, frozen: bool) -> Result<(), NotFound> {
        let cluster = cluster.to_owned();
        self.ask(|answer| Order::Freeze { cluster, frozen, answer }).await.unwrap_or(Err(NotFound::Control))
    }

    /// The last signals and transitions that moved an endpoint, oldest first; `None` if there is no such endpoint.
    pub async fn history(&self, cluster: &str, endpoint: &str) -> Option<Vec<Entry>> {
        let (cluster, endpoint) = (cluster.to_owned(), endpoint.to_owned());
        self.ask(|answer| Order::History { cluster, endpoint, answer }).await?
    }

    /// Reads the configuration anew and applies it, all or nothing. It answers when the new one is in force, which takes
    /// until what is new in it has first verdicts, at most 10 s.
    pub async fn reload(&self) -> ReloadOutcome {
        self.ask_reload(false).await
    }

    /// Says what [`Self::reload`] would do, and does nothing.
    pub async fn reload_dry_run(&self) -> ReloadOutcome {
        self.ask_reload(true).await
    }

    async fn ask_reload(&self, dry_run: bool) -> ReloadOutcome {
        let stopped = || ReloadOutcome::Refused { problems: vec!["the process is stopping".to_owned()] };
        self.ask(|answer| Order::Reload { dry_run, answer }).await.unwrap_or_else(stopped)
    }

    /// Asks the process to finish what it has and end, as SIGTERM does. Asking again changes nothing.
    pub fn drain(&self) {
        self.shared.drain.send_replace(true);
    }

    /// Waits until [`Self::drain`] has been called.
    pub async fn drain_asked(&self) {
        // The sender lives as long as this handle does.
        drop(self.shared.drain.subscribe().wait_for(|asked| *asked).await);
    }

    /// All that is known, for another process.
    pub async fn memory(&self) -> String {
        self.ask(|answer| Order::Memory { answer }).await.unwrap_or_default()
    }

    /// Takes on the orders of another process, as it knew them last.
    pub async fn remember(&self, memory: String) {
        self.ask(|answer| Order::Remember { memory, answer }).await.unwrap_or_default();
    }

    /// Waits until every cluster has had its first verdicts, or control has stopped.
    pub async fn settled(&self) {
        self.ask(|answer| Order::Settled { answer }).await.unwrap_or_default();
    }

    /// Has heartbeats taken in, or left to another process that has the same sockets: nobody is judged by their absence then.
    pub async fn hear_heartbeats(&self, hear: bool) {
        self.ask(|answer| Order::Heartbeats { hear, answer }).await.unwrap_or_default();
    }

    /// Ends control and its probes: the last thing in the life of the process. What is published stays.
    pub async fn stop(&self) {
        // A queue that is closed means that it has ended already.
        drop(self.orders.send(Order::Stop).await);
    }

    async fn ask<A>(&self, order: impl FnOnce(oneshot::Sender<A>) -> Order) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.ok()?;
        answered.await.ok()
    }
}

//! The data plane's way to tell control what it saw: bounded, never waiting, at most one per endpoint, kind and tick.
//!
//! Under a fault every request sees the same thing; the queue must carry the news and not the traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc;

use crate::base::time::Timestamp;
use crate::cluster::Endpoint;
use crate::health::signal::{Observation, Signal};

/// How many signals control may be behind.
const CAPACITY: usize = 4096;

/// Control's end of the queue.
pub type SignalQueue = mpsc::Receiver<Signal>;

/// Signals that found the queue full, by kind.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Refused connections.
    pub refused: AtomicU64,
    /// Reset connections.
    pub reset: AtomicU64,
    /// Load reports.
    pub load: AtomicU64,
    /// Recalls that a worker's queue had no room for.
    pub recall: AtomicU64,
    /// Lines of the access log that found its queue full.
    pub access_log: AtomicU64,
}

/// A worker's end of the queue.
#[derive(Debug, Clone)]
pub struct Reporter {
    queue: mpsc::Sender<Signal>,
    dropped: Arc<Dropped>,
}

/// A queue for every worker's signals to control.
#[must_use]
pub fn signals(dropped: Arc<Dropped>) -> (Reporter, SignalQueue) {
    let (queue, receiver) = mpsc::channel(CAPACITY);
    (Reporter { queue, dropped }, receiver)
}

impl Reporter {
    /// A connection for live traffic was refused.
    pub fn refused(&self, endpoint: &Endpoint, at: Timestamp) {
        if !self.send(endpoint, at, Observation::Refused) {
            self.dropped.refused.fetch_add(1, Relaxed);
        }
    }

    /// A connection was reset or closed before the answer to live traffic.
    pub fn reset(&self, endpoint: &Endpoint, at: Timestamp) {
        if !self.send(endpoint, at, Observation::Reset) {
            self.dropped.reset.fetch_add(1, Relaxed);
        }
    }

    /// So many lines of the access log found no place, or could not be written.
    pub fn missed_lines(&self, count: u64) {
        self.dropped.access_log.fetch_add(count, Relaxed);
    }

    /// Live traffic was answered with a load report.
    pub fn load(&self, endpoint: &Endpoint, at: Timestamp, report: Arc<str>) {
        if !self.send(endpoint, at, Observation::Load(report)) {
            self.dropped.load.fetch_add(1, Relaxed);
        }
    }

    /// So many recalls were lost on the way to a worker.
    pub fn missed_recalls(&self, count: u64) {
        self.dropped.recall.fetch_add(count, Relaxed);
    }

    fn send(&self, endpoint: &Endpoint, at: Timestamp, observation: Observation) -> bool {
        self.queue.try_send(Signal { cluster: endpoint.cluster_id, endpoint: endpoint.id, at, observation }).is_ok()
    }
}

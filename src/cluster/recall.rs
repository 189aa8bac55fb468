//! Control's word to a worker that waiting for an endpoint is no longer allowed, or has gone on for too long.
//!
//! A verdict is read at the next pick; an exchange that already waits would not learn of it. So control tells each
//! worker, which wakes what waits there. The queue is bounded: a recall that is lost costs its exchanges their time-out.

use tokio::sync::broadcast;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;

/// How many recalls a worker may be behind.
const CAPACITY: usize = 1024;

/// Exchanges that wait for this endpoint's answer should go elsewhere if they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall {
    /// Where they wait.
    pub endpoint: EndpointId,
    /// Only those that were sent before this moment, for they have waited for too long; `None`: the verdict forbids to wait at all.
    pub overdue: Option<Timestamp>,
}

/// Control's end, which workers subscribe to.
pub type RecallSender = broadcast::Sender<Recall>;
/// A worker's end.
pub type RecallReceiver = broadcast::Receiver<Recall>;

impl Recall {
    /// Nobody is to wait for this endpoint.
    #[must_use]
    pub const fn all(endpoint: EndpointId) -> Self {
        Self { endpoint, overdue: None }
    }

    /// A queue from control to every worker.
    #[must_use]
    pub fn queue() -> RecallSender {
        RecallSender::new(CAPACITY)
    }
}

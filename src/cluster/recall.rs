//! Control's word to a worker that waiting for an endpoint is no longer allowed.
//!
//! A verdict is read at the next pick; an exchange that already waits would not learn of it. So control tells each
//! worker, which wakes what waits there. The queue is bounded: a recall that is lost costs its exchanges their time-out.

use tokio::sync::broadcast;

use crate::base::ids::EndpointId;

/// How many recalls a worker may be behind.
const CAPACITY: usize = 1024;

/// Exchanges that wait for this endpoint's answer should go elsewhere if they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall(pub EndpointId);

/// Control's end, which workers subscribe to.
pub type RecallSender = broadcast::Sender<Recall>;
/// A worker's end.
pub type RecallReceiver = broadcast::Receiver<Recall>;

impl Recall {
    /// A queue from control to every worker.
    #[must_use]
    pub fn queue() -> RecallSender {
        RecallSender::new(CAPACITY)
    }
}

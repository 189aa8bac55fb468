//! Where a request waits that met a limit: bounded in number by `pending`, in time by `queue_timeout`.
//!
//! Whoever frees something calls the one who waits longest, in whichever worker that is. What only this worker can use, such as
//! a connection in its pool, goes to one of its own; and where other workers hold connections that idle, they are asked to
//! close one. A call may be lost on somebody who cannot use what was freed, so everybody also looks by himself now and then.

use std::rc::Rc;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::proxy::view::ClusterView;
use crate::proxy::worker::Worker;
use crate::runtime::{clock, timer};
use crate::traffic::limits::{Limit, Limits};

/// How long somebody who waits goes without looking.
const LOOK: Duration = Duration::from_millis(100);

/// A place in the queue of a cluster; given up on drop.
#[derive(Debug)]
pub(crate) struct Waiter {
    cluster: Rc<ClusterView>,
    until: Timestamp,
    limits: Limits,
}

impl Waiter {
    /// Queues up, having met a limit; or says which limit forbids waiting.
    pub(crate) fn queue(cluster: &Rc<ClusterView>, limits: Limits, met: Limit, until: Timestamp) -> Result<Self, Limit> {
        if limits.pending == 0 {
            return Err(met);
        }
        if !cluster.cluster.gate().pending.enter(Some(limits.pending)) {
            return Err(Limit::Pending);
        }
        cluster.waiting.set(cluster.waiting.get() + 1);
        Ok(Self { cluster: Rc::clone(cluster), until, limits })
    }

    /// Waits until `look` finds what it looks for, or for as long as it may.
    pub(crate) async fn wait<T>(&self, worker: &Worker, mut look: impl FnMut() -> Option<T>) -> Result<T, Limit> {
        loop {
            let mut called = std::pin::pin!(self.cluster.cluster.gate().call().notified());
            let mut called_here = std::pin::pin!(self.cluster.freed.notified());
            // From here on no call is missed.
            called.as_mut().enable();
            called_here.as_mut().enable();
            if let Some(found) = look() {
                return Ok(found);
            }
            let left = self.until.since(clock::now());
            if left.is_zero() {
                return Err(Limit::QueueTimeout);
            }
            if self.limits.are_of_connections() {
                worker.live.hunger().notify_waiters();
            }
            tokio::select! {
                () = &mut called => {}
                () = &mut called_here => {}
                () = timer::sleep(left.min(LOOK)) => {}
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.cluster.waiting.set(self.cluster.waiting.get() - 1);
        self.cluster.cluster.gate().pending.leave();
    }
}

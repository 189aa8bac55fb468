//! Calls back requests that have waited at a slow endpoint for longer than its siblings ever take.
//!
//! A path that loses packets, or an endpoint of whose answers some take very long, is weighed down, but goes on getting a trickle to be
//! measured by, and has all that it was sent before anybody knew. These need not wait: their siblings would have answered long
//! ago. So once an endpoint is known to be much slower, whoever has waited there for max(`silence.min`, twice the siblings' p99) is called
//! back, and what may be sent again goes elsewhere within the budget of retries. It counts as an answer that took so long, or
//! else only what came soon would be seen and the endpoint would look well. An endpoint that is not known to be slow is never left for a slow answer.

use std::time::Duration;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::changes::Changes;
use crate::health::cluster::Cluster;

/// Endpoints whose requests are called back at a time: workers are told of each, and what they are told is bounded.
const MOST: usize = 64;

/// Who is slow, and what those take who are not.
#[derive(Debug, Clone, Default)]
pub(super) struct Slow {
    ids: Vec<EndpointId>,
    /// The longest p99 of the others; `None` if there are no others, or none that has answered often enough.
    others: Option<Duration>,
}

impl Cluster {
    /// Notes who is slow now.
    pub(super) fn note_slow(&mut self) {
        let slow = self.endpoints.iter().filter(|endpoint| endpoint.latency.since().is_some());
        let ids: Vec<EndpointId> = slow.map(|endpoint| endpoint.id()).take(MOST).collect();
        let others = (!ids.is_empty()).then(|| {
            let well = self.endpoints.iter().filter(|endpoint| endpoint.state.is_well() && endpoint.latency.since().is_none());
            well.map(|endpoint| endpoint.recent.p99()).filter(|(_, enough)| *enough).map(|(p99, _)| p99).max()
        });
        self.pool.slow = Slow { ids, others: others.flatten() };
    }

    /// Calls back who has waited for too long.
    pub(super) fn call_overdue(&self, now: Timestamp, changes: &mut Changes) {
        let (Some(silence), Some(p99)) = (self.policy.silence.filter(|silence| silence.enforce), self.pool.slow.others) else {
            return;
        };
        if self.is_frozen() {
            return;
        }
        let before = now - silence.min.max(p99 * 2);
        let slow = |id: &EndpointId| self.get(*id).is_some_and(|endpoint| endpoint.latency.since().is_some());
        changes.overdue.extend(self.pool.slow.ids.iter().filter(|id| slow(id)).map(|id| (*id, before)));
    }
}

//! Looks at endpoints that signals will soon be about.
//!
//! Of ten thousand endpoints nearly none is in a processor's cache. A signal that is acted on waits for each line of its endpoint in turn,
//! while reads that need nothing of each other come at once, those of many endpoints together. So what a signal will read is read
//! before, and what comes of it is of no interest.

use crate::base::time::Timestamp;
use crate::health::cluster::Cluster;
use crate::health::endpoint::Endpoint;

impl Cluster {
    /// Something from all over the endpoint at a position, for whoever will send a signal about it soon and wants it to be near by
    /// then.
    #[must_use]
    pub fn look_ahead(&self, position: usize) -> u64 {
        self.endpoints.get(position).map_or(0, Endpoint::look_ahead)
    }
}

impl Endpoint {
    /// Something from all over it.
    fn look_ahead(&self) -> u64 {
        let moments = [Some(self.since), self.wake, self.filed];
        let moments = moments.into_iter().flatten().map(Timestamp::as_nanos).fold(0, u64::wrapping_add);
        let flags = [self.refused.is_calm(), self.cause.is_open(), self.silence.is_suspect(), self.outliers.is_gone()];
        let flags: u64 = flags.map(u64::from).iter().sum();
        moments.wrapping_add(flags).wrapping_add(u64::from(self.member.id.0)).wrapping_add(self.probes.look_ahead())
    }
}

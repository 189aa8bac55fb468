//! A place among the attempts in flight: taken when an endpoint is picked, given back when its answer has been passed on.
//!
//! It is counted where everybody sees it, so that all workers spread by the same load.

use std::rc::Rc;

use crate::proxy::upstream::Upstream;
use crate::proxy::view::{ClusterView, Picked};

/// A place at an endpoint; empty again on drop.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) upstream: Rc<Upstream>,
    /// The cluster, where the sum over its endpoints counts too.
    summed: Option<Rc<ClusterView>>,
}

impl Place {
    /// Takes a place at the endpoint that was picked.
    pub(crate) fn take(cluster: &Rc<ClusterView>, picked: &Picked) -> Self {
        let summed = picked.roster.snapshot.picker.wants_total().then(|| Rc::clone(cluster));
        picked.upstream.endpoint.enter();
        if let Some(cluster) = &summed {
            cluster.cluster.enter();
        }
        Self { upstream: Rc::clone(&picked.upstream), summed }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.upstream.endpoint.leave();
        if let Some(cluster) = &self.summed {
            cluster.cluster.leave();
        }
    }
}

//! A place among the attempts in flight: taken when an endpoint is picked, given back when its answer has been passed on.
//!
//! It is counted where everybody sees it, so that all workers spread by the same load and keep to the same limits.

use std::rc::Rc;

use crate::proxy::metered::Permit;
use crate::proxy::upstream::Upstream;
use crate::proxy::view::{ClusterView, Picked};
use crate::traffic::limits::{Limit, Limits};

/// A place at an endpoint; empty again on drop.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) cluster: Rc<ClusterView>,
    pub(crate) upstream: Rc<Upstream>,
    /// Whether the sum over the cluster's endpoints counts too.
    summed: bool,
    /// Leave to open a connection, where the pool had none.
    permit: Option<Permit>,
    /// Whether somebody may wait for it. What was taken by half and given back is no news: who waits would wake himself.
    wanted: bool,
}

impl Place {
    /// Takes a place at the endpoint that was picked, or says which limit forbids it.
    pub(crate) fn take(cluster: &Rc<ClusterView>, picked: &Picked) -> Result<Self, Limit> {
        let snapshot = &picked.roster.snapshot;
        let (upstream, limits) = (&picked.upstream, snapshot.limits);
        let asked = if limits.asked { upstream.endpoint.most_requests() } else { None };
        if !upstream.endpoint.enter_below(limits.at_endpoint(asked)) {
            return Err(Limit::EndpointRequests);
        }
        let summed = snapshot.picker.wants_total();
        if summed {
            cluster.cluster.enter();
        }
        let (cluster, upstream) = (Rc::clone(cluster), Rc::clone(upstream));
        let mut place = Self { cluster, upstream, summed, permit: None, wanted: false };
        if limits.are_of_connections() && !place.upstream.may_have_room() {
            place.permit = Some(Permit::take(&place.cluster, &place.upstream, &limits)?);
        }
        place.wanted = limits.are_of_endpoints();
        Ok(place)
    }

    /// Leave to open a connection after all: what was idle turned out to be closed, or too old for this request.
    pub(crate) fn permit(&mut self, limits: &Limits) -> Result<Permit, Limit> {
        if let Some(permit) = self.permit.take() {
            return Ok(permit);
        }
        let take = || Permit::take(&self.cluster, &self.upstream, limits);
        take().or_else(|limit| if self.upstream.close_idle() { take() } else { Err(limit) })
    }

    /// The pool had a connection.
    pub(crate) fn needs_no_permit(&mut self) {
        self.permit = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.upstream.endpoint.leave();
        if self.summed {
            self.cluster.cluster.leave();
        }
        if self.wanted {
            self.cluster.cluster.gate().freed();
        }
    }
}

/// A place among the requests of a cluster, where these are limited; given back on drop.
#[derive(Debug)]
pub(crate) struct Ticket(Rc<ClusterView>);

impl Ticket {
    /// A ticket, unless there are as many as `limit` allows.
    pub(crate) fn take(cluster: &Rc<ClusterView>, limit: u32) -> Result<Self, Limit> {
        if cluster.cluster.gate().requests.enter(Some(limit)) { Ok(Self(Rc::clone(cluster))) } else { Err(Limit::Requests) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let gate = self.0.cluster.gate();
        gate.requests.leave();
        gate.freed();
    }
}

//! The account of one exchange: opened with its head, settled once, whatever becomes of it.
//!
//! It is settled on drop at the latest, so an exchange that the client walks away from is counted too, as 499.

use std::rc::Rc;

use crate::base::time::Timestamp;
use crate::cluster::{Cluster, ListenerError, RetryResult, RouteCells, Token};
use crate::proxy::context::Context;
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::runtime::clock;

/// The status that a client which left first is counted under.
const CLIENT_LEFT: u16 = 499;

/// One exchange's account.
#[derive(Debug)]
pub(crate) struct Ledger {
    worker: Rc<Worker>,
    context: Rc<Context>,
    view: Rc<View>,
    /// The route and its target.
    route: Option<(usize, usize)>,
    started: Timestamp,
    status: u16,
    ended: Option<Timestamp>,
}

impl Ledger {
    pub(crate) const fn open(worker: Rc<Worker>, context: Rc<Context>, view: Rc<View>, started: Timestamp) -> Self {
        Self { worker, context, view, route: None, started, status: CLIENT_LEFT, ended: None }
    }

    /// The route and its target have been found.
    pub(crate) fn routed(&mut self, route: usize, target: usize) {
        self.route = Some((route, target));
    }

    pub(crate) fn context(&self) -> &Rc<Context> {
        &self.context
    }

    /// The status that goes to the client, and the failure if the answer is ours.
    pub(crate) fn answered(&mut self, status: u16, token: Option<Token>) {
        self.status = status;
        if let (Some(token), Some(cells)) = (token, self.route_cells()) {
            cells.local[token as usize].inc();
        }
    }

    /// A retry has ended, or was not allowed.
    pub(crate) fn retried(&self, result: RetryResult) {
        if let Some(cluster) = self.cluster() {
            cluster.cells(self.worker.index).retries[result as usize].inc();
        }
    }

    /// The last byte has been handed over.
    pub(crate) fn complete(&mut self, now: Timestamp) {
        self.settle(self.status, None, now);
    }

    /// The endpoint broke off in the middle, or stood still.
    pub(crate) fn broken(&mut self, reason: ListenerError) {
        self.settle(self.status, Some(reason), clock::now());
    }

    fn settle(&mut self, status: u16, reason: Option<ListenerError>, now: Timestamp) {
        if self.ended.replace(now).is_some() {
            return;
        }
        if let Some(cells) = self.route_cells() {
            cells.statuses.inc(status);
        }
        if let Some(cluster) = self.cluster() {
            cluster.cells(self.worker.index).durations.observe(now.since(self.started));
        }
        if let (Some(reason), Some(listener)) = (reason, self.view.listener(self.context.socket)) {
            listener.cells[self.worker.index].error(reason);
        }
    }

    fn route_cells(&self) -> Option<&RouteCells> {
        let listener = self.view.listener(self.context.socket)?;
        Some(match self.route {
            Some((route, target)) => &listener.routes[route].targets()[target].cells[self.worker.index],
            None => &listener.cells[self.worker.index].unrouted,
        })
    }

    fn cluster(&self) -> Option<&Cluster> {
        let listener = self.view.listener(self.context.socket)?;
        let (route, target) = self.route?;
        let position = listener.routes[route].targets()[target].cluster?;
        Some(&self.view.cluster(position).cluster)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let now = self.ended.unwrap_or_else(clock::now);
        let left = self.ended.is_none().then(|| now.since(self.started));
        if left.is_some() {
            self.settle(CLIENT_LEFT, Some(ListenerError::ClientGone), now);
        }
        self.context.activity.rest(now, left);
    }
}

//! The account of one exchange: opened with its head, settled once, whatever becomes of it.
//!
//! It is settled on drop at the latest, so an exchange that the client walks away from is counted too, as 499.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;

use crate::base::time::Timestamp;
use crate::cluster::{Cluster, Endpoint, ListenerError, RetryResult, RouteCells, Token};
use crate::proxy::access::Record;
use crate::proxy::context::Context;
use crate::proxy::door::Sight;
use crate::proxy::duty::Work;
use crate::proxy::place::Ticket;
use crate::proxy::worker::Worker;
use crate::runtime::clock;
use crate::traffic::added::Added;
use crate::traffic::limits::Limit;

/// The status that a client which left first is counted under.
const CLIENT_LEFT: u16 = 499;

/// One exchange's account.
#[derive(Debug)]
pub(crate) struct Ledger {
    worker: Rc<Worker>,
    context: Rc<Context>,
    sight: Sight,
    /// The route and its target.
    route: Option<(usize, usize)>,
    started: Timestamp,
    status: u16,
    ended: Option<Timestamp>,
    /// What the access log will say, if there is one.
    record: Option<Box<Record>>,
    ticket: Option<Ticket>,
    _work: Work,
}

impl Ledger {
    pub(crate) fn open(worker: Rc<Worker>, context: Rc<Context>, sight: Sight, started: Timestamp) -> Self {
        let (_work, status) = (worker.duty.begin(started), CLIENT_LEFT);
        Self { worker, context, sight, route: None, started, status, ended: None, record: None, ticket: None, _work }
    }

    /// Notes what was asked for, where there is an access log.
    pub(crate) fn asked(&mut self, request: &Parts) {
        if self.worker.sheet.is_wanted() {
            let name = &self.sight.listener().config.name;
            self.record = Some(Record::begin(request, self.context.client.address.clone(), name, clock::wall()));
        }
    }

    /// The request goes on with these headers, and with what is added to them.
    pub(crate) fn sent(&mut self, headers: &HeaderMap, added: Option<&Added>) {
        if let Some(record) = &mut self.record {
            record.sent(headers, added);
        }
    }

    /// So many endpoints were tried, and this one's answer is passed on.
    pub(crate) fn tried(&mut self, attempts: usize, endpoint: Option<&Endpoint>) {
        if let Some(record) = &mut self.record {
            record.attempts = attempts;
            record.endpoint = endpoint.map(|endpoint| endpoint.address.text());
        }
    }

    /// So many bytes of the answer's body are on their way.
    pub(crate) fn passed(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.bytes += bytes as u64;
        }
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
        if let Some(record) = &mut self.record {
            record.error = token.map(Token::as_str);
        }
        if let Some(token) = token {
            self.route_cells().local[token as usize].inc();
        }
    }

    /// Holds on to a place among the requests of the cluster until the exchange has ended.
    pub(crate) fn hold(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }

    /// Whether it holds such a place.
    pub(crate) const fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }

    /// A limit turned the request away.
    pub(crate) fn rejected(&self, limit: Limit) {
        if let Some(cluster) = self.cluster() {
            cluster.cells(self.worker.index).rejected[limit as usize].inc();
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

    /// Tells the access log.
    fn tell(&mut self, status: u16, now: Timestamp) {
        let Some(mut record) = self.record.take() else { return };
        if let Some((route, target)) = self.route {
            let route = &self.sight.listener().routes[route];
            record.route = Some(Arc::clone(&route.policy.name));
            record.cluster = Some(Arc::clone(&route.targets()[target].name)).filter(|name| !name.is_empty());
        }
        record.status = status;
        record.duration = now.since(self.started);
        self.worker.sheet.write(&record);
    }

    fn settle(&mut self, status: u16, reason: Option<ListenerError>, now: Timestamp) {
        if self.ended.replace(now).is_some() {
            return;
        }
        self.ticket = None;
        self.tell(status, now);
        self.route_cells().statuses.inc(status);
        if let Some(cluster) = self.cluster() {
            cluster.cells(self.worker.index).durations.observe(now.since(self.started));
        }
        if let Some(reason) = reason {
            self.sight.listener().cells[self.worker.index].error(reason);
        }
    }

    fn route_cells(&self) -> &RouteCells {
        let listener = self.sight.listener();
        match self.route {
            Some((route, target)) => &listener.routes[route].targets()[target].cells[self.worker.index],
            None => &listener.cells[self.worker.index].unrouted,
        }
    }

    fn cluster(&self) -> Option<&Cluster> {
        let (route, target) = self.route?;
        let position = self.sight.listener().routes[route].targets()[target].cluster?;
        Some(&self.sight.view.cluster(position).cluster)
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

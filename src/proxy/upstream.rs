//! One worker's side of one endpoint: its pool, and the exchanges that wait there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::balance::Standing;
use crate::base::time::Timestamp;
use crate::cluster::{Endpoint, EndpointCells, Reporter};
use crate::proxy::pool::Pool;

/// Within this span, one signal of a kind says it all.
const SIGNAL_TICK: Duration = Duration::from_millis(1);

/// An endpoint as one worker uses it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) pool: Pool,
    /// How it has answered this worker lately.
    pub(crate) standing: Cell<Standing>,
    worker: usize,
    waiting: RefCell<Slab<Rc<Call>>>,
    refused: Cell<Timestamp>,
    reset: Cell<Timestamp>,
}

/// Where an exchange that waits can be called.
#[derive(Debug, Default)]
struct Call {
    recalled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// An exchange's seat among those that wait; empty again on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    upstream: Rc<Upstream>,
    key: usize,
    call: Rc<Call>,
}

impl Upstream {
    pub(crate) fn new(endpoint: Arc<Endpoint>, worker: usize) -> Self {
        Self {
            endpoint,
            pool: Pool::default(),
            standing: Cell::default(),
            worker,
            waiting: RefCell::default(),
            refused: Cell::new(Timestamp::ZERO),
            reset: Cell::new(Timestamp::ZERO),
        }
    }

    /// This worker's cells for the endpoint.
    pub(crate) fn cells(&self) -> &EndpointCells {
        self.endpoint.cells(self.worker)
    }

    /// Takes a seat for an exchange that is about to wait. There are never more of them than client connections.
    pub(crate) fn sit(self: &Rc<Self>) -> Seat {
        let call = Rc::new(Call::default());
        let key = self.waiting.borrow_mut().insert(Rc::clone(&call));
        Seat { upstream: Rc::clone(self), key, call }
    }

    /// Calls everybody who waits.
    pub(crate) fn recall(&self) {
        for (_, call) in self.waiting.borrow().iter() {
            call.recalled.set(true);
            if let Some(waker) = call.waker.take() {
                waker.wake();
            }
        }
    }

    /// Reports a refused connection, once a tick.
    pub(crate) fn report_refused(&self, reporter: &Reporter, now: Timestamp) {
        if due(&self.refused, now) {
            reporter.refused(&self.endpoint, now);
        }
    }

    /// Reports a connection that broke before its answer, once a tick.
    pub(crate) fn report_reset(&self, reporter: &Reporter, now: Timestamp) {
        if due(&self.reset, now) {
            reporter.reset(&self.endpoint, now);
        }
    }

    /// Whether the pool holds anything.
    pub(crate) fn has_idle(&self) -> bool {
        !self.pool.is_empty()
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.pool.sweep(now, self.cells());
    }
}

fn due(last: &Cell<Timestamp>, now: Timestamp) -> bool {
    let due = now.since(last.get()) >= SIGNAL_TICK;
    if due {
        last.set(now);
    }
    due
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.pool.clear(self.endpoint.cells(self.worker));
    }
}

impl Seat {
    /// Ready once the exchange has been called.
    pub(crate) fn poll_recalled(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.call.recalled.get() {
            return Poll::Ready(());
        }
        let mut waker = self.call.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Stays in spite of the call: the exchange may not be sent again.
    pub(crate) fn stay(&self) {
        self.call.recalled.set(false);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.upstream.waiting.borrow_mut().try_remove(self.key));
    }
}

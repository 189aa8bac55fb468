//! One worker's side of one endpoint: its connections, and the exchanges that wait there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use slab::Slab;

use crate::balance::Standing;
use crate::base::time::Timestamp;
use crate::cluster::{Endpoint, EndpointCells, Live, Reporter, Upstream as Settings};
use crate::proxy::duty::Duty;
use crate::proxy::failure::Failure;
use crate::proxy::lines::Lines;
use crate::proxy::opening::Dialling;
use crate::proxy::outstanding::Outstanding;
use crate::proxy::pool::Pool;
use crate::proxy::source::Source;
use crate::runtime::{clock, task};
use crate::tls::Towards;

/// Within this span, one signal of a kind says it all.
const SIGNAL_TICK: Duration = Duration::from_millis(1);
/// Load reports come with every answer; more often than this they say nothing new.
const LOAD_TICK: Duration = Duration::from_millis(100);
/// Longest load report that is passed on, in bytes.
const MAX_LOAD: usize = 8 * 1024;

/// An endpoint as one worker uses it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) pool: Pool,
    /// How it has answered this worker lately.
    pub(crate) standing: Cell<Standing>,
    pub(crate) lines: Lines,
    /// The connection that is being made for several exchanges, if one is.
    pub(crate) dialling: RefCell<Option<Rc<Dialling>>>,
    terms: RefCell<Terms>,
    http2: Cell<bool>,
    worker: usize,
    live: Arc<Live>,
    waiting: RefCell<Slab<Call>>,
    /// Requests that are sent whole and wait.
    outstanding: RefCell<Outstanding>,
    /// How many of those that sit are still sending their body.
    sending: Cell<usize>,
    duty: Rc<Duty>,
    refused: Cell<Timestamp>,
    reset: Cell<Timestamp>,
    load: Cell<Timestamp>,
}

/// How connections are made now. Those that were made otherwise are not used any more.
#[derive(Debug, Default)]
struct Terms {
    settings: Option<Settings>,
    tls: Option<Arc<Towards>>,
}

/// Where an exchange that waits can be called.
#[derive(Debug)]
struct Call {
    since: Timestamp,
    /// Whether it has been called, and then whether that is because it has waited for too long.
    recalled: Option<bool>,
    waker: Option<Waker>,
    place: Place,
}

/// Where an exchange stands in the line of those that the endpoint owes an answer.
#[derive(Debug)]
enum Place {
    /// Its body is still on its way, so nobody owes it anything.
    Sending(Rc<Source>),
    /// The number of its place.
    Line(u64),
    /// It has left.
    Gone,
}

/// An exchange's seat among those that wait; empty again on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    upstream: Rc<Upstream>,
    key: usize,
}

impl Upstream {
    pub(crate) fn new(endpoint: Arc<Endpoint>, worker: usize, live: Arc<Live>, duty: Rc<Duty>) -> Self {
        Self {
            endpoint,
            pool: Pool::default(),
            standing: Cell::default(),
            lines: Lines::default(),
            dialling: RefCell::default(),
            terms: RefCell::default(),
            http2: Cell::new(false),
            worker,
            live,
            waiting: RefCell::default(),
            outstanding: RefCell::default(),
            sending: Cell::new(0),
            duty,
            refused: Cell::new(Timestamp::ZERO),
            reset: Cell::new(Timestamp::ZERO),
            load: Cell::new(Timestamp::ZERO),
        }
    }

    /// This worker's cells for the endpoint, to count something in them.
    pub(crate) fn cells(&self) -> &EndpointCells {
        self.live.touched.mark(self.endpoint.id);
        self.endpoint.cells(self.worker)
    }

    /// Whether what was sent at `sent` is not judged by how long it took: this worker stood still meanwhile, or was catching up.
    fn excuses(&self, sent: Timestamp, now: Timestamp) -> bool {
        sent < self.live.pulses[self.worker].excused_until(now)
    }

    /// Counts an answer to a request that was sent at `sent`.
    pub(crate) fn answered(&self, status: u16, sent: Timestamp, now: Timestamp) {
        let cells = self.cells();
        if self.excuses(sent, now) { cells.answered_excused(status, sent, now) } else { cells.answered(status, sent, now) }
    }

    /// Counts an attempt that began at `begun` and ended without an answer, the request having been sent or not.
    pub(crate) fn failed(self: &Rc<Self>, failure: &Failure, sent: bool, begun: Timestamp, now: Timestamp) {
        let cells = self.cells();
        let excused = match failure {
            Failure::Recalled => true,
            Failure::Overdue => {
                cells.overdue(now.since(begun));
                if !sent && !self.excuses(begun, now) {
                    self.fail_to_connect(begun);
                }
                true
            }
            _ => failure.may_be_a_delay() && self.excuses(begun, now),
        };
        if excused { cells.failed_excused() } else { cells.failed() }
    }

    /// One that began at `begun` was called back without even a connection. It counts as failed when that would have been given up:
    /// at once, all that wait would fail in a row, with no time for an answer between.
    fn fail_to_connect(self: &Rc<Self>, begun: Timestamp) {
        let Some(limit) = self.terms.borrow().settings.map(|settings| settings.connect_timeout) else { return };
        let upstream = Rc::clone(self);
        let work = self.duty.begin(clock::now());
        drop(task::spawn(async move {
            tokio::time::sleep_until(clock::instant(begun + limit)).await;
            upstream.cells().blame();
            drop(work);
        }));
    }

    /// Takes on how connections are made from now on.
    pub(crate) fn adopt(&self, settings: Settings, tls: Option<&Arc<Towards>>) {
        let mut terms = self.terms.borrow_mut();
        let same_tls = match (&terms.tls, tls) {
            (None, None) => true,
            (Some(known), Some(tls)) => Arc::ptr_eq(known, tls),
            _ => false,
        };
        if same_tls && terms.settings == Some(settings) {
            return;
        }
        let words = |settings: Settings| (settings.protocol, settings.proxy_protocol);
        let same_words = terms.settings.is_none_or(|known| words(known) == words(settings));
        if !same_words || (!same_tls && terms.settings.is_some() && terms.tls.as_deref() != tls.map(|tls| &**tls)) {
            self.pool.clear(self.cells());
            self.lines.clear(self.cells());
            self.http2.set(false);
        }
        *terms = Terms { settings: Some(settings), tls: tls.cloned() };
    }

    /// Whether the endpoint chose HTTP/2 when it was last asked.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.http2.get()
    }

    /// What the endpoint has chosen.
    pub(crate) fn set_speaks_http2(&self, http2: bool) {
        self.http2.set(http2);
    }

    /// Takes a seat for an exchange that is about to wait. There are never more of them than client connections.
    pub(crate) fn sit(self: &Rc<Self>, source: Option<&Rc<Source>>, now: Timestamp) -> Seat {
        let place = match source.filter(|source| !source.ended()) {
            Some(source) => {
                self.sending.set(self.sending.get() + 1);
                self.duty.sending.set(self.duty.sending.get() + 1);
                Place::Sending(Rc::clone(source))
            }
            None => Place::Line(self.line_up(now)),
        };
        let key = self.waiting.borrow_mut().insert(Call { since: now, recalled: None, waker: None, place });
        Seat { upstream: Rc::clone(self), key }
    }

    fn line_up(&self, now: Timestamp) -> u64 {
        let number = self.outstanding.borrow_mut().enter(now);
        self.tell_oldest();
        number
    }

    fn tell_oldest(&self) {
        let oldest = self.outstanding.borrow().oldest().unwrap_or(Timestamp::ZERO);
        self.cells().oldest_unanswered.set(oldest.as_nanos());
    }

    /// Has those join the line whose bodies have been sent meanwhile.
    pub(crate) fn look_at_bodies(&self) {
        if self.sending.get() == 0 {
            return;
        }
        for (_, call) in self.waiting.borrow_mut().iter_mut() {
            let sent = match &call.place {
                Place::Sending(source) if source.ended() => source.progress(),
                _ => continue,
            };
            call.place = Place::Line(self.line_up(sent));
            self.has_sent();
        }
    }

    /// One of those that sit is done with its body.
    fn has_sent(&self) {
        self.sending.set(self.sending.get() - 1);
        self.duty.sending.set(self.duty.sending.get() - 1);
    }

    /// Calls everybody who waits, or those who were sent before a moment and so have waited for too long.
    pub(crate) fn recall(&self, overdue: Option<Timestamp>) {
        for (_, call) in self.waiting.borrow_mut().iter_mut() {
            if overdue.is_some_and(|before| call.since >= before) {
                continue;
            }
            call.recalled = Some(overdue.is_some() && call.recalled != Some(false));
            if let Some(waker) = call.waker.take() {
                waker.wake();
            }
        }
    }

    /// Reports a refused connection, once a tick.
    pub(crate) fn report_refused(&self, reporter: &Reporter, now: Timestamp) {
        if due(&self.refused, SIGNAL_TICK, now) {
            reporter.refused(&self.endpoint, now);
        }
    }

    /// Reports a connection that broke before its answer, once a tick.
    pub(crate) fn report_reset(&self, reporter: &Reporter, now: Timestamp) {
        if due(&self.reset, SIGNAL_TICK, now) {
            reporter.reset(&self.endpoint, now);
        }
    }

    /// Passes on the load report of an answer, once in a while.
    pub(crate) fn report_load(&self, reporter: &Reporter, report: &HeaderValue, now: Timestamp) {
        if due(&self.load, LOAD_TICK, now)
            && let Some(text) = report.to_str().ok().filter(|text| text.len() <= MAX_LOAD)
        {
            reporter.load(&self.endpoint, now, text.into());
        }
    }

    /// Whether an exchange may find a connection here without making one: one that idles or is shared, or is being made.
    pub(crate) fn may_have_room(&self) -> bool {
        !self.pool.is_empty() || self.lines.have_room() || self.dialling.borrow().is_some()
    }

    /// Whether the pool holds anything.
    pub(crate) fn has_idle(&self) -> bool {
        !self.pool.is_empty() || !self.lines.is_empty()
    }

    /// Closes the connection that has been idle the longest. Whether there was one.
    pub(crate) fn close_idle(&self) -> bool {
        self.pool.close_one(self.cells()) || self.lines.close_idle(self.cells())
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.pool.sweep(now, self.cells());
        if let Some(settings) = self.terms.borrow().settings {
            self.lines.sweep(now, settings, self.cells());
        }
    }
}

fn due(last: &Cell<Timestamp>, tick: Duration, now: Timestamp) -> bool {
    let due = now.since(last.get()) >= tick;
    if due {
        last.set(now);
    }
    due
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.pool.clear(self.endpoint.cells(self.worker));
        self.lines.clear(self.endpoint.cells(self.worker));
    }
}

impl Seat {
    /// Ready once the exchange has been called, with whether that is because it has waited for too long.
    pub(crate) fn poll_recalled(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut waiting = self.upstream.waiting.borrow_mut();
        let call = &mut waiting[self.key];
        if let Some(overdue) = call.recalled {
            return Poll::Ready(overdue);
        }
        let stale = match &call.waker {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => call.waker.replace(cx.waker().clone()),
        };
        drop(waiting);
        drop(stale);
        Poll::Pending
    }

    /// Stays in spite of the call: the exchange may not be sent again.
    pub(crate) fn stay(&self) {
        self.upstream.waiting.borrow_mut()[self.key].recalled = None;
    }

    /// The endpoint has begun to answer.
    pub(crate) fn answered(&self) {
        self.leave(Outstanding::answer);
    }

    fn leave(&self, how: impl FnOnce(&mut Outstanding, u64)) {
        let upstream = &self.upstream;
        let place = std::mem::replace(&mut upstream.waiting.borrow_mut()[self.key].place, Place::Gone);
        match place {
            Place::Line(number) => {
                how(&mut upstream.outstanding.borrow_mut(), number);
                upstream.tell_oldest();
            }
            Place::Sending(_) => upstream.has_sent(),
            Place::Gone => {}
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave(Outstanding::leave);
        // Its waker may hold the last of a task, which must not end within the borrow.
        let call = self.upstream.waiting.borrow_mut().try_remove(self.key);
        drop(call);
    }
}

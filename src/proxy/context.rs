//! What is known of a client's connection, and what it is doing: its limits, its idle times, its deadlines.
//!
//! hyper's own header timer also runs while a connection is idle, so both times are kept here: `head_timeout` from the
//! first byte of a head (or from accept) to its end, `keepalive_timeout` between exchanges. Over HTTP/2 every exchange has
//! a context of its own, since they run side by side, and tells the connection when it begins and ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::Version;

use crate::base::time::Timestamp;
use crate::config::model::ListenerLimits;
use crate::net::conduit::Conduit;
use crate::proxy::door::Door;
use crate::proxy::downstream::Downstream;
use crate::proxy::parked;
use crate::proxy::streams::Streams;
use crate::proxy::tunnel::Tunnel;
use crate::runtime::clock;
use crate::runtime::timer::Deadline;
use crate::traffic::added::Client;

/// How long an exchange with which its connection ends may take before anybody listens for its client: longer than most take, and
/// short beside what work for a client that has left costs.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is constant for a connection, made once, and what its exchange is doing.
#[derive(Debug)]
pub(crate) struct Context {
    /// What it came in by.
    pub(crate) door: Rc<Door>,
    /// Who it is from.
    pub(crate) client: Rc<Client>,
    /// The connection as endpoints are told of it.
    pub(crate) downstream: Rc<Downstream>,
    /// The exchange's deadline; exchanges with one context come one after another.
    pub(crate) deadline: Deadline,
    /// What is going on.
    pub(crate) activity: Activity,
    /// The listener's bounds.
    pub(crate) limits: Rc<ListenerLimits>,
    /// The way for long bodies, if they may go to the client as they come.
    conduit: Option<Conduit>,
}

/// What a connection, or one stream of it, is doing, and until when it may.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Cell<State>,
    /// Until when it may go on doing nothing.
    pub(crate) deadline: Deadline,
    head_timeout: Duration,
    keepalive_timeout: Duration,
    /// `idle_timeout` of the exchange that is going on.
    pub(crate) body_limit: Cell<Option<Duration>>,
    unread: Cell<bool>,
    /// Whether the client speaks HTTP/1.0.
    old: Cell<bool>,
    cut_short: Cell<bool>,
    /// Whether the connection ends with the exchange that is going on.
    last: Cell<bool>,
    /// Whether the client has said all, and it need not be noticed yet if it leaves.
    patient: Cell<bool>,
    /// Until when it may idle, and whether the client has yet to take what was written.
    idle_until: Cell<Timestamp>,
    choked: Cell<bool>,
    /// Whether a piece of an answer has been handed over and no other has been asked for since.
    handed: Cell<bool>,
    /// What takes over when HTTP has ended on the connection.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// The connection, if this is one stream of it.
    streams: Option<Rc<Streams>>,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing has come since the last exchange.
    Idle,
    /// Something has come; whether it is a whole head is about to be seen.
    Begun,
    /// A head is on its way.
    Head,
    /// An exchange is going on.
    Busy,
}

/// How an idle connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idling {
    /// Not at all: its time is over.
    Overdue,
    /// As it is.
    Attended,
    /// With nothing but its socket.
    Parked,
    /// Its exchange takes longer than most, and its client may leave.
    Watched,
}

impl Context {
    /// The context of a connection on which a head is waited for.
    pub(crate) fn new(door: Rc<Door>, client: Client, downstream: Rc<Downstream>, limits: &ListenerLimits) -> Rc<Self> {
        let conduit = (!client.secure).then(Conduit::default);
        let context = Self { conduit, ..Self::with(door, Rc::new(client), downstream, Rc::new(limits.clone()), None) };
        context.activity.deadline.set(clock::now() + limits.head_timeout);
        Rc::new(context)
    }

    /// The context of one exchange among several on the same connection.
    pub(crate) fn stream(&self, streams: &Rc<Streams>) -> Rc<Self> {
        let (door, client) = (Rc::clone(&self.door), Rc::clone(&self.client));
        let (downstream, limits) = (Rc::clone(&self.downstream), Rc::clone(&self.limits));
        Rc::new(Self::with(door, client, downstream, limits, Some(Rc::clone(streams))))
    }

    /// The way for long bodies, if they may go to the client as they come.
    pub(crate) const fn conduit(&self) -> Option<&Conduit> {
        self.conduit.as_ref()
    }

    /// A piece of an answer has been handed over. Over HTTP/2 nobody else notices if the client does not take it in time.
    pub(crate) fn handed(&self, limit: Option<Duration>, now: Timestamp) {
        if self.activity.streams.is_some() {
            self.activity.handed.set(limit.is_some());
            self.deadline.set(limit.map_or(Timestamp::NEVER, |limit| now + limit));
        }
    }

    fn with(
        door: Rc<Door>,
        client: Rc<Client>,
        downstream: Rc<Downstream>,
        limits: Rc<ListenerLimits>,
        streams: Option<Rc<Streams>>,
    ) -> Self {
        let activity = Activity {
            state: Cell::new(State::Head),
            deadline: Deadline::unset(),
            head_timeout: limits.head_timeout,
            keepalive_timeout: limits.keepalive_timeout,
            body_limit: Cell::new(None),
            unread: Cell::new(false),
            old: Cell::new(false),
            cut_short: Cell::new(false),
            last: Cell::new(false),
            patient: Cell::new(false),
            idle_until: Cell::new(Timestamp::ZERO),
            choked: Cell::new(false),
            handed: Cell::new(false),
            tunnel: RefCell::new(None),
            streams,
        };
        Self { door, client, downstream, deadline: Deadline::unset(), activity, limits, conduit: None }
    }
}

impl Activity {
    /// When the answer that is being given has gone out, the connection is this tunnel's.
    pub(crate) fn leave_http(&self, tunnel: Tunnel) {
        self.tunnel.replace(Some(Box::new(tunnel)));
    }

    /// Whether HTTP has ended.
    pub(crate) fn has_left_http(&self) -> bool {
        self.tunnel.borrow().is_some()
    }

    /// What takes over.
    pub(crate) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// What is going on.
    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    /// An exchange begins.
    pub(crate) fn busy(&self, now: Timestamp) {
        self.state.set(State::Busy);
        self.deadline.set(if self.patient.get() { now + PATIENCE } else { Timestamp::NEVER });
        if let Some(streams) = &self.streams {
            streams.begin();
        }
    }

    /// An exchange has ended; whether its client left before it did, and how long it took.
    pub(crate) fn rest(&self, now: Timestamp, left: Option<Duration>) {
        self.state.set(State::Idle);
        match &self.streams {
            Some(streams) => streams.end(now, left),
            None => {
                self.idle_until.set(now + self.keepalive_timeout);
                self.deadline.set(now + self.keepalive_timeout.min(parked::AFTER));
            }
        }
    }

    /// It has idled for a while. Whether it may go on, parked if all that was said has been taken and read.
    pub(crate) fn go_on_idling(&self) -> Idling {
        if self.state.get() == State::Busy && self.lose_patience() {
            return Idling::Watched;
        }
        let until = self.idle_until.get();
        if self.state.get() != State::Idle || until <= self.deadline.get() {
            return Idling::Overdue;
        }
        self.deadline.set(until);
        if self.choked.get() || self.unread.get() { Idling::Attended } else { Idling::Parked }
    }

    /// Whether the client may still be sending a body that nobody reads.
    pub(crate) fn leave_unread(&self, unread: bool) {
        self.unread.set(unread);
    }

    /// Whether a body was left unread.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// The exchange is in this version.
    pub(crate) fn serve_version(&self, version: Version) {
        self.old.set(version == Version::HTTP_10);
    }

    /// The connection ends with the exchange that is going on.
    pub(crate) fn make_last(&self) {
        self.last.set(true);
    }

    /// The client has said all: for a while it need not be noticed if it leaves.
    pub(crate) fn have_patience(&self) {
        self.patient.set(self.streams.is_none());
    }

    /// Whether the client has said all, and it need not be noticed yet if it leaves.
    pub(crate) fn is_patient(&self) -> bool {
        self.patient.get()
    }

    /// From here on it is noticed if the client leaves. Returns whether that is new.
    pub(crate) fn lose_patience(&self) -> bool {
        let new = self.patient.take();
        if new && self.state.get() == State::Busy {
            self.deadline.set(Timestamp::NEVER);
        }
        new
    }

    /// Whether the last exchange of the connection has ended, and what has been handed over is only to be written.
    pub(crate) fn says_its_last(&self) -> bool {
        self.last.get() && self.state.get() == State::Idle && !self.unread.get() && !self.has_left_http()
    }

    /// An answer has ended before its end. To a client of HTTP/1.0, which knows no chunks, the end of the connection would
    /// look like the end of the answer.
    pub(crate) fn break_off(&self) {
        self.cut_short.set(self.old.get());
    }

    /// Whether the client can tell the end of the connection from that of an answer only by a reset.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short.get()
    }

    /// The next piece of an answer is asked for.
    pub(crate) fn asked(&self) {
        self.handed.set(false);
    }

    /// A piece of an answer goes out.
    pub(crate) fn give(&self) {
        if let Some(streams) = &self.streams {
            streams.give();
        }
    }

    /// Whether what was handed over last is still waiting for the client to take it.
    pub(crate) fn is_handed(&self) -> bool {
        self.handed.get()
    }

    /// Bytes have come.
    pub(crate) fn read(&self) {
        if self.state.get() == State::Idle {
            self.state.set(State::Begun);
        }
    }

    /// What has come was no whole head: the rest of it must come in time.
    pub(crate) fn wait_for_head(&self) {
        if self.state.get() == State::Begun {
            self.state.set(State::Head);
            self.deadline.set(clock::now() + self.head_timeout);
        }
    }

    /// The client takes nothing; only for so long.
    pub(crate) fn stuck(&self) {
        self.choked.set(true);
        if let (State::Busy, Some(limit)) = (self.state.get(), self.body_limit.get())
            && self.deadline.get() == Timestamp::NEVER
        {
            self.deadline.set(clock::now() + limit);
        }
    }

    /// The client took something.
    pub(crate) fn wrote(&self) {
        self.choked.set(false);
        if self.state.get() == State::Busy {
            self.deadline.set(Timestamp::NEVER);
        }
    }
}

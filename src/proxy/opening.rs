//! How a connection to an endpoint is made, and which one an exchange gets.
//!
//! Over HTTP/1.1 every exchange that finds none makes its own. Over HTTP/2 the first one makes it for all that come meanwhile,
//! in a task of its own, for it must not end with whoever began it. One that names a client is never shared, so HTTP/1.1 is
//! spoken on it.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::time::Timestamp;
use crate::cluster::{Connect, Snapshot, Upstream as Settings};
use crate::config::model::Protocol;
use crate::net::beginning::Beginning;
use crate::net::dial::{self, DialError};
use crate::net::proxy_header::Speaker;
use crate::net::secure::speaks_http2;
use crate::proxy::downstream::Downstream;
use crate::proxy::failure::Failure;
use crate::proxy::lines::Line;
use crate::proxy::metered::{Metered, Permit};
use crate::proxy::place::Place;
use crate::proxy::pool::Connection;
use crate::proxy::upstream::Upstream;
use crate::runtime::{clock, task, timer};
use crate::tls::Towards;
use crate::traffic::limits::Limit;

/// How many connections may be made for one exchange that nobody can use. An endpoint that makes no better ones is at fault.
const ROUNDS: usize = 3;

/// Who waits for so long for a new connection takes one that has become free meanwhile, and looks again as often.
const RACE: Duration = Duration::from_millis(20);

/// A connection for one exchange.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Its own.
    Http1(Connection),
    /// Shared with others.
    Http2(Rc<Line>),
}

/// What has been made for several: a connection to share, or one for whoever is first.
type Made = Option<Rc<Line>>;

/// A connection that is being made for several.
#[derive(Debug)]
pub(crate) struct Dialling {
    outcome: RefCell<Option<Result<Made, DialError>>>,
    ended: Notify,
    task: RefCell<Option<task::Owned>>,
}

/// What an exchange that begins `now` wants of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// Whose the connection is, if connections name clients.
    pub(crate) owner: Option<&'a Rc<Downstream>>,
    /// Whether the request may be sent again, so that a connection will do that the endpoint may just be closing.
    pub(crate) repeatable: bool,
    pub(crate) now: Timestamp,
}

impl Wanted<'_> {
    /// Whether it is a connection of its own, as far as is known.
    fn is_for_one(&self, upstream: &Upstream) -> bool {
        let protocol = self.snapshot.upstream.protocol;
        self.owner.is_some() || protocol == Protocol::Http1 || (protocol == Protocol::Auto && !upstream.speaks_http2())
    }
}

/// A connection that is there.
pub(crate) fn take(place: &mut Place, wanted: Wanted<'_>) -> Option<Opened> {
    let upstream = &place.upstream;
    upstream.adopt(wanted.snapshot.upstream, wanted.snapshot.tls.as_ref());
    let shared = || (wanted.owner.is_none()).then(|| upstream.lines.take()).flatten().map(Opened::Http2);
    let own = || upstream.pool.take(wanted.owner, wanted.repeatable, wanted.now, upstream.cells()).map(Opened::Http1);
    let taken = match wanted.snapshot.upstream.protocol {
        Protocol::Http1 => own(),
        _ => shared().or_else(|| if wanted.is_for_one(upstream) { own() } else { None }),
    };
    if taken.is_some() {
        place.needs_no_permit();
    }
    taken
}

/// A connection that is there, or a new one.
pub(crate) async fn get(place: &mut Place, wanted: Wanted<'_>) -> Result<Opened, Failure> {
    let (snapshot, upstream) = (wanted.snapshot, &Rc::clone(&place.upstream));
    let mut useless = 0;
    while useless < ROUNDS {
        if let Some(opened) = take(place, wanted) {
            return Ok(opened);
        }
        if wanted.is_for_one(upstream) {
            return race(place, wanted).await;
        }
        let made = dialled(upstream, place, snapshot).map_err(Failure::Limit)?.wait().await.map_err(Failure::Dial)?;
        // Others may have been faster, and there may be more of them than it takes.
        if let Some(opened) = take(place, wanted) {
            return Ok(opened);
        }
        useless += usize::from(!made.is_some_and(|line| line.is_in_use()));
    }
    let why = std::io::Error::other("the endpoint allows no exchange on its connections");
    Err(Failure::Dial(DialError::Other(why)))
}

/// A connection of its own: a new one, or one that becomes free while that takes long, as when packets are lost or too many
/// wait to be accepted.
async fn race(place: &mut Place, wanted: Wanted<'_>) -> Result<Opened, Failure> {
    let (snapshot, upstream) = (wanted.snapshot, &Rc::clone(&place.upstream));
    let permit = place.permit(&snapshot.limits).map_err(Failure::Limit)?;
    let mut opening = pin!(open(upstream, snapshot.upstream, snapshot.tls.as_ref(), wanted.owner, permit));
    loop {
        tokio::select! {
            biased;
            opened = &mut opening => return opened.map_err(Failure::Dial),
            () = timer::sleep(RACE) => {}
        }
        if let Some(opened) = take(place, Wanted { now: clock::now(), ..wanted }) {
            return Ok(opened);
        }
    }
}

/// The connection that is being made, or a new one.
fn dialled(upstream: &Rc<Upstream>, place: &mut Place, snapshot: &Snapshot) -> Result<Rc<Dialling>, Limit> {
    if let Some(dialling) = &*upstream.dialling.borrow() {
        place.needs_no_permit();
        return Ok(Rc::clone(dialling));
    }
    let permit = place.permit(&snapshot.limits)?;
    let fresh = Rc::new(Dialling { outcome: RefCell::new(None), ended: Notify::new(), task: RefCell::new(None) });
    let (dialler, settings, tls) = (Rc::clone(upstream), snapshot.upstream, snapshot.tls.clone());
    let told = Rc::clone(&fresh);
    let task = task::Owned::spawn(async move {
        let outcome = open(&dialler, settings, tls.as_ref(), None, permit).await.map(|opened| match opened {
            Opened::Http1(connection) => {
                dialler.pool.put(connection, None, settings, clock::now(), dialler.cells());
                None
            }
            Opened::Http2(line) => Some(line),
        });
        *dialler.dialling.borrow_mut() = None;
        *told.outcome.borrow_mut() = Some(outcome);
        told.ended.notify_waiters();
    });
    *fresh.task.borrow_mut() = Some(task);
    *upstream.dialling.borrow_mut() = Some(Rc::clone(&fresh));
    Ok(fresh)
}

impl Dialling {
    async fn wait(&self) -> Result<Made, DialError> {
        loop {
            let ended = self.ended.notified();
            match &*self.outcome.borrow() {
                Some(Ok(made)) => return Ok(made.clone()),
                Some(Err(error)) => return Err(error.again()),
                None => {}
            }
            ended.await;
        }
    }
}

/// A new connection.
async fn open(
    upstream: &Rc<Upstream>,
    settings: Settings,
    tls: Option<&Arc<Towards>>,
    owner: Option<&Rc<Downstream>>,
    permit: Permit,
) -> Result<Opened, DialError> {
    let timeout = settings.connect_timeout;
    let opened = tokio::time::timeout(timeout, make(upstream, settings, tls, owner, permit)).await;
    let opened = opened.unwrap_or(Err(DialError::Timeout(timeout)));
    upstream.cells().connected(match &opened {
        Ok(_) => Connect::Ok,
        Err(DialError::Refused) => Connect::Refused,
        Err(DialError::Timeout(_)) => Connect::Timeout,
        Err(DialError::Certificate(_) | DialError::Tls(_)) => Connect::Tls,
        Err(_) => Connect::Error,
    });
    opened
}

async fn make(
    upstream: &Rc<Upstream>,
    settings: Settings,
    tls: Option<&Arc<Towards>>,
    owner: Option<&Rc<Downstream>>,
    permit: Permit,
) -> Result<Opened, DialError> {
    let endpoint = &upstream.endpoint;
    let protocol = if owner.is_some() { Protocol::Http1 } else { settings.protocol };
    let socket = dial::reach(None, &endpoint.addresses()).await?;
    let header = settings.proxy_protocol.zip(owner.map(|owner| Speaker::Client(owner.ends)));
    let host = tls.map(|_| endpoint.address.host().to_string());
    let beginning = Beginning { header, tls: tls.map(|tls| &**tls).zip(host.as_deref()) };
    let stream = beginning.on(socket, protocol.application()).await?;
    let http2 = match (protocol, tls) {
        (Protocol::Http1, _) | (Protocol::Auto, None) => false,
        (Protocol::Http2, None) => true,
        (Protocol::Auto | Protocol::Http2, Some(_)) => speaks_http2(&stream),
    };
    upstream.set_speaks_http2(http2);
    let stream = Metered::new(stream, permit);
    if !http2 {
        return if protocol == Protocol::Http2 {
            Err(DialError::Tls("the endpoint does not offer HTTP/2".to_owned()))
        } else {
            Ok(Opened::Http1(Connection::new(stream)))
        };
    }
    let line = Line::open(stream, clock::now()).await?;
    upstream.lines.add(Rc::clone(&line), upstream.cells());
    Ok(Opened::Http2(line))
}

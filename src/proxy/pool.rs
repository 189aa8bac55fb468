//! Connections to one endpoint that wait for their next exchange, one at a time: HTTP/1.1.
//!
//! The newest is taken first, so that a pool which was large once shrinks back. A request that must not be repeated
//! takes an old connection only if that is surely open: the endpoint may be closing it this very moment. A connection that
//! names a client in its header has that client's connection as its owner, and is nobody else's.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::cluster::{EndpointCells, Upstream as Settings};
use crate::http1;
use crate::net::shared::Waiting;
use crate::proxy::downstream::Downstream;
use crate::proxy::metered::Metered;

/// How recently a connection must have been used to carry a request that cannot be repeated.
const SURE: Duration = Duration::from_secs(1);

/// A connection to an endpoint, with nothing on it.
pub(crate) type Connection = http1::Connection<Metered>;

#[derive(Debug)]
struct Idle {
    connection: Connection,
    /// Whose it is; `None`: anybody's.
    owner: Option<Weak<Downstream>>,
    since: Timestamp,
    until: Timestamp,
}

impl Idle {
    fn belongs_to(&self, owner: Option<&Rc<Downstream>>) -> bool {
        match (&self.owner, owner) {
            (None, None) => true,
            (Some(own), Some(owner)) => std::ptr::eq(own.as_ptr(), Rc::as_ptr(owner)),
            _ => false,
        }
    }

    fn is_orphan(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.strong_count() == 0)
    }
}

/// Idle connections, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pool(RefCell<Vec<Idle>>);

impl Pool {
    /// The newest connection of this owner that is open and, if the request cannot be repeated, surely so.
    pub(crate) fn take(
        &self,
        owner: Option<&Rc<Downstream>>,
        repeatable: bool,
        now: Timestamp,
        cells: &EndpointCells,
    ) -> Option<Connection> {
        let mut pool = self.0.borrow_mut();
        loop {
            let position = pool.iter().rposition(|idle| idle.belongs_to(owner))?;
            let mut idle = pool.remove(position);
            let usable = now < idle.until && idle.connection.is_quiet();
            if usable && !repeatable && now.since(idle.since) > SURE {
                // Good enough for the next request that may be repeated.
                pool.insert(position, idle);
                return None;
            }
            cells.idle.dec();
            // What the system knows already may not have been told to us; asking it costs a call.
            if usable && (repeatable || idle.connection.stream().waiting() == Waiting::Nothing) {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection whose exchange has ended cleanly, if there is room.
    pub(crate) fn put(
        &self,
        connection: Connection,
        owner: Option<&Rc<Downstream>>,
        settings: Settings,
        now: Timestamp,
        cells: &EndpointCells,
    ) {
        let mut pool = self.0.borrow_mut();
        if pool.len() < settings.idle_connections {
            let owner = owner.map(Rc::downgrade);
            pool.push(Idle { connection, owner, since: now, until: now + settings.idle_timeout });
            cells.idle.inc();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn sweep(&self, now: Timestamp, cells: &EndpointCells) {
        self.0.borrow_mut().retain_mut(|idle| {
            let keep = now < idle.until && idle.connection.is_quiet();
            if !keep {
                cells.idle.dec();
            }
            keep
        });
    }

    /// Closes the oldest one. Whether there was one.
    pub(crate) fn close_one(&self, cells: &EndpointCells) -> bool {
        let mut pool = self.0.borrow_mut();
        let some = !pool.is_empty();
        if some {
            cells.idle.dec();
            // Outside of the borrow, since closing it tells those who wait.
            let oldest = pool.remove(0);
            drop(pool);
            drop(oldest);
        }
        some
    }

    /// Closes those whose owner has gone.
    pub(crate) fn close_orphans(&self, cells: &EndpointCells) {
        let orphans: Vec<Idle> = self.0.borrow_mut().extract_if(.., |idle| idle.is_orphan()).collect();
        // Outside of the borrow too.
        for orphan in orphans {
            cells.idle.dec();
            drop(orphan);
        }
    }

    pub(crate) fn clear(&self, cells: &EndpointCells) {
        for _ in self.0.borrow_mut().drain(..) {
            cells.idle.dec();
        }
    }
}

//! Connections to one endpoint that wait for their next exchange, and how a new one is made.
//!
//! The newest is taken first, so that a pool which was large once shrinks back. A request that must not be repeated
//! takes an old connection only if that is surely open: the endpoint may be closing it this very moment.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use crate::base::time::Timestamp;
use crate::cluster::{Connect, EndpointCells, Upstream as Settings};
use crate::net::dial::{self, DialError};
use crate::net::shared::{Shared, Waiting};
use crate::proxy::source::RequestBody;
use crate::proxy::upstream::Upstream;
use crate::runtime::task;

/// How recently a connection must have been used to carry a request that cannot be repeated.
const SURE: Duration = Duration::from_secs(1);
/// Bound of an answer's head; its header lines are bounded by hyper's default of 100. Any other number would have hyper
/// allocate its table of them anew for every answer.
const HEAD_BYTES: usize = 64 * 1024;
/// Bound of what is read at once, and of what waits to be sent, in bytes. While a client takes nothing, about three times as
/// much of its answer is held: one piece read, one handed on, one waiting to be sent. hyper's default is over 400 KiB.
const BUFFER: usize = HEAD_BYTES;

/// A connection to an endpoint, with nothing on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    socket: Shared,
    /// Reads and writes for the sender; ends with the connection.
    _task: task::Owned,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Timestamp,
    until: Timestamp,
}

/// Idle connections, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pool(RefCell<Vec<Idle>>);

impl Pool {
    /// The newest connection that is open and, if the request cannot be repeated, surely so.
    pub(crate) fn take(&self, repeatable: bool, now: Timestamp, cells: &EndpointCells) -> Option<Connection> {
        loop {
            let idle = self.0.borrow_mut().pop()?;
            cells.idle.dec();
            // One that is not ready has the rest of a request to send that was answered early, and may never be rid of it.
            let usable = idle.connection.sender.is_ready() && now < idle.until;
            if usable && repeatable {
                return Some(idle.connection);
            }
            if usable && now.since(idle.since) <= SURE {
                if idle.connection.socket.waiting() == Waiting::Nothing {
                    return Some(idle.connection);
                }
            } else if usable {
                // Good enough for the next request that may be repeated.
                self.0.borrow_mut().push(idle);
                cells.idle.inc();
                return None;
            }
        }
    }

    /// Keeps a connection whose exchange has ended cleanly, if there is room.
    pub(crate) fn put(&self, connection: Connection, settings: Settings, now: Timestamp, cells: &EndpointCells) {
        let mut pool = self.0.borrow_mut();
        if pool.len() < settings.idle_connections && !connection.sender.is_closed() {
            pool.push(Idle { connection, since: now, until: now + settings.idle_timeout });
            cells.idle.inc();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn sweep(&self, now: Timestamp, cells: &EndpointCells) {
        self.0.borrow_mut().retain(|idle| {
            let keep = now < idle.until && !idle.connection.sender.is_closed();
            if !keep {
                cells.idle.dec();
            }
            keep
        });
    }

    pub(crate) fn clear(&self, cells: &EndpointCells) {
        for _ in self.0.borrow_mut().drain(..) {
            cells.idle.dec();
        }
    }
}

/// A new connection to an endpoint.
pub(crate) async fn open(upstream: &Rc<Upstream>, settings: Settings) -> Result<Connection, DialError> {
    let addresses = upstream.endpoint.addresses();
    let dialled = dial::connect(&addresses, settings.connect_timeout).await;
    upstream.cells().connected(match &dialled {
        Ok(_) => Connect::Ok,
        Err(DialError::Refused) => Connect::Refused,
        Err(DialError::Timeout(_)) => Connect::Timeout,
        Err(_) => Connect::Error,
    });
    let socket = Shared::new(dialled?);
    let handshake = Builder::new().max_header_size(HEAD_BYTES).max_buf_size(BUFFER).handshake(TokioIo::new(socket.clone())).await;
    let (sender, connection) = handshake.map_err(|error| DialError::Other(std::io::Error::other(error)))?;
    let task = task::Owned::spawn(async move {
        // Its error reaches whoever waits for an answer; without one, the connection is simply gone.
        if let Err(error) = connection.await {
            tracing::trace!("a connection to an endpoint ended: {error}");
        }
    });
    Ok(Connection { sender, socket, _task: task })
}

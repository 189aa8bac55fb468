//! Two streams that have left HTTP behind: bytes pass both ways until both ends have closed, or nothing has moved for too long.
//!
//! A tunnel holds its place among what is in flight, so a drain waits for it; at the end of the drain it is cut.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::base::time::Timestamp;
use crate::net::shared::Shared;
use crate::proxy::attempt::Lease;
use crate::proxy::metered::Metered;
use crate::runtime::clock;
use crate::runtime::timer::Deadline;

/// Bytes that are under way in each direction.
const PIECE: usize = 16 * 1024;

/// The endpoint's side of a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    stream: Metered,
    /// What the endpoint has sent already.
    first: Bytes,
    idle_timeout: Option<Duration>,
    /// Counts it as in flight.
    _lease: Lease,
}

impl Tunnel {
    pub(crate) const fn new(stream: Metered, first: Bytes, idle_timeout: Option<Duration>, lease: Lease) -> Self {
        Self { stream, first, idle_timeout, _lease: lease }
    }

    /// Passes bytes until it is over; `first` is what the client has sent already.
    pub(crate) async fn run(self, client: Shared, first: Bytes) {
        let (stream, _permit) = self.stream.apart();
        let endpoint = Shared::new(stream);
        let moved = Rc::new(Cell::new(clock::now()));
        let up = pass(first, client.clone(), endpoint.clone(), &moved);
        let down = pass(self.first, endpoint.clone(), client.clone(), &moved);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => {
                if let Err(error) = ended {
                    tracing::debug!("a tunnel broke: {error}");
                    client.reset();
                }
            }
            () = stands_still(&moved, self.idle_timeout) => tracing::debug!("a tunnel stood still for upgrade_idle_timeout"),
        }
    }
}

/// One direction, up to its end.
async fn pass(first: Bytes, mut from: Shared, mut to: Shared, moved: &Cell<Timestamp>) -> io::Result<()> {
    to.write_all(&first).await?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        moved.set(clock::now());
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..read]).await?;
        to.flush().await?;
        moved.set(clock::now());
    }
}

/// Ends when nothing has moved for so long.
async fn stands_still(moved: &Cell<Timestamp>, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    let deadline = Deadline::unset();
    loop {
        let until = moved.get() + limit;
        if until <= clock::now() {
            return;
        }
        deadline.set(until);
        deadline.reached().await;
    }
}

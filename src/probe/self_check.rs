//! A check of ourselves: a byte to a listener of our own and back, over the loopback, by the connector and the timer of every probe.
//!
//! When this does not come back, what else does not come back says nothing about anybody: we have no descriptors, no ports, no way
//! out of the machine's own network, or no time. As with probes a connection is kept, and one in five checks takes a fresh one.
//! The listener is there for as long as that takes, and who else finds it is turned away.

use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::base::time::Timestamp;
use crate::net::dial;
use crate::probe::vigil;
use crate::runtime::task::Owned;
use crate::runtime::{clock, grid};

/// From the start of one check to that of the next, at the least.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// One check in so many takes a fresh connection.
const FRESH_EVERY: u32 = 5;
/// Strangers that are turned away before a check has failed.
const STRANGERS: usize = 8;

/// A check that goes on for as long as this lives.
#[derive(Debug)]
pub struct SelfCheck {
    alive: Rc<Cell<Timestamp>>,
    /// Ends when dropped.
    _task: Owned,
}

impl SelfCheck {
    /// Starts it on this thread, which must allow local tasks.
    #[must_use]
    pub fn start() -> Self {
        let alive = Rc::new(Cell::new(Timestamp::ZERO));
        let task = Owned::spawn(check(Rc::clone(&alive)));
        Self { alive, _task: task }
    }

    /// When the last check that passed had begun; zero before the first.
    #[must_use]
    pub fn alive(&self) -> Timestamp {
        self.alive.get()
    }
}

async fn check(alive: Rc<Cell<Timestamp>>) {
    let (mut line, mut timer) = (None, vigil::timer());
    for number in (0..FRESH_EVERY).cycle() {
        let kept = line.take().filter(|_| number > 0);
        let began = clock::now();
        line = vigil::within(TIMEOUT, &mut timer, Box::pin(Line::check(kept))).await.output.and_then(Result::ok);
        if line.is_some() {
            alive.set(began);
        }
        vigil::put_off(&mut timer, grid::from(clock::now().max(began + INTERVAL)));
        timer.as_mut().await;
    }
}

/// Both ends of a connection to ourselves.
#[derive(Debug)]
struct Line {
    near: TcpStream,
    far: TcpStream,
}

impl Line {
    /// Sends a byte there and back, over a fresh connection if none is kept.
    async fn check(kept: Option<Self>) -> io::Result<Self> {
        let mut line = match kept {
            Some(line) => line,
            None => Self::open().await?,
        };
        let mut byte = [1];
        line.near.write_all(&byte).await?;
        line.far.read_exact(&mut byte).await?;
        line.far.write_all(&byte).await?;
        line.near.read_exact(&mut byte).await?;
        Ok(line)
    }

    async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let near = dial::connect_any(&[listener.local_addr()?]).await.map_err(io::Error::other)?;
        for _ in 0..STRANGERS {
            let (far, from) = listener.accept().await?;
            if from == near.local_addr()? {
                return Ok(Self { near, far });
            }
        }
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::thread::block_on;

    #[test]
    fn a_connection_is_kept_and_a_fresh_one_is_another() {
        block_on(async {
            let first = Line::check(None).await.unwrap();
            let port = first.near.local_addr().unwrap().port();
            let kept = Line::check(Some(first)).await.unwrap();
            assert_eq!(kept.near.local_addr().unwrap().port(), port);
            let fresh = Line::check(None).await.unwrap();
            assert_ne!(fresh.near.local_addr().unwrap().port(), port);
            // Whose other end is gone is no way to us.
            let Line { near, far } = fresh;
            drop(far);
            let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let far = TcpStream::connect(there.local_addr().unwrap()).await.unwrap();
            drop(there);
            assert!(Line::check(Some(Line { near, far })).await.is_err());
        })
        .unwrap();
    }

    #[test]
    fn it_passes_while_this_thread_runs() {
        block_on(async {
            let check = SelfCheck::start();
            assert_eq!(check.alive(), Timestamp::ZERO);
            let begun = clock::now();
            while check.alive() < begun {
                tokio::task::yield_now().await;
            }
        })
        .unwrap();
    }
}

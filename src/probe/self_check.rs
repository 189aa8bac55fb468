//! A check of ourselves: a byte that goes through the system and the same event queue that every probe goes through.
//!
//! When this does not come back, what else does not come back says nothing about anybody.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::base::time::Timestamp;
use crate::probe::vigil;
use crate::runtime::clock;
use crate::runtime::task::Owned;

/// From one check to the next.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(1);

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
    loop {
        if let Ok((mut here, there)) = UnixStream::pair() {
            let _echo = Owned::spawn(echo(there));
            while let Some(began) = ask(&mut here).await {
                alive.set(began);
                tokio::time::sleep(INTERVAL).await;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn echo(mut there: UnixStream) {
    let mut byte = [0];
    while there.read_exact(&mut byte).await.is_ok() && there.write_all(&byte).await.is_ok() {}
}

/// Sends a byte there and back. Returns when it was sent, if it came back.
async fn ask(here: &mut UnixStream) -> Option<Timestamp> {
    let began = clock::now();
    let work = async {
        here.write_all(&[1]).await?;
        here.read_exact(&mut [0]).await
    };
    vigil::within(TIMEOUT, work).await.output?.ok().map(|_| began)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::thread::block_on;

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

//! A process that is up, and how it goes down: first in the eyes of others, then for new connections, then for good.

use std::future::Future;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::cluster::Phase;
use crate::control::Handle;
use crate::server::premises::Premises;
use crate::server::sockets::Bound;

/// Everything that was started. It ends at once when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// The way to control.
    pub handle: Handle,
    /// Where the listeners listened at the start, in the order of the configuration.
    pub listeners: Vec<Bound>,
    /// Where the admin interface listened at the start.
    pub admin: SocketAddr,
    /// Where the metrics listener listened at the start, if there was one.
    pub metrics: Option<SocketAddr>,
    /// Where heartbeats were taken in at the start, in the order of the configuration.
    pub heartbeats: Vec<SocketAddr>,
    pub(super) threads: Option<Threads>,
    /// Whether another process serves.
    pub(super) left: bool,
}

/// The threads of the process, and what tells each of them to end.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) control: Option<JoinHandle<()>>,
    pub(super) premises: Premises,
    /// Closed when no worker is left.
    pub(super) working: mpsc::Receiver<()>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.premises.end_workers());
        drop(self.premises.end_admin());
    }
}

impl Running {
    /// The premises, until the end.
    pub(super) fn premises(&self) -> Option<&Premises> {
        self.threads.as_ref().map(|threads| &threads.premises)
    }

    /// Another process serves: nobody is let in any more.
    pub(super) async fn leave(&mut self) {
        self.left = true;
        self.handle.hear_heartbeats(false).await;
        if let Some(premises) = self.premises() {
            premises.close(&self.handle.config());
            premises.close_admin();
        }
    }

    /// Finishes what there is and ends: readyz fails from now on; after `drain_delay` nothing new is accepted; what is
    /// under way after `drain_timeout` is cut off. Asks `hurry` all the while: when it ends, everything is cut off at once.
    pub async fn drain(mut self, hurry: impl Future<Output = ()>) {
        let handle = self.handle.clone();
        handle.live().enter(Phase::Draining);
        let hurried = tokio::select! {
            () = self.finish() => false,
            () = hurry => true,
        };
        if hurried {
            tracing::warn!("ending at once");
        }
        self.end().await;
    }

    /// Lets exchanges finish, for as long as they may take.
    async fn finish(&mut self) {
        let config = self.handle.config();
        if !config.drain_delay.is_zero() && !self.left {
            tracing::info!(delay = ?config.drain_delay, "draining: not ready, still accepting");
            tokio::time::sleep(config.drain_delay).await;
        }
        tracing::info!(timeout = ?config.drain_timeout, "draining: closed, finishing what is under way");
        if let Some(threads) = &self.threads {
            threads.premises.close(&config);
        }
        if tokio::time::timeout(config.drain_timeout, self.without_workers()).await.is_err() {
            tracing::warn!(timeout = ?config.drain_timeout, "drain_timeout is over; cutting off what is still under way");
        }
    }

    /// Waits until no worker is left.
    pub(super) async fn without_workers(&mut self) {
        if let Some(threads) = &mut self.threads {
            let _ = threads.working.recv().await;
        }
    }

    /// Ends every thread at once and waits for it.
    pub async fn end(mut self) {
        let workers = self.threads.as_ref().map(|threads| threads.premises.end_workers()).unwrap_or_default();
        self.without_workers().await;
        self.handle.live().enter(Phase::Stopped);
        self.handle.stop().await;
        let Some(mut threads) = self.threads.take() else { return };
        threads.premises.end_log();
        let edge = threads.premises.end_admin();
        for thread in workers.into_iter().chain(threads.control.take()).chain(edge) {
            if thread.join().is_err() {
                tracing::error!("a thread ended by a bug");
            }
        }
        tracing::info!("stopped");
    }
}

//! A process that is up, and how it goes down: first in the eyes of others, then for new connections, then for good.

use std::future::Future;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::cluster::Phase;
use crate::control::Handle;
use crate::proxy::Stage;
use crate::server::edge::Edge;
use crate::server::sockets::Bound;

/// Longest time that connections without an exchange are kept while draining.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// Everything that was started. It ends at once when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// The way to control.
    pub handle: Handle,
    /// Where the listeners listen, in the order of the configuration.
    pub listeners: Vec<Bound>,
    /// Where the admin interface listens.
    pub admin: SocketAddr,
    /// Where the metrics listener listens, if there is one.
    pub metrics: Option<SocketAddr>,
    pub(super) threads: Threads,
}

/// The threads of the process, and what tells each of them to end.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) control: JoinHandle<()>,
    pub(super) edge: Option<Edge>,
    pub(super) workers: Vec<JoinHandle<()>>,
    /// Closed when no worker is left.
    pub(super) working: Option<mpsc::Receiver<()>>,
    pub(super) stage: watch::Sender<Stage>,
}

impl Threads {
    pub(super) fn new(control: JoinHandle<()>) -> Self {
        Self { control, edge: None, workers: Vec::new(), working: None, stage: watch::Sender::new(Stage::Serving) }
    }
}

impl Running {
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
        if !config.drain_delay.is_zero() {
            tracing::info!(delay = ?config.drain_delay, "draining: not ready, still accepting");
            tokio::time::sleep(config.drain_delay).await;
        }
        let idle_grace = IDLE_GRACE.min(config.drain_timeout / 2);
        tracing::info!(timeout = ?config.drain_timeout, "draining: closed, finishing what is under way");
        self.threads.stage.send_replace(Stage::Closing { idle_grace });
        if tokio::time::timeout(config.drain_timeout, self.without_workers()).await.is_err() {
            tracing::warn!(timeout = ?config.drain_timeout, "drain_timeout is over; cutting off what is still under way");
        }
    }

    /// Waits until no worker is left.
    pub(super) async fn without_workers(&mut self) {
        if let Some(working) = &mut self.threads.working {
            let _ = working.recv().await;
        }
    }

    /// Ends every thread at once and waits for it.
    pub async fn end(mut self) {
        self.threads.stage.send_replace(Stage::Ended);
        self.without_workers().await;
        self.handle.live().enter(Phase::Stopped);
        self.handle.stop().await;
        let Threads { control, edge, workers, .. } = self.threads;
        let edge = edge.map(Edge::stop);
        for thread in workers.into_iter().chain([control]).chain(edge) {
            if thread.join().is_err() {
                tracing::error!("a thread ended by a bug");
            }
        }
        tracing::info!("stopped");
    }
}

//! The thread of the admin interface and the metrics listener.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::admin::{self, Sockets};
use crate::config::model::Secret;
use crate::control::Handle;
use crate::runtime::{task, thread};
use crate::server::certificates;

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Edge {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Edge {
    /// Tells the thread to end.
    pub(super) fn stop(self) -> JoinHandle<()> {
        // Nobody hears it if the thread has ended already.
        let _ = self.stop.send(());
        self.thread
    }
}

/// Starts the admin interface on a thread of its own: a scrape of many endpoints must delay neither requests nor probes.
pub(super) fn start(admin: TcpListener, metrics: Option<TcpListener>, handle: Handle, token: Option<Secret>) -> io::Result<Edge> {
    let (stop, stopped) = oneshot::channel();
    // Not a tokio channel: the thread that waits may itself be a runtime's.
    let (started, is_started) = std::sync::mpsc::sync_channel(1);
    let thread = thread::spawn("admin", move || async move {
        let _certificates = task::Owned::spawn(certificates::watch(Arc::clone(handle.live())));
        match admin::start(Sockets { admin, metrics }, handle, token) {
            Ok(_admin) => {
                drop(started.send(Ok(())));
                // It ends by the word or by the end of whoever could say it.
                drop(stopped.await);
            }
            Err(error) => drop(started.send(Err(error))),
        }
    })?;
    is_started.recv().unwrap_or_else(|_| Err(io::Error::other("the admin interface failed at its start")))?;
    Ok(Edge { thread, stop })
}

//! The thread of the admin interface and the metrics listener.

use std::io;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::admin::{Admin, Sockets};
use crate::control::Handle;
use crate::runtime::{task, thread};
use crate::server::certificates;

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Edge {
    thread: JoinHandle<()>,
    sockets: watch::Sender<Option<Sockets>>,
}

impl Edge {
    /// Starts the admin interface on a thread of its own: a scrape of many endpoints must delay neither requests nor probes.
    pub(super) fn start(sockets: Sockets, handle: Handle) -> io::Result<Self> {
        let (sockets, changes) = watch::channel(Some(sockets));
        // Not a tokio channel: the thread that waits may itself be a runtime's.
        let (started, is_started) = std::sync::mpsc::sync_channel(1);
        let thread = thread::spawn("admin", move || async move {
            let _certificates = task::Owned::spawn(certificates::watch(handle.clone()));
            let admin = Admin::new(handle).and_then(|mut admin| {
                if let Some(sockets) = &*changes.borrow() {
                    admin.listen(sockets)?;
                }
                Ok(admin)
            });
            match admin {
                Ok(admin) => {
                    drop(started.send(Ok(())));
                    live(admin, changes).await;
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        is_started.recv().unwrap_or_else(|_| Err(io::Error::other("the admin interface failed at its start")))?;
        Ok(Self { thread, sockets })
    }

    /// Moves the interface to these sockets, or takes nobody in any more.
    pub(super) fn listen(&self, sockets: Option<Sockets>) {
        self.sockets.send_replace(sockets);
    }

    /// Tells the thread to end.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Until nobody can change anything any more.
async fn live(mut admin: Admin, mut changes: watch::Receiver<Option<Sockets>>) {
    while changes.changed().await.is_ok() {
        let sockets = changes.borrow_and_update().clone();
        match sockets.map(|sockets| admin.listen(&sockets)) {
            None => admin.close(),
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "the admin interface cannot listen where it should"),
        }
    }
}

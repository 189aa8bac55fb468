//! What the process has besides health: sockets, workers, the admin thread and the log, and how a reload changes them.
//!
//! A reload is control's, and control calls this on its own thread; start and end of the process are called on the main one.
//! Hence the lock, which is never held while anybody waits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admin;
use crate::config::Config;
use crate::config::model::{AccessLog, AccessTarget};
use crate::control::{Handle, Outside};
use crate::net::listen::ListenSocket;
use crate::proxy::{Leave, Page, Scribe};
use crate::server::Fatal;
use crate::server::crew::{Crew, Tools};
use crate::server::edge::Edge;
use crate::server::sockets::{Bound, Numbers, Sockets, Spare};
use crate::server::watch::FileWatch;
use crate::telemetry::log;

/// Longest time that connections without an exchange are kept while draining.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// The premises, shared by control and the main thread.
#[derive(Debug, Clone)]
pub(super) struct Premises(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    sockets: Sockets,
    numbers: Numbers,
    crew: Crew,
    edge: Option<Edge>,
    prepared: Option<(Sockets, Option<Page>)>,
    scribe: Scribe,
    /// The configuration file, if there is one.
    source: Option<PathBuf>,
    handle: Option<Handle>,
    watch: Option<FileWatch>,
    phase: Phase,
}

/// What the listeners do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// First verdicts are awaited; the sockets are had, and nobody can connect to them.
    Waiting,
    Open,
    /// Nothing changes any more.
    Closed,
}

/// So many workers does a configuration want.
pub(super) fn workers(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// How long connections stay that have to go.
fn leave(config: &Config) -> Leave {
    Leave { idle_grace: idle_grace(config), timeout: config.drain_timeout }
}

fn idle_grace(config: &Config) -> Duration {
    IDLE_GRACE.min(config.drain_timeout / 2)
}

impl Premises {
    /// Gets every socket of a configuration, for nobody to connect to as yet; and what tells of the end of the last worker.
    ///
    /// # Errors
    /// If an address cannot be had: the first one.
    pub(super) fn new(
        config: &Config,
        source: Option<PathBuf>,
        spare: Vec<Spare>,
        scribe: Scribe,
        tools: Tools,
    ) -> Result<(Self, mpsc::Receiver<()>), Fatal> {
        let mut numbers = Numbers::default();
        let planned = Sockets::inherited(spare).plan(config, workers(config), &mut numbers);
        let sockets = planned.map_err(|mut fatal| fatal.swap_remove(0))?;
        scribe.write(page(config)?);
        let (crew, ended) = Crew::new(tools);
        let inner = Inner {
            sockets,
            numbers,
            crew,
            edge: None,
            prepared: None,
            scribe,
            source,
            handle: None,
            watch: None,
            phase: Phase::Waiting,
        };
        Ok((Self(Arc::new(Mutex::new(inner))), ended))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic left is no worse than without it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the listeners, the admin interface and the metrics listener are.
    pub(super) fn addresses(&self) -> (Vec<Bound>, Option<SocketAddr>, Option<SocketAddr>) {
        let inner = self.lock();
        let sockets = &inner.sockets;
        (sockets.bound(), sockets.admin().map(|(_, at)| at), sockets.metrics().map(|(_, at)| at))
    }

    /// Where heartbeats are taken in.
    pub(super) fn heartbeat_addresses(&self) -> Vec<SocketAddr> {
        self.lock().sockets.heartbeats().into_iter().map(|(_, at)| at).collect()
    }

    /// Starts the admin interface, and the watch of the configuration file.
    pub(super) fn open_admin(&self, config: &Config, handle: &Handle) -> Result<(), Fatal> {
        let mut inner = self.lock();
        inner.handle = Some(handle.clone());
        inner.keep_watch(config);
        if let Some(sockets) = admin_sockets(&inner.sockets) {
            inner.edge = Some(Edge::start(sockets, handle.clone())?);
        }
        Ok(())
    }

    /// Lets clients in.
    pub(super) fn open(&self, config: &Config) -> Result<(), Fatal> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.sockets.open()?;
        inner.crew.serve(&inner.sockets, workers(config), leave(config))?;
        inner.phase = Phase::Open;
        Ok(())
    }

    /// Every socket with the name of its owner, for another process to inherit.
    pub(super) fn legacy(&self) -> Vec<(Arc<str>, Arc<ListenSocket>)> {
        self.lock().sockets.legacy()
    }

    /// Leaves the admin interface to another process: nobody is taken in any more, who is in stays.
    pub(super) fn close_admin(&self) {
        if let Some(edge) = &self.lock().edge {
            edge.listen(None);
        }
    }

    /// Lets nobody in any more; workers end when they have finished.
    pub(super) fn close(&self, config: &Config) {
        let mut inner = self.lock();
        inner.phase = Phase::Closed;
        inner.prepared = None;
        inner.watch = None;
        // Each socket is closed by the worker that has emptied it, so nobody else may hold it then.
        inner.sockets.let_listeners_go();
        inner.crew.close(idle_grace(config));
    }

    /// Has every worker end at once.
    pub(super) fn end_workers(&self) -> Vec<JoinHandle<()>> {
        let mut inner = self.lock();
        inner.phase = Phase::Closed;
        inner.crew.end()
    }

    /// Opens the access log anew: its file may have been renamed.
    pub(super) fn reopen_log(&self) {
        self.lock().scribe.reopen();
    }

    /// Has the access log end, when its last lines are written.
    pub(super) fn end_log(&self) {
        self.lock().scribe.end();
    }

    /// Has the admin thread and the watch end.
    pub(super) fn end_admin(&self) -> Option<JoinHandle<()>> {
        let mut inner = self.lock();
        inner.handle = None;
        inner.watch = None;
        inner.edge.take().map(Edge::stop)
    }
}

impl Inner {
    /// Watches the configuration file, or does not.
    fn keep_watch(&mut self, config: &Config) {
        let (Some(file), Some(handle)) = (self.source.as_ref().filter(|_| config.watch), &self.handle) else {
            self.watch = None;
            return;
        };
        if !self.watch.as_ref().is_some_and(|watch| watch.is_of(file)) {
            let watch = FileWatch::start(file, handle.clone());
            self.watch = watch.inspect_err(|error| tracing::error!(%error, "the configuration file is not watched")).ok();
        }
    }
}

/// Where the access log is written.
fn page(config: &Config) -> Result<Option<Page>, Fatal> {
    let open = |settings: &AccessLog| {
        Page::open(settings).map_err(|error| {
            let file = match &settings.target {
                AccessTarget::File(file) => file.display().to_string(),
                AccessTarget::Stdout | AccessTarget::Stderr => String::new(),
            };
            Fatal::AccessLog { file, error }
        })
    };
    config.access_log.as_ref().map(open).transpose()
}

fn admin_sockets(sockets: &Sockets) -> Option<admin::Sockets> {
    Some(admin::Sockets { admin: sockets.admin()?.0, metrics: sockets.metrics().map(|(socket, _)| socket) })
}

impl Outside for Premises {
    fn prepare(&mut self, new: &Config) -> Result<(), Vec<String>> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if inner.phase == Phase::Closed {
            return Err(vec!["the process is draining".to_owned()]);
        }
        let planned = inner.sockets.plan(new, workers(new), &mut inner.numbers);
        let sockets = planned.map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        inner.prepared = Some((sockets, page(new).map_err(|fatal| vec![fatal.to_string()])?));
        Ok(())
    }

    fn commit(&mut self, new: &Config) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some((sockets, page)) = inner.prepared.take() else { return };
        inner.scribe.write(page);
        log::change(&new.log);
        inner.keep_watch(new);
        if inner.phase == Phase::Open {
            let opened = sockets.open().and_then(|()| {
                // The old ones first, so that a worker which closes a socket is the last to hold it.
                inner.sockets = sockets;
                Ok(inner.crew.serve(&inner.sockets, workers(new), leave(new))?)
            });
            if let Err(error) = opened {
                tracing::error!(%error, "the reload could not be carried out in full");
            }
        } else {
            inner.sockets = sockets;
        }
        if let (Some(edge), Some(sockets)) = (&inner.edge, admin_sockets(&inner.sockets)) {
            edge.listen(Some(sockets));
        }
    }

    fn abandon(&mut self) {
        self.lock().prepared = None;
    }

    fn votes(&self) -> Option<Arc<ListenSocket>> {
        self.lock().sockets.fleet()
    }

    fn heartbeats(&self) -> Vec<Arc<ListenSocket>> {
        self.lock().sockets.heartbeats().into_iter().map(|(socket, _)| socket).collect()
    }
}

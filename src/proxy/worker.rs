//! One worker: it accepts, hands connections out to tasks, listens for recalls, and ends when its last connection has.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};

use crate::base::ids::EndpointId;
use crate::cluster::{BEAT, Endpoint, ListenerError, Live, RecallReceiver, Reporter};
use crate::proxy::connection;
use crate::proxy::upstream::Upstream;
use crate::proxy::view::View;
use crate::runtime::{clock, task};

/// How long accepting pauses when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How often pools are looked through.
const SWEEP: Duration = Duration::from_millis(500);

/// What workers are told to do about connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Accept and serve.
    Serving,
    /// Empty the accept queues and close them; finish what there is.
    Closing {
        /// How long connections without an exchange are kept, in case a request is on its way.
        idle_grace: Duration,
    },
    /// Leave at once.
    Ended,
}

/// What a worker starts with.
#[derive(Debug)]
pub struct Setup {
    /// Its number, from 0.
    pub index: usize,
    /// The world.
    pub live: Arc<Live>,
    /// Its way to tell control.
    pub reporter: Reporter,
    /// Control's way to tell it.
    pub recall: RecallReceiver,
    /// Its sockets, each with the name of its listener.
    pub sockets: Vec<(Arc<str>, std::net::TcpListener)>,
    /// What to do about connections.
    pub stage: watch::Receiver<Stage>,
}

/// The state of one worker, shared by the tasks of its thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) live: Arc<Live>,
    pub(crate) reporter: Reporter,
    pub(crate) rng: RefCell<fastrand::Rng>,
    pub(crate) listeners: Vec<Arc<str>>,
    pub(crate) stage: watch::Receiver<Stage>,
    view: RefCell<Rc<View>>,
    upstreams: RefCell<HashMap<EndpointId, Rc<Upstream>>>,
    /// Whether connections are to be closed; a copy of the stage that every answer can look at for nothing.
    closing: Cell<bool>,
    open: Cell<usize>,
    emptied: Notify,
}

/// Runs a worker on the calling thread until it has been told to close and its last exchange has ended.
pub async fn worker(setup: Setup) {
    let Setup { index, live, reporter, recall, sockets, stage } = setup;
    let (listeners, sockets): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
    let worker = Rc::new(Worker {
        index,
        live,
        reporter,
        rng: RefCell::new(fastrand::Rng::new()),
        listeners,
        stage: stage.clone(),
        view: RefCell::default(),
        upstreams: RefCell::default(),
        closing: Cell::new(false),
        open: Cell::new(0),
        emptied: Notify::new(),
    });
    let _recalls = task::Owned::spawn(recalls(Rc::clone(&worker), recall));
    let _sweeps = task::Owned::spawn(sweeps(Rc::clone(&worker)));
    let _pulse = task::Owned::spawn(pulse(Rc::clone(&worker)));
    let accepting: Vec<_> =
        sockets.into_iter().enumerate().map(|(number, socket)| task::spawn(accept(Rc::clone(&worker), number, socket))).collect();
    unless_ended(stage, async {
        for accepts in accepting {
            // A task that panicked has been counted; its listener is gone, the others go on.
            drop(accepts.await);
        }
        worker.emptied().await;
    })
    .await;
}

async fn unless_ended(mut stage: watch::Receiver<Stage>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        // A sender that is gone means that nobody will ever say so.
        _ = stage.wait_for(|stage| *stage == Stage::Ended) => {}
    }
}

async fn recalls(worker: Rc<Worker>, mut queue: RecallReceiver) {
    loop {
        let recall = match queue.recv().await {
            Ok(recall) => recall,
            Err(RecvError::Lagged(count)) => {
                worker.reporter.missed_recalls(count);
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let upstream = worker.upstreams.borrow().get(&recall.0).cloned();
        if let Some(upstream) = upstream {
            upstream.recall();
        }
    }
}

async fn sweeps(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let upstreams: Vec<_> = worker.upstreams.borrow().values().filter(|upstream| upstream.has_idle()).cloned().collect();
        for upstream in upstreams {
            upstream.sweep(clock::now());
        }
    }
}

/// Shows that this worker runs, and looks after what no event tells of.
async fn pulse(worker: Rc<Worker>) {
    loop {
        let due = clock::now() + BEAT;
        tokio::time::sleep_until(clock::instant(due)).await;
        worker.live.pulses[worker.index].beat(due, clock::now());
        for upstream in worker.upstreams.borrow().values() {
            upstream.look_at_bodies();
        }
    }
}

/// Accepts until told to close, then takes what the system has accepted already: those clients have been let in.
async fn accept(worker: Rc<Worker>, number: usize, socket: std::net::TcpListener) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("a listening socket cannot be used: {error}"),
    };
    let mut stage = worker.stage.clone();
    loop {
        tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(&worker, number, stream, peer),
                Err(error) => pause(&worker, number, &error).await,
            },
        }
    }
    worker.closing.set(true);
    match listener.into_std() {
        Ok(socket) => empty(&worker, number, &socket),
        Err(error) => tracing::error!("the accept queue cannot be emptied: {error}"),
    }
}

fn empty(worker: &Rc<Worker>, number: usize, socket: &std::net::TcpListener) {
    while let Ok((stream, peer)) = socket.accept() {
        let nonblocking = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = nonblocking {
            admit(worker, number, stream, peer);
        }
    }
}

async fn pause(worker: &Rc<Worker>, number: usize, error: &io::Error) {
    // A client that left before it was accepted is no trouble of ours.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    worker.count(number, ListenerError::Accept);
    tracing::warn!("cannot accept a connection: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Starts a connection's task, unless there are as many as the listener may have.
fn admit(worker: &Rc<Worker>, number: usize, stream: TcpStream, peer: SocketAddr) {
    let view = worker.view();
    let Some(listener) = view.listener(number) else { return };
    let place = Place::take(worker, &listener.connections);
    if listener.connections.load(Relaxed) > listener.config.limits.connections {
        return worker.count(number, ListenerError::ConnectionLimit);
    }
    match connection::Accepted::new(number, listener, peer) {
        Ok(accepted) => drop(task::spawn(connection::serve(Rc::clone(worker), accepted, stream, place))),
        Err(reason) => worker.count(number, reason),
    }
}

/// A place among the open connections of this worker and of the listener; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    worker: Rc<Worker>,
    listener: Arc<std::sync::atomic::AtomicUsize>,
}

impl Place {
    fn take(worker: &Rc<Worker>, listener: &Arc<std::sync::atomic::AtomicUsize>) -> Self {
        worker.open.set(worker.open.get() + 1);
        listener.fetch_add(1, Relaxed);
        Self { worker: Rc::clone(worker), listener: Arc::clone(listener) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.fetch_sub(1, Relaxed);
        self.worker.open.set(self.worker.open.get() - 1);
        if self.worker.open.get() == 0 {
            self.worker.emptied.notify_one();
        }
    }
}

impl Worker {
    /// The world in force, as this worker sees it.
    pub(crate) fn view(&self) -> Rc<View> {
        let published = self.live.world().load();
        let mut view = self.view.borrow_mut();
        if !view.shows(&published) {
            *view = Rc::new(view.next(Arc::clone(&published), &self.listeners));
            self.forget_absent(&view);
        }
        Rc::clone(&view)
    }

    /// This worker's side of an endpoint.
    pub(crate) fn upstream(&self, endpoint: &Arc<Endpoint>) -> Rc<Upstream> {
        let mut upstreams = self.upstreams.borrow_mut();
        Rc::clone(upstreams.entry(endpoint.id).or_insert_with(|| Rc::new(Upstream::new(Arc::clone(endpoint), self.index))))
    }

    /// Whether this worker is to close its connections.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Counts a client connection that ended badly.
    pub(crate) fn count(&self, listener: usize, reason: ListenerError) {
        if let Some(listener) = self.view().listener(listener) {
            listener.cells[self.index].error(reason);
        }
    }

    /// Endpoints that left the configuration: their idle connections go, what is in flight holds on to its own.
    fn forget_absent(&self, view: &View) {
        let present = view.endpoint_ids();
        self.upstreams.borrow_mut().retain(|id, _| present.contains(id));
    }

    /// Lets go of endpoints that have left a cluster.
    pub(crate) fn forget(&self, gone: impl Iterator<Item = EndpointId>) {
        let mut upstreams = self.upstreams.borrow_mut();
        for id in gone {
            upstreams.remove(&id);
        }
    }

    async fn emptied(&self) {
        while self.open.get() > 0 {
            self.emptied.notified().await;
        }
    }
}

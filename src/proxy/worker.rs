//! One worker: it accepts, hands connections out to tasks, listens for recalls, and ends when its last connection has.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::base::ids::{ClusterId, EndpointId};
use crate::cluster::{Endpoint, ListenerError, Live, RecallReceiver, Reporter};
use crate::net::listen::{ListenSocket, Waiting};
use crate::net::socket::Socket;
use crate::proxy::access::{AccessLog, Sheet};
use crate::proxy::connection;
use crate::proxy::door::{Door, Doors, Leave, Opening, Sight};
use crate::proxy::duty::Duty;
use crate::proxy::upstream::Upstream;
use crate::proxy::view::{ClusterView, View};
use crate::runtime::{clock, grid, rest, task, timer};

/// How long accepting pauses when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// A worker that has so many connections open may rest between two of those that come: each of fewer would wait for itself.
const CROWD: usize = 16;
/// How often pools are looked through.
const SWEEP: Duration = Duration::from_millis(500);

/// What is to be done about connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Accept and serve.
    Serving,
    /// Empty the accept queues and close them; finish what there is.
    Closing(Leave),
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
    /// Where its exchanges are told.
    pub access: Arc<AccessLog>,
    /// What it is to accept on, now and later.
    pub doors: watch::Receiver<Doors>,
    /// What to do about connections.
    pub stage: watch::Receiver<Stage>,
}

/// The state of one worker, shared by the tasks of its thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) live: Arc<Live>,
    pub(crate) reporter: Reporter,
    pub(crate) sheet: Sheet,
    pub(crate) rng: RefCell<fastrand::Rng>,
    /// Room for lines of a head, kept from one to the next.
    pub(crate) lines: RefCell<Vec<u8>>,
    view: RefCell<Rc<View>>,
    upstreams: RefCell<HashMap<EndpointId, Rc<Upstream>>>,
    /// How many steps the exchanges that run side by side have made.
    pub(crate) steps: Cell<u64>,
    pub(crate) duty: Rc<Duty>,
    /// Those that let somebody in, or still have connections of whom they let in.
    doors: RefCell<Vec<Weak<Door>>>,
    open: Cell<usize>,
    emptied: Notify,
}

/// Runs a worker on the calling thread until it has been told to close and its last exchange has ended.
pub async fn worker(setup: Setup) {
    let Setup { index, live, reporter, recall, access, doors, stage } = setup;
    let worker = Rc::new(Worker {
        index,
        duty: Rc::new(Duty::new(Arc::clone(&live), index)),
        live,
        sheet: Sheet::new(access, reporter.clone()),
        reporter,
        rng: RefCell::new(fastrand::Rng::new()),
        lines: RefCell::default(),
        view: RefCell::default(),
        upstreams: RefCell::default(),
        steps: Cell::new(0),
        doors: RefCell::default(),
        open: Cell::new(0),
        emptied: Notify::new(),
    });
    let _recalls = task::Owned::spawn(recalls(Rc::clone(&worker), recall));
    let _sweeps = task::Owned::spawn(sweeps(Rc::clone(&worker)));
    let _yields = task::Owned::spawn(yields(Rc::clone(&worker)));
    let _pulse = task::Owned::spawn(pulse(Rc::clone(&worker)));
    unless_ended(stage.clone(), async {
        let leave = keep_doors(&worker, doors, stage).await;
        tokio::select! {
            () = worker.emptied() => {}
            () = tokio::time::sleep(leave.timeout) => tracing::warn!(worker = index, "cutting off what is still under way"),
        }
    })
    .await;
}

/// Opens and closes doors as ordered, until the worker is to close. When this returns no door lets anybody in.
async fn keep_doors(worker: &Rc<Worker>, mut orders: watch::Receiver<Doors>, mut stage: watch::Receiver<Stage>) -> Leave {
    let mut open: Vec<(Rc<Door>, JoinHandle<()>)> = Vec::new();
    let leave = loop {
        let Doors { openings, leave } = orders.borrow_and_update().clone();
        open.retain(|(door, _)| {
            let stays = openings.iter().any(|opening| door.is(opening));
            if !stays {
                drop(task::spawn(leave_by(Rc::clone(door), leave)));
            }
            stays
        });
        for opening in openings {
            if !open.iter().any(|(door, _)| door.is(&opening)) {
                open.extend(worker.open_door(opening));
            }
        }
        tokio::select! {
            biased;
            // A sender that is gone means that nobody will ever say so.
            stage = stage.wait_for(|stage| *stage != Stage::Serving) => match stage.as_deref() {
                Ok(Stage::Closing(leave)) => break *leave,
                _ => break Leave::default(),
            },
            Ok(()) = orders.changed() => {}
        }
    };
    for (door, _) in &open {
        door.enter(Stage::Closing(leave));
    }
    for (_, accepting) in open {
        // A task that panicked has been counted.
        drop(accepting.await);
    }
    leave
}

/// Has the connections of a door go, which lets nobody in any more.
async fn leave_by(door: Rc<Door>, leave: Leave) {
    door.enter(Stage::Closing(leave));
    timer::sleep(leave.timeout).await;
    door.enter(Stage::Ended);
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
        let upstream = worker.upstreams.borrow().get(&recall.endpoint).cloned();
        if let Some(upstream) = upstream {
            upstream.recall(recall.overdue);
        }
    }
}

async fn sweeps(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep_until(clock::instant(grid::from(clock::now() + SWEEP))).await;
        // Without requests nobody else would notice that endpoints have left, whose connections are to be closed.
        drop(worker.view());
        let upstreams: Vec<_> = worker.upstreams.borrow().values().filter(|upstream| upstream.has_idle()).cloned().collect();
        for upstream in upstreams {
            upstream.sweep(clock::now());
        }
    }
}

/// Closes a connection that idles for every cluster that somebody waits for leave to open one to.
async fn yields(worker: Rc<Worker>) {
    loop {
        worker.live.hunger().notified().await;
        let view = worker.view();
        let short = |cluster: &&Rc<ClusterView>| {
            cluster.cluster.gate().pending.get() > 0 && cluster.cluster.snapshot().load().limits.are_of_connections()
        };
        let short: HashSet<ClusterId> = view.clusters().iter().filter(short).map(|cluster| cluster.cluster.id).collect();
        let upstreams: Vec<_> = worker.upstreams.borrow().values().filter(|upstream| upstream.has_idle()).cloned().collect();
        for upstream in upstreams.iter().filter(|upstream| short.contains(&upstream.endpoint.cluster_id)) {
            upstream.close_idle();
        }
    }
}

/// Shows that this worker runs, and looks after what no event tells of.
async fn pulse(worker: Rc<Worker>) {
    let look = || {
        worker.sheet.send();
        if worker.duty.sending.get() > 0 {
            worker.upstreams.borrow().values().for_each(|upstream| upstream.look_at_bodies());
        }
        worker.sheet.has_lines()
    };
    loop {
        worker.duty.work(look).await;
        worker.duty.rest().await;
    }
}

/// Accepts on a door's socket until it is closed. A bug in between costs a pause.
async fn keep_accepting(worker: Rc<Worker>, door: Rc<Door>, socket: Arc<ListenSocket>) {
    while task::spawn(accept(Rc::clone(&worker), Rc::clone(&door), Arc::clone(&socket))).await.is_err() {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Accepts until told to close, then takes what the system has accepted already: those clients have been let in.
async fn accept(worker: Rc<Worker>, door: Rc<Door>, socket: Arc<ListenSocket>) {
    let listener = match socket.acceptor() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("a listening socket cannot be used: {error}"),
    };
    let mut stage = door.stage();
    let ours = listener.only_address();
    let mut closing = Box::pin(stage.wait_for(|stage| *stage != Stage::Serving));
    loop {
        tokio::select! {
            biased;
            _ = &mut closing => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(&worker, &door, stream, (peer, ours)),
                Err(error) => pause(&worker, &door, &error).await,
            },
        }
    }
    door.close();
    match listener.into_waiting() {
        Ok(waiting) => empty(&worker, &door, waiting, ours),
        Err(error) => tracing::error!("the accept queue cannot be emptied: {error}"),
    }
}

fn empty(worker: &Rc<Worker>, door: &Rc<Door>, waiting: Waiting, ours: Option<SocketAddr>) {
    for (stream, peer) in waiting {
        admit(worker, door, stream, (peer, ours));
    }
}

async fn pause(worker: &Rc<Worker>, door: &Door, error: &io::Error) {
    // A client that left before it was accepted is no trouble of ours.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    worker.count(door, ListenerError::Accept);
    tracing::warn!("cannot accept a connection: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Starts the task of a connection between these ends, as far as they are known, unless there are as many as the listener may have.
fn admit(worker: &Rc<Worker>, door: &Rc<Door>, stream: Socket, ends: (Option<SocketAddr>, Option<SocketAddr>)) {
    if worker.open.get() >= CROWD {
        rest::did(rest::CONNECTIONS);
    }
    let sight = worker.sight(door);
    let listener = sight.listener();
    let place = Place::take(worker, &listener.connections);
    if listener.connections.load(Relaxed) > listener.config.limits.connections {
        return worker.count(door, ListenerError::ConnectionLimit);
    }
    match connection::Accepted::new(Rc::clone(door), listener, ends) {
        // In a box, for a task is copied whole when it is made and when it ends.
        Ok(accepted) => drop(task::spawn(Box::pin(connection::serve(Rc::clone(worker), accepted, stream, place)))),
        Err(reason) => worker.count(door, reason),
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
    fn view(&self) -> Rc<View> {
        let published = self.live.world().load();
        let mut view = self.view.borrow_mut();
        if !view.shows(&published) {
            *view = Rc::new(view.next(Arc::clone(&published)));
            self.forget_absent(&view);
            self.doors.borrow_mut().retain(|door| door.upgrade().inspect(|door| door.look(&view)).is_some());
        }
        Rc::clone(&view)
    }

    /// The listener behind a door, in the world in force, or in the last one that had it.
    pub(crate) fn sight(&self, door: &Door) -> Sight {
        self.view();
        door.sight()
    }

    /// Lets clients in by a door, if the world has its listener.
    fn open_door(self: &Rc<Self>, opening: Opening) -> Option<(Rc<Door>, JoinHandle<()>)> {
        let Some(sight) = Sight::of(&self.view(), &opening.listener) else {
            tracing::error!(listener = &*opening.listener, "a socket without a listener");
            return None;
        };
        let door = Rc::new(Door::new(&opening, sight));
        self.doors.borrow_mut().push(Rc::downgrade(&door));
        let accepting = task::spawn(keep_accepting(Rc::clone(self), Rc::clone(&door), opening.socket));
        Some((door, accepting))
    }

    /// This worker's side of an endpoint.
    pub(crate) fn upstream(&self, endpoint: &Arc<Endpoint>) -> Rc<Upstream> {
        let mut upstreams = self.upstreams.borrow_mut();
        let new = || Upstream::new(Arc::clone(endpoint), self.index, Arc::clone(&self.live), Rc::clone(&self.duty));
        Rc::clone(upstreams.entry(endpoint.id).or_insert_with(|| Rc::new(new())))
    }

    /// Counts a client connection that ended badly.
    pub(crate) fn count(&self, door: &Door, reason: ListenerError) {
        self.sight(door).listener().cells[self.index].error(reason);
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

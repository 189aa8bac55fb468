//! Heartbeats on their way through control: who may be spoken for, and what becomes of each beat.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::time::Timestamp;
use crate::cluster::{Cluster, Endpoint, Inlet};
use crate::config::model;
use crate::control::announcer::Announcer;
use crate::control::wards::Wards;
use crate::health::signal::{Beat, BeatResult, Observation, Signal};
use crate::heartbeat::{self, Directory, FirstBeat, Gate, Identity, Pushed, Service};
use crate::net::listen::ListenSocket;
use crate::runtime::clock;
use crate::runtime::task::Owned;
use crate::tls::Renewable;

/// How many beats may wait for control; the connections of those that come then wait.
const WAITING: usize = 1024;
/// From one taking in of beats to the next, if nothing else wakes us: ten thousand senders come ten at a time, and who is alone does not
/// wait.
const GATHER: Duration = Duration::from_millis(1);

/// What control has to do with heartbeats.
#[derive(Debug)]
pub(super) struct Beats {
    directory: Rc<Directory>,
    pushed: mpsc::Receiver<Pushed>,
    newcomers: mpsc::Receiver<FirstBeat>,
    service: Rc<Service>,
    /// Until then beats are gathered.
    gather_until: Timestamp,
    /// What is listened on; ends when dropped.
    open: Vec<Open>,
    /// Beats that are answered when what follows from them has been published: at most one of each connection.
    held: Vec<(Pushed, BeatResult)>,
}

/// A socket that beats come in by, as it is served.
#[derive(Debug)]
struct Open {
    socket: Arc<ListenSocket>,
    tls: Option<Arc<Renewable>>,
    _task: Owned,
}

impl Open {
    fn is(&self, socket: &Arc<ListenSocket>, tls: Option<&Arc<Renewable>>) -> bool {
        Arc::ptr_eq(&self.socket, socket) && self.tls.as_ref().map(Arc::as_ptr) == tls.map(Arc::as_ptr)
    }
}

/// A beat that has come.
#[derive(Debug)]
pub(super) enum Came {
    Beat(Pushed),
    /// Of an endpoint that is not there yet.
    First(FirstBeat),
}

/// Endpoints that may be spoken for, and the settings of their cluster.
pub(super) type Senders<'a> = (&'a model::Cluster, Vec<Arc<Endpoint>>);

impl Beats {
    /// Nobody is listened to as yet.
    pub(super) fn new(proxy: Identity, announcer: &Announcer) -> Self {
        let directory = Rc::new(Directory::default());
        let (sender, pushed) = mpsc::channel(WAITING);
        let (first, newcomers) = mpsc::channel(WAITING);
        let counts = announcer.shared.tallies.heartbeats().clone();
        let service = Rc::new(Service::new(Rc::clone(&directory), sender, first, proxy, counts));
        Self { directory, pushed, newcomers, service, gather_until: Timestamp::ZERO, open: Vec::new(), held: Vec::new() }
    }

    /// Takes heartbeats in on these sockets from now on, and on no others: who is connected by them ends its beat.
    pub(super) fn listen<'a>(&mut self, wanted: impl Iterator<Item = (Arc<ListenSocket>, &'a Inlet)>) {
        let mut before = std::mem::take(&mut self.open);
        for (socket, inlet) in wanted {
            let tls = inlet.tls.clone();
            if let Some(place) = before.iter().position(|known| known.is(&socket, tls.as_ref())) {
                self.open.push(before.swap_remove(place));
                continue;
            }
            let name = inlet.config.address.to_string();
            let serve = |socket| heartbeat::serve(socket, name.into(), tls.clone(), Rc::clone(&self.service));
            match socket.open().and_then(|()| socket.handle()).and_then(serve) {
                Ok(task) => self.open.push(Open { socket, tls, _task: task }),
                Err(error) => tracing::error!(%error, "a socket for heartbeats cannot be used; none come in by it"),
            }
        }
    }

    /// Waits for the next beat; for ever if none can come. Nothing is lost if it is dropped.
    pub(super) async fn next(&mut self) -> Came {
        if self.gather_until > clock::now() {
            tokio::time::sleep_until(clock::instant(self.gather_until)).await;
        }
        tokio::select! {
            Some(pushed) = self.pushed.recv() => Came::Beat(pushed),
            Some(first) = self.newcomers.recv() => Came::First(first),
            else => std::future::pending().await,
        }
    }

    /// Beats have been taken in.
    pub(super) fn taken(&mut self, now: Timestamp) {
        self.gather_until = now + GATHER;
    }

    /// Answers a beat that has been taken in: when what follows from it is in force, for a sender that hears that nothing comes to it any more
    /// may end in the same moment.
    pub(super) fn answer(&mut self, beat: Pushed, result: BeatResult, wards: &Wards) {
        if wards.is_published(beat.endpoint.id) {
            answer(beat, result);
        } else {
            self.held.push((beat, result));
        }
    }

    /// Answers those that have waited for a publication which has been made.
    pub(super) fn answer_published(&mut self, wards: &Wards) {
        for (beat, result) in self.held.extract_if(.., |(beat, _)| wards.is_published(beat.endpoint.id)) {
            answer(beat, result);
        }
    }

    /// The next beat, if one is there.
    pub(super) fn try_next(&mut self) -> Option<Came> {
        let first = |newcomers: &mut mpsc::Receiver<FirstBeat>| newcomers.try_recv().ok().map(Came::First);
        self.pushed.try_recv().ok().map(Came::Beat).or_else(|| first(&mut self.newcomers))
    }

    /// Tells who may be spoken for from now on, those of one cluster in several parts perhaps; `led` gives the cluster in force.
    pub(super) fn list<'a>(
        &self,
        senders: impl Iterator<Item = Senders<'a>>,
        led: impl Fn(&str) -> Option<Arc<Cluster>>,
        now: Timestamp,
    ) {
        let mut all: HashMap<&str, Senders<'_>> = HashMap::new();
        for (cluster, endpoints) in senders {
            all.entry(&cluster.name).or_insert_with(|| (cluster, Vec::new())).1.extend(endpoints);
        }
        let gate = |(cluster, endpoints): Senders<'_>| {
            let policy = cluster.health.heartbeat?;
            let keys = self.directory.keys(&cluster.name, cluster.heartbeat_tokens.as_ref());
            let gate = Gate::new(Arc::clone(&cluster.name), policy, cluster.report.clone(), keys, endpoints, now);
            let led = cluster.health.leader.as_ref().and_then(|_| led(&cluster.name));
            Some(gate.led(led).joined(cluster.discovery == Some(model::Discovery::Heartbeat)))
        };
        self.directory.install(all.into_values().filter_map(gate).collect());
    }
}

fn answer(beat: Pushed, result: BeatResult) {
    // Who asked may have left.
    let _ = beat.taken.send(result);
}

/// The signals that a beat comes to, in their order. What is left of it is what [`count`] and [`Joins`](super::joins::Joins) ask for.
pub(super) fn signals(pushed: &mut Pushed) -> impl Iterator<Item = Signal> {
    let (cluster, endpoint, at) = (pushed.endpoint.cluster_id, pushed.endpoint.id, pushed.at);
    let left = Beat { state: pushed.beat.state, sent_at_ms: pushed.beat.sent_at_ms, ..Beat::default() };
    let beat = Observation::Beat(std::mem::replace(&mut pushed.beat, left));
    let report = pushed.report.take().map(Observation::Report);
    [Some(beat), report].into_iter().flatten().map(move |observation| Signal { cluster, endpoint, at, observation })
}

/// Counts a beat that has just been taken in, and returns what it was taken for. Only now: the next one of the same endpoint may
/// wait already.
pub(super) fn count(pushed: &Pushed, announcer: &Announcer) -> BeatResult {
    let endpoint = &pushed.endpoint;
    let view = endpoint.view();
    let Some(heartbeat) = &view.heartbeat else { return BeatResult::Ok };
    let tallies = &announcer.shared.tallies;
    tallies.heartbeats().count(&endpoint.cluster, endpoint.address.as_str(), heartbeat.last.as_str());
    let counts = matches!(heartbeat.last, BeatResult::Ok | BeatResult::Restarted | BeatResult::ClockStep);
    // Without a clock of its own there is none that could be late.
    if counts && pushed.beat.sent_at_ms.is_some() && heartbeat.clock_offset_ms.is_some() {
        tallies.delayed(&endpoint.cluster, heartbeat.delay);
    }
    heartbeat.last
}

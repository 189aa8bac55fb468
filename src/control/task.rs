//! The control task: one loop on one thread that hears everything and changes everything.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::cluster::SignalQueue;
use crate::config::Config;
use crate::control::alarm::Alarm;
use crate::control::announcer::Announcer;
use crate::control::beats::{self, Beats, Came};
use crate::control::draft::{Bench, Draft, Identities};
use crate::control::events::EventLog;
use crate::control::fleet::Fleet;
use crate::control::handle::{Handle, NotFound, Order, ReloadOutcome, Shared};
use crate::control::joins::{self, Joins};
use crate::control::keeper::Keeper;
use crate::control::memory::Memory;
use crate::control::moves::Moves;
use crate::control::orders::{self, Orders};
use crate::control::outside::Outside;
use crate::control::pulse::Pulse;
use crate::control::reload::{Comparison, Reloads, Request, compare};
use crate::control::setup::Setup;
use crate::control::source::{Read, Source};
use crate::control::tallies::Tallies;
use crate::control::ward::Ward;
use crate::control::wards::Wards;
use crate::control::watched::Watcher;
use crate::control::world::world;
use crate::discovery::Found;
use crate::fleet::Word;
use crate::health::signal::{Observation, OperatorState, Signal};
use crate::heartbeat::Pushed;
use crate::probe::ProbeLag;
use crate::runtime::{clock, thread};

/// How many results of probes may wait. A probe that finds it full waits itself: its results are never dropped.
const RESULTS: usize = 1024;
/// How many names may have resolved without being probed yet.
const RESOLVED: usize = 64;
/// How many findings of discovery may wait.
const DISCOVERED: usize = 64;
/// How many signals are taken in before anything else has its turn.
const BATCH: usize = 256;

/// Pause after a bug, so that one that comes again at once does not take the whole thread.
const AFTER_BUG: Duration = Duration::from_millis(100);

/// Starts control on a thread of its own, with the probes on it. When this returns the world is published, with nothing
/// known yet of endpoints that have probes.
///
/// # Errors
/// If the system gives no thread.
pub fn start(setup: Setup) -> io::Result<(Handle, JoinHandle<()>)> {
    let events = EventLog::new();
    let shared = Arc::new(Shared {
        live: setup.live,
        config: ArcSwap::from_pointee(setup.config),
        tallies: Tallies::new(),
        dropped: setup.dropped,
        lag: Arc::default(),
        pulse: Arc::default(),
        drain: watch::Sender::new(false),
        fleet: ArcSwapOption::empty(),
    });
    let (handle, orders) = Handle::new(Arc::clone(&shared), events.stream());
    let announcer = Announcer::new(shared, events, setup.recalls);
    let source = Source(setup.source);
    let proxy = setup.proxy;
    // Not a tokio channel: the thread that waits may itself be a runtime's.
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let thread = thread::spawn("control", move || async move {
        let beats = Beats::new(proxy, &announcer);
        let mut control = Control::new(announcer, source, orders, setup.signals, setup.outside, beats);
        control.begin(setup.memory.as_deref());
        let _ = ready.send(());
        control.run().await;
    })?;
    is_ready.recv().map_err(|_| io::Error::other("control failed at its start; the log says why"))?;
    Ok((handle, thread))
}

/// Everything the control task owns.
#[derive(Debug)]
struct Control {
    wards: Wards,
    reloads: Reloads,
    moves: Moves,
    joins: Joins,
    discovered: mpsc::Receiver<Found>,
    identities: Identities,
    watcher: Watcher,
    orders: mpsc::Receiver<Order>,
    signals: SignalQueue,
    results: mpsc::Receiver<Signal>,
    /// What has been taken from a queue together; a bug with one of them leaves the others here.
    batch: VecDeque<Signal>,
    resolved: mpsc::Receiver<EndpointId>,
    fleet: Fleet,
    beats: Beats,
    pulse: Pulse,
    alarm: Alarm,
    /// Who waits for first verdicts.
    settling: Vec<oneshot::Sender<()>>,
    outside: Box<dyn Outside>,
    orders_kept: Orders,
    /// Started when it is first needed.
    keeper: Option<Keeper>,
    stopped: bool,
}

/// What the loop wakes for.
#[derive(Debug)]
enum Heard {
    Order(Option<Order>),
    /// Of a probe.
    Result(Signal),
    /// Of a worker.
    Signal(Signal),
    Resolved(EndpointId),
    Discovered(Found),
    Beat(Came),
    Configuration(Box<Read>),
    /// Of another proxy.
    Fleet(Word),
    Time,
}

impl Control {
    fn new(
        announcer: Announcer,
        source: Source,
        orders: mpsc::Receiver<Order>,
        signals: SignalQueue,
        outside: Box<dyn Outside>,
        beats: Beats,
    ) -> Self {
        let (result, results) = mpsc::channel(RESULTS);
        let (name, resolved) = mpsc::channel(RESOLVED);
        let (found, discovered) = mpsc::channel(DISCOVERED);
        let lag: Arc<ProbeLag> = Arc::clone(&announcer.shared.lag);
        Self {
            wards: Wards::new(announcer),
            reloads: Reloads::new(source),
            moves: Moves::new(found),
            joins: Joins::default(),
            discovered,
            identities: Identities::default(),
            watcher: Watcher { signals: result, resolved: name, lag, openings: Rc::default() },
            orders,
            signals,
            results,
            batch: VecDeque::new(),
            resolved,
            fleet: Fleet::default(),
            beats,
            pulse: Pulse::new(clock::now()),
            alarm: Alarm::default(),
            settling: Vec::new(),
            outside,
            orders_kept: Orders::default(),
            keeper: None,
            stopped: false,
        }
    }

    /// Brings the first configuration into force, with nothing known but what is handed over and kept.
    fn begin(&mut self, memory: Option<&str>) {
        let now = clock::now();
        let config = Config::clone(&self.wards.announcer.shared.config.load());
        let kept = config.state_file.as_deref().and_then(orders::kept);
        let hands_over = memory.is_some();
        let memory = memory.and_then(Memory::read);
        let draft = self.draft(memory.as_ref().map_or(config.clone(), |memory| joins::resumed(&config, memory)), now);
        self.commit(draft, now);
        // Who has joined is no part of it.
        self.wards.announcer.shared.config.store(Arc::new(config));
        self.wards.ourselves.begin(now);
        self.join_fleet();
        if let Some(memory) = memory {
            self.wards.remember(memory.clusters, now);
            self.orders_kept = memory.orders;
        } else {
            self.orders_kept = kept.unwrap_or_default();
        }
        self.wards.raise_epochs(&mut self.orders_kept.epochs, now);
        self.renew_orders(now);
        // Until we have taken over the other process hears them.
        self.hear_heartbeats(!hands_over);
    }

    /// Takes heartbeats in, or leaves them to another process: then nobody is judged by what we do not hear.
    fn hear_heartbeats(&mut self, hear: bool) {
        self.pulse.deaf = !hear;
        let world = self.wards.announcer.shared.live.world().load();
        let sockets = if hear { self.outside.heartbeats() } else { Vec::new() };
        self.beats.listen(sockets.into_iter().zip(&world.inlets));
    }

    /// Takes our seat in the fleet, or another one, or leaves it.
    fn join_fleet(&mut self) {
        let config = self.wards.announcer.shared.config.load();
        if self.fleet.is_seated_by(config.fleet.as_ref()) {
            return;
        }
        self.fleet = Fleet::default();
        self.wards.announcer.shared.fleet.store(None);
        if let (Some(fleet), Some(socket)) = (&config.fleet, self.outside.votes()) {
            match socket.open().and_then(|()| socket.handle()).and_then(|socket| Fleet::join(fleet, socket)) {
                Ok(joined) => self.fleet = joined,
                Err(error) => tracing::error!(%error, "the fleet's socket cannot be used; votes of others are not heard"),
            }
        }
        self.wards.retake_votes(clock::now());
    }

    /// Gives up our seat: another process sits there, and one of us must not be two.
    fn leave_fleet(&mut self) {
        self.fleet = Fleet::default();
        self.wards.announcer.shared.fleet.store(None);
        self.wards.retake_votes(clock::now());
    }

    /// Has orders that stand carried out where they are not: for endpoints that are new here.
    fn renew_orders(&mut self, now: Timestamp) {
        let addresses = |ward: &Ward| ward.endpoints().iter().map(|endpoint| endpoint.address.text()).collect();
        if self.orders_kept.reach(|cluster| self.wards.find(cluster).map(addresses).unwrap_or_default()) {
            self.when_kept(|| {});
        }
        for standing in &self.orders_kept.endpoints {
            let (cluster, endpoint) = (&*standing.cluster, &*standing.endpoint);
            let Some(state) = standing.state().filter(|_| self.wards.is_ready(cluster, endpoint)) else { continue };
            let reason = standing.reason.as_deref().map(Into::into);
            let order = Observation::Operator { state, until: standing.until(), reason };
            drop(self.wards.operate(cluster, Some(endpoint), &order, standing.since(), now));
            if let Some(until) = standing.ready_until().filter(|until| *until > now) {
                let order = Observation::Operator { state: OperatorState::Ready, until: Some(until), reason: None };
                drop(self.wards.operate(cluster, Some(endpoint), &order, now, now));
            }
        }
        for cluster in &self.orders_kept.frozen {
            if self.wards.find(cluster).is_some_and(|ward| !ward.is_frozen()) {
                drop(self.wards.set_frozen(cluster, true, now));
            }
        }
    }

    /// Does something when the orders that stand have been written, if they are to be.
    fn when_kept(&mut self, then: impl FnOnce() + Send + 'static) {
        let config = self.wards.announcer.shared.config.load();
        let Some(file) = &config.state_file else { return then() };
        if self.keeper.is_none() {
            self.keeper = Keeper::start().inspect_err(|error| tracing::error!(%error, "the state file is not written")).ok();
        }
        match &self.keeper {
            Some(keeper) => keeper.keep(file, self.orders_kept.text(), Box::new(then)),
            None => then(),
        }
    }

    fn operate(
        &mut self,
        cluster: &str,
        endpoint: Option<&str>,
        (state, span, reason): (OperatorState, Option<Duration>, Option<&str>),
        now: Timestamp,
    ) -> Result<(), NotFound> {
        let until = span.map(|span| now + span);
        let order = Observation::Operator { state, until, reason: reason.map(Into::into) };
        let addresses = self.wards.operate(cluster, endpoint, &order, now, now)?;
        match endpoint {
            Some(endpoint) => self.orders_kept.note(cluster, endpoint, state, until, reason),
            None => self.orders_kept.note_whole(cluster, &addresses, state, until, reason),
        }
        Ok(())
    }

    /// Takes on the orders of a process that hands over.
    fn remember(&mut self, memory: &str, now: Timestamp) {
        let Some(Memory { orders, .. }) = Memory::read(memory) else { return };
        let before = std::mem::replace(&mut self.orders_kept, orders);
        self.wards.raise_epochs(&mut self.orders_kept.epochs, now);
        for standing in before.endpoints.iter().filter(|standing| !self.orders_kept.endpoints.contains(standing)) {
            let order = Observation::Operator { state: OperatorState::Ready, until: None, reason: None };
            drop(self.wards.operate(&standing.cluster, Some(&standing.endpoint), &order, now, now));
        }
        for cluster in before.frozen.iter().filter(|cluster| !self.orders_kept.frozen.contains(cluster)) {
            drop(self.wards.set_frozen(cluster, false, now));
        }
        self.renew_orders(now);
    }

    async fn run(&mut self) {
        while !self.stopped {
            let heard = self.next().await;
            // A bug costs the signal it comes with, never health as a whole: without control nobody would be ejected again.
            if catch_unwind(AssertUnwindSafe(|| self.act(heard))).is_err() {
                tokio::time::sleep(AFTER_BUG).await;
            }
        }
    }

    /// Waits for whatever comes next. Nothing is lost if it is dropped.
    async fn next(&mut self) -> Heard {
        let wake = self.wake();
        self.pulse.plan(wake);
        self.alarm.set(wake);
        let live = &self.wards.announcer.shared.live;
        tokio::select! {
            order = self.orders.recv() => Heard::Order(order),
            Some(signal) = self.results.recv() => Heard::Result(signal),
            Some(signal) = self.signals.recv() => Heard::Signal(signal),
            Some(id) = self.resolved.recv() => Heard::Resolved(id),
            Some(found) = self.discovered.recv() => Heard::Discovered(found),
            word = self.fleet.next() => Heard::Fleet(word),
            came = self.beats.next() => Heard::Beat(came),
            read = self.reloads.read() => Heard::Configuration(Box::new(read)),
            () = self.alarm.rung() => Heard::Time,
            () = live.roused().notified() => Heard::Time,
        }
    }

    fn act(&mut self, heard: Heard) {
        let now = clock::now();
        if let Some(stall) = self.pulse.beat(now) {
            self.wards.excuse(stall, now);
        }
        match heard {
            Heard::Order(order) => self.obey(order),
            Heard::Result(signal) => self.hear_queue(signal, |control| &mut control.results),
            Heard::Signal(signal) => self.hear_queue(signal, |control| &mut control.signals),
            Heard::Resolved(id) => self.hear_resolved(id),
            Heard::Discovered(found) => self.moves.hear(found, &self.wards),
            Heard::Beat(came) => self.hear_came(came),
            Heard::Configuration(read) => self.compare(*read),
            Heard::Fleet(word) => self.fleet.hear(word, clock::now()),
            Heard::Time => {}
        }
        // What has come is read before anybody is judged by its absence.
        self.hear_beats();
        self.tick(clock::now());
    }

    fn wake(&mut self) -> Timestamp {
        let fleet = self.fleet.wake().unwrap_or(Timestamp::NEVER);
        let wards = self.wards.wake().unwrap_or(Timestamp::NEVER).min(self.moves.wake()).min(fleet);
        let joins = if self.pulse.deaf { Timestamp::NEVER } else { self.joins.wake() };
        self.reloads.draft().map_or(wards.min(joins), |draft| wards.min(draft.wake()))
    }

    /// What is due by now, whatever woke us.
    fn tick(&mut self, now: Timestamp) {
        self.wards.tick(now);
        self.beats.answer_published(&self.wards);
        if self.wards.take_epochs(&mut self.orders_kept.epochs) {
            self.when_kept(|| {});
        }
        self.fleet.tick(&mut self.wards, now);
        if let Some(draft) = self.reloads.draft() {
            draft.tick(now, &self.wards.announcer);
            if draft.is_ready(now) {
                self.apply_draft(now);
            }
        }
        if self.reloads.draft().is_none() {
            self.move_endpoints(now);
        }
        if !self.settling.is_empty() && self.wards.settled() {
            for answer in self.settling.drain(..) {
                // Who asked may have left.
                let _ = answer.send(());
            }
        }
    }

    /// Lets endpoints that are discovered come and go. A first beat is answered when what follows is shown.
    fn move_endpoints(&mut self, now: Timestamp) {
        let mut bench = Bench { identities: &mut self.identities, watcher: &self.watcher, now };
        let firsts = if self.pulse.deaf { Vec::new() } else { self.joins.gather(&mut self.moves, &self.wards, &mut bench) };
        let mut joined: Vec<_> = firsts.into_iter().filter_map(|first| joins::join(first, &self.moves, &self.wards)).collect();
        for (beat, _) in &mut joined {
            for signal in beats::signals(beat) {
                self.hear(signal);
            }
        }
        let mut bench = Bench { identities: &mut self.identities, watcher: &self.watcher, now };
        let changed = self.moves.advance(&mut self.wards, &mut bench, &self.watcher);
        if changed || !joined.is_empty() {
            self.renew_orders(now);
            self.list_senders(now);
        }
        for (beat, answer) in joined {
            let result = beats::count(&beat, &self.wards.announcer);
            // Who asked may have left.
            drop(answer.send(Some((beat.endpoint, result))));
        }
    }

    /// Takes in the first of a queue, and what has come behind it. Whoever is meant lies anywhere in memory, so all of them are looked
    /// at before one is acted on.
    fn hear_queue(&mut self, first: Signal, queue: fn(&mut Self) -> &mut mpsc::Receiver<Signal>) {
        self.batch.push_back(first);
        while self.batch.len() < BATCH
            && let Ok(signal) = queue(self).try_recv()
        {
            self.batch.push_back(signal);
        }
        self.wards.look_ahead(&self.batch);
        while let Some(signal) = self.batch.pop_front() {
            self.hear(signal);
        }
    }

    fn hear_beats(&mut self) {
        for _ in 0..BATCH {
            let Some(came) = self.beats.try_next() else { return };
            self.hear_came(came);
        }
    }

    fn hear_came(&mut self, came: Came) {
        self.beats.taken(clock::now());
        match came {
            Came::Beat(beat) => self.hear_beat(beat),
            Came::First(first) => self.joins.hear(first, &self.wards),
        }
    }

    fn hear_beat(&mut self, mut beat: Pushed) {
        for signal in beats::signals(&mut beat) {
            self.hear(signal);
        }
        let result = beats::count(&beat, &self.wards.announcer);
        self.joins.said(&beat, clock::now());
        self.beats.answer(beat, result, &self.wards);
    }

    /// Tells who may be spoken for by heartbeats: who is in force, and who joins by the draft under way.
    fn list_senders(&mut self, now: Timestamp) {
        let joining = self.reloads.draft().map(|draft| &*draft).into_iter().flat_map(Draft::joining);
        let senders = self.wards.iter().map(|ward| (&ward.config, ward.endpoints().to_vec()));
        let led = |name: &str| self.wards.find(name).map(|ward| Arc::clone(&ward.cluster));
        self.beats.list(senders.chain(joining).chain(self.moves.joining()), led, now);
    }

    fn hear(&mut self, signal: Signal) {
        let now = clock::now();
        let Some(stray) = self.wards.apply(signal, now) else { return };
        match self.reloads.draft() {
            Some(draft) => draft.apply(stray, now, &self.wards.announcer),
            None => self.moves.apply(stray, now, &self.wards.announcer),
        }
    }

    fn hear_resolved(&mut self, id: EndpointId) {
        self.wards.resolved(id);
        self.moves.resolved(id);
        if let Some(draft) = self.reloads.draft() {
            draft.resolved(id);
        }
    }

    /// Carries out an order; without any handle left there is nobody to serve. Who asked may have left meanwhile.
    fn obey(&mut self, order: Option<Order>) {
        let now = clock::now();
        match order {
            Some(Order::Operate { cluster, endpoint, state, span, reason, answer }) => {
                let done = self.operate(&cluster, endpoint.as_deref(), (state, span, reason.as_deref()), now);
                self.when_kept(move || drop(answer.send(done)));
            }
            Some(Order::Freeze { cluster, frozen, answer }) => {
                let done = self.wards.set_frozen(&cluster, frozen, now);
                if done.is_ok() {
                    self.orders_kept.note_frozen(&cluster, frozen);
                }
                self.when_kept(move || drop(answer.send(done)));
            }
            Some(Order::Memory { answer }) => {
                let memory = Memory { orders: self.orders_kept.clone(), clusters: self.wards.memory() };
                drop(answer.send(memory.text()));
            }
            Some(Order::Remember { memory, answer }) => {
                self.remember(&memory, now);
                // Who asked may have left.
                self.when_kept(move || _ = answer.send(()));
            }
            Some(Order::History { cluster, endpoint, answer }) => drop(answer.send(self.wards.history(&cluster, &endpoint))),
            Some(Order::Reload { dry_run, answer }) => self.reloads.ask(Request { dry_run, answer }),
            Some(Order::Heartbeats { hear, answer }) => {
                self.hear_heartbeats(hear);
                if !hear {
                    self.leave_fleet();
                }
                // Who asked may have left.
                let _ = answer.send(());
            }
            Some(Order::Settled { answer }) => self.settling.push(answer),
            Some(Order::Stop) | None => self.stopped = true,
        }
    }

    fn draft(&mut self, config: Config, now: Timestamp) -> Draft {
        let bench = Bench { identities: &mut self.identities, watcher: &self.watcher, now };
        Draft::new(config, &self.wards, bench)
    }

    /// A configuration has been read: compares it, and drafts it if it may and should come into force.
    fn compare(&mut self, read: Read) {
        let Some(request) = self.reloads.take_request() else { return };
        let comparison = compare(&self.wards.announcer.shared.config.load(), read);
        match comparison {
            Comparison::Changes(_, changes) if changes.is_empty() => {
                self.end_reload(request, ReloadOutcome::Applied { changes });
            }
            Comparison::Changes(config, changes) => match self.outside.prepare(&config) {
                Ok(()) if request.dry_run => {
                    self.outside.abandon();
                    self.end_reload(request, ReloadOutcome::Applied { changes });
                }
                Ok(()) => {
                    self.moves.put_off();
                    let draft = self.draft(*config, clock::now());
                    self.reloads.drafted(request, changes, draft);
                    self.list_senders(clock::now());
                }
                Err(problems) => self.end_reload(request, ReloadOutcome::Refused { problems }),
            },
            Comparison::Problems(problems) => self.end_reload(request, ReloadOutcome::Refused { problems }),
        }
    }

    fn apply_draft(&mut self, now: Timestamp) {
        let Some((request, changes, mut draft)) = self.reloads.take_draft() else { return };
        // What outdated probes have said already still counts; what they would say later would be misread.
        draft.stop_outdated_probes(&mut self.wards);
        while let Ok(signal) = self.results.try_recv() {
            if let Some(stray) = self.wards.apply(signal, now) {
                draft.apply(stray, now, &self.wards.announcer);
            }
        }
        self.commit(draft, now);
        self.renew_orders(now);
        self.when_kept(|| {});
        self.outside.commit(&self.wards.announcer.shared.config.load());
        self.join_fleet();
        self.hear_heartbeats(!self.pulse.deaf);
        self.end_reload(request, ReloadOutcome::Applied { changes });
    }

    fn commit(&mut self, draft: Draft, now: Timestamp) {
        let generation = self.wards.announcer.shared.live.world().load().generation + 1;
        let config = draft.commit(&mut self.wards, &self.watcher, generation, now);
        self.moves.follow(&config);
        let live = &self.wards.announcer.shared.live;
        let next = world(&config, self.wards.clusters(), &live.world().load());
        live.publish(next);
        self.wards.enter_world();
        let shared = &self.wards.announcer.shared;
        shared.config.store(Arc::new(config));
        self.list_senders(now);
    }

    fn end_reload(&mut self, request: Request, outcome: ReloadOutcome) {
        if !request.dry_run {
            self.wards.announcer.shared.tallies.reloaded(matches!(outcome, ReloadOutcome::Applied { .. }));
            match &outcome {
                ReloadOutcome::Applied { changes } => tracing::info!(changes = changes.join("; "), "reload applied"),
                ReloadOutcome::Refused { problems } => tracing::warn!(problems = problems.join("; "), "reload refused"),
            }
        }
        request.end(outcome);
        self.reloads.next();
    }
}

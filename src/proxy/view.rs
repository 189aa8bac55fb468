//! The published world as one worker holds it, with what belongs to the worker beside it: cursors and upstreams.
//!
//! Counting references in the published objects would have every worker write to the same memory on every request, so a
//! worker counts in objects of its own that lead there, and makes new ones when something new has been published.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::Notify;

use crate::balance::{Cursor, Loads, Standing};
use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::cluster::{Cluster, Crew, Listener, Snapshot, World};
use crate::proxy::place::Place;
use crate::proxy::upstream::Upstream;
use crate::proxy::worker::Worker;
use crate::runtime::clock;
use crate::traffic::affinity::Asked;
use crate::traffic::limits::Limit;
use crate::traffic::policy::Role;

/// Endpoints at their limit that are met before all are looked at in order.
const PATIENCE: usize = 8;

/// The world.
#[derive(Debug, Default)]
pub(crate) struct View {
    world: Arc<World>,
    clusters: Vec<Rc<ClusterView>>,
}

/// One cluster.
#[derive(Debug)]
pub(crate) struct ClusterView {
    pub(crate) cluster: Arc<Cluster>,
    roster: RefCell<Option<Rc<Roster>>>,
    /// One for each role, which are rotations of their own.
    cursors: [RefCell<Cursor>; 3],
    /// How long this worker usually waits for an answer of the cluster.
    usual: Cell<Standing>,
    /// How many of this worker's requests wait for the cluster.
    pub(crate) waiting: Cell<usize>,
    /// Calls one of them.
    pub(crate) freed: Notify,
}

/// One snapshot.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) snapshot: Arc<Snapshot>,
    upstreams: Rc<Upstreams>,
}

/// This worker's side of the endpoints of a cluster, by their numbers; each is made when it is first used, and none anew
/// as long as the endpoints stay the same.
#[derive(Debug)]
struct Upstreams(Box<[OnceCell<Rc<Upstream>>]>);

/// What a request asks of a pick.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// Its key, if keys count and it has one.
    key: Option<u64>,
    /// The endpoint that its cookie stands for.
    home: Option<Tried>,
    /// Who of the cluster may get it.
    role: Role,
}

/// An endpoint, and the number that it has or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) id: EndpointId,
    pub(crate) number: usize,
}

/// An endpoint that was picked.
#[derive(Debug, Clone)]
pub(crate) struct Picked {
    pub(crate) roster: Rc<Roster>,
    pub(crate) upstream: Rc<Upstream>,
    /// Its number among the endpoints of the cluster.
    pub(crate) number: usize,
}

impl Picked {
    /// What is remembered of it once it has been tried.
    pub(crate) fn tried(&self) -> Tried {
        Tried { id: self.upstream.endpoint.id, number: self.number }
    }
}

impl View {
    /// Whether this is a view of that very world.
    pub(crate) fn shows(&self, world: &Arc<World>) -> bool {
        Arc::ptr_eq(&self.world, world)
    }

    /// A view of the next world; clusters that stay keep their cursors.
    pub(crate) fn next(&self, world: Arc<World>) -> Self {
        let clusters = world.clusters.iter().map(|cluster| self.kept(cluster)).collect();
        Self { clusters, world }
    }

    fn kept(&self, cluster: &Arc<Cluster>) -> Rc<ClusterView> {
        let known = self.clusters.iter().find(|view| Arc::ptr_eq(&view.cluster, cluster));
        known.map_or_else(|| Rc::new(ClusterView::new(Arc::clone(cluster))), Rc::clone)
    }

    /// Where the listener of this name is.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.world.listeners.iter().position(|listener| *listener.config.name == *name)
    }

    /// The listener at a position.
    pub(crate) fn listener(&self, position: usize) -> &Listener {
        &self.world.listeners[position]
    }

    /// All clusters.
    pub(crate) fn clusters(&self) -> &[Rc<ClusterView>] {
        &self.clusters
    }

    /// The cluster at this position of the world.
    pub(crate) fn cluster(&self, position: usize) -> &Rc<ClusterView> {
        &self.clusters[position]
    }

    /// Every endpoint there is.
    pub(crate) fn endpoint_ids(&self) -> HashSet<EndpointId> {
        let endpoints = |cluster: &Arc<Cluster>| Arc::clone(&cluster.snapshot().load().endpoints);
        self.world
            .clusters
            .iter()
            .flat_map(|cluster| endpoints(cluster).iter().map(|endpoint| endpoint.id).collect::<Vec<_>>())
            .collect()
    }
}

impl ClusterView {
    fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            roster: RefCell::new(None),
            cursors: Default::default(),
            usual: Cell::default(),
            waiting: Cell::new(0),
            freed: Notify::new(),
        }
    }

    /// The snapshot in force.
    pub(crate) fn roster(&self, worker: &Worker) -> Rc<Roster> {
        let published = self.cluster.snapshot().load();
        let mut roster = self.roster.borrow_mut();
        match &*roster {
            Some(known) if Arc::ptr_eq(&known.snapshot, &published) => Rc::clone(known),
            // A reload is on its way: its routes and its members come into force together.
            Some(known) if published.generation > worker.live.world().load().generation => Rc::clone(known),
            known => {
                let fresh = Rc::new(Roster::after(known.as_deref(), &published, worker));
                *roster = Some(Rc::clone(&fresh));
                fresh
            }
        }
    }

    /// Whether anybody gets requests with this role.
    pub(crate) fn serves(&self, role: Role) -> bool {
        !self.cluster.snapshot().load().crew(role).members.is_empty()
    }

    /// Picks an endpoint, if anybody gets traffic; one that was not tried yet, if there is one.
    fn pick(&self, (worker, roster): (&Worker, &Rc<Roster>), wish: &Wish, tried: &[Tried], now: Timestamp) -> Option<Picked> {
        let crew = roster.snapshot.crew(wish.role);
        if crew.members.is_empty() {
            return None;
        }
        let home = wish.home.filter(|home| !tried.contains(home)).and_then(|home| roster.position(home, crew));
        let position = match home {
            Some(position) => position,
            None => {
                let tried: Vec<usize> = tried.iter().filter_map(|one| roster.position(*one, crew)).collect();
                let loads = Weighing { view: self, roster, crew, now };
                let (mut cursor, mut rng) = (self.cursors[wish.role as usize].borrow_mut(), worker.rng.borrow_mut());
                crew.picker.pick(&mut cursor, &mut rng, &loads, wish.key, &tried)?
            }
        };
        Some(roster.picked(crew.members[position].number as usize, worker))
    }

    /// Picks an endpoint and takes a place there, if anybody gets traffic. Endpoints that are at their limit are passed over; if
    /// all are, the limit that was met first is told.
    pub(crate) fn seat(
        self: &Rc<Self>,
        (worker, roster): (&Worker, &Rc<Roster>),
        wish: &Wish,
        tried: &[Tried],
        now: Timestamp,
    ) -> Option<Result<(Picked, Place), Limit>> {
        let picked = self.pick((worker, roster), wish, tried, now)?;
        let met = match Place::take(self, &picked) {
            Ok(place) => return Some(Ok((picked, place))),
            Err(met) => met,
        };
        let mut passed = tried.to_vec();
        passed.push(picked.tried());
        for _ in 0..PATIENCE {
            let picked = self.pick((worker, roster), wish, &passed, now)?;
            if passed.contains(&picked.tried()) {
                return Some(Err(met));
            }
            if let Ok(place) = Place::take(self, &picked) {
                return Some(Ok((picked, place)));
            }
            passed.push(picked.tried());
        }
        let others = roster.snapshot.crew(wish.role).members.iter().map(|member| roster.picked(member.number as usize, worker));
        let mut free = others.filter(|picked| !tried.contains(&picked.tried()));
        Some(free.find_map(|picked| Place::take(self, &picked).ok().map(|place| (picked, place))).ok_or(met))
    }

    /// Whether a connection that has become free is of use here: not if only requests of other workers wait for one.
    pub(crate) fn keeps_connection(&self) -> bool {
        self.waiting.get() > 0 || self.cluster.gate().pending.get() == 0
    }

    /// A connection has come into a pool, or has room for one exchange more.
    pub(crate) fn pooled(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }

    /// Remembers how an attempt that began at `started` has ended, where balancing looks at that.
    pub(crate) fn settle(&self, picked: &Picked, started: Timestamp, failed: bool) {
        if !picked.roster.snapshot.affinity.weighs_answers() {
            return;
        }
        let now = clock::now();
        let (mut usual, mut standing) = (self.usual.get(), picked.upstream.standing.get());
        if failed {
            standing.failed(now.since(started), usual.latency(now).unwrap_or_default(), now);
        } else {
            standing.answered(now.since(started), now);
            usual.answered(now.since(started), now);
        }
        picked.upstream.standing.set(standing);
        self.usual.set(usual);
    }
}

impl Roster {
    /// The roster of a snapshot that takes the place of another one.
    fn after(known: Option<&Self>, published: &Arc<Snapshot>, worker: &Worker) -> Self {
        let endpoints = &published.endpoints;
        let upstreams = match known {
            Some(known) if Arc::ptr_eq(&known.snapshot.endpoints, endpoints) => Rc::clone(&known.upstreams),
            known => {
                if let Some(known) = known {
                    let staying: HashSet<EndpointId> = endpoints.iter().map(|endpoint| endpoint.id).collect();
                    worker.forget(known.snapshot.endpoints.iter().map(|one| one.id).filter(|id| !staying.contains(id)));
                }
                Rc::new(Upstreams(endpoints.iter().map(|_| OnceCell::new()).collect()))
            }
        };
        Self { snapshot: Arc::clone(published), upstreams }
    }

    /// What a request asks for, whose headers and path are as received. No cookie leads to another leader.
    pub(crate) fn wish<'a>(&self, role: Role, asked: Asked<'a, impl FnOnce() -> &'a str>) -> Wish {
        if role == Role::Leader {
            return Wish { role, ..Wish::default() };
        }
        let affinity = &self.snapshot.affinity;
        let home = affinity.marks.as_ref().and_then(|marks| marks.find(asked.headers));
        Wish {
            key: affinity.hash_on().and_then(|on| on.key(asked)),
            home: home.map(|number| Tried { id: self.snapshot.endpoints[number].id, number }),
            role,
        }
    }

    fn picked(self: &Rc<Self>, number: usize, worker: &Worker) -> Picked {
        Picked { upstream: Rc::clone(self.upstream(number, worker)), roster: Rc::clone(self), number }
    }

    fn upstream(&self, number: usize, worker: &Worker) -> &Rc<Upstream> {
        self.upstreams.0[number].get_or_init(|| worker.upstream(&self.snapshot.endpoints[number]))
    }

    /// Where in a crew an endpoint is, if it is one of it. Numbers may have changed since it was tried.
    fn position(&self, tried: Tried, crew: Crew<'_>) -> Option<usize> {
        let endpoints = &self.snapshot.endpoints;
        let same = endpoints.get(tried.number).is_some_and(|endpoint| endpoint.id == tried.id);
        let number = if same { tried.number } else { endpoints.iter().position(|endpoint| endpoint.id == tried.id)? };
        crew.position(number)
    }

    /// The cookie that a client needs in order to come back to where it was answered, if it has not got it.
    pub(crate) fn cookie(&self, wish: &Wish, number: usize, secure: bool) -> Option<HeaderValue> {
        let marks = self.snapshot.affinity.marks.as_ref().filter(|_| wish.role != Role::Leader)?;
        let id = self.snapshot.endpoints[number].id;
        if wish.home.is_some_and(|home| home.id == id) { None } else { marks.set_cookie(number, secure) }
    }
}

/// The loads of a roster's members, as this worker knows them.
struct Weighing<'a> {
    view: &'a ClusterView,
    roster: &'a Roster,
    crew: Crew<'a>,
    now: Timestamp,
}

impl Weighing<'_> {
    fn standing(&self, position: usize) -> Option<Standing> {
        let number = self.crew.members[position].number as usize;
        self.roster.upstreams.0[number].get().map(|upstream| upstream.standing.get())
    }
}

impl Loads for Weighing<'_> {
    fn in_flight(&self, position: usize) -> u32 {
        self.roster.snapshot.endpoint(self.crew.members[position]).in_flight()
    }

    fn total(&self) -> u32 {
        self.view.cluster.load()
    }

    fn strain(&self, position: usize) -> f64 {
        self.standing(position).map_or(0.0, |standing| standing.strain(self.now))
    }

    /// Who has answered nobody yet is thought to be as quick as usual.
    fn latency(&self, position: usize) -> f64 {
        let own = self.standing(position).and_then(|standing| standing.latency(self.now));
        own.or_else(|| self.view.usual.get().latency(self.now)).unwrap_or(1.0)
    }
}

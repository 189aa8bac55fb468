//! The published world as one worker holds it, with what belongs to the worker beside it: cursors and upstreams.
//!
//! Counting references in the published objects would have every worker write to the same memory on every request, so a
//! worker counts in objects of its own that lead there, and makes new ones when something new has been published.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::balance::Cursor;
use crate::base::ids::EndpointId;
use crate::cluster::{Cluster, Listener, Route, Snapshot, World};
use crate::proxy::upstream::Upstream;
use crate::proxy::worker::Worker;

/// The world.
#[derive(Debug, Default)]
pub(crate) struct View {
    world: Arc<World>,
    /// Where each of the worker's sockets has its listener.
    listeners: Vec<Option<usize>>,
    clusters: Vec<Rc<ClusterView>>,
}

/// One cluster.
#[derive(Debug)]
pub(crate) struct ClusterView {
    pub(crate) cluster: Arc<Cluster>,
    roster: RefCell<Option<Rc<Roster>>>,
    cursor: RefCell<Cursor>,
}

/// One snapshot.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) snapshot: Arc<Snapshot>,
    upstreams: Box<[Rc<Upstream>]>,
}

impl View {
    /// Whether this is a view of that very world.
    pub(crate) fn shows(&self, world: &Arc<World>) -> bool {
        Arc::ptr_eq(&self.world, world)
    }

    /// A view of the next world; clusters that stay keep their cursors.
    pub(crate) fn next(&self, world: Arc<World>, sockets: &[Arc<str>]) -> Self {
        let position = |name: &Arc<str>| world.listeners.iter().position(|listener| listener.config.name == *name);
        let listeners = sockets.iter().map(position).collect();
        let clusters = world.clusters.iter().map(|cluster| self.kept(cluster)).collect();
        Self { listeners, clusters, world }
    }

    fn kept(&self, cluster: &Arc<Cluster>) -> Rc<ClusterView> {
        let known = self.clusters.iter().find(|view| Arc::ptr_eq(&view.cluster, cluster));
        known.map_or_else(|| Rc::new(ClusterView::new(Arc::clone(cluster))), Rc::clone)
    }

    /// The listener of a socket of this worker.
    pub(crate) fn listener(&self, socket: usize) -> Option<&Listener> {
        self.listeners.get(socket).copied().flatten().map(|position| &self.world.listeners[position])
    }

    /// The cluster that a route leads to.
    pub(crate) fn cluster(&self, route: &Route) -> &Rc<ClusterView> {
        &self.clusters[route.cluster]
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
        Self { cluster, roster: RefCell::new(None), cursor: RefCell::default() }
    }

    /// The snapshot in force.
    pub(crate) fn roster(&self, worker: &Worker) -> Rc<Roster> {
        let published = self.cluster.snapshot().load();
        let mut roster = self.roster.borrow_mut();
        match &*roster {
            Some(known) if Arc::ptr_eq(&known.snapshot, &published) => Rc::clone(known),
            _ => {
                let upstreams = published.members.iter().map(|member| worker.upstream(&member.endpoint)).collect();
                let fresh = Rc::new(Roster { snapshot: Arc::clone(&published), upstreams });
                *roster = Some(Rc::clone(&fresh));
                fresh
            }
        }
    }

    /// Picks an endpoint, if anybody gets traffic; one that was not tried yet, if there is one.
    pub(crate) fn pick(&self, worker: &Worker, tried: &[EndpointId]) -> Option<(Rc<Roster>, Rc<Upstream>)> {
        let roster = self.roster(worker);
        let members = &roster.snapshot.members;
        let tried: Vec<usize> =
            tried.iter().filter_map(|id| members.iter().position(|member| member.endpoint.id == *id)).collect();
        let in_flight = |position: usize| members[position].endpoint.in_flight();
        let mut cursor = self.cursor.borrow_mut();
        let picked = roster.snapshot.picker.pick(&mut cursor, &mut worker.rng.borrow_mut(), &in_flight, &tried)?;
        let upstream = Rc::clone(&roster.upstreams[picked]);
        Some((roster, upstream))
    }
}

//! Decides who of a cluster leads: the endpoint that says so in the highest epoch, if it alone does.
//!
//! A write that two leaders take is worse than one that is refused. So nobody is elected here, and what endpoints say is
//! believed only as far as it cannot be two things:
//!
//! | who says that it leads, in the highest epoch ever heard | who leads |
//! |---|---|
//! | nobody | nobody, reason `no_leader` |
//! | one, and it is well or at most suspect | it |
//! | one, and it is not | nobody, reason `no_leader` |
//! | several | nobody, reason `leader_conflict` |
//!
//! The highest epoch never falls: whoever says that it leads in an older one has been deposed, even if its successor is gone
//! again. Without a number a claim is one in epoch 0; of those that have none, who cannot be sent requests stands in nobody's
//! way, since there is no other sign that its time is over. That an endpoint leads is no verdict on its health, so this goes on
//! while verdicts are frozen.

use std::collections::BTreeMap;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::changes::Changes;
use crate::health::cluster::Cluster;
use crate::health::endpoint::Endpoint;
use crate::health::history::{Entry, Kind, clip};
use crate::health::policy::LeaderPolicy;
use crate::health::verdict::{Code, LeaderView, Part, Reason, RoleView, State, Succession};

/// So many of those in conflict are named.
const NAMED: usize = 4;

/// An endpoint that says that it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claimant {
    epoch: Option<u64>,
    /// The state in force.
    state: State,
}

impl Claimant {
    fn epoch(self) -> u64 {
        self.epoch.unwrap_or(0)
    }

    /// Whether it may be sent requests. There is no other leader, so one that is suspect may.
    const fn is_fit(self) -> bool {
        matches!(self.state, State::Healthy | State::Degraded | State::Suspect)
    }
}

/// Who leads, and all who say so.
#[derive(Debug, Clone)]
pub(super) struct Leadership {
    claims: BTreeMap<EndpointId, Claimant>,
    highest: u64,
    /// What was decided of those that said so then.
    parts: BTreeMap<EndpointId, Part>,
    /// Since when that has been so.
    since: Timestamp,
    /// Whether it is to be decided anew.
    open: bool,
}

impl Leadership {
    const fn new(now: Timestamp) -> Self {
        Self { claims: BTreeMap::new(), highest: 0, parts: BTreeMap::new(), since: now, open: false }
    }

    /// An endpoint says that it leads, or does not.
    fn note(&mut self, id: EndpointId, claim: Option<Claimant>) {
        let before = match claim {
            Some(claim) => self.claims.insert(id, claim),
            None => self.claims.remove(&id),
        };
        self.open |= before != claim;
        self.highest = self.highest.max(claim.map_or(0, Claimant::epoch));
    }

    /// What each of those is that say that they lead.
    fn decide(&self) -> BTreeMap<EndpointId, Part> {
        let counts = |claim: &Claimant| claim.epoch() == self.highest && (claim.epoch.is_some() || claim.is_fit());
        let many = self.claims.values().filter(|claim| counts(claim)).count() > 1;
        let part = |claim: &Claimant| match (claim.epoch() == self.highest, claim.is_fit()) {
            (false, _) => Part::Stale,
            (true, _) if many && counts(claim) => Part::Conflict,
            (true, true) => Part::Leader,
            (true, false) => Part::Out,
        };
        self.claims.iter().map(|(id, claim)| (*id, part(claim))).collect()
    }

    fn first(&self, wanted: Part) -> Option<EndpointId> {
        self.parts.iter().find(|(_, part)| **part == wanted).map(|(id, _)| *id)
    }

    fn all(&self, wanted: Part) -> impl Iterator<Item = EndpointId> + '_ {
        self.parts.iter().filter(move |(_, part)| **part == wanted).map(|(id, _)| *id)
    }
}

impl Cluster {
    /// Who leads; `None` where nobody may.
    #[must_use]
    pub fn leader(&self) -> Option<LeaderView> {
        let leadership = self.leadership.as_ref()?;
        let leader = leadership.first(Part::Leader);
        let mut out = leadership.all(Part::Out);
        let only_out = out.next().filter(|_| out.next().is_none());
        let reason = leader.is_none().then(|| self.no_leader(leadership));
        let holder = leader.or_else(|| only_out.filter(|_| leadership.first(Part::Conflict).is_none()));
        Some(LeaderView { leader, holder, epoch: leadership.highest, reason })
    }

    /// The highest epoch that anybody has said to lead in; `None` where nobody may lead.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.leadership.as_ref().map(|leadership| leadership.highest)
    }

    /// Who gets requests that are not the leader's, with their effective weights: who would get any if the leader were not there.
    /// Everybody who gets traffic, where nobody leads.
    #[must_use]
    pub fn replicas(&self) -> Vec<(EndpointId, f64)> {
        match self.leader().and_then(|view| view.holder) {
            Some(leader) => self.without(leader),
            None => self.admission().admitted,
        }
    }

    /// No claim in an epoch below this one counts any more.
    pub fn raise_epoch(&mut self, epoch: u64, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        if let Some(leadership) = self.leadership.as_mut().filter(|leadership| leadership.highest < epoch) {
            leadership.highest = epoch;
            leadership.open = true;
            self.decide_leader(now, &mut changes);
            changes.admission_changed = true;
        }
        changes.finish()
    }

    /// Whether anybody should lead and nobody does: then whoever is next should be heard of soon.
    pub(super) fn lacks_leader(&self) -> bool {
        self.leadership.as_ref().is_some_and(|leadership| leadership.first(Part::Leader).is_none())
    }

    /// Begins to ask who leads, where that is to be known.
    pub(super) fn begin_leadership(&mut self, now: Timestamp) {
        self.leadership = self.policy.leader.as_ref().map(|_| Leadership::new(now));
    }

    /// The policy has changed. Epochs that are read elsewhere are other numbers, which begin anew.
    pub(super) fn keep_leadership(&mut self, before: Option<&LeaderPolicy>, now: Timestamp) {
        let place = |policy: &LeaderPolicy| policy.fields.as_ref().map(|fields| fields.epoch.clone());
        if self.leadership.is_none() || before.map(place) != self.policy.leader.as_ref().map(place) {
            self.begin_leadership(now);
        }
    }

    /// Who is here is about to be counted anew.
    pub(super) fn forget_claims(&mut self) {
        if let Some(leadership) = &mut self.leadership {
            leadership.claims.clear();
            leadership.open = true;
        }
    }

    /// Takes note of what an endpoint says of its part, and of the state that it is in.
    pub(super) fn note_claim(&mut self, index: usize) {
        let (Some(leadership), Some(policy)) = (&mut self.leadership, &self.policy.leader) else { return };
        let endpoint = &self.endpoints[index];
        let said = endpoint.role.claim(policy);
        leadership.note(endpoint.id(), said.map(|said| Claimant { epoch: said.epoch, state: endpoint.state }));
    }

    /// Decides who leads, if anything has changed that this follows from.
    pub(super) fn decide_leader(&mut self, now: Timestamp, changes: &mut Changes) {
        let Some(leadership) = self.leadership.as_mut().filter(|leadership| leadership.open) else { return };
        leadership.open = false;
        let parts = leadership.decide();
        let (leader, highest) = (leadership.first(Part::Leader), leadership.highest);
        if parts == leadership.parts {
            // Why nobody leads may have another wording, or the epoch another number.
            changes.admission_changed = true;
            return;
        }
        let conflict = leadership.first(Part::Conflict).is_some();
        let before = std::mem::replace(&mut leadership.parts, parts);
        let to = leadership.first(Part::Leader);
        let news = leader != to || conflict != leadership.first(Part::Conflict).is_some();
        if news {
            leadership.since = now;
        }
        let now_parts = leadership.parts.clone();
        for id in before.keys().chain(now_parts.keys()) {
            changes.touched.push(*id);
            let part = now_parts.get(id);
            let Some(index) = self.position(*id).filter(|_| part != before.get(id)) else { continue };
            let told = told(part.copied(), before.get(id).copied(), highest);
            self.endpoints[index].history.push(Entry::new(now, Kind::Role, told));
        }
        changes.admission_changed = true;
        if news {
            // The pace of all of them follows from it.
            changes.touched.extend(self.endpoints.iter().map(Endpoint::id));
            let reason = self.leader().and_then(|view| view.reason);
            changes.successions.push(Succession { at: now, from: leader, to, epoch: highest, reason });
        }
    }

    /// The reason that an endpoint has for saying the same as another one.
    pub(super) fn conflict_of(&self, id: EndpointId) -> Option<Reason> {
        let leadership = self.leadership.as_ref()?;
        (leadership.parts.get(&id) == Some(&Part::Conflict)).then(|| self.no_leader(leadership))
    }

    /// What is shown of an endpoint's part.
    pub(super) fn role_view(&self, endpoint: &Endpoint) -> Option<Box<RoleView>> {
        let (leadership, said) = (self.leadership.as_ref()?, endpoint.role.said()?);
        let part = leadership.parts.get(&endpoint.id()).copied().unwrap_or(Part::Replica);
        Some(Box::new(RoleView { word: said.word.clone(), epoch: said.epoch, at: said.at, part }))
    }

    /// Why nobody leads.
    fn no_leader(&self, leadership: &Leadership) -> Reason {
        let name = |id: EndpointId| self.get(id).map_or("", |endpoint| &*endpoint.member.address).to_owned();
        let epoch = leadership.highest;
        let (code, detail) = if leadership.first(Part::Conflict).is_some() {
            let all: Vec<String> = leadership.all(Part::Conflict).map(name).collect();
            let more = all.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = all.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
            (Code::LeaderConflict, format!("all of these say that they lead in epoch {epoch}: {names}{more}"))
        } else if let Some(id) = leadership.first(Part::Out) {
            let state = leadership.claims.get(&id).map_or(State::Unknown, |claim| claim.state).as_str();
            (Code::NoLeader, format!("{} leads in epoch {epoch} and is {state}", name(id)))
        } else if let Some(id) = leadership.first(Part::Stale) {
            let old = leadership.claims.get(&id).map_or(0, |claim| claim.epoch());
            (Code::NoLeader, format!("{} says that it leads in epoch {old}, and {epoch} has been heard of", name(id)))
        } else {
            (Code::NoLeader, "no endpoint says that it leads".to_owned())
        };
        Reason { code, probe: None, detail: clip(detail), since: leadership.since, until: None }
    }
}

/// A change of an endpoint's part, in words for its history.
fn told(part: Option<Part>, before: Option<Part>, highest: u64) -> String {
    match part {
        Some(Part::Leader) => format!("leads, in epoch {highest}"),
        Some(Part::Out) => format!("leads in epoch {highest}, and is not well enough for requests"),
        Some(Part::Conflict) => format!("says that it leads in epoch {highest}, and so does another: nobody leads"),
        Some(Part::Stale) => format!("says that it leads in an epoch that is over: {highest} has been heard of"),
        Some(Part::Replica) | None if before == Some(Part::Leader) => "no longer leads".to_owned(),
        Some(Part::Replica) | None => "no longer says that it leads".to_owned(),
    }
}

//! The health of one cluster: takes signals and time in, gives transitions out.
//!
//! One caller owns it and calls it with every signal, in any order they come. The order of work is always the same: the
//! signal moves its axis, the axes are folded, the budget grants or withholds soft ejections, states are entered, weights
//! and admission follow. A signal that changes no verdict costs the same in a cluster of ten thousand as in one of three:
//! whatever concerns all endpoints (the budget, the tiers, the mean free share) is kept as a count.
//!
//! While the cluster is frozen the axes go on counting, and only the fold stands still, so that a thaw acts on what is
//! true then. Orders of the operator are no verdicts and act at once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::ids::{ByEndpoint, EndpointId};
use crate::base::time::Timestamp;
use crate::health::admission::{Admission, Cut, Listed, Rank, Tally};
use crate::health::budget::{Budget, Stand};
use crate::health::changes::{Changes, Member, Probed};
use crate::health::electorate::Vote;
use crate::health::endpoint::{Context, Endpoint};
use crate::health::fold::Soft;
use crate::health::history::{Entry, Kind};
use crate::health::leader::Leadership;
use crate::health::policy::Policy;
use crate::health::references::References;
use crate::health::schedule::Pace;
use crate::health::signal::{Failure, Observation, ProbeResult, ProbeRun, Signal};
use crate::health::verdict::{EndpointView, HeartbeatView, ProbeView, State, Transition};
use crate::health::watch::Pool;
use crate::health::{shares, weight};

/// A stall of ours that is at least so long is remembered with every endpoint.
const REMARKABLE_STALL: Duration = Duration::from_secs(1);

/// The health of one cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(super) policy: Policy,
    report_interval: Duration,
    pub(super) endpoints: Vec<Endpoint>,
    /// The same endpoints in the same order.
    listed: Vec<Listed>,
    /// Their positions; tens of thousands are as many as a half of the usual width holds easily.
    index: ByEndpoint<u32>,
    pub(super) frozen: Option<Timestamp>,
    budget: Budget,
    tally: Tally,
    cut: Cut,
    available: usize,
    mean: weight::Mean,
    capacities: shares::Mean,
    wakes: BTreeSet<(Timestamp, usize)>,
    unsettled: usize,
    pub(super) pool: Pool,
    /// Since when so many endpoints fail their requests that the cause is likely shared.
    pub(super) shared_since: Option<Timestamp>,
    references: References,
    /// Who leads, where anybody may.
    pub(super) leadership: Option<Leadership>,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    #[must_use]
    pub fn new(policy: Policy, members: Vec<Member>, now: Timestamp) -> Self {
        let mut cluster = Self {
            policy,
            report_interval: Duration::ZERO,
            endpoints: Vec::new(),
            listed: Vec::new(),
            index: ByEndpoint::default(),
            frozen: None,
            budget: Budget::default(),
            tally: Tally::default(),
            cut: Cut::default(),
            available: 0,
            mean: weight::Mean::default(),
            capacities: shares::Mean::default(),
            wakes: BTreeSet::new(),
            unsettled: 0,
            pool: Pool::default(),
            shared_since: None,
            references: References::default(),
            leadership: None,
        };
        cluster.begin_leadership(now);
        cluster.endpoints = members.into_iter().map(|member| Endpoint::new(member, &cluster.policy, now)).collect();
        cluster.recount(now, &mut Changes::default());
        cluster
    }

    /// Tells how often reports come when nothing is in question. A rule's `for` counts distinct report intervals; reports
    /// closer together than half of this, as they come at the fast pace, count once. Zero, the default, counts every one.
    pub const fn set_report_interval(&mut self, interval: Duration) {
        self.report_interval = interval;
    }

    /// Takes on a changed policy and changed members. Whoever stays, by id, keeps its state, its probes theirs by name.
    pub fn reconfigure(&mut self, policy: Policy, members: Vec<Member>, now: Timestamp) -> Changes {
        let before = std::mem::replace(&mut self.policy, policy);
        let warm = self.endpoints.iter().any(|endpoint| endpoint.state.is_well());
        let mut old: ByEndpoint<Endpoint> = self.endpoints.drain(..).map(|endpoint| (endpoint.id(), endpoint)).collect();
        for member in members {
            let endpoint = match old.remove(&member.id) {
                Some(mut kept) => {
                    kept.member = member;
                    kept.reconfigure(&before, &self.policy, now);
                    kept
                }
                None => Endpoint::new(member, &self.policy, now).joining(warm),
            };
            self.endpoints.push(endpoint);
        }
        self.keep_leadership(before.leader.as_ref(), now);
        let mut changes = Changes { admission_changed: true, ..Changes::default() };
        changes.touched.extend(self.endpoints.iter().map(Endpoint::id));
        self.pool = Pool::default();
        self.recount(now, &mut changes);
        if !self.policy.references {
            for signal in self.references.clear() {
                changes.merge(self.take_in(&signal, now));
            }
        }
        changes.finish()
    }

    /// A reference has been asked. An answer and a refusal alike show that our own link works.
    pub fn hear_reference(&mut self, reference: EndpointId, run: &ProbeRun, now: Timestamp) -> Changes {
        let passed = match &run.result {
            ProbeResult::Pass | ProbeResult::Fail(Failure::Refused) => true,
            ProbeResult::Fail(_) => false,
            ProbeResult::Void(_) => return Changes::default(),
        };
        let mut changes = Changes::default();
        for (mut signal, void) in self.references.told(reference, run.started, passed) {
            if let (true, Observation::Probe(run)) = (void, &mut signal.observation) {
                run.result = ProbeResult::Void("lost, but every reference was lost as well: it is our own link".to_owned());
            }
            changes.merge(self.take_in(&signal, now));
        }
        changes.finish()
    }

    /// Takes in a signal. One about an endpoint or a probe that is not here is ignored: it was under way when it left.
    pub fn apply(&mut self, signal: &Signal, now: Timestamp) -> Changes {
        self.position(signal.endpoint).map_or_else(Changes::default, |position| self.apply_at(position, signal, now))
    }

    /// The same about the endpoint at a [position](Self::position) that is known, for whoever takes in thousands a second.
    pub fn apply_at(&mut self, position: usize, signal: &Signal, now: Timestamp) -> Changes {
        if let Observation::Probe(run) = &signal.observation
            && self.policy.references
            && self.references.is_in_doubt(run)
        {
            self.references.keep(signal.clone());
            return Changes { ask_references: true, ..Changes::default() };
        }
        self.take_in_at(position, signal, now)
    }

    fn take_in(&mut self, signal: &Signal, now: Timestamp) -> Changes {
        self.position(signal.endpoint).map_or_else(Changes::default, |position| self.take_in_at(position, signal, now))
    }

    fn take_in_at(&mut self, index: usize, signal: &Signal, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        if self.endpoints.get(index).is_none_or(|endpoint| endpoint.id() != signal.endpoint) {
            return changes;
        }
        let context = Context { policy: &self.policy, report_interval: self.report_interval, pace: self.pool.pace, now };
        let endpoint = &mut self.endpoints[index];
        let settled = endpoint.settled(&self.policy);
        let due = endpoint.wake.is_some_and(|at| at <= now);
        if due {
            endpoint.expire(context);
        }
        // Live traffic is answered all the time: what moves nothing must cost nothing.
        if !endpoint.observe(signal, context) && !due {
            if let Observation::Probe(run) = &signal.observation {
                changes.probed = Some(Probed { endpoint: signal.endpoint, position: index, probe: run.probe });
            }
            return changes;
        }
        if !settled && endpoint.settled(&self.policy) {
            self.unsettled -= 1;
        }
        self.recall(index, signal, &mut changes);
        self.settle(index, now, &mut changes);
        self.level(now, &mut changes);
        changes.finish()
    }

    /// A confirmation of a suspicion is late as well: those who wait go elsewhere, if there is anybody else.
    fn recall(&mut self, index: usize, signal: &Signal, changes: &mut Changes) {
        let Observation::Probe(run) = &signal.observation else { return };
        let endpoint = &mut self.endpoints[index];
        let late = matches!(run.result, ProbeResult::Fail(Failure::Timeout(_))) && endpoint.state == State::Suspect;
        if late && self.tally.has_available() && endpoint.silence.is_late() {
            changes.recalled.push(endpoint.id());
        }
    }

    /// Lets time pass: reports grow old, spans run out, orders and holds end. Call it at [`Self::next_change`] or later.
    pub fn tick(&mut self, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        let due: Vec<usize> = self.wakes.iter().take_while(|(at, _)| *at <= now).map(|(_, index)| *index).collect();
        for index in due {
            if self.endpoints[index].wake.is_none_or(|at| at > now) {
                // It has been put off since it was filed.
                self.file(index);
                continue;
            }
            let context = Context { policy: &self.policy, report_interval: self.report_interval, pace: self.pool.pace, now };
            let settled = self.endpoints[index].settled(&self.policy);
            self.endpoints[index].expire(context);
            if !settled && self.endpoints[index].settled(&self.policy) {
                self.unsettled -= 1;
            }
            self.settle(index, now, &mut changes);
        }
        self.level(now, &mut changes);
        changes.finish()
    }

    /// When [`Self::tick`] should be called, unless a signal comes before. Where heartbeats are wanted there may be nothing to do then:
    /// each of them puts its sender's moment off.
    #[must_use]
    pub fn next_change(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// From now on no verdict changes; orders of the operator still act.
    pub fn freeze(&mut self, now: Timestamp) -> Changes {
        if self.frozen.is_some() {
            return Changes::default();
        }
        self.frozen = Some(now);
        self.mark_all(now, Kind::Freeze)
    }

    /// Verdicts follow what has been observed meanwhile, and change again.
    pub fn thaw(&mut self, now: Timestamp) -> Changes {
        if self.frozen.take().is_none() {
            return Changes::default();
        }
        let mut changes = self.mark_all(now, Kind::Thaw);
        self.settle_all(now, &mut changes);
        changes.finish()
    }

    /// Whether verdicts are frozen.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// What we say of an endpoint to the rest of the fleet, from our own evidence; none if it is not here.
    #[must_use]
    pub fn vote(&self, id: EndpointId) -> Option<Vote> {
        self.get(id)?.vote
    }

    /// Who gets traffic.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let admitted = self.listed.iter().filter(|listed| self.cut.admits(listed.seat));
        Admission {
            panic: self.cut.panic,
            available: self.available,
            admitted: admitted.map(|listed| (listed.id, listed.weight)).collect(),
        }
    }

    /// Who would get traffic if one endpoint were not there, with their effective weights.
    pub(super) fn without(&self, id: EndpointId) -> Vec<(EndpointId, f64)> {
        let mut tally = self.tally;
        if let Some(index) = self.position(id) {
            tally.count(self.listed[index].seat, false);
        }
        let cut = Cut::of(&tally, self.policy.panic);
        let admitted = self.listed.iter().filter(|listed| listed.id != id && cut.admits(listed.seat));
        admitted.map(|listed| (listed.id, listed.weight)).collect()
    }

    /// Everything that is shown of one endpoint.
    #[must_use]
    pub fn view(&self, id: EndpointId) -> Option<EndpointView> {
        let index = self.position(id)?;
        let (endpoint, listed) = (&self.endpoints[index], self.listed[index]);
        let admitted = self.cut.admits(listed.seat);
        Some(EndpointView {
            state: endpoint.state,
            available: self.tally.is_available(listed.seat.rank),
            admitted,
            weight: if admitted { listed.weight } else { 0.0 },
            since: endpoint.since,
            reasons: endpoint.reasons(self.frozen).into_iter().chain(self.conflict_of(id)).collect(),
            report: endpoint.reports.metrics(),
            report_voids: endpoint.reports.voids(),
            report_at: endpoint.reports.at(),
            probes: endpoint.probes.views(&self.policy),
            heartbeat: self.heartbeat(id).map(Box::new),
            role: self.role_view(endpoint),
            most_requests: endpoint.wishes.most_requests(),
            next_change: endpoint.next_change(&self.policy, self.is_frozen()),
        })
    }

    /// What is shown of a probe that has run; `None` if it is not here any more.
    #[must_use]
    pub fn probe_view(&self, probed: Probed) -> Option<ProbeView> {
        let endpoint = self.endpoints.get(probed.position).filter(|endpoint| endpoint.id() == probed.endpoint)?;
        endpoint.probes.view(probed.probe, &self.policy)
    }

    /// The position of an endpoint among the members as they were given; `None` if it is not here.
    #[must_use]
    pub fn position(&self, id: EndpointId) -> Option<usize> {
        self.index.get(&id).map(|index| *index as usize)
    }

    /// What is shown of an endpoint's heartbeats; `None` if it is not here or none are wanted.
    #[must_use]
    pub fn heartbeat(&self, id: EndpointId) -> Option<HeartbeatView> {
        let endpoint = self.get(id)?;
        Some(endpoint.heartbeat.view(self.policy.heartbeat.as_ref()?, &endpoint.incarnation))
    }

    /// Tells that the process stood still for `span` until now: senders of heartbeats get that much more time. No verdict changes by it,
    /// and views show the new deadlines with the next beats: to make ten thousand of them anew would be the next stall.
    pub fn excuse(&mut self, span: Duration, now: Timestamp) {
        if span >= REMARKABLE_STALL {
            let told =
                format!("we stood still for {span:.1?}: what was slow meanwhile, or while we catch up, is held against nobody");
            self.endpoints.iter_mut().for_each(|endpoint| endpoint.history.push(Entry::new(now, Kind::Stall, told.clone())));
        }
        let Some(policy) = self.policy.heartbeat else { return };
        for index in 0..self.endpoints.len() {
            self.endpoints[index].heartbeat.excuse(span, now, &policy);
            self.schedule(index, now);
        }
    }

    /// How often an endpoint should be probed; normally, if it is not here.
    #[must_use]
    pub fn pace(&self, id: EndpointId) -> Pace {
        match self.get(id).map_or(Pace::Normal, Endpoint::pace) {
            Pace::Normal if self.lacks_leader() => Pace::Fast,
            pace => pace,
        }
    }

    /// Whether every endpoint has had its first verdict, or needs none.
    #[must_use]
    pub const fn settled(&self) -> bool {
        self.unsettled == 0
    }

    /// The last signals and transitions that moved an endpoint, oldest first; none if it is not here.
    #[must_use]
    pub fn history(&self, id: EndpointId) -> Vec<Entry> {
        self.get(id).map(|endpoint| endpoint.history.to_vec()).unwrap_or_default()
    }

    /// Lets every endpoint be changed; [`Self::recount`] must follow.
    pub(super) fn each_endpoint(&mut self, mut change: impl FnMut(&mut Endpoint, &Policy)) {
        for endpoint in &mut self.endpoints {
            change(endpoint, &self.policy);
        }
    }

    pub(super) fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        self.position(id).map(|index| &self.endpoints[index])
    }

    /// Counts everything from scratch after members or policy changed.
    pub(super) fn recount(&mut self, now: Timestamp, changes: &mut Changes) {
        self.index = self.endpoints.iter().map(Endpoint::id).zip(0..).collect();
        self.budget = Budget::default();
        self.tally = Tally::default();
        self.mean = weight::Mean::default();
        self.capacities = shares::Mean::default();
        self.wakes.clear();
        self.forget_claims();
        self.unsettled = self.endpoints.iter().filter(|endpoint| !endpoint.settled(&self.policy)).count();
        for endpoint in &mut self.endpoints {
            endpoint.stand = Stand::default();
            endpoint.share = None;
            endpoint.capacity = None;
            (endpoint.wake, endpoint.filed) = (None, None);
        }
        let listed = |endpoint: &Endpoint| Listed { id: endpoint.id(), seat: endpoint.wanted_seat(), weight: 0.0 };
        self.listed = self.endpoints.iter().map(listed).collect();
        self.listed.iter().for_each(|listed| self.tally.count(listed.seat, true));
        self.settle_all(now, changes);
    }

    /// Brings every verdict in line with its axes. Grants are settled once all claims are in: an ejection that stands must
    /// not be withheld for the moment in which only half of the endpoints have been looked at.
    fn settle_all(&mut self, now: Timestamp, changes: &mut Changes) {
        let acting = self.frozen.is_none();
        for index in 0..self.endpoints.len() {
            if acting {
                self.decide_cause(index, now);
                self.decide_reports(index, now, changes);
            }
            let endpoint = &mut self.endpoints[index];
            if acting {
                endpoint.judge(&self.policy, now);
            }
            let stand = endpoint.wanted_stand();
            let before = std::mem::replace(&mut endpoint.stand, stand);
            if acting && stand.claim.is_none() {
                endpoint.soft = Soft::Unclaimed;
            }
            self.budget.replace(index, before, stand);
        }
        if acting {
            self.settle_grants(now, changes);
        }
        for index in 0..self.endpoints.len() {
            self.enter(index, now, changes);
            self.schedule(index, now);
        }
        self.level(now, changes);
    }

    /// Brings one endpoint's verdict in line with its axes, and others' where these depend on it.
    pub(super) fn settle(&mut self, index: usize, now: Timestamp, changes: &mut Changes) {
        if self.frozen.is_none() {
            self.decide_cause(index, now);
            self.decide_reports(index, now, changes);
            self.endpoints[index].judge(&self.policy, now);
            self.claim(index, now, changes);
        }
        self.enter(index, now, changes);
        self.schedule(index, now);
        changes.touched.push(self.endpoints[index].id());
    }

    /// Tells the budget what an endpoint asks for, and acts on whatever it grants or takes back.
    fn claim(&mut self, index: usize, now: Timestamp, changes: &mut Changes) {
        let endpoint = &mut self.endpoints[index];
        let stand = endpoint.wanted_stand();
        let before = std::mem::replace(&mut endpoint.stand, stand);
        if stand.claim.is_none() {
            endpoint.soft = Soft::Unclaimed;
        }
        if self.budget.replace(index, before, stand) {
            self.settle_grants(now, changes);
        }
    }

    fn settle_grants(&mut self, now: Timestamp, changes: &mut Changes) {
        let endpoints = &self.endpoints;
        let grants = self.budget.grants(endpoints.len(), self.policy.max_ejected, |index| endpoints[index].stand.well);
        for (claimant, granted) in grants {
            self.grant(claimant, granted, now, changes);
        }
    }

    fn grant(&mut self, index: usize, granted: bool, now: Timestamp, changes: &mut Changes) {
        let endpoint = &mut self.endpoints[index];
        let soft = if granted { Soft::Granted } else { Soft::Withheld };
        if endpoint.soft == soft {
            return;
        }
        endpoint.soft = soft;
        if let (Soft::Withheld, Some(code)) = (soft, endpoint.claim_code()) {
            endpoint.history.push(Entry::new(now, Kind::Withheld, format!("ejection for {code} withheld")));
            changes.withheld.push((endpoint.id(), code));
        }
        changes.touched.push(endpoint.id());
        self.enter(index, now, changes);
    }

    /// Enters the state that the fold asks for, with the weight and rank that go with it.
    fn enter(&mut self, index: usize, now: Timestamp, changes: &mut Changes) {
        let endpoint = &mut self.endpoints[index];
        let (from, to) = (endpoint.state, endpoint.wanted_state());
        if from != to {
            endpoint.state = to;
            endpoint.since = now;
            if matches!((from, to), (State::Unhealthy | State::Unknown | State::Ejected, State::Healthy | State::Degraded)) {
                endpoint.shares.begin(now);
            }
            if endpoint.come_and_go(from, &self.policy, self.listed.len(), now) && self.frozen.is_none() {
                endpoint.judge(&self.policy, now);
            }
            let reasons = endpoint.reasons(self.frozen);
            let detail = reasons.first().map(|reason| format!("{}: {}", reason.code, reason.detail)).unwrap_or_default();
            let entry = Entry::new(now, Kind::Transition, detail);
            endpoint.history.push(Entry { from: Some(from), to: Some(to), ..entry });
            changes.transitions.push(Transition { endpoint: endpoint.id(), at: now, from, to, reasons });
        }
        let seat = endpoint.wanted_seat();
        let before = std::mem::replace(&mut self.listed[index].seat, seat);
        if seat != before {
            self.tally.count(before, false);
            self.tally.count(seat, true);
            changes.admission_changed |= self.cut.admits(before) != self.cut.admits(seat);
        }
        endpoint.free = weight::free(endpoint.free, endpoint.reports.weigher());
        let share = endpoint.free.filter(|_| seat.rank == Some(Rank::Available));
        self.mean.replace(endpoint.share, share);
        endpoint.share = share;
        self.aim(index, now);
        self.weigh(index, changes);
        self.note_claim(index);
    }

    /// Moves what an endpoint asks for towards its weight. `weight_by` is the user's word, and outranks load reports.
    fn aim(&mut self, index: usize, now: Timestamp) {
        let endpoint = &mut self.endpoints[index];
        let counts = self.listed[index].seat.rank == Some(Rank::Available) && self.policy.weight_by.is_none();
        let capacity = endpoint.shares.capacity(now).filter(|_| counts);
        self.capacities.replace(std::mem::replace(&mut endpoint.capacity, capacity), capacity);
        let mean = self.capacities.get().filter(|_| counts);
        endpoint.shares.aim(endpoint.member.weight, mean, now);
        endpoint.shares.step(now);
    }

    fn weigh(&mut self, index: usize, changes: &mut Changes) {
        let weight = self.endpoints[index].wanted_weight(&self.mean);
        let listed = &mut self.listed[index];
        if (weight - listed.weight).abs() > f64::EPSILON {
            listed.weight = weight;
            changes.touched.push(listed.id);
            changes.admission_changed |= self.cut.admits(listed.seat);
        }
    }

    /// Brings what concerns all endpoints in line with the counts: the mean free share, the tiers that get traffic, and who leads.
    pub(super) fn level(&mut self, now: Timestamp, changes: &mut Changes) {
        self.decide_leader(now, changes);
        if self.mean.adopt() {
            for index in 0..self.endpoints.len() {
                self.weigh(index, changes);
            }
        }
        let available = self.tally.available();
        changes.admission_changed |= available != self.available;
        self.available = available;
        let cut = Cut::of(&self.tally, self.policy.panic);
        if cut == self.cut {
            return;
        }
        let moved = self.listed.iter().filter(|listed| cut.admits(listed.seat) != self.cut.admits(listed.seat));
        changes.touched.extend(moved.map(|listed| listed.id));
        self.cut = cut;
        changes.admission_changed = true;
    }

    fn schedule(&mut self, index: usize, now: Timestamp) {
        let endpoint = &mut self.endpoints[index];
        endpoint.wake = endpoint.next_wake(&self.policy, now);
        // Every beat puts its sender's moment off: it is filed anew when the old one has come, not each time.
        let put_off = |(old, at): (Timestamp, Timestamp)| old > now && old <= at;
        let is_put_off = self.policy.heartbeat.is_some() && endpoint.filed.zip(endpoint.wake).is_some_and(put_off);
        if !is_put_off {
            self.file(index);
        }
    }

    fn file(&mut self, index: usize) {
        let endpoint = &mut self.endpoints[index];
        if endpoint.filed == endpoint.wake {
            return;
        }
        if let Some(old) = std::mem::replace(&mut endpoint.filed, endpoint.wake) {
            self.wakes.remove(&(old, index));
        }
        if let Some(at) = endpoint.wake {
            self.wakes.insert((at, index));
        }
    }

    fn mark_all(&mut self, now: Timestamp, kind: Kind) -> Changes {
        let mut changes = Changes::default();
        for endpoint in &mut self.endpoints {
            endpoint.history.push(Entry::new(now, kind, ""));
            changes.touched.push(endpoint.id());
        }
        changes
    }
}

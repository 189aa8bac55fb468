//! The proxies that agree on health, and who of them said what: counts, majorities, and how long a vote is worth anything.
//!
//! A majority is one of the *configured* size, never of those that happen to be heard: a fleet cut in two must not find
//! two majorities. Only what a proxy saw itself is a vote; nothing is passed on, so a vote's age and origin are known. Age
//! is counted on our own clock from receipt, since no two machines agree on the time. Carrying votes is left to `fleet`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::time::Timestamp;

/// How long a vote counts after it has been received.
pub const FRESH: Duration = Duration::from_secs(2);
/// Largest fleet. Every proxy tells every other five times a second.
pub const MAX_SIZE: usize = 64;

/// What a proxy says of an endpoint from its own evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vote {
    /// It gets an answer.
    Up,
    /// Its probes fail, or its heartbeats do not come.
    Down,
    /// It would eject it for how it answers or what it reports.
    Soft,
}

impl Vote {
    /// The word for it in the API: whatever the evidence, out is out.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down | Self::Soft => "down",
        }
    }
}

/// Votes of one proxy: by cluster, by endpoint as configured.
pub type Votes = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vote>>;

/// What the others say of one endpoint, and whether enough of them are heard for it to mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Votes that it is up.
    pub up: usize,
    /// Votes that it is down.
    pub down: usize,
    /// Votes that it should be ejected for how it answers.
    pub soft: usize,
    /// Proxies that are heard and well, ourselves included.
    pub heard: usize,
    /// How many make a majority; 0 without a fleet.
    pub majority: usize,
    /// Whether our own vote weighs anything: not while we stand still or lag.
    pub own_counts: bool,
}

impl Count {
    /// Without a fleet.
    pub const NONE: Self = Self { up: 0, down: 0, soft: 0, heard: 0, majority: 0, own_counts: false };

    /// Whether there is a fleet to agree with, and enough of it is heard.
    #[must_use]
    pub const fn quorate(&self) -> bool {
        self.majority > 0 && self.heard >= self.majority
    }

    /// Whether anybody else says that it is not up.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        self.down + self.soft > 0
    }

    /// Whether a majority says that it is down, our own vote included.
    #[must_use]
    pub fn agreed_down(&self, own: Option<Vote>) -> bool {
        self.quorate() && self.down + self.own(own, |vote| vote == Vote::Down) >= self.majority
    }

    /// Whether a majority would have it out, for whatever evidence.
    #[must_use]
    pub fn agreed_out(&self, own: Option<Vote>) -> bool {
        self.quorate() && self.out(own) >= self.majority
    }

    /// How many would have it out, our own vote included.
    #[must_use]
    pub fn out(&self, own: Option<Vote>) -> usize {
        self.down + self.soft + self.own(own, |vote| vote != Vote::Up)
    }

    fn own(&self, own: Option<Vote>, is: impl Fn(Vote) -> bool) -> usize {
        usize::from(self.own_counts && own.is_some_and(is))
    }
}

/// How a proxy of the fleet stands with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// Its votes come.
    Alive,
    /// They do not.
    Dead,
    /// They come, and cannot be believed: another key, another size, our own name.
    Refused,
}

impl PeerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Alive, Self::Dead, Self::Refused];

    /// The name used in metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Refused => "refused",
        }
    }
}

/// One other proxy.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// What it calls itself; empty until it has been heard.
    pub name: Arc<str>,
    /// What it said last.
    pub votes: Votes,
    heard: Option<Timestamp>,
    refused: Option<Timestamp>,
    well: bool,
}

impl Peer {
    /// How it stands with us.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> PeerState {
        if is_fresh(self.heard, now) {
            PeerState::Alive
        } else if is_fresh(self.refused, now) {
            PeerState::Refused
        } else {
            PeerState::Dead
        }
    }

    fn counts(&self, now: Timestamp) -> bool {
        self.well && is_fresh(self.heard, now)
    }
}

/// Everybody who may vote.
#[derive(Debug, Clone)]
pub struct Electorate {
    size: usize,
    peers: Vec<Peer>,
    own_well: bool,
}

impl Electorate {
    /// A fleet of `size` proxies, of which we know `peers` others. A peer that is never heard still counts in the size.
    #[must_use]
    pub fn new(size: usize, peers: usize) -> Self {
        Self { size, peers: vec![Peer::default(); peers], own_well: true }
    }

    /// How many make a majority.
    #[must_use]
    pub const fn majority(&self) -> usize {
        self.size / 2 + 1
    }

    /// The others, in the order of the configuration.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Takes in what a peer says. Returns whether anything but its age changed. One that is not here is ignored.
    pub fn hear(&mut self, peer: usize, name: &Arc<str>, well: bool, votes: Votes, now: Timestamp) -> bool {
        let Some(peer) = self.peers.get_mut(peer) else { return false };
        let changed = !is_fresh(peer.heard, now) || peer.well != well || peer.votes != votes || peer.name != *name;
        *peer = Peer { name: Arc::clone(name), votes, heard: Some(now), refused: peer.refused, well };
        changed
    }

    /// A peer spoke and could not be believed. Returns whether anything but its age changed. One that is not here is ignored.
    pub fn refuse(&mut self, peer: usize, now: Timestamp) -> bool {
        let Some(peer) = self.peers.get_mut(peer) else { return false };
        let before = peer.state(now);
        peer.refused = Some(now);
        peer.state(now) != before
    }

    /// What was heard of a peer was another's.
    pub fn forget(&mut self, peer: usize) {
        if let Some(peer) = self.peers.get_mut(peer) {
            *peer = Peer::default();
        }
    }

    /// Whether our own votes weigh anything: not while we stand still or lag. Returns whether that changed.
    pub fn set_own_well(&mut self, well: bool) -> bool {
        std::mem::replace(&mut self.own_well, well) != well
    }

    /// Whether our own votes weigh anything.
    #[must_use]
    pub const fn own_well(&self) -> bool {
        self.own_well
    }

    /// How many proxies are heard and well, ourselves included.
    #[must_use]
    pub fn heard(&self, now: Timestamp) -> usize {
        usize::from(self.own_well) + self.peers.iter().filter(|peer| peer.counts(now)).count()
    }

    /// Whether a majority of the fleet is heard.
    #[must_use]
    pub fn quorate(&self, now: Timestamp) -> bool {
        self.heard(now) >= self.majority()
    }

    /// What the others say of an endpoint.
    #[must_use]
    pub fn count(&self, cluster: &str, endpoint: &str, now: Timestamp) -> Count {
        let mut count =
            Count { heard: self.heard(now), majority: self.majority(), own_counts: self.own_well, ..Count::default() };
        for peer in self.peers.iter().filter(|peer| peer.counts(now)) {
            match peer.votes.get(cluster).and_then(|votes| votes.get(endpoint)) {
                Some(Vote::Up) => count.up += 1,
                Some(Vote::Down) => count.down += 1,
                Some(Vote::Soft) => count.soft += 1,
                None => {}
            }
        }
        count
    }

    /// When the next vote goes stale, if nothing is heard meanwhile.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let stale = |at: Timestamp| at + FRESH;
        let ends = self.peers.iter().flat_map(|peer| [peer.heard, peer.refused]).flatten().map(stale);
        ends.filter(|end| *end > now).min()
    }
}

fn is_fresh(at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_some_and(|at| now.since(at) < FRESH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(10) + Duration::from_millis(millis)
    }

    fn says(vote: Vote) -> Votes {
        Votes::from([("app".into(), BTreeMap::from([("a:1".into(), vote)]))])
    }

    fn heard(electorate: &mut Electorate, peer: usize, vote: Vote, now: Timestamp) -> bool {
        electorate.hear(peer, &format!("p{peer}").into(), true, says(vote), now)
    }

    #[test]
    fn a_majority_is_one_of_the_configured_size() {
        let mut fleet = Electorate::new(5, 2);
        assert_eq!(fleet.majority(), 3);
        heard(&mut fleet, 0, Vote::Down, at(0));
        assert!(!fleet.quorate(at(0)));
        assert!(!fleet.count("app", "a:1", at(0)).agreed_down(Some(Vote::Down)));
        heard(&mut fleet, 1, Vote::Down, at(0));
        assert!(fleet.quorate(at(0)));
        assert!(fleet.count("app", "a:1", at(0)).agreed_down(Some(Vote::Down)));
        assert!(!fleet.count("app", "a:1", at(0)).agreed_down(Some(Vote::Up)));
        assert!(!fleet.count("app", "a:1", at(0)).agreed_down(None));
    }

    #[test]
    fn votes_go_stale_on_our_clock() {
        let mut fleet = Electorate::new(3, 2);
        assert!(heard(&mut fleet, 0, Vote::Down, at(0)));
        assert!(!heard(&mut fleet, 0, Vote::Down, at(200)), "the same again is no news");
        assert_eq!(fleet.next_change(at(200)), Some(at(2200)));
        assert_eq!(fleet.count("app", "a:1", at(2199)).down, 1);
        assert_eq!(fleet.count("app", "a:1", at(2200)), Count { heard: 1, majority: 2, own_counts: true, ..Count::default() });
        assert_eq!(fleet.peers()[0].state(at(2200)), PeerState::Dead);
        assert!(heard(&mut fleet, 0, Vote::Down, at(2300)), "who comes back is news");
    }

    #[test]
    fn a_proxy_that_is_unwell_weighs_nothing() {
        let mut fleet = Electorate::new(3, 2);
        fleet.hear(0, &"p0".into(), false, says(Vote::Down), at(0));
        assert_eq!((fleet.count("app", "a:1", at(0)).down, fleet.heard(at(0))), (0, 1));
        assert_eq!(fleet.peers()[0].state(at(0)), PeerState::Alive);
        heard(&mut fleet, 1, Vote::Down, at(0));
        assert!(fleet.set_own_well(false));
        assert!(!fleet.quorate(at(0)));
        assert_eq!(fleet.count("app", "a:1", at(0)).out(Some(Vote::Down)), 1);
    }

    #[test]
    fn soft_and_hard_votes_agree_on_out_but_not_on_down() {
        let mut fleet = Electorate::new(3, 2);
        heard(&mut fleet, 0, Vote::Soft, at(0));
        let count = fleet.count("app", "a:1", at(0));
        assert!(count.agreed_out(Some(Vote::Down)) && !count.agreed_down(Some(Vote::Down)));
        assert!(count.in_doubt());
    }

    #[test]
    fn who_is_refused_is_shown_so() {
        let mut fleet = Electorate::new(2, 1);
        assert!(fleet.refuse(0, at(0)));
        assert!(!fleet.refuse(0, at(5)), "the same again is no news");
        assert_eq!(fleet.peers()[0].state(at(10)), PeerState::Refused);
        assert_eq!(fleet.peers()[0].state(at(2005)), PeerState::Dead);
        assert!(!fleet.refuse(7, at(0)));
    }

    proptest! {
        /// A fleet of up to seven, cut into any parts: whatever each proxy sees of the endpoint, proxies of at most one part
        /// find a majority, and it is the majority of what they see themselves.
        #[test]
        fn at_most_one_side_of_a_partition_finds_a_majority(
            size in 1usize..=7,
            sides in prop::collection::vec(0u8..4, 7),
            sees in prop::collection::vec(prop_oneof![Just(Vote::Up), Just(Vote::Down), Just(Vote::Soft)], 7),
        ) {
            let mut agreeing = std::collections::BTreeSet::new();
            for me in 0..size {
                let mut fleet = Electorate::new(size, size - 1);
                for (place, other) in (0..size).filter(|other| *other != me).enumerate() {
                    if sides[other] == sides[me] {
                        heard(&mut fleet, place, sees[other], at(0));
                    }
                }
                let count = fleet.count("app", "a:1", at(0));
                let mates = (0..size).filter(|other| sides[*other] == sides[me]);
                let out = mates.filter(|mate| sees[*mate] != Vote::Up).count();
                prop_assert_eq!(count.agreed_out(Some(sees[me])), out > size / 2);
                if count.agreed_out(Some(sees[me])) {
                    agreeing.insert(sides[me]);
                }
            }
            prop_assert!(agreeing.len() <= 1);
        }
    }
}

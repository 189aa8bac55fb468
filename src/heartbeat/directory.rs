//! Which endpoints may be spoken for, and by which token. Control writes it, the service reads it, on the same thread.
//!
//! Tokens are looked up by a hash with a key of this process and then compared in constant time: a hundred thousand of
//! them cost no more than one, and how long it takes tells nothing about any of them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::cluster::{Cluster, Endpoint};
use crate::config::model::{HeartbeatToken, HeartbeatTokens};
use crate::health::policy::HeartbeatPolicy;
use crate::heartbeat::rate::{Bucket, Rate};
use crate::report::spec::Spec;

/// Every cluster that takes heartbeats, by name.
#[derive(Debug, Default)]
pub struct Directory {
    gates: RefCell<HashMap<Arc<str>, Rc<Gate>>>,
}

impl Directory {
    /// Replaces what is known. A sender that stays keeps what is left of its rate.
    pub fn install(&self, gates: Vec<Gate>) {
        let mut known = self.gates.borrow_mut();
        for gate in &gates {
            if let Some(before) = known.get(&gate.name) {
                gate.inherit(before);
            }
        }
        *known = gates.into_iter().map(|gate| (Arc::clone(&gate.name), Rc::new(gate))).collect();
    }

    /// The cluster of this name.
    pub(super) fn gate(&self, cluster: &str) -> Option<Rc<Gate>> {
        self.gates.borrow().get(cluster).map(Rc::clone)
    }

    /// Whether any cluster has this token.
    pub(super) fn knows(&self, token: Option<&[u8]>) -> bool {
        self.gates.borrow().values().any(|gate| gate.admits(token).is_some())
    }

    /// An index of these tokens: that of the gate in force, if they are its own, so that one of many is not made anew for every
    /// endpoint that comes or goes.
    #[must_use]
    pub fn keys(&self, cluster: &str, tokens: Option<&HeartbeatTokens>) -> Rc<Keys> {
        let kept = self.gate(cluster).map(|gate| Rc::clone(&gate.keys)).filter(|keys| keys.is_of(tokens));
        kept.unwrap_or_else(|| Rc::new(Keys::new(tokens.cloned())))
    }
}

/// One cluster that takes heartbeats.
#[derive(Debug)]
pub struct Gate {
    pub(super) name: Arc<str>,
    pub(super) policy: HeartbeatPolicy,
    /// What is read of the report in a beat, if reports are.
    pub(super) report: Option<Spec>,
    keys: Rc<Keys>,
    senders: HashMap<Arc<str>, Sender>,
    rate: Rate,
    joins: bool,
    /// The cluster in force, where one of it may lead.
    led: Option<Arc<Cluster>>,
}

/// An endpoint that may be spoken for.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) endpoint: Arc<Endpoint>,
    bucket: Cell<Bucket>,
}

impl Gate {
    /// A cluster with these endpoints.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        policy: HeartbeatPolicy,
        report: Option<Spec>,
        keys: Rc<Keys>,
        endpoints: impl IntoIterator<Item = Arc<Endpoint>>,
        now: Timestamp,
    ) -> Self {
        let rate = Rate::of(policy.period);
        let sender = |endpoint: Arc<Endpoint>| {
            let address = endpoint.address.as_str().to_ascii_lowercase();
            (Arc::from(address), Sender { endpoint, bucket: Cell::new(rate.full(now)) })
        };
        Self { name, policy, report, keys, senders: endpoints.into_iter().map(sender).collect(), rate, joins: false, led: None }
    }

    /// The same, where endpoints join by their first beat, or do not.
    #[must_use]
    pub fn joined(self, joins: bool) -> Self {
        Self { joins, ..self }
    }

    /// The same, where one of this cluster may lead.
    #[must_use]
    pub fn led(self, cluster: Option<Arc<Cluster>>) -> Self {
        Self { led: cluster, ..self }
    }

    /// The endpoint that leads, and its epoch.
    pub(super) fn leader(&self) -> Option<(Arc<str>, u64)> {
        let snapshot = self.led.as_ref()?.snapshot().load();
        let leadership = snapshot.leadership.as_ref()?;
        Some((leadership.leader.as_ref()?.address.text(), leadership.epoch))
    }

    /// Whether endpoints join by their first beat.
    pub(super) const fn joins(&self) -> bool {
        self.joins
    }

    fn inherit(&self, before: &Self) {
        for (address, sender) in &self.senders {
            if let Some(known) = before.senders.get(address) {
                sender.bucket.set(known.bucket.get());
            }
        }
    }

    /// What a token may do here; `None` if it is none of ours.
    pub(super) fn admits(&self, token: Option<&[u8]>) -> Option<Pass<'_>> {
        self.keys.find(token)
    }

    /// The endpoint of this address, as configured but for upper and lower case.
    pub(super) fn find(&self, address: &str) -> Option<&Sender> {
        match self.senders.get(address) {
            None if address.bytes().any(|b| b.is_ascii_uppercase()) => self.senders.get(&*address.to_ascii_lowercase()),
            found => found,
        }
    }

    /// Takes one beat out of what a sender may send; false if nothing is left.
    pub(super) fn spend(&self, sender: &Sender, now: Timestamp) -> bool {
        let mut bucket = sender.bucket.get();
        let enough = self.rate.take(&mut bucket, now);
        sender.bucket.set(bucket);
        enough
    }
}

/// What a token may speak for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pass<'a> {
    /// Every endpoint: it is bound to none, or none is asked for.
    All,
    /// These.
    Some(&'a [Arc<str>]),
}

impl Pass<'_> {
    pub(super) fn covers(self, address: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(endpoints) => endpoints.iter().any(|endpoint| endpoint.eq_ignore_ascii_case(address)),
        }
    }
}

/// The tokens of one cluster.
#[derive(Debug)]
pub struct Keys {
    tokens: Option<HeartbeatTokens>,
    hasher: RandomState,
    /// Positions of the tokens, by hash.
    places: HashMap<u64, Vec<usize>>,
}

impl Keys {
    fn new(tokens: Option<HeartbeatTokens>) -> Self {
        let hasher = RandomState::new();
        let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
        for (place, token) in tokens.iter().flat_map(|tokens| tokens.0.iter()).enumerate() {
            places.entry(hasher.hash_one(token.token.0.as_bytes())).or_default().push(place);
        }
        Self { tokens, hasher, places }
    }

    fn is_of(&self, tokens: Option<&HeartbeatTokens>) -> bool {
        match (&self.tokens, tokens) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(&ours.0, &theirs.0),
            (None, None) => true,
            _ => false,
        }
    }

    fn find(&self, given: Option<&[u8]>) -> Option<Pass<'_>> {
        let Some(tokens) = &self.tokens else { return Some(Pass::All) };
        let given = given?;
        let places = self.places.get(&self.hasher.hash_one(given))?;
        let equal = |place: &&usize| tokens.0[**place].token.is(given);
        let HeartbeatToken { endpoints, .. } = &tokens.0[*places.iter().find(equal)?];
        Some(if endpoints.is_empty() { Pass::All } else { Pass::Some(endpoints) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Secret;

    fn keys(lines: &[(&str, &[&str])]) -> Keys {
        let token = |(token, endpoints): &(&str, &[&str])| HeartbeatToken {
            token: Secret((*token).into()),
            endpoints: endpoints.iter().map(|endpoint| Arc::from(*endpoint)).collect(),
        };
        Keys::new(Some(HeartbeatTokens(lines.iter().map(token).collect())))
    }

    #[test]
    fn a_token_speaks_for_what_stands_behind_it() {
        let keys = keys(&[("one", &[]), ("two", &["10.0.0.1:80", "Orders:80"]), ("three", &["10.0.0.2:80"])]);
        let may = |token: Option<&str>, address: &str| keys.find(token.map(str::as_bytes)).map(|pass| pass.covers(address));
        assert_eq!(may(Some("one"), "10.0.0.2:80"), Some(true));
        assert_eq!(may(Some("two"), "orders:80"), Some(true));
        assert_eq!(may(Some("two"), "10.0.0.2:80"), Some(false));
        assert_eq!(may(Some("three"), "10.0.0.1:80"), Some(false));
        for wrong in [None, Some(""), Some("on"), Some("onee"), Some("ONE"), Some("two 10.0.0.1:80")] {
            assert_eq!(may(wrong, "10.0.0.1:80"), None, "{wrong:?}");
        }
    }

    #[test]
    fn where_no_token_is_wanted_anybody_may_speak() {
        assert!(Keys::new(None).find(None).is_some());
        assert!(Keys::new(Some(HeartbeatTokens([].into()))).find(None).is_none());
    }
}

//! Who of the configured peers a sender is, and whether a message of it is a new one.
//!
//! The configuration names addresses, messages name proxies. Which is which is learned from the signed answers of those
//! that we reach ourselves; one that only reaches us is told by its address, or takes a place that nobody has.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// How many earlier runs of a proxy are remembered, so that nothing they said is taken again.
const PAST: usize = 8;

/// The peers, in the order of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Roll(Vec<Place>);

#[derive(Debug, Clone, Default)]
struct Place {
    name: Option<Arc<str>>,
    /// Whether the name was learned by reaching it.
    certain: bool,
    boot: String,
    seq: u64,
    past: VecDeque<String>,
}

impl Roll {
    pub(super) fn new(peers: usize) -> Self {
        Self(vec![Place::default(); peers])
    }

    /// The peer at this place answered with its name. Returns the place that bore the name wrongly until now.
    pub(super) fn introduce(&mut self, place: usize, name: &Arc<str>) -> Option<usize> {
        let known = self.0.get(place)?;
        if known.certain && known.name.as_ref() == Some(name) {
            return None;
        }
        let wrong = self.0.iter().position(|other| other.name.as_ref() == Some(name)).filter(|other| *other != place);
        // What is known of its runs goes with the name.
        let known = wrong.map(|wrong| std::mem::take(&mut self.0[wrong])).unwrap_or_default();
        self.0[place] = Place { name: Some(Arc::clone(name)), certain: true, ..known };
        wrong
    }

    /// The place of a sender. `addresses` are where the peers were last found, `is_heard` tells whose place is taken.
    pub(super) fn place(
        &mut self,
        name: &Arc<str>,
        from: IpAddr,
        addresses: &[Option<IpAddr>],
        is_heard: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if let Some(known) = self.0.iter().position(|place| place.name.as_ref() == Some(name)) {
            return Some(known);
        }
        let free = |place: &usize| !self.0[*place].certain && (self.0[*place].name.is_none() || !is_heard(*place));
        let here = |place: &usize| addresses.get(*place).copied().flatten() == Some(from);
        let places = || (0..self.0.len()).filter(free);
        let place = places().find(here).or_else(|| places().next())?;
        self.0[place] = Place { name: Some(Arc::clone(name)), ..Place::default() };
        Some(place)
    }

    /// Whether a message is newer than every one before it; if so, it is remembered.
    pub(super) fn admit(&mut self, place: usize, boot: &str, seq: u64) -> bool {
        let Some(known) = self.0.get_mut(place) else { return false };
        if known.boot != boot {
            if known.past.iter().any(|past| past == boot) {
                return false;
            }
            if !known.boot.is_empty() {
                known.past.push_front(std::mem::take(&mut known.boot));
                known.past.truncate(PAST);
            }
            boot.clone_into(&mut known.boot);
            known.seq = 0;
        }
        let newer = seq > known.seq;
        known.seq = known.seq.max(seq);
        newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    #[test]
    fn a_sender_is_known_by_its_answers_then_by_its_address() {
        let mut roll = Roll::new(2);
        let addresses = [Some(HERE), Some(THERE)];
        let place = |roll: &mut Roll, name: &str, from| roll.place(&name.into(), from, &addresses, |_| true);
        assert_eq!(place(&mut roll, "b", THERE), Some(1));
        assert_eq!(place(&mut roll, "b", HERE), Some(1), "a name keeps its place");
        assert_eq!(roll.introduce(0, &"b".into()), Some(1), "the answer knows better");
        assert_eq!(roll.introduce(0, &"b".into()), None);
        assert_eq!(place(&mut roll, "c", HERE), Some(1));
        assert_eq!(place(&mut roll, "d", HERE), None, "no more than configured");
        assert_eq!(roll.place(&"d".into(), HERE, &addresses, |_| false), Some(1), "who is silent loses a place that was a guess");
        assert_eq!(roll.introduce(9, &"e".into()), None);
    }

    #[test]
    fn nothing_is_taken_twice() {
        let mut roll = Roll::new(1);
        assert!(roll.admit(0, "x", 1));
        assert!(!roll.admit(0, "x", 1));
        assert!(roll.admit(0, "x", 5));
        assert!(!roll.admit(0, "x", 4));
        assert!(roll.admit(0, "y", 1), "a new run counts from the start");
        assert!(!roll.admit(0, "x", 6), "an old run is over");
        assert!(roll.admit(0, "y", 2));
        assert!(!roll.admit(3, "y", 3));
    }

    proptest::proptest! {
        /// P7 of the properties of detection: what counts in the end is the newest of each, however often and in whichever order.
        #[test]
        fn the_order_of_messages_decides_nothing(
            messages in proptest::collection::vec((0_usize..3, 1_u64..20), 1..60), seed: u64,
        ) {
            let take = |messages: &[(usize, u64)]| {
                let mut roll = Roll::new(3);
                let mut newest = [0; 3];
                for (place, seq) in messages {
                    if roll.admit(*place, "run", *seq) {
                        newest[*place] = *seq;
                    }
                }
                newest
            };
            let mut shuffled: Vec<(usize, u64)> = messages.iter().chain(&messages).copied().collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            proptest::prop_assert_eq!(take(&messages), take(&shuffled));
        }
    }
}

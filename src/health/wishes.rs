//! Keeps the state that an endpoint asks to be in: its agent says `drain`, `maint` or `ready`, or that it wants no traffic at all;
//! and how many requests at once it can take.
//!
//! What has been said stands until something else is said, as with HAProxy: `up` speaks of health and ends no drain. The operator's
//! orders are kept elsewhere, so that an agent cannot put back what an operator took out.

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::health::seldom::Usual;
use crate::health::verdict::{Code, Reason, State};
use crate::report::{Asks, Share, Wish};

/// What an endpoint asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Wishes {
    wish: Option<(Wish, Timestamp)>,
    /// Since when it asks for a share of nothing.
    nothing: Option<Timestamp>,
    /// The most requests at once; 0 for no bound.
    most_requests: Option<u32>,
}

impl Usual for Wishes {
    const USUAL: &'static Self = &Self { wish: None, nothing: None, most_requests: None };
}

impl Wishes {
    /// Takes in what was said. Returns what is new in it, for the history.
    pub(super) fn hear(&mut self, asks: &Asks, at: Timestamp) -> Option<&'static str> {
        let before = self.state();
        match asks.wish {
            Some(Wish::Ready) => self.wish = None,
            Some(wish) if self.wish.is_none_or(|(same, _)| same != wish) => self.wish = Some((wish, at)),
            Some(_) | None => {}
        }
        match asks.share {
            Some(Share::Part(0.0) | Share::Weight(0)) => {
                self.nothing.get_or_insert(at);
            }
            Some(_) => self.nothing = None,
            None => {}
        }
        self.most_requests = asks.max_connections.or(self.most_requests);
        let after = self.state();
        (before != after).then_some(match after {
            Some(State::Maintenance) => "it asks for maintenance",
            Some(_) => "it asks to be drained",
            None => "it asks for traffic again",
        })
    }

    /// The most requests at once that it asks for.
    pub(super) fn most_requests(&self) -> Option<u32> {
        self.most_requests.filter(|most| *most > 0)
    }

    /// The state asked for, unless it is ready.
    pub(super) const fn state(&self) -> Option<State> {
        match (self.wish, self.nothing) {
            (Some((Wish::Maintenance, _)), _) => Some(State::Maintenance),
            (Some((Wish::Drain, _)), _) | (_, Some(_)) => Some(State::Draining),
            (Some((Wish::Ready, _)) | None, None) => None,
        }
    }

    /// The same, and why.
    pub(super) fn reason(&self) -> Option<(State, Reason)> {
        let state = self.state()?;
        let code = if state == State::Maintenance { Code::Maintenance } else { Code::Draining };
        let (detail, since) = match (self.wish, self.nothing) {
            (Some((Wish::Maintenance, since)), _) => ("its agent says maint; ready ends it", since),
            (Some((_, since)), _) => ("its agent says drain; ready ends it", since),
            (None, since) => ("its agent asks for a weight of 0", since?),
        };
        Some((state, Reason { code, probe: None, detail: detail.to_owned(), since, until: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::policy::Policy;
    use crate::health::signal::Observation;
    use crate::health::tests::{Bench, members, policy};

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn wish(wish: Wish) -> Asks {
        Asks { wish: Some(wish), ..Asks::default() }
    }

    #[test]
    fn a_bound_stands_until_another_is_said_and_zero_lifts_it() {
        let mut wishes = Wishes::default();
        let mut hear = |most| {
            wishes.hear(&Asks { max_connections: most, ..Asks::default() }, at(1));
            wishes.most_requests()
        };
        assert_eq!(
            [hear(None), hear(Some(30)), hear(None), hear(Some(7)), hear(Some(0))],
            [None, Some(30), Some(30), Some(7), None]
        );
    }

    fn share(share: Share) -> Asks {
        Asks { share: Some(share), ..Asks::default() }
    }

    #[test]
    fn what_was_said_stands_until_ready() {
        let mut wishes = Wishes::default();
        assert_eq!(wishes.hear(&wish(Wish::Ready), at(1)), None);
        assert!(wishes.hear(&wish(Wish::Drain), at(2)).is_some());
        assert_eq!(wishes.hear(&wish(Wish::Drain), at(3)), None);
        assert_eq!(wishes.hear(&Asks::default(), at(4)), None);
        let (state, reason) = wishes.reason().unwrap();
        assert_eq!((state, reason.code, reason.since), (State::Draining, Code::Draining, at(2)));
        assert!(wishes.hear(&wish(Wish::Maintenance), at(5)).is_some());
        assert_eq!(wishes.state(), Some(State::Maintenance));
        assert!(wishes.hear(&wish(Wish::Ready), at(6)).is_some());
        assert_eq!((wishes.state(), wishes.reason()), (None, None));
    }

    #[test]
    fn what_was_said_ends_with_the_last_agent() {
        let with_agent = Policy { advisers: vec!["agent".into()], ..policy() };
        let mut bench = Bench::well(with_agent, 1);
        bench.send(0, Observation::Asks(wish(Wish::Drain)));
        assert_eq!(bench.state(0), State::Draining);
        drop(bench.cluster.reconfigure(policy(), members(1), at(100)));
        assert_eq!(bench.state(0), State::Healthy);
    }

    #[test]
    fn a_share_of_nothing_drains_until_there_is_one() {
        let mut wishes = Wishes::default();
        wishes.hear(&share(Share::Part(0.0)), at(1));
        wishes.hear(&share(Share::Weight(0)), at(2));
        assert_eq!(wishes.reason().map(|(state, reason)| (state, reason.since)), Some((State::Draining, at(1))));
        wishes.hear(&wish(Wish::Ready), at(3));
        assert_eq!(wishes.state(), Some(State::Draining), "ready is no share");
        wishes.hear(&share(Share::Part(0.5)), at(4));
        assert_eq!(wishes.state(), None);
    }
}

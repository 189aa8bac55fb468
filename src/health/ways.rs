//! Keeps by which sockets an endpoint's heartbeats come, where there are several: a way that falls silent alone is told.
//!
//! A sender with two networks sends each beat over both, and lives while one of them carries it. That the other one is down
//! must be seen before this one fails as well; it is no fault of the endpoint, and no verdict follows from it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::verdict::{Code, Reason, WayView};

/// Most ways that are kept of one endpoint; the one that has been silent for longest makes room.
const MOST: usize = 8;

/// The ways of one endpoint's heartbeats.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways(Vec<Way>);

#[derive(Debug, Clone)]
struct Way {
    name: Arc<str>,
    at: Timestamp,
    /// Since when it has been known that nothing comes by it while others bring beats, and for how long nothing had come then.
    silent: Option<(Timestamp, Duration)>,
}

impl Ways {
    /// None yet.
    pub(super) const NONE: Self = Self(Vec::new());

    /// A beat came by the socket of this name. Returns what is new of any of them, in words for the history.
    pub(super) fn come(&mut self, name: &Arc<str>, at: Timestamp, ttl: Duration) -> Vec<String> {
        let mut told = Vec::new();
        match self.0.iter_mut().find(|way| way.name == *name) {
            Some(way) => {
                way.at = at;
                if way.silent.take().is_some() {
                    told.push(format!("they come by {name} again"));
                }
            }
            None => self.begin(name, at),
        }
        for way in self.0.iter_mut().filter(|way| way.silent.is_none()) {
            let span = at.since(way.at);
            if span >= ttl {
                way.silent = Some((at, ttl));
                told.push(format!("none by {} for {}, they come by {name}", way.name, format_duration(ttl)));
            }
        }
        told
    }

    fn begin(&mut self, name: &Arc<str>, at: Timestamp) {
        if self.0.len() == MOST
            && let Some(oldest) = (0..MOST).min_by_key(|place| self.0[*place].at)
        {
            self.0.swap_remove(oldest);
        }
        self.0.push(Way { name: Arc::clone(name), at, silent: None });
    }

    /// What is shown of each.
    pub(super) fn views(&self) -> Vec<WayView> {
        let reason = |(since, span): (Timestamp, Duration)| Reason {
            code: Code::HeartbeatExpired,
            probe: None,
            detail: format!("none by this way for {}, while others bring them", format_duration(span)),
            since,
            until: None,
        };
        let view = |way: &Way| WayView { name: Arc::clone(&way.name), at: way.at, reason: way.silent.map(reason) };
        self.0.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(1750);

    fn come(ways: &mut Ways, name: &str, millis: u64) -> Vec<String> {
        ways.come(&name.into(), Timestamp::from_millis(millis), TTL)
    }

    #[test]
    fn a_way_that_falls_silent_alone_is_told_once_and_when_it_is_back() {
        let mut ways = Ways::default();
        let mut told = Vec::new();
        for n in 0..20 {
            told.extend(come(&mut ways, "one", n * 500));
            if !(4..12).contains(&n) {
                told.extend(come(&mut ways, "two", n * 500 + 3));
            }
            let silent = ways.views().iter().filter(|way| way.reason.is_some()).count();
            assert_eq!(silent, usize::from((7..12).contains(&n)), "{n}");
        }
        assert_eq!(told, ["none by two for 1750ms, they come by one", "they come by two again"]);
    }

    #[test]
    fn silence_of_all_is_nobodys() {
        let mut ways = Ways::default();
        come(&mut ways, "one", 0);
        come(&mut ways, "two", 1);
        assert_eq!(come(&mut ways, "two", 60_000), ["none by one for 1750ms, they come by two"]);
        assert_eq!(come(&mut ways, "one", 60_001), ["they come by one again"]);
    }

    #[test]
    fn there_are_never_more_than_a_few() {
        let mut ways = Ways::default();
        for n in 0..100 {
            come(&mut ways, &format!("way {n}"), n);
        }
        assert_eq!(ways.views().len(), MOST);
        assert!(ways.views().iter().any(|way| &*way.name == "way 99"));
    }
}

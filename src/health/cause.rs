//! Holds a verdict back when so many endpoints turn bad together that the cause is likely one that they share, or we do.
//!
//! When our own link goes, every endpoint times out within one interval, and a checker that believes itself takes all of them
//! out. So time-outs that befall half of a cluster's endpoints (of three and more, and at least two) within one interval are
//! held: the endpoint is suspect, gets requests only if there is nobody better, and becomes unhealthy when `fall` more probes have
//! failed, or after three intervals. Refused connections and wrong answers come from the endpoint itself and are never held.
//!
//! The same goes for what endpoints report: when a database is slow all of them are full at once, and taking out those that said
//! so first only makes the others fuller. So rules that would eject half of a cluster within one interval degrade for three
//! intervals; what lasts for longer is believed, as far as the cap goes.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::health::changes::Changes;
use crate::health::cluster::Cluster;
use crate::health::endpoint::Endpoint;
use crate::health::history::{Entry, Kind};
use crate::health::verdict::{Code, Reason, State};

/// Intervals after which a held verdict is believed whatever else is known.
const PATIENCE: u32 = 3;
/// The least time within which endpoints turn bad together.
const TOGETHER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    #[default]
    Clear,
    Held {
        since: Timestamp,
        fails: u32,
    },
    Believed,
}

/// Whether the verdict on one endpoint is held back.
#[derive(Debug, Clone, Default)]
pub(super) struct Cause(Standing);

/// How many of `n` endpoints are too many to turn bad by themselves; none if there are too few to tell.
pub(super) fn too_many(n: usize) -> Option<usize> {
    (n >= 3).then(|| n.div_ceil(2).max(2))
}

/// The time within which endpoints turn bad together.
pub(super) fn window(interval: Duration) -> Duration {
    interval.max(TOGETHER)
}

/// How long a verdict is held at most.
pub(super) const fn patience(interval: Duration) -> Duration {
    interval.saturating_mul(PATIENCE)
}

impl Cause {
    /// Whether nothing has been decided about its failures.
    pub(super) fn is_open(&self) -> bool {
        self.0 == Standing::Clear
    }

    /// Decides: its failures are held, or believed.
    pub(super) const fn decide(&mut self, held: bool, fails: u32, now: Timestamp) {
        self.0 = if held { Standing::Held { since: now, fails } } else { Standing::Believed };
    }

    /// It is well again.
    pub(super) const fn clear(&mut self) {
        self.0 = Standing::Clear;
    }

    /// It has failed so often by now.
    pub(super) const fn confirm(&mut self, fails: u32, fall: u32) {
        if let Standing::Held { fails: before, .. } = self.0
            && fails >= before.saturating_add(fall)
        {
            self.0 = Standing::Believed;
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        matches!(self.0, Standing::Held { .. })
    }

    /// Lets time pass. Returns whether the verdict is believed from now on.
    pub(super) fn expire(&mut self, now: Timestamp, interval: Duration) -> bool {
        let over = self.next_change(interval).is_some_and(|at| at <= now);
        if over {
            self.0 = Standing::Believed;
        }
        over
    }

    pub(super) fn next_change(&self, interval: Duration) -> Option<Timestamp> {
        match self.0 {
            Standing::Held { since, .. } => Some(since + patience(interval)),
            Standing::Clear | Standing::Believed => None,
        }
    }

    /// Until when what is reported is held at most, if it is.
    pub(super) fn held_until(&self, interval: Duration) -> Option<Timestamp> {
        self.next_change(interval)
    }

    /// Why the verdict is held.
    pub(super) fn reason(&self, interval: Duration) -> Option<(State, Reason)> {
        let Standing::Held { since, .. } = self.0 else { return None };
        let detail =
            "half of the cluster or more ran out of time at once: it may be our own link, and is to be confirmed".to_owned();
        let until = self.next_change(interval);
        Some((State::Suspect, Reason { code: Code::LocalUnreachable, probe: None, detail, since, until }))
    }
}

impl Cluster {
    /// Decides whether an endpoint's time-outs are believed or held, if that is to be decided.
    pub(super) fn decide_cause(&mut self, index: usize, now: Timestamp) {
        let endpoint = &self.endpoints[index];
        if endpoint.probes.well() != Some(false) || !endpoint.cause.is_open() {
            return;
        }
        let turning = endpoint.state.is_well() || endpoint.state == State::Suspect;
        let own = !turning || !endpoint.probes.only_late() || endpoint.refused.is_out();
        let since = now - window(self.policy.interval);
        let late = |other: &Endpoint| match other.probes.well() {
            Some(true) => other.probes.is_late(),
            _ => other.cause.is_held() || (other.state == State::Unhealthy && other.since >= since && other.probes.only_late()),
        };
        let held = !own && self.are_many(index, late);
        let endpoint = &mut self.endpoints[index];
        endpoint.cause.decide(held, endpoint.probes.fails(), now);
        if held {
            endpoint.history.push(Entry::new(now, Kind::Held, "half of the cluster or more ran out of time at once"));
        }
    }

    /// The same for what it reports.
    pub(super) fn decide_reports(&mut self, index: usize, now: Timestamp, changes: &mut Changes) {
        let endpoint = &self.endpoints[index];
        if !endpoint.reports.eject() {
            self.endpoints[index].reports_cause.clear();
            return;
        }
        if !endpoint.reports_cause.is_open() {
            return;
        }
        let since = endpoint.reports.past_since().unwrap_or(now) - window(self.policy.interval);
        let past = |other: &Endpoint| other.reports.past_since().is_some_and(|at| at >= since);
        let held = endpoint.state.is_well() && self.are_many(index, past);
        let endpoint = &mut self.endpoints[index];
        endpoint.reports_cause.decide(held, 0, now);
        if held {
            endpoint.history.push(Entry::new(now, Kind::Held, "half of the cluster or more report the same at once"));
            let codes = endpoint.reports.reasons().into_iter().filter(|(state, _)| *state == State::Ejected);
            changes.withheld.extend(codes.map(|(_, reason)| (endpoint.id(), reason.code)));
        }
    }

    /// Whether so many others are like it that the cause is likely shared.
    fn are_many(&self, index: usize, alike: impl Fn(&Endpoint) -> bool) -> bool {
        let Some(limit) = too_many(self.endpoints.len()) else { return false };
        let others = self.endpoints.iter().enumerate().filter(|(other, endpoint)| *other != index && alike(endpoint));
        others.take(limit).count() + 1 >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn two_of_three_and_half_of_more_are_too_many() {
        let counts: Vec<Option<usize>> = (1..8).map(too_many).collect();
        assert_eq!(counts, [None, None, Some(2), Some(2), Some(3), Some(3), Some(4)]);
    }

    #[test]
    fn a_held_verdict_is_believed_after_more_failures_or_some_time() {
        let mut cause = Cause::default();
        cause.decide(true, 3, at(1000));
        cause.confirm(5, 3);
        assert!(cause.is_held() && !cause.is_open());
        cause.confirm(6, 3);
        assert!(!cause.is_held() && !cause.is_open());
        cause.clear();
        cause.decide(true, 3, at(2000));
        assert!(!cause.expire(at(7999), INTERVAL));
        assert!(cause.expire(at(8000), INTERVAL) && !cause.is_held());
    }
}

//! Decides which of the endpoints that ask for a soft ejection get it.
//!
//! What endpoints report of themselves often has one shared cause: a slow database makes all of them full at once, and
//! ejecting them all would turn slow into down. So at most floor(n × `max_ejected`) of n go, at least one if there are
//! two, and never the last available one. First come, first ejected: those that came earlier keep their place when the
//! budget shrinks, and the next in line goes when it grows. A failed probe needs no budget.

use std::collections::BTreeSet;

use crate::base::time::Timestamp;
use crate::base::units::Ratio;

/// Who asks, in the order in which they began to.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    claims: BTreeSet<(Timestamp, usize)>,
    /// Endpoints that would be available if nobody were ejected, those that ask included.
    well: usize,
}

impl Budget {
    /// One endpoint's claim and wellness change. Returns whether grants must be settled anew.
    pub(super) fn replace(&mut self, index: usize, before: Stand, after: Stand) -> bool {
        if before == after {
            return false;
        }
        self.well = self.well - usize::from(before.well) + usize::from(after.well);
        if let Some(since) = before.claim {
            self.claims.remove(&(since, index));
        }
        if let Some(since) = after.claim {
            self.claims.insert((since, index));
        }
        before.claim.is_some() || !self.claims.is_empty()
    }

    /// Every endpoint that asks, with whether it is ejected. `well` tells which of them would be available otherwise.
    pub(super) fn grants(&self, n: usize, max_ejected: Ratio, well: impl Fn(usize) -> bool) -> Vec<(usize, bool)> {
        let mut left = soft_cap(n, max_ejected);
        let mut available = self.well;
        let mut grant = |index: usize| {
            let costs = usize::from(well(index));
            let granted = left > 0 && available > costs;
            if granted {
                left -= 1;
                available -= costs;
            }
            granted
        };
        self.claims.iter().map(|(_, index)| (*index, grant(*index))).collect()
    }
}

/// What the budget must know of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stand {
    /// Since when it asks to be ejected, if it does.
    pub(super) claim: Option<Timestamp>,
    /// Whether it would be available if it were not ejected.
    pub(super) well: bool,
}

/// How many of `n` may be ejected: `floor(n × max_ejected)`, at least 1 if there are two. The last one available never is.
#[must_use]
pub fn soft_cap(n: usize, max_ejected: Ratio) -> usize {
    max_ejected.floor_of(n).max(usize::from(n >= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(percent: f64) -> Ratio {
        Ratio::try_new(percent / 100.0).unwrap()
    }

    /// Endpoints are given as (asks, would be available); the answer lists who is ejected.
    fn check(max_ejected: f64, endpoints: &[(bool, bool)], ejected: &[usize]) {
        let mut budget = Budget::default();
        for (index, (asks, well)) in endpoints.iter().enumerate() {
            let claim = asks.then_some(Timestamp::ZERO);
            budget.replace(index, Stand::default(), Stand { claim, well: *well });
        }
        let grants = budget.grants(endpoints.len(), ratio(max_ejected), |index| endpoints[index].1);
        let granted: Vec<usize> = grants.into_iter().filter(|(_, granted)| *granted).map(|(index, _)| index).collect();
        assert_eq!(granted, ejected, "{max_ejected} % of {endpoints:?}");
    }

    #[test]
    fn the_cap_is_a_floor_with_at_least_one_of_two() {
        let caps: Vec<usize> = (0..8).map(|n| soft_cap(n, ratio(50.0))).collect();
        assert_eq!(caps, [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!((soft_cap(10, ratio(0.0)), soft_cap(1, ratio(100.0)), soft_cap(10, ratio(29.0))), (1, 1, 2));
    }

    #[test]
    fn grants() {
        const FULL: (bool, bool) = (true, true);
        const WELL: (bool, bool) = (false, true);
        const SICK: (bool, bool) = (false, false);
        check(50.0, &[FULL, WELL, WELL], &[0]);
        check(50.0, &[FULL, FULL, FULL], &[0]);
        check(50.0, &[FULL, FULL, FULL, FULL], &[0, 1]);
        check(100.0, &[FULL, FULL, FULL], &[0, 1]);
        check(0.0, &[FULL, WELL], &[0]);
        check(50.0, &[FULL], &[]);
        check(100.0, &[FULL], &[]);
        check(50.0, &[FULL, SICK, SICK], &[]);
        check(50.0, &[FULL, FULL, SICK, SICK], &[0]);
        check(50.0, &[(true, false), SICK], &[]);
        check(50.0, &[(true, false), WELL], &[0]);
    }
}

//! Endpoints that refused live traffic and may have answered since.
//!
//! Workers tell of refusals but count answers in cells, since a signal for each answer would cost more than the request.
//! So whether there was "no success between" two refusals is read off the cells: before the second refusal acts, and
//! every 20 ms for endpoints that only an answer can bring back.

use std::time::Duration;

use crate::base::ids::{ByEndpoint, EndpointId};
use crate::base::time::Timestamp;
use crate::cluster::Endpoint;

/// How often cells are read while anybody is in doubt.
const LOOK: Duration = Duration::from_millis(20);

/// The last refusal of each endpoint that has not been seen to answer since.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    refused: ByEndpoint<Timestamp>,
    next: Option<Timestamp>,
}

impl Doubts {
    /// Notes a refusal at `at`. Returns whether the endpoint answered between the refusal before and this one.
    pub(super) fn refused(&mut self, endpoint: &Endpoint, at: Timestamp, now: Timestamp) -> bool {
        self.next.get_or_insert(now + LOOK);
        let before = self.refused.insert(endpoint.id, at);
        before.is_some_and(|before| has_answered(endpoint, before))
    }

    /// A probe that started at `started` has passed.
    pub(super) fn passed(&mut self, endpoint: EndpointId, started: Timestamp) {
        if self.refused.get(&endpoint).is_some_and(|refused| *refused <= started) {
            self.forget(endpoint);
        }
    }

    /// No answer would change what is believed of this endpoint.
    pub(super) fn forget(&mut self, endpoint: EndpointId) {
        self.refused.remove(&endpoint);
        if self.refused.is_empty() {
            self.next = None;
        }
    }

    /// When to look again.
    pub(super) const fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Reads the cells if it is time to. Returns who has answered since its last refusal; it is in doubt no more.
    pub(super) fn look<'a>(&mut self, now: Timestamp, find: impl Fn(EndpointId) -> Option<&'a Endpoint>) -> Vec<EndpointId> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut answered = Vec::new();
        self.refused.retain(|id, at| {
            let Some(endpoint) = find(*id) else { return false };
            let settled = has_answered(endpoint, *at);
            answered.extend(settled.then_some(*id));
            !settled
        });
        self.next = (!self.refused.is_empty()).then(|| now + LOOK);
        answered
    }
}

/// Whether a request that was sent after `at` has been answered. One sent before proves nothing: a process that is about to
/// end refuses new connections while it finishes what it has.
fn has_answered(endpoint: &Endpoint, at: Timestamp) -> bool {
    endpoint.all_cells().any(|cells| cells.newest_answered_sent.get() > at.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::address::EndpointAddress;
    use crate::base::ids::ClusterId;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn endpoint() -> Endpoint {
        let address = EndpointAddress::parse("127.0.0.1:1").unwrap();
        Endpoint::new(EndpointId(1), ClusterId(1), "app".into(), address, at(0))
    }

    #[test]
    fn an_answer_between_two_refusals_is_seen() {
        let (mut doubts, endpoint) = (Doubts::default(), endpoint());
        assert!(!doubts.refused(&endpoint, at(100), at(100)));
        endpoint.cells(1).answered(200, at(90), at(101));
        assert!(!doubts.refused(&endpoint, at(102), at(102)), "that request had been sent before the first refusal");
        endpoint.cells(0).answered(503, at(103), at(104));
        assert!(doubts.refused(&endpoint, at(105), at(105)), "whatever the status, it answers");
        assert!(!doubts.refused(&endpoint, at(106), at(106)));
    }

    #[test]
    fn cells_are_looked_at_while_anybody_is_in_doubt() {
        let (mut doubts, endpoint) = (Doubts::default(), endpoint());
        assert_eq!(doubts.next(), None);
        doubts.refused(&endpoint, at(100), at(100));
        assert_eq!(doubts.next(), Some(at(120)));
        assert!(doubts.look(at(119), |_| Some(&endpoint)).is_empty());
        assert!(doubts.look(at(120), |_| Some(&endpoint)).is_empty());
        assert_eq!(doubts.next(), Some(at(140)));
        endpoint.cells(0).answered(200, at(130), at(131));
        assert_eq!(doubts.look(at(140), |_| Some(&endpoint)), [EndpointId(1)]);
        assert_eq!(doubts.next(), None);
    }

    #[test]
    fn who_left_or_passed_a_probe_is_in_doubt_no_more() {
        let (mut doubts, endpoint) = (Doubts::default(), endpoint());
        doubts.refused(&endpoint, at(100), at(100));
        assert!(doubts.look(at(120), |_| None).is_empty());
        assert_eq!(doubts.next(), None);
        doubts.refused(&endpoint, at(200), at(200));
        doubts.passed(endpoint.id, at(199));
        assert!(doubts.next().is_some(), "that probe had started before the refusal");
        doubts.passed(endpoint.id, at(200));
        assert_eq!(doubts.next(), None);
    }
}

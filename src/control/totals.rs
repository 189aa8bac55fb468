//! What was last read off one endpoint's cells, and what is new in them.
//!
//! Workers only ever add; whoever reads remembers where the counts stood. An endpoint without traffic costs a few loads.

use crate::base::sketch::BUCKETS;
use crate::base::time::Timestamp;
use crate::cluster::{Endpoint, EndpointCells, Live};
use crate::health::Glance;

/// Where the counts of one endpoint stood. Made when there is something to count: most endpoints of a large fleet have nothing for long.
#[derive(Debug, Default)]
pub(super) struct Totals(Option<Box<Stood>>);

#[derive(Debug, Default)]
struct Stood {
    requests: u64,
    errors: u64,
    gateway_errors: u64,
    answers: u64,
    /// Made with the first answer.
    latencies: Vec<u32>,
}

impl Totals {
    /// What is new of an endpoint; `None` if nothing is and nobody waits for it.
    pub(super) fn glance(&mut self, endpoint: &Endpoint, live: &Live, now: Timestamp) -> Option<Glance> {
        let sum = |count: fn(&EndpointCells) -> u64| endpoint.all_cells().map(count).fold(0, u64::wrapping_add);
        let errors = sum(|cells| cells.error.get());
        let requests = errors.wrapping_add(sum(|cells| cells.ok.get()));
        let (oldest, excused_until) = oldest(endpoint, live, now);
        // Those that were called back for taking so long count as answers that took so long.
        let answers = sum(|cells| cells.first_bytes.get()).wrapping_add(sum(|cells| cells.overdue.get()));
        let before = self.0.as_ref().map_or((0, 0), |stood| (stood.requests, stood.answers));
        if (requests, answers) == before && oldest.is_none() {
            return None;
        }
        let stood = self.0.get_or_insert_default();
        let gateway_errors = sum(|cells| cells.gateway_errors.get());
        let latest = |cell: fn(&EndpointCells) -> u64| Timestamp::from_nanos(endpoint.all_cells().map(cell).max().unwrap_or(0));
        Some(Glance {
            endpoint: endpoint.id,
            oldest,
            excused_until,
            heard: latest(|cells| cells.heard.get()),
            success_sent: latest(|cells| cells.newest_success_sent.get()),
            requests: news(&mut stood.requests, requests),
            errors: news(&mut stood.errors, errors),
            gateway_errors: news(&mut stood.gateway_errors, gateway_errors),
            streak: u32::try_from(sum(|cells| cells.gateway_streak.get())).unwrap_or(u32::MAX),
            latencies: stood.latencies(endpoint, answers),
            in_flight: endpoint.in_flight(),
        })
    }
}

impl Stood {
    fn latencies(&mut self, endpoint: &Endpoint, answers: u64) -> Vec<(u8, u32)> {
        if std::mem::replace(&mut self.answers, answers) == answers {
            return Vec::new();
        }
        self.latencies.resize(BUCKETS, 0);
        let mut counts = [0_u32; BUCKETS];
        for cells in endpoint.all_cells() {
            counts.iter_mut().zip(cells.latencies.counts()).for_each(|(sum, n)| *sum = sum.wrapping_add(n));
        }
        let known = self.latencies.iter_mut().zip(counts).zip(0_u8..);
        known
            .map(|((before, now), bucket)| (bucket, now.wrapping_sub(std::mem::replace(before, now))))
            .filter(|(_, n)| *n > 0)
            .collect()
    }
}

/// By how much a count has grown.
fn news(before: &mut u64, now: u64) -> u32 {
    u32::try_from(now.wrapping_sub(std::mem::replace(before, now))).unwrap_or(u32::MAX)
}

/// When the request was sent that waits longest, and until when its worker has an excuse: what had come by then may be unread.
fn oldest(endpoint: &Endpoint, live: &Live, now: Timestamp) -> (Option<Timestamp>, Timestamp) {
    let sent = endpoint.numbered_cells().filter_map(|(worker, cells)| match cells.oldest_unanswered.get() {
        0 => None,
        sent => Some((Timestamp::from_nanos(sent), live.pulses[worker].excused_until(now))),
    });
    let longest = sent.min_by_key(|(sent, stalled)| (*sent).max(*stalled));
    (longest.map(|(sent, _)| sent), longest.map_or(Timestamp::ZERO, |(_, stalled)| stalled))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::address::EndpointAddress;
    use crate::base::ids::{ClusterId, EndpointId};

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_glance_is_what_came_since_the_last() {
        let address = EndpointAddress::parse("127.0.0.1:1").unwrap();
        let (endpoint, live) = (Endpoint::new(EndpointId(1), ClusterId(1), "app".into(), address, at(0)), Live::new());
        let mut totals = Totals::default();
        assert_eq!(totals.glance(&endpoint, &live, at(10)), None);
        endpoint.cells(0).answered(200, at(10), at(15));
        endpoint.cells(1).answered(503, at(11), at(16));
        endpoint.cells(1).failed();
        let seen = totals.glance(&endpoint, &live, at(20)).unwrap();
        assert_eq!((seen.requests, seen.errors, seen.gateway_errors, seen.streak), (3, 2, 2, 2));
        assert_eq!((seen.heard, seen.success_sent, seen.oldest), (at(16), at(10), None));
        let bucket = u8::try_from(crate::base::sketch::bucket(Duration::from_millis(5))).unwrap();
        assert_eq!(seen.latencies, [(bucket, 2)]);
        assert_eq!(totals.glance(&endpoint, &live, at(30)), None, "nothing is new");
        endpoint.cells(0).oldest_unanswered.set(at(25).as_nanos());
        let seen = totals.glance(&endpoint, &live, at(40)).unwrap();
        assert_eq!((seen.requests, seen.oldest, seen.latencies.len()), (0, Some(at(25)), 0));
    }

    #[test]
    fn the_oldest_is_that_of_the_worker_that_ran() {
        let address = EndpointAddress::parse("127.0.0.1:1").unwrap();
        let (endpoint, live) = (Endpoint::new(EndpointId(1), ClusterId(1), "app".into(), address, at(0)), Live::new());
        endpoint.cells(0).oldest_unanswered.set(at(100).as_nanos());
        endpoint.cells(1).oldest_unanswered.set(at(150).as_nanos());
        live.pulses[0].beat(at(100), at(190));
        live.pulses[1].beat(at(190), at(190));
        assert_eq!(oldest(&endpoint, &live, at(200)), (Some(at(150)), Timestamp::ZERO));
    }
}

//! Numbers out of what was seen: requests, and what was said of endpoints.

use std::collections::HashMap;
use std::time::Duration;

use pulsegate::base::time::Timestamp;

use crate::load::Sample;
use crate::rig::Endpoint;
use crate::system::Event;

/// What one run of a scenario came to: names of its goals, and numbers.
pub(crate) type Facts = Vec<(&'static str, f64)>;

/// A number that means "not within this run".
pub(crate) const NEVER: f64 = f64::INFINITY;

/// Requests that should have been sent in this time.
pub(crate) fn within(samples: &[Sample], from: Timestamp, to: Timestamp) -> Vec<Sample> {
    samples.iter().filter(|sample| (from..to).contains(&sample.start)).copied().collect()
}

/// Those that were not answered with 200.
pub(crate) fn failed(samples: &[Sample]) -> f64 {
    count(samples.iter().filter(|sample| sample.status != 200).count())
}

/// Those that took longer.
pub(crate) fn slower(samples: &[Sample], millis: u64) -> f64 {
    count(samples.iter().filter(|sample| sample.latency > Duration::from_millis(millis)).count())
}

/// The 99th of 100 in order of time, in milliseconds.
pub(crate) fn p99(samples: &[Sample]) -> f64 {
    let mut times: Vec<f64> = samples.iter().map(|sample| millis(sample.latency)).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(0.0)
}

/// The share in percent that an endpoint answered.
pub(crate) fn share(samples: &[Sample], endpoint: usize) -> f64 {
    let its = samples.iter().filter(|sample| sample.endpoint == Some(endpoint)).count();
    100.0 * count(its) / count(samples.len().max(1))
}

/// Milliseconds from a moment to the first event of an endpoint that is of interest.
pub(crate) fn first(events: &[Event], endpoint: usize, since: Timestamp, is: impl Fn(&Event) -> bool) -> f64 {
    let mut of_it = events.iter().filter(|event| event.endpoint == endpoint && event.at >= since);
    of_it.find(|event| is(event)).map_or(NEVER, |event| millis(event.at.since(since)))
}

/// Events from a moment on that are of interest.
pub(crate) fn number(events: &[Event], since: Timestamp, is: impl Fn(&Event) -> bool) -> f64 {
    count(events.iter().filter(|event| event.at >= since && is(event)).count())
}

/// Requests that reached endpoints more than once.
pub(crate) fn sent_twice(endpoints: &[Endpoint]) -> f64 {
    let mut times: HashMap<u32, u32> = HashMap::new();
    for id in endpoints.iter().flat_map(Endpoint::received) {
        *times.entry(id).or_default() += 1;
    }
    count(times.values().filter(|times| **times > 1).count())
}

/// When each request that reached an endpoint should have been sent.
pub(crate) fn arrivals(endpoint: &Endpoint, samples: &[Sample]) -> Vec<Timestamp> {
    let starts: HashMap<u32, Timestamp> = samples.iter().map(|sample| (sample.id, sample.start)).collect();
    endpoint.received().iter().filter_map(|id| starts.get(id).copied()).collect()
}

/// The most requests in any window of this length, over what could be served in it.
pub(crate) fn overload(mut arrivals: Vec<Timestamp>, window: Duration, capacity: f64) -> f64 {
    arrivals.sort();
    let mut most = 0;
    let mut begin = 0;
    for (end, at) in arrivals.iter().enumerate() {
        while at.since(arrivals[begin]) > window {
            begin += 1;
        }
        most = most.max(end + 1 - begin);
    }
    count(most) / (capacity * window.as_secs_f64())
}

/// A span in milliseconds.
pub(crate) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
pub(crate) const fn count(number: usize) -> f64 {
    number as f64
}

//! What control itself counts: transitions, ejections, probes' durations and reloads.
//!
//! Series are made when something happens for the first time and go when their endpoint leaves the configuration, so that
//! a fleet whose addresses change does not grow the page for ever.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts};

use crate::health::verdict::{Code, State, Transition};
use crate::heartbeat::Counts;
use crate::telemetry::cell::BUCKETS;
use crate::telemetry::names::{self, Metric};
use crate::telemetry::series::Series;

/// Counts with one writer, control; any thread may read and collect.
#[derive(Debug)]
pub struct Tallies {
    transitions: Series,
    ejections: Series,
    withheld: IntCounterVec,
    probe_durations: HistogramVec,
    heartbeats: Counts,
    heartbeat_delays: HistogramVec,
    reloads: IntCounterVec,
    last_reload: IntGauge,
}

/// How a reload ended, as a label.
const APPLIED: &str = "applied";
const REFUSED: &str = "refused";

fn counter(metric: Metric) -> IntCounterVec {
    IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels).expect("names and labels are well-formed constants")
}

fn histogram(metric: Metric) -> HistogramVec {
    let buckets = HistogramOpts::new(metric.name, metric.help).buckets(BUCKETS.to_vec());
    HistogramVec::new(buckets, metric.labels).expect("names and labels are well-formed constants")
}

impl Tallies {
    pub(super) fn new() -> Self {
        let last = names::CONFIG_LAST_RELOAD;
        let tallies = Self {
            transitions: Series::new(names::TRANSITIONS),
            ejections: Series::new(names::EJECTIONS),
            withheld: counter(names::EJECTIONS_WITHHELD),
            probe_durations: histogram(names::PROBE_DURATION),
            heartbeats: Counts::default(),
            heartbeat_delays: histogram(names::HEARTBEAT_DELAY),
            reloads: counter(names::CONFIG_RELOADS),
            last_reload: IntGauge::new(last.name, last.help).expect("the name is a well-formed constant"),
        };
        // These two are there from the start, so that a rate of the first reload can be seen.
        tallies.reloads.with_label_values(&[APPLIED]);
        tallies.reloads.with_label_values(&[REFUSED]);
        tallies.last_reload.set(1);
        tallies
    }

    /// Every collector, to be registered; they share their counts with this.
    #[must_use]
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![
            Box::new(self.transitions.clone()),
            Box::new(self.ejections.clone()),
            Box::new(self.withheld.clone()),
            Box::new(self.probe_durations.clone()),
            self.heartbeats.collector(),
            Box::new(self.heartbeat_delays.clone()),
            Box::new(self.reloads.clone()),
            Box::new(self.last_reload.clone()),
        ]
    }

    pub(super) fn transition(&self, cluster: &str, endpoint: &str, transition: &Transition) {
        let reason = transition.reasons.first().map(|reason| reason.code.to_string()).unwrap_or_default();
        let Transition { from, to, .. } = transition;
        self.transitions.inc(&[cluster, endpoint, from.as_str(), to.as_str(), &reason]);
        if is_ejection(*from, *to) {
            self.ejections.inc(&[cluster, endpoint, &reason]);
        }
    }

    pub(super) fn withheld(&self, cluster: &str, reason: &Code) {
        self.withheld.with_label_values(&[cluster, &reason.to_string()]).inc();
    }

    pub(super) fn probed(&self, cluster: &str, probe: &str, latency: Duration) {
        self.probe_durations.with_label_values(&[cluster, probe]).observe(latency.as_secs_f64());
    }

    /// The counts of heartbeats.
    pub(super) const fn heartbeats(&self) -> &Counts {
        &self.heartbeats
    }

    pub(super) fn delayed(&self, cluster: &str, delay: Duration) {
        self.heartbeat_delays.with_label_values(&[cluster]).observe(delay.as_secs_f64());
    }

    pub(super) fn reloaded(&self, applied: bool) {
        self.reloads.with_label_values(&[if applied { APPLIED } else { REFUSED }]).inc();
        self.last_reload.set(i64::from(applied));
    }

    /// Drops the series of an endpoint that left.
    pub(super) fn forget_endpoint(&self, cluster: &str, endpoint: &str) {
        for series in [&self.transitions, &self.ejections, self.heartbeats.series()] {
            series.forget(&[cluster, endpoint]);
        }
    }

    /// Drops the series of a cluster that left.
    pub(super) fn forget_cluster(&self, cluster: &str) {
        for series in [&self.transitions, &self.ejections, self.heartbeats.series()] {
            series.forget(&[cluster]);
        }
        let gone = [("cluster", cluster)];
        forget(&self.withheld, &gone);
        forget(&self.probe_durations, &gone);
        forget(&self.heartbeat_delays, &gone);
    }

    /// Drops the series of a probe that left its cluster.
    pub(super) fn forget_probe(&self, cluster: &str, probe: &str) {
        forget(&self.probe_durations, &[("cluster", cluster), ("probe", probe)]);
    }
}

/// Whether a change takes an endpoint out that was available. The operator's orders are no ejections.
fn is_ejection(from: State, to: State) -> bool {
    matches!(from, State::Healthy | State::Degraded) && matches!(to, State::Unhealthy | State::Ejected | State::Suspect)
}

/// Removes every series that has all of these labels.
fn forget<B: MetricVecBuilder>(series: &MetricVec<B>, gone: &[(&str, &str)])
where
    MetricVec<B>: Collector,
{
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> = metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if gone.iter().all(|(name, value)| labels.get(name) == Some(value)) {
                // It may only be missing if somebody else removed it, which is as well.
                drop(series.remove(&labels));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::EndpointId;
    use crate::base::time::Timestamp;
    use crate::health::verdict::Reason;

    fn transition(from: State, to: State, code: Option<Code>) -> Transition {
        let at = Timestamp::ZERO;
        let reason = |code| Reason { code, probe: None, detail: String::new(), since: at, until: None };
        Transition { endpoint: EndpointId(1), at, from, to, reasons: code.map(reason).into_iter().collect() }
    }

    fn series(tallies: &Tallies) -> usize {
        tallies.collectors().iter().flat_map(|one| one.collect()).map(|family| family.get_metric().len()).sum()
    }

    #[test]
    fn only_leaving_the_available_for_a_sickness_is_an_ejection() {
        let tallies = Tallies::new();
        let ejections = || tallies.ejections.get(&["app", "a:1", "refused"]);
        let go = |from, to| tallies.transition("app", "a:1", &transition(from, to, Some(Code::Refused)));
        go(State::Healthy, State::Unhealthy);
        go(State::Degraded, State::Ejected);
        assert_eq!(ejections(), 2);
        go(State::Unknown, State::Unhealthy);
        go(State::Healthy, State::Draining);
        go(State::Healthy, State::Degraded);
        assert_eq!(ejections(), 2);
    }

    #[test]
    fn series_of_what_left_are_dropped_and_no_others() {
        let tallies = Tallies::new();
        let at_start = series(&tallies);
        for (cluster, endpoint) in [("app", "a:1"), ("app", "b:1"), ("web", "a:1")] {
            tallies.transition(cluster, endpoint, &transition(State::Healthy, State::Unhealthy, Some(Code::Refused)));
            tallies.transition(cluster, endpoint, &transition(State::Unhealthy, State::Healthy, None));
            tallies.probed(cluster, "ready", Duration::from_millis(1));
        }
        assert_eq!(series(&tallies), at_start + 3 * 3 + 2);
        tallies.forget_endpoint("app", "a:1");
        assert_eq!(series(&tallies), at_start + 2 * 3 + 2);
        tallies.forget_cluster("app");
        assert_eq!(series(&tallies), at_start + 3 + 1);
        tallies.forget_probe("web", "ready");
        assert_eq!(series(&tallies), at_start + 3);
    }

    #[test]
    fn a_page_says_whether_the_last_reload_was_applied() {
        let tallies = Tallies::new();
        assert_eq!(tallies.last_reload.get(), 1);
        tallies.reloaded(false);
        assert_eq!((tallies.last_reload.get(), tallies.reloads.with_label_values(&[REFUSED]).get()), (0, 1));
        tallies.reloaded(true);
        assert_eq!(tallies.last_reload.get(), 1);
    }
}

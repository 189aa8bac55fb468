//! A counter with labels whose series are many: one for each endpoint and change of state, say.
//!
//! The usual vector of counters keeps the names and values of all labels with each series, close to a kilobyte; a fleet of ten thousand
//! would pay ten megabytes for its first transition. Here a series is one short text and a number, and labels are made when somebody
//! scrapes. Whoever scrapes holds the writer up only while the texts are listed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric as Sample, MetricFamily, MetricType};

use crate::telemetry::names::Metric;

/// Between two label values; no name and no address has it.
const BETWEEN: char = '\u{1f}';

/// The series of one metric. Cheap to clone; all clones share their counts.
#[derive(Debug, Clone)]
pub struct Series {
    metric: Metric,
    desc: Desc,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By label values, each with what stands between them behind it.
    each: HashMap<Arc<str>, u64>,
    /// The values that were counted last: room for the next.
    key: String,
}

impl Series {
    /// Without any series as yet.
    ///
    /// # Panics
    /// If the metric's name or labels are malformed: they are constants.
    #[must_use]
    pub fn new(metric: Metric) -> Self {
        let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new());
        Self { metric, desc: desc.expect("names and labels are well-formed constants"), counts: Arc::default() }
    }

    /// Counts one. The values of all labels, in the order of the list.
    pub fn inc(&self, values: &[&str]) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        let Counts { each, key } = &mut *self.lock();
        join(key, values);
        match each.get_mut(key.as_str()) {
            Some(count) => *count += 1,
            None => _ = each.insert(Arc::from(key.as_str()), 1),
        }
    }

    /// What has been counted of these values.
    #[must_use]
    pub fn get(&self, values: &[&str]) -> u64 {
        let mut key = String::new();
        join(&mut key, values);
        self.lock().each.get(key.as_str()).copied().unwrap_or(0)
    }

    /// Drops the series whose first labels have these values.
    pub fn forget(&self, first: &[&str]) {
        let mut gone = String::new();
        join(&mut gone, first);
        self.lock().each.retain(|key, _| !key.starts_with(&gone));
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&self, values: &str, count: u64) -> Sample {
        let pair = |(name, value): (&&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut sample = Sample::from_label(self.metric.labels.iter().zip(values.split(BETWEEN)).map(pair).collect());
        let mut counter = Counter::default();
        #[expect(clippy::cast_precision_loss, reason = "no count comes near")]
        counter.set_value(count as f64);
        sample.set_counter(counter);
        sample
    }
}

fn join(key: &mut String, values: &[&str]) {
    key.clear();
    for value in values {
        key.push_str(value);
        key.push(BETWEEN);
    }
}

impl Collector for Series {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all: Vec<(Arc<str>, u64)> = self.lock().each.iter().map(|(key, count)| (Arc::clone(key), *count)).collect();
        let mut family = MetricFamily::default();
        family.set_name(self.metric.name.to_owned());
        family.set_help(self.metric.help.to_owned());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(all.iter().map(|(key, count)| self.sample(key, *count)).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;
    use crate::telemetry::names;

    fn page(series: &Series) -> String {
        let registry = Registry::new();
        registry.register(Box::new(series.clone())).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn a_page_has_every_series_with_its_labels() {
        let series = Series::new(names::HEARTBEATS);
        assert_eq!(page(&series), "");
        for _ in 0..3 {
            series.inc(&["app", "[::1]:80", "ok"]);
        }
        series.inc(&["app", "", "unauthorized"]);
        let page = page(&series);
        assert!(page.contains("# TYPE pulsegate_heartbeats_total counter\n"), "{page}");
        assert!(page.contains("pulsegate_heartbeats_total{cluster=\"app\",endpoint=\"[::1]:80\",result=\"ok\"} 3\n"), "{page}");
        assert!(page.contains("pulsegate_heartbeats_total{cluster=\"app\",endpoint=\"\",result=\"unauthorized\"} 1\n"), "{page}");
        assert_eq!((series.get(&["app", "[::1]:80", "ok"]), series.get(&["app", "a:1", "ok"])), (3, 0));
    }

    #[test]
    fn what_left_is_forgotten_and_nothing_whose_name_only_begins_so() {
        let series = Series::new(names::HEARTBEATS);
        for values in [["app", "a:1", "ok"], ["app", "a:1", "zombie"], ["app", "a:10", "ok"], ["apples", "a:1", "ok"]] {
            series.inc(&values);
        }
        series.forget(&["app", "a:1"]);
        let left = [["app", "a:10", "ok"], ["apples", "a:1", "ok"], ["app", "a:1", "ok"]].map(|values| series.get(&values));
        assert_eq!(left, [1, 1, 0]);
        series.forget(&["app"]);
        assert_eq!((series.get(&["app", "a:10", "ok"]), series.get(&["apples", "a:1", "ok"])), (0, 1));
    }
}

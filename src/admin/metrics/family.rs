//! Makes families of the exposition from the list of metric names, so that name, kind, labels and help come from there.
//!
//! A sample that repeats another one's labels makes Prometheus throw away the whole scrape; whoever fills a family sees to
//! it that label values are unique.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric as Sample, MetricFamily, MetricType, Summary};

use crate::telemetry::cell::BUCKETS;
use crate::telemetry::names::{Kind, Metric};

/// One family under way: a metric of the list and its samples so far.
pub(super) struct Family {
    metric: &'static Metric,
    samples: Vec<Sample>,
}

impl Family {
    pub(super) const fn new(metric: &'static Metric) -> Self {
        Self { metric, samples: Vec::new() }
    }

    /// Adds a counter's or gauge's sample; label values in the order of the list.
    pub(super) fn push(&mut self, labels: &[&str], value: f64) {
        let mut sample = self.sample(labels);
        if self.metric.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
        self.samples.push(sample);
    }

    /// Adds a sample that is a count of things.
    pub(super) fn count(&mut self, labels: &[&str], n: u64) {
        self.push(labels, n as f64);
    }

    /// Adds a sum of seconds and how many there were.
    pub(super) fn summary(&mut self, labels: &[&str], sum: f64, count: u64) {
        let mut summary = Summary::default();
        summary.set_sample_sum(sum);
        summary.set_sample_count(count);
        let mut sample = self.sample(labels);
        sample.set_summary(summary);
        self.samples.push(sample);
    }

    /// Adds a histogram, given as counts per bucket of [`BUCKETS`], not cumulative, the last one above every bound.
    pub(super) fn histogram(&mut self, labels: &[&str], counts: &[u64; BUCKETS.len() + 1], sum: f64) {
        let mut seen = 0;
        let buckets = BUCKETS.iter().zip(counts).map(|(bound, n)| {
            seen += n;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(seen);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut sample = self.sample(labels);
        sample.set_histogram(histogram);
        self.samples.push(sample);
    }

    /// The family as the encoder wants it; one without samples is left out there.
    pub(super) fn finish(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.metric.name.to_owned());
        family.set_help(self.metric.help.to_owned());
        family.set_field_type(match self.metric.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
            Kind::Summary => MetricType::SUMMARY,
        });
        family.set_metric(self.samples);
        family
    }

    fn sample(&self, labels: &[&str]) -> Sample {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        Sample::from_label(self.metric.labels.iter().zip(labels).map(pair).collect())
    }
}

/// Makes one family.
pub(super) fn family(metric: &'static Metric, fill: impl FnOnce(&mut Family)) -> MetricFamily {
    let mut family = Family::new(metric);
    fill(&mut family);
    family.finish()
}

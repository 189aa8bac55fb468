//! The report itself, as rules and metrics see it.

use std::sync::Arc;

/// What an endpoint says of its own state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWord {
    /// `UP`, `pass`, `ok` and their like.
    Healthy,
    /// `warn`, `Degraded`, `Partially Available`.
    Degraded,
    /// `DOWN`, `fail`, `OUT_OF_SERVICE`.
    Failing,
}

/// A metric that was wanted and could not be read: counted, explained, and without effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Void {
    /// The metric's name in the configuration.
    pub metric: Arc<str>,
    /// What was found instead, and what would help.
    pub hint: String,
}

/// What one answer said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The status word, if there was one that is known.
    pub status: Option<StatusWord>,
    /// The status word as written, at most 64 bytes.
    pub word: Option<String>,
    /// Metrics by name, in order of name; shares are between 0 and 1.
    pub metrics: Vec<(Arc<str>, f64)>,
    /// What was wanted and not found.
    pub voids: Vec<Void>,
}

impl Report {
    /// The value of a metric.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(metric, _)| &**metric == name).map(|(_, value)| *value)
    }
}

/// Why a whole answer could not be read as a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; {hint}")]
pub struct Unreadable {
    /// What is wrong, as a clause.
    pub why: String,
    /// What would help, as a clause.
    pub hint: String,
}

/// A number in an answer, whether it is wanted or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Where it stands, as `map` would say it: a dotted path or a Prometheus selector.
    pub path: String,
    /// The number as it is written there.
    pub value: f64,
}

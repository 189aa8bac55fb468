//! The report itself, as rules and metrics see it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// How much traffic an endpoint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Share {
    /// What it can do against the others: requests a second over utilization, above 0.
    Capacity(f64),
    /// So much of its configured weight, from 0 on.
    Part(f64),
    /// This in place of its configured weight, 0 to 256.
    Weight(u32),
}

/// The state that an endpoint asks to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Traffic as far as it is well; takes the others back.
    Ready,
    /// Nothing new.
    Drain,
    /// Nothing.
    Maintenance,
}

/// What an endpoint asks for besides saying how it is. What it does not mention stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Asks {
    /// How much traffic.
    pub share: Option<Share>,
    /// Which state.
    pub wish: Option<Wish>,
    /// At most so many requests at once; 0 is no limit.
    pub max_connections: Option<u32>,
}

/// Longest word for a role, in bytes.
pub const MAX_ROLE: usize = 64;

/// What an endpoint says that it is among its siblings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The word for it, 1 to [`MAX_ROLE`] bytes.
    pub role: Arc<str>,
    /// Of its role: a later leader has a greater one.
    pub epoch: Option<u64>,
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
    /// What it asks for.
    pub asks: Asks,
    /// What it says that it is, where that is read.
    pub claim: Option<Claim>,
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

/// An answer as far as there can be a report in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said<'a> {
    /// Its content type.
    pub content_type: Option<&'a str>,
    /// Its header `endpoint-load-metrics`.
    pub load: Option<&'a str>,
    /// Its body, at most [`max_body`](super::max_body) bytes and one more, so that a longer one is known as such.
    pub body: &'a [u8],
}

impl<'a> Said<'a> {
    /// An answer without a load report in its head.
    #[must_use]
    pub const fn new(content_type: Option<&'a str>, body: &'a [u8]) -> Self {
        Self { content_type, load: None, body }
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

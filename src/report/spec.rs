//! What the configuration wants of reports: where they come from, their format, unit and names.

use std::sync::Arc;

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Told from the content type and the shape of the body.
    #[default]
    Auto,
    /// Any JSON object; numbers are found by dotted path.
    Json,
    /// `application/health+json` (draft-inadarei-api-health-check-06).
    HealthJson,
    /// Spring Boot actuator health.
    Spring,
    /// An ORCA load report, in the header `endpoint-load-metrics` or as the body.
    Orca,
    /// The line of an HAProxy agent.
    Agent,
    /// Prometheus text exposition.
    Prometheus,
    /// A status word and nothing else. Only told, never configured.
    Plain,
    /// The verbose text of Kubernetes. Only told, never configured.
    Kubernetes,
    /// Answers are not read at all.
    None,
}

impl Format {
    /// The name used in the configuration and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::HealthJson => "health_json",
            Self::Spring => "spring",
            Self::Orca => "orca",
            Self::Agent => "agent",
            Self::Prometheus => "prometheus",
            Self::Plain => "plain",
            Self::Kubernetes => "kubernetes",
            Self::None => "none",
        }
    }
}

/// How shares such as cpu and memory are written in a report. Never guessed from the size of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// 0 to 1.
    #[default]
    Ratio,
    /// 0 to 100.
    Percent,
}

/// Where the report comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// The answer of the first http probe.
    #[default]
    FirstHttpProbe,
    /// A path of its own, fetched at the probes' interval and without a vote.
    Own {
        /// Path and query.
        path: Arc<str>,
        /// Another port than the endpoint's.
        port: Option<u16>,
    },
}

/// Where an endpoint's report says what it is among its siblings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFields {
    /// The dotted path of a word, or of true or false.
    pub role: Arc<str>,
    /// The dotted path of a whole number.
    pub epoch: Arc<str>,
}

/// What to read from an endpoint's report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spec {
    /// Where it comes from.
    pub source: Source,
    /// Its format.
    pub format: Format,
    /// The unit of its shares.
    pub unit: Unit,
    /// Names of metrics, and where each stands: a dotted path, or a Prometheus selector such as `name{label="v"}`.
    pub map: Vec<(Arc<str>, Arc<str>)>,
    /// Metrics that a rule or `weight_by` needs; one that is missing is a void.
    pub needed: Vec<Arc<str>>,
    /// Where it says what it is among its siblings, if that is read.
    pub role: Option<RoleFields>,
}

/// Whether a metric of this name is a share of a whole, whose level is written in percent: `cpu`, `memory`, `disk`, and
/// names ending in `percent`, `pct`, `ratio` or `utilization`.
#[must_use]
pub fn is_share(metric: &str) -> bool {
    let name = metric.to_ascii_lowercase();
    matches!(name.as_str(), "cpu" | "memory" | "disk" | "load_share")
        || ["percent", "pct", "ratio", "utilization", "cpu_usage", "memory_usage"].iter().any(|end| name.ends_with(end))
}

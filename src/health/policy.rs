//! The settings of the health engine of one cluster.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::base::units::Ratio;
use crate::report::spec::RoleFields;

/// Consecutive results that flip an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failed results in a row that make a healthy endpoint unhealthy.
    pub fall: NonZeroU32,
    /// Passed results in a row that make an unhealthy endpoint healthy.
    pub rise: NonZeroU32,
}

/// How several probes of one endpoint are folded: how many of them must be passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Require {
    /// Every one.
    #[default]
    All,
    /// At least one.
    Any,
    /// At least this many; lowering has checked that there are so many.
    AtLeast(NonZeroU32),
}

impl Policy {
    /// Whether any probe can tell a process that hangs from one that works.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.asking.contains(&true)
    }
}

impl Policy {
    /// Whether heartbeats are one way more beside the probes, of which so many must be left. Where all of them must be, each
    /// speaks for itself.
    #[must_use]
    pub fn folds_beats(&self) -> bool {
        self.heartbeat.is_some() && !self.probes.is_empty() && self.require != Require::All
    }
}

impl Require {
    /// How many of `n` ways must be passing.
    #[must_use]
    pub fn of(self, n: usize) -> usize {
        match self {
            Self::All => n,
            Self::Any => n.min(1),
            Self::AtLeast(k) => usize::try_from(k.get()).unwrap_or(usize::MAX).min(n),
        }
    }
}

/// What an endpoint counts as before its first probe result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Not available before the first pass.
    #[default]
    Unknown,
    /// Available until a probe says otherwise.
    Healthy,
}

/// When sicker tiers are let in.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Panic {
    /// Never: nobody available means 503.
    #[default]
    Off,
    /// When the share of available endpoints is below this; 0 % means when none is available.
    Below(Ratio),
}

/// Which side of a level is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// Values at or over the level.
    #[default]
    Above,
    /// Values at or under the level.
    Below,
}

impl When {
    /// Whether `value` is at or past `level`.
    #[must_use]
    pub fn past(self, value: f64, level: f64) -> bool {
        match self {
            Self::Above => value >= level,
            Self::Below => value <= level,
        }
    }

    /// Whether `value` lies on the good side of `recover`, which does not include it.
    #[must_use]
    pub fn recovered(self, value: f64, recover: f64) -> bool {
        match self {
            Self::Above => value < recover,
            Self::Below => value > recover,
        }
    }
}

/// How long a value must be past a level before the level acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// So many distinct reports in a row.
    Reports(NonZeroU32),
    /// So long, without a report in between that says otherwise.
    Span(Duration),
}

/// One level of a rule: entered at `level`, left at `recover`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The value from which on it acts.
    pub level: f64,
    /// The value at which it lets go; on the good side of `level`.
    pub recover: f64,
}

/// A rule on one metric of the report. At least one of `degrade` and `eject` is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The metric's name.
    pub metric: Arc<str>,
    /// Which side is bad.
    pub when: When,
    /// Where the endpoint becomes degraded.
    pub degrade: Option<Level>,
    /// Where the endpoint is ejected.
    pub eject: Option<Level>,
    /// How long it must last.
    pub hold: For,
    /// False: say what would happen, do nothing.
    pub enforce: bool,
}

/// The pace of one probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Start to start while all is well.
    pub interval: Duration,
    /// From connect to the last byte.
    pub timeout: Duration,
    /// Start to start while the verdict is in question.
    pub fast_interval: Duration,
    /// Start to start while the endpoint is unhealthy.
    pub down_interval: Duration,
    /// Each slot moves by up to this share of the interval, either way.
    pub jitter: Ratio,
}

/// When an endpoint that answers nothing is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// It must be silent for at least this, and for twice its own p99.
    pub min: Duration,
    /// False: say what would happen, do nothing.
    pub enforce: bool,
}

/// When the results of live traffic take an endpoint out or weigh it down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Failures in a row that eject: connect failures, resets, time-outs, 502 to 504.
    pub consecutive: NonZeroU32,
    /// The share of failed requests that ejects, every 5xx included.
    pub error_ratio: Ratio,
    /// So many times the siblings' failures or latency are too much.
    pub against_siblings: f64,
    /// Below so many requests no share is judged.
    pub min_requests: u32,
    /// What is counted: the requests of so long.
    pub window: Duration,
    /// How long the first ejection lasts; it doubles.
    pub ejection: Duration,
    /// How long an ejection lasts at most.
    pub ejection_max: Duration,
    /// False: say what would happen, do nothing.
    pub enforce: bool,
}

#[cfg(test)]
impl Outlier {
    /// As where nothing is configured.
    pub(super) fn usual() -> Self {
        Self {
            consecutive: NonZeroU32::new(5).unwrap(),
            error_ratio: Ratio::parse("50%").unwrap(),
            against_siblings: 3.0,
            min_requests: 20,
            window: Duration::from_secs(10),
            ejection: Duration::from_secs(5),
            ejection_max: Duration::from_secs(300),
            enforce: true,
        }
    }
}

/// How an endpoint that returns gets its traffic back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// From its return to its full weight, if nothing speaks against it.
    pub window: Duration,
    /// The share of its weight with which it begins.
    pub floor: Ratio,
}

/// How an endpoint that comes and goes is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damping {
    /// How long it must be well after its second ejection before it returns; doubles with every further one.
    pub hold: Duration,
    /// How long that is at most.
    pub hold_max: Duration,
}

/// When a sender of heartbeats that has gone quiet is suspected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Detector {
    /// Not before its time to live is over.
    Ttl,
    /// When its silence has become this improbable, in decades; the time to live is the end all the same.
    Accrual {
        /// The threshold, above 0.
        phi: f64,
    },
}

/// What is expected of pushed heartbeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeartbeatPolicy {
    /// From one to the next, unless the sender says otherwise.
    pub period: Duration,
    /// How long an endpoint counts as alive after one.
    pub ttl: Duration,
    /// How silence is judged before that.
    pub detector: Detector,
}

impl HeartbeatPolicy {
    /// When a sender with this period of its own, if it has one, should beat again: never so late that a beat which comes a
    /// little later than the one before finds its time to live over.
    #[must_use]
    pub fn next_in(&self, own: Option<Duration>) -> Duration {
        let latest = self.ttl / 4 * 3;
        own.filter(|own| *own < self.ttl).unwrap_or(self.period).min(latest)
    }
}

/// What an endpoint must say in order to be believed to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderPolicy {
    /// The words that mean it, in any case; at least one.
    pub leader_values: Vec<Arc<str>>,
    /// Where reports say it, if they are read for that; heartbeats have fields of their own.
    pub fields: Option<RoleFields>,
    /// Whether reports come with probes, or are fetched beside them: then it is known of everybody soon.
    pub asks: bool,
}

impl LeaderPolicy {
    /// Whether this word means that who says it leads.
    #[must_use]
    pub fn leads(&self, word: &str) -> bool {
        self.leader_values.iter().any(|value| value.eq_ignore_ascii_case(word))
    }
}

/// The whole policy of a cluster's health.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The names of its probes, in order; none means that endpoints start healthy and only traffic judges them, unless
    /// heartbeats do.
    pub probes: Vec<Arc<str>>,
    /// Whether each of them shows by every run that the endpoint works, as http and grpc ones do.
    pub asking: Vec<bool>,
    /// Those of them that have no vote beside others until they have spoken.
    pub advisers: Vec<Arc<str>>,
    /// Those of them that do not reach the endpoint itself: agents, files, and what is asked at another address. That one passes says
    /// nothing of connections that the endpoint refuses.
    pub elsewhere: Vec<Arc<str>>,
    /// How they are folded.
    pub require: Require,
    /// Consecutive results that flip.
    pub thresholds: Thresholds,
    /// What an endpoint is before the first result.
    pub start: Start,
    /// What is expected of pushed heartbeats, if any are.
    pub heartbeat: Option<HeartbeatPolicy>,
    /// Rules on the report.
    pub rules: Vec<Rule>,
    /// When a report is too old to hold anything against its endpoint.
    pub report_max_age: Duration,
    /// The metric whose free share scales the weight.
    pub weight_by: Option<Arc<str>>,
    /// When an endpoint that answers nothing is suspected; `None` is never.
    pub silence: Option<Silence>,
    /// When the results of live traffic count; `None` is never.
    pub outlier: Option<Outlier>,
    /// How an endpoint that returns gets its traffic back; `None` is at once.
    pub slow_start: Option<SlowStart>,
    /// How an endpoint that comes and goes is held out; `None` is not at all.
    pub damping: Option<Damping>,
    /// How often the probes run: the time in which several endpoints that turn bad may have one cause.
    pub interval: Duration,
    /// Whether there are references: addresses that tell our own link from an endpoint.
    pub references: bool,
    /// Cap on soft ejections.
    pub max_ejected: Ratio,
    /// When sicker tiers are let in.
    pub panic: Panic,
    /// Whether an ejection for a time-out or a soft reason needs a majority of the fleet.
    pub quorum: bool,
    /// Who is believed to lead; `None` where nobody does.
    pub leader: Option<LeaderPolicy>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_beat_is_due_well_before_the_time_to_live_is_over() {
        for (period, ttl, own, wanted) in [
            (2000, 7000, None, 2000),
            (2000, 7000, Some(500), 500),
            (2000, 7000, Some(5000), 5000),
            (2000, 7000, Some(6999), 5250),
            (2000, 7000, Some(7000), 2000),
            (2000, 7000, Some(86_400_000), 2000),
            (2000, 2400, None, 1800),
            (2000, 2400, Some(1900), 1800),
        ] {
            let ms = Duration::from_millis;
            let policy = HeartbeatPolicy { period: ms(period), ttl: ms(ttl), detector: Detector::Ttl };
            assert_eq!(policy.next_in(own.map(ms)), ms(wanted), "{own:?} with {period} and {ttl}");
        }
    }
}

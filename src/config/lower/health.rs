//! Owns the lowering of a cluster's health block: its pace, thresholds, and how probes are folded.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::address::EndpointAddress;
use crate::base::units::{Ratio, format_duration};
use crate::config::defaults;
use crate::config::lower::heartbeat::heartbeat;
use crate::config::lower::leader::leader;
use crate::config::lower::live;
use crate::config::lower::probe::probes;
use crate::config::lower::report::{Judged, report};
use crate::config::lower::scalar::{PACE, WAIT, ratio_or, span, span_or};
use crate::config::lower::{At, advice};
use crate::config::model::HeartbeatTokens;
use crate::config::raw::{self, OrOff};
use crate::health::check::{Check, ProbeSpec};
use crate::health::policy::{Panic, Policy, Require, Start, Thresholds, Timing};
use crate::report::spec::Spec;

/// What a health block comes to.
pub(super) struct Health {
    /// For the engine.
    pub(super) policy: Policy,
    /// For the probes.
    pub(super) probes: Vec<ProbeSpec>,
    /// What is read from reports.
    pub(super) report: Option<Spec>,
    /// The pace of a report that is fetched from a path of its own.
    pub(super) report_timing: Timing,
    /// Who may send heartbeats.
    pub(super) heartbeat_tokens: Option<HeartbeatTokens>,
    /// Addresses that tell our own link from an endpoint.
    pub(super) references: Vec<EndpointAddress>,
}

/// The pace that a health block sets for its probes.
pub(super) struct Pace {
    /// Start to start.
    pub(super) interval: Duration,
    /// For one probe.
    pub(super) timeout: Duration,
    fast: Option<Duration>,
    down: Option<Duration>,
    jitter: Ratio,
}

impl Pace {
    /// The timing of a probe with an interval and time-out of its own.
    pub(super) fn timing(&self, interval: Duration, timeout: Duration) -> Timing {
        Timing {
            interval,
            timeout,
            fast_interval: self.fast.unwrap_or_else(|| defaults::fast_interval(interval)),
            down_interval: self.down.unwrap_or_else(|| defaults::down_interval(interval)),
            jitter: self.jitter,
        }
    }

    /// Puts down a problem if a probe's own interval, which stands at `at`, is shorter than the fast interval that is written.
    pub(super) fn check_own(&self, at: &At<'_>, interval: Duration) {
        if let Some(fast) = self.fast.filter(|fast| *fast > interval && *fast <= self.interval) {
            at.wrong(format!("at least the fast_interval, which is {}", format_duration(fast)), None);
        }
    }
}

/// Lowers a health block. Without one, or with `off`, endpoints start healthy and only traffic judges them.
pub(super) fn health(at: &At<'_>, raw: Option<&OrOff<raw::Health>>) -> Health {
    let Some(OrOff::Block(raw)) = raw else { return unprobed() };
    let pace = pace(at, raw);
    let probes = probes(at, raw, &pace);
    let heartbeat = match &raw.heartbeat {
        Some(OrOff::Block(raw)) => Some(heartbeat(&at.key("heartbeat"), raw)),
        Some(OrOff::Off) | None => None,
    };
    let (heartbeat, heartbeat_tokens) = heartbeat.unzip();
    let report_timing = pace.timing(pace.interval, pace.timeout);
    let slowest = probes.iter().map(|probe| probe.timing.interval).chain(heartbeat.map(|beat| beat.period));
    let slowest = slowest.fold(if probes.is_empty() { Duration::ZERO } else { pace.interval }, Duration::max);
    let judged = report(&at.key("report"), raw.report.as_ref(), &probes, heartbeat.is_some(), slowest);
    let references = live::references(&at.key("reference"), raw.reference.as_ref());
    let max_ejected = ratio_or(&at.key("max_ejected"), raw.max_ejected.as_ref(), defaults::MAX_EJECTED);
    let start = if probes.is_empty() { Start::Healthy } else { start(raw.start) };
    let Judged { spec, rules, max_age, weight_by } = judged;
    let leader = leader(at, raw, spec.as_ref(), &probes);
    let role = leader.as_ref().and_then(|leader| leader.fields.clone());
    let spec = spec.map(|spec| Spec { role, ..spec });
    let policy = Policy {
        probes: probes.iter().map(|probe| probe.name.clone()).collect(),
        asking: probes.iter().map(ProbeSpec::asks).collect(),
        elsewhere: probes.iter().filter(|probe| !probe.reaches()).map(|probe| probe.name.clone()).collect(),
        advisers: probes.iter().filter(|probe| probe.check == Check::Agent).map(|probe| probe.name.clone()).collect(),
        require: require(at, raw.require.as_ref(), probes.len(), heartbeat.is_some()),
        thresholds: thresholds(raw),
        start,
        heartbeat,
        rules,
        report_max_age: max_age,
        weight_by,
        silence: live::silence(&at.key("silence"), raw.silence.as_ref()),
        outlier: live::outlier(&at.key("outlier"), raw.outlier.as_ref()),
        slow_start: live::slow_start(&at.key("slow_start"), raw.slow_start.as_ref()),
        damping: live::damping(&at.key("damping"), raw.damping.as_ref()),
        interval: slowest,
        references: !references.is_empty(),
        max_ejected,
        panic: panic(&at.key("panic"), raw.panic.as_ref()),
        quorum: raw.quorum.unwrap_or(false),
        leader,
    };
    advice::health(at, raw, pace.timeout, &policy, &probes);
    let heartbeat_tokens = heartbeat_tokens.flatten();
    Health { policy, probes, report: spec, report_timing, references, heartbeat_tokens }
}

fn unprobed() -> Health {
    let pace = default_pace();
    let policy = Policy {
        probes: Vec::new(),
        asking: Vec::new(),
        advisers: Vec::new(),
        elsewhere: Vec::new(),
        require: Require::All,
        thresholds: Thresholds { fall: defaults::FALL, rise: defaults::RISE },
        start: Start::Healthy,
        heartbeat: None,
        rules: Vec::new(),
        report_max_age: defaults::max_age(pace.interval),
        weight_by: None,
        silence: Some(defaults::silence()),
        outlier: Some(defaults::outlier()),
        slow_start: Some(defaults::slow_start()),
        damping: Some(defaults::damping()),
        interval: pace.interval,
        references: false,
        max_ejected: defaults::constant(defaults::MAX_EJECTED),
        panic: Panic::Off,
        quorum: false,
        leader: None,
    };
    let report_timing = pace.timing(pace.interval, pace.timeout);
    Health { policy, probes: Vec::new(), report: None, report_timing, references: Vec::new(), heartbeat_tokens: None }
}

fn default_pace() -> Pace {
    let jitter = defaults::constant(defaults::JITTER);
    Pace { interval: defaults::INTERVAL, timeout: defaults::TIMEOUT, fast: None, down: None, jitter }
}

fn pace(at: &At<'_>, raw: &raw::Health) -> Pace {
    let interval = span_or(&at.key("interval"), raw.interval.as_ref(), PACE, defaults::INTERVAL);
    let timeout = span_or(&at.key("timeout"), raw.timeout.as_ref(), WAIT, defaults::TIMEOUT);
    let own = |key: &str, raw: Option<&raw::Span>| raw.and_then(|raw| span(&at.key(key), &raw.0, PACE));
    let pace = Pace {
        interval,
        timeout,
        fast: own("fast_interval", raw.fast_interval.as_ref()),
        down: own("down_interval", raw.down_interval.as_ref()),
        jitter: jitter(&at.key("jitter"), raw.jitter.as_ref()),
    };
    if at.knows("interval", raw.interval.as_ref()) {
        if pace.fast.is_some_and(|fast| fast > interval) {
            at.key("fast_interval").wrong(format!("at most the interval, which is {}", format_duration(interval)), None);
        }
        warn_slow(at, raw.timeout.is_some(), &pace);
    }
    pace
}

/// A probe that may last longer than its interval makes the next ones late.
fn warn_slow(at: &At<'_>, written: bool, pace: &Pace) {
    if pace.timeout > pace.interval {
        let hint = "a probe that takes longer than its interval makes the next one late".to_owned();
        let place = if written { at.key("timeout") } else { at.key("interval") };
        place.warn(format!("a timeout of at most the interval, {}", format_duration(pace.interval)), hint);
    }
}

fn jitter(at: &At<'_>, raw: Option<&raw::Percent>) -> Ratio {
    let jitter = ratio_or(at, raw, defaults::JITTER);
    if jitter.get() > 0.5 {
        at.wrong("a share of at most 50%", "with more, two probes could meet".to_owned());
    }
    jitter
}

fn thresholds(raw: &raw::Health) -> Thresholds {
    let count = |value: Option<u32>, default| value.and_then(NonZeroU32::new).unwrap_or(default);
    Thresholds { fall: count(raw.fall, defaults::FALL), rise: count(raw.rise, defaults::RISE) }
}

const fn start(raw: Option<raw::Start>) -> Start {
    match raw {
        None | Some(raw::Start::Unknown) => Start::Unknown,
        Some(raw::Start::Healthy) => Start::Healthy,
    }
}

/// Heartbeats are one way more beside probes.
fn require(at: &At<'_>, raw: Option<&raw::Require>, probes: usize, heartbeats: bool) -> Require {
    let probes = at.key("probes").items().max(probes);
    let ways = probes + usize::from(heartbeats && probes > 0);
    match raw {
        None | Some(raw::Require::Word(raw::RequireWord::All)) => Require::All,
        Some(raw::Require::Word(raw::RequireWord::Any)) => Require::Any,
        Some(raw::Require::Number(number)) => {
            if usize::try_from(*number).map_or(true, |number| number > ways) {
                let counted = if ways > probes { "probes and heartbeats" } else { "probes" };
                at.key("require").wrong(format!("all, any, or at most the number of {counted}, {ways}"), None);
            }
            NonZeroU32::new(*number).map_or(Require::All, Require::AtLeast)
        }
    }
}

fn panic(at: &At<'_>, raw: Option<&OrOff<raw::Percent>>) -> Panic {
    match raw {
        None | Some(OrOff::Off) => Panic::Off,
        Some(OrOff::Block(share)) => at.parsed(Ratio::parse(&share.0)).map_or(Panic::Off, Panic::Below),
    }
}

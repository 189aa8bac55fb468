//! How long a fault goes on being sent requests, and how long its end goes unnoticed.
//!
//! Each fault is seen by some probes and not by others: a process that hangs still accepts connections, because its kernel
//! does, and one that answers wrongly answers. So the probes that would see a fault are counted first; if they are too
//! few for `require`, probes never find it, and saying so is the most useful line of a plan.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::Algorithm;
use crate::config::model::Cluster;
use crate::health::check::{Check, ProbeSpec};
use crate::sim::plan::Assumptions;
use crate::sim::plan::race::{Leg, Span, race, seconds};
use crate::traffic::affinity::Balance;
use crate::traffic::policy::RetryPolicy;

/// From one look at live traffic to the next.
const LOOK: Duration = Duration::from_millis(20);
/// The shortest deadline of a confirmation, which is so many times what the probe takes at p99.
const DEADLINE: Duration = Duration::from_millis(50);
const DEADLINES: u32 = 3;

/// Fewer requests a second to an endpoint than this, one in eleven days, are none.
const LEAST_RATE: f64 = 1e-6;

/// Who finds a fault first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Its probes.
    Probes,
    /// Requests that it fails.
    Traffic,
    /// Heartbeats that do not come.
    Heartbeats,
}

/// When a fault is found, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// From the fault to the verdict.
    pub time: Span,
    /// Who is sooner on average.
    pub by: Source,
}

/// From a fault to the verdict that takes its endpoint out; `None` where nothing finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// The process is gone, its address refuses connections.
    pub refused: Option<Found>,
    /// It accepts connections and answers nothing.
    pub hung: Option<Found>,
    /// It answers its probes with what they do not want.
    pub wrong: Option<Found>,
}

/// What ails an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Refused,
    Hung,
    Wrong,
}

impl Fault {
    /// How long a probe does not show it, and how long a run then takes to fail by it; `None` if it passes.
    fn shows(self, probe: &ProbeSpec, assumed: &Assumptions) -> Option<(Duration, Duration)> {
        let quick = assumed.round_trip.min(probe.timing.timeout);
        match (self, &probe.check) {
            (_, Check::File(file)) => Some((file.max_age, Duration::ZERO)),
            (Self::Hung | Self::Wrong, Check::Tcp) | (Self::Refused | Self::Hung, Check::Agent) => None,
            (Self::Hung, _) => Some((Duration::ZERO, probe.timing.timeout)),
            (Self::Refused | Self::Wrong, _) => Some((Duration::ZERO, quick)),
        }
    }
}

/// When each fault is found.
pub(super) fn detection(cluster: &Cluster, retries: Option<&RetryPolicy>, assumed: &Assumptions) -> Detection {
    let probed = |fault| by_probes(cluster, fault, assumed).map(|time| Found { time, by: Source::Probes });
    let traffic = sooner(by_refusals(cluster, retries, assumed), by_doubt(cluster, assumed));
    let missed = by_heartbeats(cluster, assumed);
    let hung = sooner(sooner(probed(Fault::Hung), by_silence(cluster, assumed)), missed);
    Detection { refused: sooner(sooner(probed(Fault::Refused), traffic), missed), hung, wrong: probed(Fault::Wrong) }
}

/// `ttl - period/2 + d`, at most `ttl + d`: the time to live runs from the last beat, which came within a period before the fault
/// or is under way. An accrual detector sends requests elsewhere before that, as soon as its own figures allow.
fn by_heartbeats(cluster: &Cluster, assumed: &Assumptions) -> Option<Found> {
    // Where probes may outvote them their absence alone decides nothing.
    let leg = beats(cluster, assumed).filter(|_| !cluster.health.folds_beats())?;
    race(&[leg], 1).map(|time| Found { time, by: Source::Heartbeats })
}

/// Heartbeats that do not come, as one more that finds a fault.
fn beats(cluster: &Cluster, assumed: &Assumptions) -> Option<Leg> {
    let heartbeat = cluster.health.heartbeat?;
    let latest = heartbeat.ttl + assumed.round_trip / 2;
    Some(Leg::between(latest.saturating_sub(heartbeat.period), latest))
}

fn by_probes(cluster: &Cluster, fault: Fault, assumed: &Assumptions) -> Option<Span> {
    let fall = cluster.health.thresholds.fall.get();
    let legs = cluster.probes.iter().filter_map(|probe| {
        let (hidden, lasts) = fault.shows(probe, assumed)?;
        Some(Leg { hidden: hidden.as_secs_f64(), ..Leg::new(probe.timing, probe.timing.interval, lasts, fall) })
    });
    let beats = beats(cluster, assumed).filter(|_| cluster.health.folds_beats() && fault != Fault::Wrong);
    let legs: Vec<Leg> = legs.chain(beats).collect();
    race(&legs, failing_needed(cluster))
}

/// How many probes must fail to make an endpoint unhealthy, heartbeats counted as one where they are one way more.
pub(super) fn failing_needed(cluster: &Cluster) -> usize {
    let ways = cluster.probes.len() + usize::from(cluster.health.folds_beats());
    ways - cluster.health.require.of(ways) + 1
}

/// The first refusal has the probes run at once and hurry; where several must fail, the slowest of so many decides.
fn by_doubt(cluster: &Cluster, assumed: &Assumptions) -> Option<Found> {
    let rate = endpoint_rate(cluster, assumed);
    let fall = cluster.health.thresholds.fall.get();
    let probes = cluster.probes.iter().filter(|probe| probe.check != Check::Agent && !matches!(probe.check, Check::File(_)));
    let probes = probes.map(|probe| Leg::hurried(probe.timing, assumed.round_trip.min(probe.timing.timeout), fall));
    let beats = beats(cluster, assumed).filter(|_| cluster.health.folds_beats()).map(|leg| (leg.mean(), leg.worst()));
    let mut spans: Vec<(f64, f64)> = probes.chain(beats).collect();
    spans.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mean, worst) = *spans.get(failing_needed(cluster).saturating_sub(1))?;
    let span = Span { mean: seconds(mean + first_wait(cluster) / rate), worst: seconds(worst + 6.9 / rate) };
    (rate >= LEAST_RATE).then_some(Found { time: span, by: Source::Traffic })
}

/// `fall` requests must be refused, each after a wait for it. Where the less loaded of two is asked, one that refuses is asked no
/// more, and probes must find it.
fn by_refusals(cluster: &Cluster, retries: Option<&RetryPolicy>, assumed: &Assumptions) -> Option<Found> {
    if matches!(cluster.balance, Balance::Any(Algorithm::LeastRequest | Algorithm::PeakEwma)) && !cluster.probes.is_empty() {
        return None;
    }
    let rate = endpoint_rate(cluster, assumed);
    let fall = f64::from(cluster.health.thresholds.fall.get());
    // A mean plus 3.1 deviations holds in 999 of 1000 cases, and a little more for the skew of such a sum.
    let worst = (fall + 3.1 * fall.sqrt() + 2.0) / rate;
    // In turns, a request that is refused and tried again takes the turn of another one, so the next comes the sooner.
    let turns = matches!(cluster.balance, Balance::Any(Algorithm::RoundRobin));
    let again = retries.is_some_and(|retries| retries.on.connect && retries.attempts > 1);
    let sooner = if turns && again { 1.0 - 1.0 / primaries(cluster) } else { 1.0 };
    let span = Span { mean: seconds(((fall - 1.0) * sooner + first_wait(cluster)) / rate), worst: seconds(worst) };
    (rate >= LEAST_RATE).then_some(Found { time: span, by: Source::Traffic })
}

/// A request must meet the hang and wait for long enough; then `fall - 1` probes go out at once, each with a short deadline.
/// Where no probe asks for an answer, the suspicion is all there is, and keeps new requests away just as well.
fn by_silence(cluster: &Cluster, assumed: &Assumptions) -> Option<Found> {
    let silence = cluster.health.silence.filter(|silence| silence.enforce)?;
    let rate = endpoint_rate(cluster, assumed);
    let asking = cluster.probes.iter().filter(|probe| probe.asks());
    let deadline = asking.map(|probe| probe.timing.timeout.min(DEADLINE.max(assumed.round_trip * DEADLINES))).min();
    let silent = silence.min.max(assumed.latency * 2) + deadline.unwrap_or_default();
    let silent = silent.as_secs_f64();
    // The wait for a request is exponential, 6.9 times its mean in one of 1000 cases.
    let span = Span {
        mean: seconds(silent + first_wait(cluster) / rate + LOOK.as_secs_f64() / 2.0),
        worst: seconds(silent + 6.9 / rate + LOOK.as_secs_f64()),
    };
    (rate >= LEAST_RATE).then_some(Found { time: span, by: Source::Traffic })
}

/// The mean wait for a next request to an endpoint, in mean gaps between two: one where each goes to anybody, and where all have
/// their turns as much less as the turns that are over already.
fn first_wait(cluster: &Cluster) -> f64 {
    let primaries = primaries(cluster);
    match cluster.balance {
        Balance::Any(Algorithm::RoundRobin) => (primaries + 1.0) / (2.0 * primaries),
        Balance::Any(_) | Balance::Hash(_) => 1.0,
    }
}

/// Requests a second to each endpoint, if they are spread evenly.
pub(super) fn endpoint_rate(cluster: &Cluster, assumed: &Assumptions) -> f64 {
    assumed.rate / primaries(cluster)
}

/// Endpoints that share the requests, at least 1.
#[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
fn primaries(cluster: &Cluster) -> f64 {
    cluster.endpoints.iter().filter(|endpoint| !endpoint.backup).count().max(1) as f64
}

/// Two that look for the same fault: whoever is first has found it.
fn sooner(a: Option<Found>, b: Option<Found>) -> Option<Found> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    let (first, other) = if b.time.mean < a.time.mean { (b, a) } else { (a, b) };
    Some(Found { time: Span { mean: first.time.mean, worst: first.time.worst.min(other.time.worst) }, by: first.by })
}

/// From the end of a fault until the endpoint is available again; what a hold-down adds is not in it.
pub(super) fn recovery(cluster: &Cluster, assumed: &Assumptions) -> Option<Span> {
    let (health, delay) = (&cluster.health, assumed.round_trip / 2);
    let leg = |probe: &Arc<ProbeSpec>| {
        let takes = if matches!(probe.check, Check::File(_)) { Duration::ZERO } else { assumed.round_trip };
        Leg::new(probe.timing, probe.timing.down_interval, takes, health.thresholds.rise.get())
    };
    // One that takes longer than its time-out never passes.
    let legs = cluster
        .probes
        .iter()
        .map(leg)
        .zip(&cluster.probes)
        .filter(|(leg, probe)| leg.lasts <= probe.timing.timeout.as_secs_f64());
    let mut legs: Vec<Leg> = legs.map(|(leg, _)| leg).collect();
    let mut ways = cluster.probes.len();
    // The first heartbeat that comes is enough for its part.
    if let Some(heartbeat) = health.heartbeat {
        legs.push(Leg::between(delay, heartbeat.period + delay));
        ways += 1;
    }
    race(&legs, health.require.of(ways).max(1))
}

//! Takes out an endpoint whose requests fail: in a row, too often, or much more often than its siblings'.
//!
//! A probe asks one question; a thousand requests a second ask them all. Three rules, any of which ejects:
//!
//! * `consecutive` failures that no gateway would call an answer, with no other answer between;
//! * a share of failures of `error_ratio` among at least `min_requests`;
//! * a share whose lower bound is over `against_siblings` times the upper bound of theirs: Wilson's score interval at z = 2.5,
//!   so that the number of requests decides how small a difference counts, with two endpoints as with two hundred.
//!
//! An ejection lasts `ejection`, twice as long each time, at most `ejection_max`, longer while probes are lost too, moved by up to a tenth so that those ejected
//! together do not return together. Then a trial: a trickle of requests. As many as `min_requests` without more failures than the
//! siblings have bring it back, and so does a whole `window` without a failure; one too many ejects it again. One that refuses
//! connections while it is out has ended; who passes `rise` probes there afterwards is somebody else, and begins anew.
//!
//! A path that loses many packets fails probes in a row now and then, and passes some in a row as often. Who is known to be much slower
//! than the siblings and loses all probes but the one that would make it unhealthy is ejected by these rules instead, and stays out for
//! as long as probes are lost; by its probes alone it would come and go.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::endpoint::{Context, Endpoint};
use crate::health::glance::Glance;
use crate::health::history::{Entry, Kind};
use crate::health::policy::Outlier;
use crate::health::recent::Counts;
use crate::health::seldom::Usual;
use crate::health::signal::{Failure, ProbeResult};
use crate::health::verdict::{Code, Reason, State};

/// How sure the bounds of a share are.
const Z: f64 = 2.5;
/// Failures without which no share is judged: one or two happen.
const SOME: u64 = 4;
/// Bounds of the weight on trial, as a share of the usual one.
const TRICKLE: (f64, f64) = (0.03, 0.5);
/// So many times its last ejection an endpoint must have been well for the next to count as a first one.
const FORGET: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Standing {
    #[default]
    Well,
    Out {
        since: Timestamp,
        until: Timestamp,
    },
    Trial {
        since: Timestamp,
        seen: Counts,
        weight: f64,
    },
}

/// How the requests of one endpoint fare.
#[derive(Debug, Clone, Default)]
pub(super) struct Outliers {
    standing: Standing,
    /// Failures since the last answer.
    consecutive: u32,
    /// Ejections that are not forgotten.
    times: u32,
    /// When the last one ended, and how long it was.
    last: Option<(Timestamp, Duration)>,
    /// Why it was last ejected.
    why: String,
    /// Whether it has refused a connection while it was out: what answers there later is another process.
    gone: bool,
    /// When a probe was last lost while it was slow.
    lost: Option<Timestamp>,
}

/// What came of looking at an endpoint's results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    Nothing,
    /// It is out from now on.
    Ejected(String),
    /// It would be, if that were enforced.
    WouldBe(String),
    /// Its trial is over and it is back.
    Back,
}

/// The bounds of a share of which `errors` of `requests` were seen.
#[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
pub(super) fn wilson(counts: Counts) -> (f64, f64) {
    if counts.requests == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (counts.requests as f64, counts.errors as f64 / counts.requests as f64);
    let spread = Z * Z / n;
    let middle = p + spread / 2.0;
    let margin = Z * (p * (1.0 - p) / n + spread / (4.0 * n)).sqrt();
    ((middle - margin).max(0.0) / (1.0 + spread), (middle + margin).min(1.0 + spread) / (1.0 + spread))
}

/// What another process must know. A trial goes on there with what it brings there, for the counts are each process's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OutliersMemory {
    out: Option<(Timestamp, Timestamp)>,
    /// Since when it is on trial, and the share of its weight.
    trial: Option<(Timestamp, f64)>,
    times: u32,
    last: Option<(Timestamp, Duration)>,
    why: String,
}

impl Usual for Outliers {
    const USUAL: &'static Self =
        &Self { standing: Standing::Well, consecutive: 0, times: 0, last: None, why: String::new(), gone: false, lost: None };
}

impl Outliers {
    pub(super) fn memory(&self) -> OutliersMemory {
        let (out, trial) = match self.standing {
            Standing::Out { since, until } => (Some((since, until)), None),
            Standing::Trial { since, weight, .. } => (None, Some((since, weight))),
            Standing::Well => (None, None),
        };
        OutliersMemory { out, trial, times: self.times, last: self.last, why: self.why.clone() }
    }

    pub(super) fn remember(&mut self, memory: OutliersMemory) {
        if let Some((since, until)) = memory.out {
            self.standing = Standing::Out { since, until };
        } else if let Some((since, weight)) = memory.trial {
            self.standing = Standing::Trial { since, seen: Counts::default(), weight };
        }
        (self.times, self.last, self.why) = (memory.times, memory.last, memory.why);
    }

    /// Looks at what is new. `own` and `siblings` are the counts of the window.
    pub(super) fn look(&mut self, glance: &Glance, own: Counts, siblings: Counts, policy: &Outlier, now: Timestamp) -> Judged {
        self.count_row(glance);
        match &mut self.standing {
            Standing::Out { .. } => Judged::Nothing,
            Standing::Well => match self.accusation(own, siblings, policy) {
                Some(why) => self.eject(glance.endpoint, why, policy, now),
                None => Judged::Nothing,
            },
            Standing::Trial { seen, .. } => {
                seen.add(Counts { requests: glance.requests.into(), errors: glance.errors.into() });
                let seen = *seen;
                if seen.errors > allowed(seen, siblings, policy) {
                    let why = format!("{} of {} requests on trial failed", seen.errors, seen.requests);
                    return self.eject(glance.endpoint, why, policy, now);
                }
                if seen.requests >= u64::from(policy.min_requests) {
                    self.standing = Standing::Well;
                    return Judged::Back;
                }
                Judged::Nothing
            }
        }
    }

    const fn count_row(&mut self, glance: &Glance) {
        let answered = glance.requests > glance.gateway_errors;
        self.consecutive = if answered { glance.streak } else { self.consecutive.saturating_add(glance.gateway_errors) };
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
    fn accusation(&self, own: Counts, siblings: Counts, policy: &Outlier) -> Option<String> {
        if self.consecutive >= policy.consecutive.get() {
            return Some(format!("{} requests in a row failed", self.consecutive));
        }
        if own.requests < u64::from(policy.min_requests) || own.errors < SOME {
            return None;
        }
        let share = own.errors as f64 / own.requests as f64;
        let told = format!("{} of {} requests failed", own.errors, own.requests);
        if share >= policy.error_ratio.get() {
            return Some(told);
        }
        let known = siblings.requests >= u64::from(policy.min_requests);
        let (low, high) = (wilson(own).0, wilson(siblings).1);
        (known && low > policy.against_siblings * high)
            .then(|| format!("{told}, against {} of {} of the others'", siblings.errors, siblings.requests))
    }

    fn eject(&mut self, id: EndpointId, why: String, policy: &Outlier, now: Timestamp) -> Judged {
        self.consecutive = 0;
        if !policy.enforce {
            self.standing = Standing::Well;
            return Judged::WouldBe(why);
        }
        if self.last.is_some_and(|(end, span)| now.since(end) > span.saturating_mul(FORGET)) {
            self.times = 0;
        }
        let doubled = policy.ejection.saturating_mul(1_u32.checked_shl(self.times).unwrap_or(u32::MAX));
        let span = doubled.min(policy.ejection_max).mul_f64(1.0 - 0.1 * moved(id, self.times));
        self.times = self.times.saturating_add(1).min(31);
        self.last = Some((now + span, span));
        self.standing = Standing::Out { since: now, until: now + span };
        self.gone = false;
        self.why.clone_from(&why);
        if let Some(lost) = self.lost {
            self.postpone(lost, policy);
        }
        Judged::Ejected(why)
    }

    /// Lets time pass. `pace` is how many requests a second its full weight would bring. Returns whether a trial begins or ends.
    pub(super) fn expire(&mut self, now: Timestamp, pace: f64, policy: &Outlier) -> bool {
        match self.standing {
            Standing::Out { until, .. } if until <= now => {
                let weight = (f64::from(policy.min_requests) / pace.max(1.0)).clamp(TRICKLE.0, TRICKLE.1);
                self.standing = Standing::Trial { since: now, seen: Counts::default(), weight };
                true
            }
            Standing::Trial { since, seen, .. } if since + policy.window <= now && seen.errors == 0 => {
                self.standing = Standing::Well;
                true
            }
            _ => false,
        }
    }

    /// Its probes are lost one after the other, as its requests are: it is out before the last one decides.
    pub(super) fn lose(&mut self, id: EndpointId, policy: &Outlier, now: Timestamp) -> Judged {
        if self.is_out() {
            return Judged::Nothing;
        }
        self.eject(id, "its probes are lost, and it is much slower than the others".to_owned(), policy, now)
    }

    /// A probe was lost at `at`: a trial would only show the same. It waits until none has been for twice as long as a first
    /// ejection lasts, for on a bad path some pass in a row by chance, but not beyond the longest one.
    pub(super) fn postpone(&mut self, at: Timestamp, policy: &Outlier) {
        if let Standing::Out { since, until } = &mut self.standing {
            *until = (*until).max((at + policy.ejection * 2).min(*since + policy.ejection_max));
            self.last = self.last.map(|(_, span)| (*until, span));
        }
    }

    /// A probe was lost at `at`, and its answers are slow: if it is ejected soon, that is one more sign of a path that loses packets.
    pub(super) const fn lost(&mut self, at: Timestamp) {
        self.lost = Some(at);
    }

    /// Failures so far are no longer in a row with those to come.
    pub(super) const fn clear_row(&mut self) {
        self.consecutive = 0;
    }

    /// A connection was refused.
    pub(super) const fn refused(&mut self) {
        self.gone |= self.is_out();
    }

    /// Whether the process that was ejected is gone.
    pub(super) const fn is_gone(&self) -> bool {
        self.gone && self.is_out()
    }

    /// Whether it is out, and not yet on trial.
    pub(super) const fn is_out(&self) -> bool {
        matches!(self.standing, Standing::Out { .. })
    }

    pub(super) fn next_change(&self, policy: &Outlier) -> Option<Timestamp> {
        match self.standing {
            Standing::Out { until, .. } => Some(until),
            Standing::Trial { since, seen, .. } if seen.errors == 0 => Some(since + policy.window),
            Standing::Well | Standing::Trial { .. } => None,
        }
    }

    /// Whether its results say nothing about how the cluster does.
    pub(super) const fn is_apart(&self) -> bool {
        !matches!(self.standing, Standing::Well)
    }

    /// The share of its weight while it is on trial.
    pub(super) const fn weight(&self) -> f64 {
        match self.standing {
            Standing::Trial { weight, .. } => weight,
            Standing::Well | Standing::Out { .. } => 1.0,
        }
    }

    /// The state this axis asks for and why, unless it is content.
    pub(super) fn reason(&self, policy: &Outlier) -> Option<(State, Reason)> {
        let reason = |since, until, detail| Reason { code: Code::OutlierErrors, probe: None, detail, since, until };
        match self.standing {
            Standing::Well => None,
            Standing::Out { since, until } => {
                let detail = format!("{}; out for {} this time, then on trial", self.why, rounded(until.since(since)));
                Some((State::Ejected, reason(since, Some(until), detail)))
            }
            Standing::Trial { since, seen, .. } => {
                let (seen, of) = (seen.requests, policy.min_requests);
                let detail = format!("on trial: {seen} of {of} requests have brought it nearer, failures eject it again");
                Some((State::Degraded, reason(since, None, detail)))
            }
        }
    }
}

impl Endpoint {
    /// Ejects one that is much slower than its siblings and nearly unhealthy for lost probes: both come from its path. That a request was
    /// answered meanwhile says nothing against that.
    pub(super) fn lose_probes(&mut self, found: &ProbeResult, context: Context<'_>) {
        let Some(outlier) = &context.policy.outlier else { return };
        if !matches!(found, ProbeResult::Fail(Failure::Timeout(_))) || self.latency.since().is_none() {
            return;
        }
        self.outliers.lost(context.now);
        if !self.probes.is_nearly_lost(context.policy) || self.silence.is_suspect() {
            return;
        }
        let told = match self.outliers.lose(self.member.id, outlier, context.now) {
            Judged::Ejected(why) => Entry::new(context.now, Kind::Outlier, format!("eject: {why}")),
            Judged::WouldBe(why) => Entry::new(context.now, Kind::WouldBe, format!("eject: {why}")),
            Judged::Nothing | Judged::Back => return,
        };
        self.history.push_once(told);
    }
}

fn rounded(span: Duration) -> String {
    format_duration(Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX) / 100 * 100))
}

/// How many failures on trial are no more than what the siblings have as well.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of some seconds"
)]
fn allowed(seen: Counts, siblings: Counts, policy: &Outlier) -> u64 {
    let usual = siblings.errors as f64 / siblings.requests.max(1) as f64;
    (usual * policy.against_siblings * seen.requests as f64).floor() as u64
}

/// A share of a tenth that is the endpoint's own, another one each time.
fn moved(id: EndpointId, times: u32) -> f64 {
    // The mixing of SplitMix64: without it neighbours would fall together.
    let mut mixed = (u64::from(id.0) << 32 | u64::from(times)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u16::try_from(mixed >> 48).unwrap_or(0)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const fn counts(errors: u64, requests: u64) -> Counts {
        Counts { requests, errors }
    }

    fn glance(requests: u32, gateway_errors: u32, streak: u32) -> Glance {
        Glance { requests, errors: gateway_errors, gateway_errors, streak, ..Glance::default() }
    }

    #[test]
    fn shares_are_judged_by_their_bounds() {
        let check = |own: (u64, u64), siblings: (u64, u64), ejected: bool| {
            let (own, siblings) = (counts(own.0, own.1), counts(siblings.0, siblings.1));
            let judged = Outliers::default().look(&glance(1, 0, 0), own, siblings, &Outlier::usual(), at(1));
            assert_eq!(matches!(judged, Judged::Ejected(_)), ejected, "{own:?} against {siblings:?}: {judged:?}");
        };
        check((10, 20), (0, 0), true);
        check((9, 20), (9, 20), false);
        check((10, 19), (0, 0), false);
        check((20, 200), (0, 400), true);
        check((20, 200), (40, 400), false);
        check((4, 200), (0, 400), false);
        // A twentieth, but of a hundred: chance may explain a sixtieth of it.
        check((5, 100), (0, 1000), false);
        check((50, 1000), (0, 1000), true);
        check((100, 1000), (25, 1000), false);
        check((100, 1000), (10, 1000), true);
        check((30, 300), (0, 19), false);
        check((30, 300), (0, 300), true);
        // Half a second of failures after ten seconds without any.
        check((30, 6930), (0, 13_860), true);
    }

    #[test]
    fn failures_count_in_a_row_only() {
        let mut outliers = Outliers::default();
        let mut look = |requests, errors, streak| {
            outliers.look(&glance(requests, errors, streak), counts(0, 0), counts(0, 0), &Outlier::usual(), at(1))
        };
        assert_eq!(look(4, 4, 4), Judged::Nothing);
        assert_eq!(look(5, 4, 2), Judged::Nothing, "an answer came between");
        assert_eq!(look(2, 2, 4), Judged::Nothing);
        assert!(matches!(look(1, 1, 5), Judged::Ejected(_)));
    }

    #[test]
    fn ejections_grow_are_moved_and_end_in_a_trial() {
        let mut outliers = Outliers::default();
        let mut now = 0;
        let mut spans = Vec::new();
        for _ in 0..8 {
            assert!(matches!(
                outliers.look(&glance(5, 5, 5), counts(0, 0), counts(0, 0), &Outlier::usual(), at(now)),
                Judged::Ejected(_)
            ));
            let until = outliers.next_change(&Outlier::usual()).unwrap();
            spans.push(until.since(at(now)).as_secs_f64());
            assert!(!outliers.expire(until - Duration::from_nanos(1), 100.0, &Outlier::usual()));
            assert!(outliers.expire(until, 100.0, &Outlier::usual()));
            assert!((outliers.weight() - 0.2).abs() < 1e-9, "20 requests in a second: {}", outliers.weight());
            now = until.as_nanos() / 1_000_000 + 1;
        }
        for (span, most) in spans.iter().zip([5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]) {
            assert!((0.9 * most..=most).contains(span), "{spans:?}");
        }
        assert_eq!(outliers.look(&glance(19, 0, 0), counts(0, 0), counts(0, 100), &Outlier::usual(), at(now)), Judged::Nothing);
        assert_eq!(outliers.look(&glance(1, 0, 0), counts(0, 0), counts(0, 100), &Outlier::usual(), at(now)), Judged::Back);
        assert_eq!((outliers.reason(&Outlier::usual()), outliers.weight().to_bits()), (None, 1.0_f64.to_bits()));
    }

    #[test]
    fn those_that_are_ejected_together_do_not_return_together() {
        let until = |id: u32| {
            let mut outliers = Outliers::default();
            let glance = Glance { endpoint: EndpointId(id), ..glance(5, 5, 5) };
            drop(outliers.look(&glance, counts(0, 0), counts(0, 0), &Outlier::usual(), at(0)));
            outliers.next_change(&Outlier::usual()).unwrap().as_nanos() / 10_000_000
        };
        let all: std::collections::BTreeSet<u64> = (0..20).map(until).collect();
        assert!(all.len() > 12, "{} moments for twenty: {all:?}", all.len());
    }

    #[test]
    fn a_trial_forgives_what_the_siblings_have_as_well() {
        let trial = || Outliers {
            standing: Standing::Trial { since: at(0), seen: Counts::default(), weight: 0.1 },
            ..Outliers::default()
        };
        assert!(matches!(
            trial().look(&glance(10, 1, 0), counts(0, 0), counts(0, 100), &Outlier::usual(), at(1)),
            Judged::Ejected(_)
        ));
        assert_eq!(trial().look(&glance(20, 1, 0), counts(0, 0), counts(5, 100), &Outlier::usual(), at(1)), Judged::Back);
    }

    #[test]
    fn what_is_not_enforced_is_only_told() {
        let policy = Outlier { enforce: false, ..Outlier::usual() };
        let mut outliers = Outliers::default();
        assert!(matches!(outliers.look(&glance(5, 5, 5), counts(0, 0), counts(0, 0), &policy, at(1)), Judged::WouldBe(_)));
        assert_eq!(outliers.reason(&policy), None);
    }

    #[test]
    fn bounds_hold_the_share_and_close_in() {
        let (low, high) = wilson(counts(10, 100));
        assert!((0.04..0.1).contains(&low) && (0.1..0.21).contains(&high), "{low} {high}");
        let (narrow, tight) = wilson(counts(1000, 10_000));
        assert!(narrow > low && tight < high);
        assert_eq!(wilson(counts(0, 0)), (0.0, 1.0));
    }
}

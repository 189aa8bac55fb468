//! The time until enough probes of one endpoint have had enough results in a row.
//!
//! One probe alone has a closed form: the rest of the interval it is in, then the results that must follow. Where several
//! probes must agree, the first bad result makes all of them hurry, and no closed form is left; the mean is then taken over
//! draws from a fixed seed, so that the same configuration always gives the same plan.

use std::time::Duration;

use crate::health::policy::Timing;

/// Draws for a mean over several probes: its error is then below 1 % of an interval.
const DRAWS: u32 = 20_000;

/// A time that depends on the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// On average.
    pub mean: Duration,
    /// At the worst; with live traffic, which keeps no schedule, in 999 of 1000 cases.
    pub worst: Duration,
}

/// One probe on its way to a verdict.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg {
    /// How long nothing shows, seconds: a file that is no longer written is fresh for a while.
    pub(super) hidden: f64,
    /// Start to start at first, seconds.
    pub(super) gap: f64,
    /// Start to start after the first result that counts, seconds.
    pub(super) fast: f64,
    /// Each gap moves by up to this share, either way.
    pub(super) jitter: f64,
    /// How long each run takes, seconds.
    pub(super) lasts: f64,
    /// Results that are needed.
    pub(super) results: u32,
}

impl Leg {
    /// A leg at the normal pace.
    pub(super) fn new(timing: Timing, gap: Duration, lasts: Duration, results: u32) -> Self {
        Self {
            hidden: 0.0,
            gap: gap.as_secs_f64(),
            fast: timing.fast_interval.as_secs_f64(),
            jitter: timing.jitter.get(),
            lasts: lasts.as_secs_f64(),
            results,
        }
    }

    /// One that is through at a moment between these two, whatever the others find.
    pub(super) fn between(soonest: Duration, latest: Duration) -> Self {
        let gap = latest.saturating_sub(soonest).as_secs_f64();
        Self { hidden: soonest.as_secs_f64(), gap, fast: gap, jitter: 0.0, lasts: 0.0, results: 1 }
    }

    /// Mean and worst time of `results` runs of which the first starts at once: `(k-1)·max(F, l) + l`.
    pub(super) fn hurried(timing: Timing, lasts: Duration, results: u32) -> (f64, f64) {
        let leg = Self::new(timing, Duration::ZERO, lasts, results);
        (leg.mean(), leg.worst())
    }

    fn more(self) -> f64 {
        f64::from(self.results.saturating_sub(1))
    }

    /// `h + I(1+j) + (k-1)·max(F(1+j), l) + l`: the slot has just passed, and every other comes late.
    pub(super) fn worst(self) -> f64 {
        self.hidden
            + self.gap * (1.0 + self.jitter)
            + self.more() * (self.fast * (1.0 + self.jitter)).max(self.lasts)
            + self.lasts
    }

    /// `h + I(1+j²/3)/2 + (k-1)·E max(F(1±j), l) + l`: the mean rest of a jittered interval, and the runs that follow.
    pub(super) fn mean(self) -> f64 {
        let rest = self.gap * (1.0 + self.jitter * self.jitter / 3.0) / 2.0;
        self.hidden + rest + self.more() * self.mean_step() + self.lasts
    }

    /// The mean of `max(F(1±j), l)` with an even jitter.
    fn mean_step(self) -> f64 {
        let (low, high) = (self.fast * (1.0 - self.jitter), self.fast * (1.0 + self.jitter));
        if self.lasts <= low || high <= low {
            return self.fast.max(self.lasts);
        }
        if self.lasts >= high {
            return self.lasts;
        }
        (self.lasts * (self.lasts - low) + (high * high - self.lasts * self.lasts) / 2.0) / (high - low)
    }
}

/// The time until `needed` of the probes have all their results; `None` if there are not so many.
pub(super) fn race(legs: &[Leg], needed: usize) -> Option<Span> {
    let place = needed.max(1) - 1;
    let mut worst: Vec<f64> = legs.iter().map(|leg| leg.worst()).collect();
    worst.sort_by(f64::total_cmp);
    let worst = *worst.get(place)?;
    let mean = match legs {
        [alone] => alone.mean(),
        _ => drawn_mean(legs, place),
    };
    Some(Span { mean: seconds(mean.min(worst)), worst: seconds(worst) })
}

fn drawn_mean(legs: &[Leg], place: usize) -> f64 {
    let rng = &mut fastrand::Rng::with_seed(0x5eed);
    (0..DRAWS).map(|_| draw(legs, place, rng)).sum::<f64>() / f64::from(DRAWS)
}

fn draw(legs: &[Leg], place: usize, rng: &mut fastrand::Rng) -> f64 {
    // Last slot and next one, around a moment that knows nothing of them: long gaps are met more often.
    let slots: Vec<(f64, f64)> = legs
        .iter()
        .map(|leg| {
            let gap = met_gap(leg, rng);
            let next = gap * rng.f64();
            (next - gap, next)
        })
        .collect();
    let shows = |((_, next), leg): (&(f64, f64), &Leg)| next + whole_gaps(leg.hidden - next, leg.gap) + leg.lasts;
    let first = slots.iter().zip(legs).map(shows).fold(f64::INFINITY, f64::min);
    let mut ends: Vec<f64> = slots.iter().zip(legs).map(|((last, next), leg)| end(leg, *last, *next, first, rng)).collect();
    ends.sort_by(f64::total_cmp);
    ends.get(place).copied().unwrap_or(f64::INFINITY)
}

/// When a leg is through, if all of them hurry from `first` on.
fn end(leg: &Leg, last: f64, next: f64, first: f64, rng: &mut fastrand::Rng) -> f64 {
    let (mut last, mut start) = (last, next);
    // What it finds before it can show is nothing.
    if start < leg.hidden.min(first) {
        start += whole_gaps(leg.hidden.min(first) - start, leg.gap);
        last = start - leg.gap;
    }
    if start > first {
        start = start.min((last + moved(leg.fast, leg, rng)).max(first));
    }
    start += whole_gaps(leg.hidden - start, leg.fast);
    let more: f64 = (1..leg.results).map(|_| moved(leg.fast, leg, rng).max(leg.lasts)).sum();
    start + more + leg.lasts
}

/// So many whole gaps that they are at least so long.
fn whole_gaps(span: f64, gap: f64) -> f64 {
    if span > 0.0 && gap > 0.0 { (span / gap).ceil() * gap } else { 0.0 }
}

fn moved(gap: f64, leg: &Leg, rng: &mut fastrand::Rng) -> f64 {
    gap * (1.0 + leg.jitter * (2.0 * rng.f64() - 1.0))
}

/// A gap as a random moment meets it: the longer, the likelier.
fn met_gap(leg: &Leg, rng: &mut fastrand::Rng) -> f64 {
    let longest = leg.gap * (1.0 + leg.jitter);
    // At least half of the draws are taken, so this ends; 64 in a row are refused once in 10^19 times.
    for _ in 0..64 {
        let gap = moved(leg.gap, leg, rng);
        if rng.f64() * longest < gap {
            return gap;
        }
    }
    leg.gap
}

/// A time in seconds, which comes from durations and is never negative.
pub(super) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Leg = Leg { hidden: 0.0, gap: 0.5, fast: 0.25, jitter: 0.1, lasts: 0.2, results: 3 };

    fn near(a: Duration, b: f64) -> bool {
        (a.as_secs_f64() - b).abs() < 0.01 * b
    }

    #[test]
    fn one_probe_has_a_closed_form_that_draws_agree_with() {
        let span = race(&[ALONE], 1).unwrap();
        assert!(near(span.worst, 0.55 + 2.0 * 0.275 + 0.2), "{span:?}");
        assert!(near(span.mean, 0.25 * (1.0 + 0.01 / 3.0) + 2.0 * 0.25 + 0.2), "{span:?}");
        assert!(near(span.mean, drawn_mean(&[ALONE], 0)));
        let slow = Leg { lasts: 0.26, ..ALONE };
        assert!(near(seconds(slow.mean()), drawn_mean(&[slow], 0)), "a run that outlasts some of the gaps");
        let slower = Leg { lasts: 0.8, ..ALONE };
        assert!(near(seconds(slower.mean()), 0.2508 + 3.0 * 0.8));
    }

    #[test]
    fn the_first_of_several_is_sooner_and_the_last_later_than_one() {
        let legs = [ALONE, Leg { gap: 2.0, ..ALONE }];
        let (first, last) = (race(&legs, 1).unwrap(), race(&legs, 2).unwrap());
        let alone = race(&[ALONE], 1).unwrap();
        assert!(first.mean < alone.mean && first.worst == alone.worst, "{first:?} {alone:?}");
        assert!(last.mean > alone.mean && last.worst > alone.worst);
        // The slow one hurries once the quick one has failed: far from the end of its own interval.
        assert!(last.mean < alone.mean + Duration::from_millis(400), "{last:?}");
        assert_eq!(race(&legs, 3), None);
        assert_eq!(race(&[], 1), None);
    }
}

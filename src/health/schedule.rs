//! Decides when a probe of one endpoint runs next: start-to-start slots with a phase of their own.
//!
//! Probes that are planned from the end of the last one come later the sicker an endpoint is, and probes that all start
//! together hit every endpoint in one burst. Here the first slot comes as soon as it may, since nothing is known; the second after
//! the probe's phase, a share of the interval drawn from the hash of endpoint and probe; every other one an interval,
//! moved by jitter, after the last. So with a time-out T, fall k and fast interval F a dead endpoint is found within
//! I(1+j) + (k-1)·max(F(1+j), T) + T.
//!
//! A slot that passes while the last run is under way, or while the process stands still, is skipped: the next run starts
//! as soon as the caller asks, and the slots after it are where they would have been, less those that are too close.
//! That at most one run is under way is the caller's affair: it asks for a [`Slot`] only when it can start one.

use std::time::Duration;

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::base::units::Ratio;
use crate::health::policy::Timing;

/// How often an endpoint is to be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// All is as it was.
    #[default]
    Normal,
    /// The verdict is in question: no verdict yet, a row of contradicting results, rising, or live traffic in trouble.
    Fast,
    /// Unhealthy, and nothing says that it recovers.
    Down,
}

/// One run that may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Runs before this one.
    pub seq: u64,
    /// Whether it takes a connection of its own, as the first does and one in so many after it, so that accepting is probed too.
    pub fresh: bool,
}

/// What slots keep of a timing; thousands of probes have one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gaps {
    /// Intervals in nanoseconds, by pace.
    normal: u64,
    fast: u64,
    down: u64,
    jitter: Ratio,
}

/// The slots of one probe of one endpoint.
#[derive(Debug, Clone)]
pub struct Slots {
    gaps: Gaps,
    /// From the first slot to the second, as a share of the interval.
    phase: f64,
    pace: Pace,
    next: Timestamp,
    /// The slot of the last run: when it was due, not when it started.
    slot: Timestamp,
    /// When the last run started.
    started: Option<Timestamp>,
    runs: u64,
    /// The run that takes a fresh connection next, and how many lie between two.
    renewal: u64,
    stride: u32,
}

/// One run in so many takes a fresh connection, unless more probes run than can afford that.
pub const STRIDE: u32 = 5;

/// Slots lie on multiples of the coarsest of these that the jitter hides, so that the probes of many endpoints share one waking of
/// their thread.
const GRAINS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(20), FINEST];
/// And of this where it hides none.
const FINEST: Duration = Duration::from_millis(10);
/// Gaps shorter than this are kept as they are: rounding would change them noticeably.
const MIN_ROUNDED: Duration = Duration::from_millis(100);

impl Slots {
    /// Slots of which this is the first.
    #[must_use]
    pub fn new(timing: Timing, endpoint: EndpointId, probe: &str, first: Timestamp) -> Self {
        let phase = phase(endpoint, probe);
        let (pace, stride) = (Pace::Fast, STRIDE);
        Self { gaps: Gaps::of(&timing), phase, pace, next: first, slot: first, started: None, runs: 0, renewal: 0, stride }
    }

    /// The pace that slots keep now.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// When the next run is due.
    #[must_use]
    pub const fn next(&self) -> Timestamp {
        self.next
    }

    /// The run that is due at `now`, and the slot after it planned; `None` if none is due yet.
    pub fn take(&mut self, now: Timestamp, rng: &mut fastrand::Rng) -> Option<Slot> {
        if now < self.next {
            return None;
        }
        let first = self.started.is_none();
        self.slot = self.next;
        self.started = Some(now);
        self.plan(first, rng);
        self.skip_missed(now);
        let slot = Slot { seq: self.runs, fresh: self.runs >= self.renewal };
        if slot.fresh {
            self.renewal = self.runs + self.gap(rng);
        }
        self.runs += 1;
        Some(slot)
    }

    /// Has one run in so many take a fresh connection, from the next that does on.
    pub const fn renew_every(&mut self, runs: u32) {
        self.stride = runs;
    }

    /// Runs from one fresh connection to the next. Where that is long, what began together drifts apart.
    fn gap(&self, rng: &mut fastrand::Rng) -> u64 {
        let stride = u64::from(self.stride);
        if self.stride <= STRIDE { stride } else { stride / 2 + rng.u64(..stride) }
    }

    /// Moves the next slot on by a share of the interval: whoever cannot keep up asks less often.
    pub fn stretch(&mut self, share: f64) {
        if share > 0.0 {
            self.next = self.next + self.interval().mul_f64(share);
        }
    }

    /// Changes the pace. The next slot is planned anew from the last one, which brings it forward when the pace grows.
    pub fn set_pace(&mut self, pace: Pace, now: Timestamp, rng: &mut fastrand::Rng) {
        if pace == self.pace {
            return;
        }
        let calm = pace == Pace::Normal;
        self.pace = pace;
        self.replan(calm, now, rng);
    }

    /// Takes on another timing, as after a reload.
    pub fn set_timing(&mut self, timing: Timing, now: Timestamp, rng: &mut fastrand::Rng) {
        let gaps = Gaps::of(&timing);
        if gaps != self.gaps {
            self.gaps = gaps;
            self.replan(false, now, rng);
        }
    }

    fn replan(&mut self, from_phase: bool, now: Timestamp, rng: &mut fastrand::Rng) {
        // A first slot that was never taken stays where it is.
        if self.started.is_some() {
            self.plan(from_phase, rng);
            self.next = self.next.max(now);
        }
    }

    /// Plans the slot after the last one. From the phase, endpoints that were probed together part again.
    fn plan(&mut self, from_phase: bool, rng: &mut fastrand::Rng) {
        let interval = self.interval();
        let jitter = self.gaps.jitter;
        let grain = grain(interval, jitter);
        if from_phase && self.pace == Pace::Normal {
            let gap = round(interval.mul_f64(self.phase), grain).clamp(self.spacing().min(interval), interval);
            self.next = on_grain(self.slot + gap, gap, grain);
            return;
        }
        let gap = moved(interval, jitter, rng);
        self.next = on_grain(self.slot + gap, gap, grain);
        let most = interval.mul_f64(jitter.get());
        if grain <= most {
            // As far as the jitter goes, and no farther.
            if self.next > self.slot + interval + most {
                self.next = self.next - grain;
            } else if self.next < self.slot + interval - most {
                self.next = self.next + grain;
            }
        }
    }

    /// Moves the next slot by whole intervals until it is far enough after `now`.
    fn skip_missed(&mut self, now: Timestamp) {
        let interval = self.interval().max(FINEST);
        // Half of it, so that a timer that fires a little late never costs a slot.
        let earliest = now + self.spacing().mul_f64(0.5 * (1.0 - self.gaps.jitter.get()));
        let behind = earliest.since(self.next);
        if !behind.is_zero() && self.slot < now {
            let missed = behind.as_nanos().div_ceil(interval.as_nanos());
            self.next = self.next + interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
        }
    }

    const fn interval(&self) -> Duration {
        Duration::from_nanos(match self.pace {
            Pace::Normal => self.gaps.normal,
            Pace::Fast => self.gaps.fast,
            Pace::Down => self.gaps.down,
        })
    }

    /// The least time between two runs that are both on schedule.
    fn spacing(&self) -> Duration {
        Duration::from_nanos(self.gaps.fast.min(self.gaps.normal))
    }
}

impl Gaps {
    fn of(timing: &Timing) -> Self {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let [normal, fast, down] = [timing.interval, timing.fast_interval, timing.down_interval].map(nanos);
        Self { normal, fast, down, jitter: timing.jitter }
    }
}

/// `interval`, moved either way by up to the share `jitter` of it.
fn moved(interval: Duration, jitter: Ratio, rng: &mut fastrand::Rng) -> Duration {
    interval.mul_f64(1.0 + jitter.get() * (2.0 * rng.f64() - 1.0))
}

/// What slots of this interval lie on multiples of.
fn grain(interval: Duration, jitter: Ratio) -> Duration {
    let hidden = interval.mul_f64(jitter.get());
    GRAINS.into_iter().find(|grain| *grain <= hidden).unwrap_or(FINEST)
}

/// The multiple of the grain that is nearest to `at`, so that probes are neither more nor fewer by it.
fn on_grain(at: Timestamp, gap: Duration, grain: Duration) -> Timestamp {
    if gap < MIN_ROUNDED {
        return at;
    }
    let at = at + grain / 2;
    at - Duration::from_nanos(at.as_nanos() % u64::try_from(grain.as_nanos()).unwrap_or(u64::MAX))
}

fn round(span: Duration, grain: Duration) -> Duration {
    let grains = (span.as_nanos() + grain.as_nanos() / 2) / grain.as_nanos();
    grain.saturating_mul(u32::try_from(grains).unwrap_or(u32::MAX))
}

/// Where in the interval the probe has its slots: the same for the same endpoint and probe, spread evenly over all.
#[expect(clippy::cast_precision_loss, reason = "the upper half of the hash is all that is used")]
fn phase(endpoint: EndpointId, probe: &str) -> f64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = endpoint.0.to_le_bytes().into_iter().chain(probe.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // The hash of short inputs has poor upper bits until they are mixed once more.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(interval: u64, fast: u64, down: u64, jitter: f64) -> Timing {
        Timing {
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(200),
            fast_interval: Duration::from_millis(fast),
            down_interval: Duration::from_millis(down),
            jitter: Ratio::try_new(jitter).unwrap(),
        }
    }

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Runs every slot on time for `millis` and returns the starts.
    fn starts(slots: &mut Slots, millis: u64, rng: &mut fastrand::Rng) -> Vec<u64> {
        let mut starts = Vec::new();
        while slots.next() < at(millis) {
            let now = slots.next();
            slots.take(now, rng).expect("it is due");
            starts.push(now.as_nanos() / 1_000_000);
        }
        starts
    }

    #[test]
    fn the_first_slot_is_at_once_and_nothing_is_due_before_its_time() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut slots = Slots::new(timing(1000, 250, 1000, 0.0), EndpointId(1), "ready", at(7));
        assert_eq!(slots.take(at(6), rng), None);
        assert_eq!(slots.take(at(7), rng), Some(Slot { seq: 0, fresh: true }));
        assert_eq!(slots.take(at(7), rng), None);
    }

    #[test]
    fn every_fifth_run_is_fresh() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut slots = Slots::new(timing(100, 100, 100, 0.0), EndpointId(1), "ready", at(0));
        let fresh: Vec<u64> =
            (0..11).filter_map(|_| slots.take(slots.next(), rng)).filter(|slot| slot.fresh).map(|slot| slot.seq).collect();
        assert_eq!(fresh, [0, 5, 10]);
    }

    #[test]
    fn where_many_probes_run_fresh_ones_are_as_rare_as_was_asked_for_and_drift_apart() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut slots = Slots::new(timing(100, 100, 100, 0.0), EndpointId(1), "ready", at(0));
        slots.renew_every(50);
        let fresh: Vec<u64> =
            (0..10_000).filter_map(|_| slots.take(slots.next(), rng)).filter(|slot| slot.fresh).map(|slot| slot.seq).collect();
        assert_eq!(fresh[0], 0);
        assert!((180..220).contains(&fresh.len()), "{}", fresh.len());
        let mut gaps: Vec<u64> = fresh.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (25..75).contains(gap)));
        gaps.sort_unstable();
        gaps.dedup();
        assert!(gaps.len() > 20);
    }

    #[test]
    fn phases_are_stable_and_spread() {
        let phases: Vec<f64> = (0..1000).map(|id| phase(EndpointId(id), "ready")).collect();
        assert!((phases[7] - phase(EndpointId(7), "ready")).abs() < f64::EPSILON);
        for tenth in 0..10 {
            let low = f64::from(tenth) / 10.0;
            let within = phases.iter().filter(|phase| (low..low + 0.1).contains(*phase)).count();
            assert!((60..140).contains(&within), "{within} of 1000 phases lie in tenth {tenth}");
        }
        assert!((phase(EndpointId(7), "ready") - phase(EndpointId(7), "port")).abs() > 1e-6);
    }

    #[test]
    fn gaps_stay_within_the_jitter() {
        let rng = &mut fastrand::Rng::with_seed(3);
        let mut slots = Slots::new(timing(1000, 500, 1000, 0.1), EndpointId(5), "ready", at(0));
        slots.set_pace(Pace::Normal, at(0), rng);
        let starts = starts(&mut slots, 1_000_000, rng);
        let gaps: Vec<u64> = starts[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (899..=1101).contains(gap)), "{gaps:?}");
        let of = |low: u64| gaps.iter().filter(|gap| (low..low + 50).contains(*gap)).count();
        assert!([900, 950, 1000, 1050].into_iter().all(|low| of(low) > 100), "they are spread: {gaps:?}");
        assert!((980..=1020).contains(&starts.len()), "{} slots in 1000 s", starts.len());
        assert!((500..=1000).contains(&starts[1]), "the second slot comes after {} ms", starts[1]);
    }

    #[test]
    fn slots_of_many_endpoints_fall_together() {
        let rng = &mut fastrand::Rng::with_seed(3);
        let mut moments = std::collections::BTreeSet::new();
        for id in 0..100 {
            let start = Timestamp::from_millis(5_000) + Duration::from_micros(u64::from(id) * 37);
            let mut slots = Slots::new(timing(1000, 500, 1000, 0.1), EndpointId(id), "ready", start);
            for _ in 0..10 {
                slots.take(slots.next(), rng);
                moments.insert(slots.next());
            }
        }
        assert!(moments.iter().all(|moment| moment.as_nanos().is_multiple_of(50_000_000)));
        assert!(moments.len() < 260, "1000 runs at {} moments", moments.len());
    }

    #[test]
    fn slots_are_no_coarser_than_the_jitter() {
        let check = |interval: u64, jitter: f64, wanted: u64| {
            let found = grain(Duration::from_millis(interval), Ratio::try_new(jitter).unwrap());
            assert_eq!(found, Duration::from_millis(wanted), "{interval} ms moved by {jitter}");
        };
        check(2000, 0.1, 50);
        check(500, 0.1, 50);
        check(400, 0.1, 20);
        check(100, 0.1, 10);
        check(2000, 0.01, 20);
        check(2000, 0.0, 10);
    }

    #[test]
    fn rounding_keeps_the_mean_and_the_bounds_whatever_the_jitter() {
        let rng = &mut fastrand::Rng::with_seed(7);
        for (interval, jitter) in [(1000_u64, 0.05), (500, 0.1), (700, 0.3), (150, 0.1)] {
            let mut slots = Slots::new(timing(interval, interval, interval, jitter), EndpointId(5), "ready", at(3));
            slots.take(at(3), rng);
            slots.take(slots.next(), rng);
            let starts = starts(&mut slots, 2000 * interval, rng);
            let span = Duration::from_millis(interval).mul_f64(jitter).as_millis();
            let (least, most) = (u128::from(interval) - span, u128::from(interval) + span);
            for gap in starts.windows(2).map(|pair| u128::from(pair[1] - pair[0])) {
                assert!((least..=most).contains(&gap), "{gap} ms where {least} to {most} may be");
            }
            assert!((1970..=2030).contains(&starts.len()), "{} slots in 2000 intervals of {interval} ms", starts.len());
        }
    }

    #[test]
    fn the_fast_pace_brings_the_next_slot_forward_but_not_into_the_past() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut slots = Slots::new(timing(2000, 500, 2000, 0.0), EndpointId(1), "ready", at(0));
        slots.take(at(0), rng);
        slots.set_pace(Pace::Normal, at(1), rng);
        slots.take(slots.next(), rng);
        let last = slots.slot;
        assert_eq!(slots.next(), last + Duration::from_secs(2));
        let mut late = slots.clone();
        slots.set_pace(Pace::Fast, last + Duration::from_millis(100), rng);
        assert_eq!(slots.next(), last + Duration::from_millis(500));
        late.set_pace(Pace::Fast, last + Duration::from_millis(900), rng);
        assert_eq!(late.next(), last + Duration::from_millis(900));
    }

    #[test]
    fn asking_for_the_fast_pace_again_never_delays() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut slots = Slots::new(timing(2000, 500, 2000, 0.1), EndpointId(1), "ready", at(0));
        slots.take(at(0), rng);
        let next = slots.next();
        slots.set_pace(Pace::Fast, at(300), rng);
        assert_eq!(slots.next(), next);
    }

    /// Slots a second apart, two of which have passed.
    fn under_way() -> Slots {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut slots = Slots::new(timing(1000, 250, 1000, 0.0), EndpointId(1), "ready", at(0));
        slots.take(at(0), rng);
        slots.set_pace(Pace::Normal, at(1), rng);
        slots.take(slots.next(), rng);
        slots
    }

    #[test]
    fn who_cannot_keep_up_moves_the_next_slot_on_and_no_other() {
        let (mut slots, rng) = (under_way(), &mut fastrand::Rng::with_seed(1));
        let due = slots.next();
        slots.stretch(0.0);
        assert_eq!(slots.next(), due);
        slots.stretch(1.5);
        assert_eq!(slots.next(), due + Duration::from_millis(1500));
        slots.take(slots.next(), rng);
        assert_eq!(slots.next(), due + Duration::from_millis(2500));
    }

    #[test]
    fn missed_slots_are_skipped() {
        let (mut slots, rng) = (under_way(), &mut fastrand::Rng::with_seed(1));
        let due = slots.next();
        let woken = due + Duration::from_millis(20_300);
        assert!(slots.take(woken, rng).is_some());
        assert_eq!(slots.next(), due + Duration::from_secs(21), "the phase is kept");
        assert!(slots.take(woken, rng).is_none());
        let due = slots.next();
        assert!(slots.take(due + Duration::from_millis(900), rng).is_some());
        assert_eq!(slots.next(), due + Duration::from_secs(2), "a slot 100 ms after a late run would be a burst");
    }

    #[test]
    fn runs_that_hang_follow_each_other_without_a_pause() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut slots = Slots::new(timing(2000, 500, 2000, 0.0), EndpointId(1), "ready", at(0));
        slots.take(at(0), rng);
        assert!(slots.take(at(1000), rng).is_some(), "the last run timed out after a second");
        assert!(slots.next() <= at(2000));
        assert!(slots.take(at(2000), rng).is_some());
    }
}

//! Decides how late a sender's stamped messages come, without knowing what its clock has to do with ours.
//!
//! The difference between our clock at receipt and the sender's stamp holds the unknown offset of the two; the least difference
//! of the last minute holds it as well, and next to no delay. What is left of one after the other is taken off is time spent in queues:
//! a process that gets slow is seen before it misses a beat.
//!
//! No clock of a sender moves a verdict. One that is set, by an hour or by a second, shows as two stamps that are not as far apart
//! as their period while the messages are: the least difference moves with it. One that drifts moves by less in a minute than the
//! least lateness that counts. Stamps that are no clock at all (seconds for milliseconds, one that stands still) are set at every
//! message, as it were: they are found out after a few, and left out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::health::seldom::Usual;

/// Half of the time over which the least difference is taken.
const HALF: Duration = Duration::from_secs(30);
/// Half of the longest such time.
const LONGEST_HALF: Duration = Duration::from_secs(86_400);
/// At least so many messages belong to a half.
const HALF_MESSAGES: u32 = 5;
/// Differences of the clocks that change by less from one message to the next are no step.
const STEP: i64 = 25_000;
/// Least lateness that counts, in microseconds.
const LATE: i64 = 60_000;
/// Lateness counts from so many mean deviations on.
const DEVIATIONS: i64 = 5;
/// What stamps may be rounded to, in milliseconds.
const GRAINS: [u64; 4] = [1000, 100, 10, 1];
/// Drift within the window that is no lateness: one part in so many.
const DRIFT: i64 = 1000;
/// So many late messages in a row are a state, and so many that are not end it.
const ROW: u32 = 5;
/// The longest stall of ours after which what was known of a sender's clock still counts.
pub(super) const SHORT_STALL: Duration = Duration::from_millis(100);
/// So many stamps in a row that do not go with time are those of no clock, and so many that do are those of one.
const CLOCKLESS: u32 = 5;
/// What a stamp may be at most, so that arithmetic never ends: the year 10889.
const MAX_STAMP_MS: u64 = 1 << 48;

/// The lateness of one sender's messages. All differences are in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Lateness {
    last: Option<Last>,
    /// When the half under way began, and the least differences of it and of the one before.
    began: Timestamp,
    least: i64,
    before: Option<i64>,
    /// Mean of the lateness, and of its distance to that mean.
    mean: i64,
    deviation: i64,
    delay: i64,
    row: u32,
    late_since: Option<Timestamp>,
    /// What every stamp so far is a multiple of, in milliseconds: who stamps whole seconds is up to one late in our eyes.
    grain: u64,
    /// Parts in a million by which the sender's clock runs slow against ours.
    drift: Option<i64>,
    /// Whether the stamps are those of no clock, and how many in a row have spoken against what is believed of that.
    #[serde(default)]
    clockless: bool,
    #[serde(default)]
    against: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Last {
    at: Timestamp,
    stamp: i64,
    /// When this stamp came first.
    #[serde(default)]
    new_at: Timestamp,
}

/// What one message showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    /// How late it came.
    pub(super) delay: Duration,
    /// By how much the sender's clock was set since the last one, in milliseconds; positive is forward.
    pub(super) step_ms: Option<i64>,
}

impl Usual for Lateness {
    const USUAL: &'static Self = &Self {
        last: None,
        began: Timestamp::ZERO,
        least: 0,
        before: None,
        mean: 0,
        deviation: 0,
        delay: 0,
        row: 0,
        late_since: None,
        grain: 0,
        drift: None,
        clockless: false,
        against: 0,
    };
}

impl Lateness {
    /// Takes in a message that came at `at` with the sender's stamp, `spacing` after the one before by the sender's own account.
    /// Without a stamp that can be one it says nothing. `stood` is for how long we ourselves had just stood still, so that it may have
    /// come sooner: then it makes nobody late, and what a long stall hides is not guessed at.
    pub(super) fn take(&mut self, at: Timestamp, stamp_ms: u64, spacing: Duration, stood: Option<Duration>) -> Option<Shown> {
        if stamp_ms > MAX_STAMP_MS {
            return None;
        }
        let stamp = i64::try_from(stamp_ms).ok()? * 1000;
        let difference = micros(at) - stamp;
        self.grain = GRAINS.into_iter().find(|grain| stamp_ms.is_multiple_of(*grain) && *grain <= self.grain.max(1)).unwrap_or(1);
        let new_at = self.last.filter(|last| last.stamp == stamp).map_or(at, |last| last.new_at);
        let Some(last) = self.last.replace(Last { at, stamp, new_at }) else {
            let grain = GRAINS.into_iter().find(|grain| stamp_ms.is_multiple_of(*grain)).unwrap_or(1);
            self.begin(at, difference, grain);
            return Some(Shown { delay: Duration::ZERO, step_ms: None });
        };
        let slack = i64::try_from(stood.unwrap_or_default().as_micros()).unwrap_or(i64::MAX / 4);
        let step = step(last, at, stamp, spacing, self.rounding() + slack);
        if stood.is_some_and(|stood| stood > SHORT_STALL || step.is_some()) {
            self.begin(at, difference, self.grain);
            return Some(Shown { delay: Duration::ZERO, step_ms: None });
        }
        let stands = micros(at) - micros(new_at) > self.rounding() + STEP;
        if self.turn(step.is_some() || stands) || self.clockless {
            self.begin(at, difference, self.grain);
            return Some(Shown { delay: Duration::ZERO, step_ms: None });
        }
        if let Some(step) = step {
            self.least -= step;
            self.before = self.before.map(|before| before - step);
            self.drift = None;
        }
        self.roll(at, spacing, difference);
        self.least = self.least.min(difference);
        let floor = self.before.map_or(self.least, |before| before.min(self.least));
        self.delay = difference - floor;
        if stood.is_none() {
            self.judge(at, spacing);
        }
        let delay = Duration::from_micros(self.delay.unsigned_abs());
        Some(Shown { delay, step_ms: step.map(|step| step / 1000) })
    }

    /// Begins with this message, whatever was known of those before but for whether there is a clock.
    fn begin(&mut self, at: Timestamp, difference: i64, grain: u64) {
        let Self { last, clockless, against, .. } = *self;
        *self = Self { last, began: at, least: difference, grain, clockless, against, ..Self::default() };
    }

    /// Notes whether a stamp has gone astray. Returns whether it is believed otherwise now than before that there is a clock.
    fn turn(&mut self, astray: bool) -> bool {
        self.against = if astray == self.clockless { 0 } else { self.against + 1 };
        let turns = self.against >= CLOCKLESS;
        if turns {
            (self.clockless, self.against) = (astray, 0);
        }
        turns
    }

    /// Whether the stamps are those of a clock.
    pub(super) const fn is_clock(&self) -> bool {
        !self.clockless
    }

    /// Forgets all: another sender has the place.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Since when its messages have been late, if they are.
    pub(super) const fn late_since(&self) -> Option<Timestamp> {
        self.late_since
    }

    /// How late the last message was.
    pub(super) const fn delay(&self) -> Duration {
        Duration::from_micros(self.delay.unsigned_abs())
    }

    /// Parts in a million by which the sender's clock runs slow against ours, once a window has shown it.
    pub(super) const fn drift_ppm(&self) -> Option<i64> {
        self.drift
    }

    /// By how much a stamp may be too early, in microseconds.
    fn rounding(&self) -> i64 {
        i64::try_from(self.grain.saturating_sub(1)).unwrap_or(0) * 1000
    }

    fn roll(&mut self, at: Timestamp, spacing: Duration, difference: i64) {
        let half = half(spacing);
        let age = at.since(self.began);
        if age < half {
            return;
        }
        if let Some(before) = self.before.filter(|_| age < half * 2) {
            let seconds = i64::try_from(half.as_secs()).unwrap_or(i64::MAX).max(1);
            self.drift = Some((self.least - before) / seconds);
        }
        self.before = (age < half * 2).then_some(self.least);
        self.least = difference;
        self.began = at;
    }

    fn judge(&mut self, at: Timestamp, spacing: Duration) {
        let window = i64::try_from(half(spacing).as_micros()).unwrap_or(i64::MAX) * 2;
        let level = self.rounding() + LATE.max(window / DRIFT).max(self.mean + DEVIATIONS * self.deviation);
        let late = match self.late_since {
            None => self.delay > level,
            Some(_) => self.delay > level / 2,
        };
        if late == self.late_since.is_none() {
            self.row += 1;
        } else {
            self.row = 0;
        }
        if self.row >= ROW {
            self.row = 0;
            self.late_since = late.then_some(at);
        }
        // Scatter is learnt from what is not late: a queue that grows must not teach us that this is how it always was.
        if !late && self.late_since.is_none() {
            self.mean += (self.delay - self.mean) / 16;
            self.deviation += ((self.delay - self.mean).abs() - self.deviation) / 16;
        }
    }
}

/// By how much the sender's clock was set between two messages, if it was. A message that is delayed leaves the stamps as far apart as
/// the period and the arrivals not; a clock that is set does the opposite.
fn step(last: Last, at: Timestamp, stamp: i64, spacing: Duration, rounding: i64) -> Option<i64> {
    let stamps = stamp - last.stamp;
    let arrivals = micros(at) - micros(last.at);
    let step = stamps - arrivals;
    let spacing = i64::try_from(spacing.as_micros()).unwrap_or(i64::MAX / 4);
    let off = |apart: i64| apart.saturating_sub(spacing).saturating_abs();
    (step.abs() > STEP + rounding && off(stamps) > off(arrivals)).then_some(step)
}

fn half(spacing: Duration) -> Duration {
    HALF.max(spacing.saturating_mul(HALF_MESSAGES)).min(LONGEST_HALF)
}

fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanos() / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(500);
    /// No round number, as clocks have none.
    const NOON: u64 = 1_795_478_400_007;

    /// Sends messages a period apart; the clock and the delay of each are given as milliseconds by its number.
    fn run(messages: u64, clock: impl Fn(u64) -> i64, delay: impl Fn(u64) -> u64) -> Vec<(u64, Option<i64>, bool)> {
        let mut lateness = Lateness::default();
        let send = |n: u64| {
            let sent = 3_600_000 + n * 500;
            let stamp = NOON.saturating_add_signed(i64::try_from(sent).unwrap() + clock(n));
            let shown = lateness.take(Timestamp::from_millis(sent + delay(n)), stamp, PERIOD, None).unwrap();
            (u64::try_from(shown.delay.as_millis()).unwrap(), shown.step_ms, lateness.late_since().is_some())
        };
        (0..messages).map(send).collect()
    }

    #[test]
    fn a_steady_sender_is_never_late_wherever_its_clock_stands() {
        for clock in [0, 3_600_000, -3_600_000, 86_400_000 * 365] {
            let seen = run(300, |_| clock, |n| 1 + n % 7);
            assert!(seen.iter().all(|(delay, step, late)| *delay <= 6 && step.is_none() && !late), "{clock}");
        }
    }

    #[test]
    fn a_clock_that_is_set_is_told_as_such_and_makes_nobody_late() {
        for by in [3_600_000, -3_600_000, 700, -700, 100, -100] {
            let seen = run(300, |n| if n < 100 { 0 } else { by }, |n| 1 + n % 7);
            let steps: Vec<i64> = seen.iter().filter_map(|(_, step, _)| *step).collect();
            assert!(steps.len() == 1 && (steps[0] - by).abs() <= 7, "{by}: {steps:?}");
            assert!(seen.iter().all(|(delay, _, late)| *delay <= 14 && !late), "{by}");
        }
    }

    #[test]
    fn a_clock_that_drifts_makes_nobody_late_and_is_measured() {
        for ppm in [500_i64, -500] {
            let clock = |n: u64| i64::try_from(n).unwrap() * 500 * ppm / 1_000_000;
            let seen = run(2000, clock, |n| 1 + n % 7);
            assert!(seen.iter().all(|(_, step, late)| step.is_none() && !late), "{ppm}");
        }
        let mut lateness = Lateness::default();
        for n in 0..2000_u64 {
            let at = Timestamp::from_nanos(n * 500_000_000 + n * 250_000);
            lateness.take(at, NOON + n * 500, PERIOD, None);
        }
        assert!((lateness.drift_ppm().unwrap() - 500).abs() < 60, "{lateness:?}");
    }

    #[test]
    fn a_queue_that_grows_is_seen_and_its_end_too() {
        let seen = run(60, |_| 0, |n| if (20..40).contains(&n) { 150 + (n - 20) * 10 } else { 2 });
        let late: Vec<usize> = seen.iter().enumerate().filter(|(_, (_, _, late))| *late).map(|(n, _)| n).collect();
        assert_eq!((late.first(), late.last()), (Some(&24), Some(&43)), "five in a row begin and end it");
        assert!(seen.iter().all(|(_, step, _)| step.is_none()));
    }

    #[test]
    fn whole_seconds_make_nobody_late() {
        let mut lateness = Lateness::default();
        for n in 0..1000_u64 {
            let sent = NOON + n * 530;
            let shown = lateness.take(Timestamp::from_millis(n * 530 + n % 5), sent / 1000 * 1000, PERIOD, None).unwrap();
            assert!(shown.step_ms.is_none() && lateness.late_since().is_none(), "{n}");
        }
    }

    #[test]
    fn what_comes_after_a_stall_of_ours_makes_nobody_late_and_hides_nobody_who_is() {
        // Sends a message every half second. Every third one we read after a stall; from the 30th on each takes `late` more, and the clock is
        // set by `set` while we stand still.
        let run = |stood: u64, late: u64, set: i64| {
            let mut lateness = Lateness::default();
            let mut seen = Vec::new();
            for n in 0..60_u64 {
                let sent = 3_600_000 + n * 500;
                let stamp = NOON.saturating_add_signed(i64::try_from(sent).unwrap() + if n < 30 { 0 } else { set });
                let stalled = n % 3 == 0;
                let read = sent + 1 + if n < 30 { 0 } else { late } + if stalled { stood } else { 0 };
                let stood = stalled.then_some(Duration::from_millis(stood));
                seen.push(
                    lateness.take(Timestamp::from_millis(read), stamp, PERIOD, stood).map(|_| lateness.late_since().is_some()),
                );
            }
            seen.iter().filter(|late| **late == Some(true)).count()
        };
        for stood in [26, 80, 100, 400, 5000] {
            for set in [0, 3_600_000, -3_600_000, -700, 700] {
                assert_eq!(run(stood, 0, set), 0, "{stood} {set}");
            }
        }
        for stood in [26, 80, 100] {
            assert!(run(stood, 250, 0) >= 20, "{stood}: {}", run(stood, 250, 0));
        }
    }

    #[test]
    fn what_is_no_clock_is_found_out_and_makes_nobody_late() {
        // What the stamp is at so many milliseconds of ours, and how far apart messages are.
        type Clock = fn(u64) -> u64;
        let clocks: [(&str, Clock, bool); 7] = [
            ("seconds", |now| (NOON + now) / 1000, false),
            ("microseconds", |now| (NOON / 1000 + now) * 1000, false),
            ("stands still", |_| NOON, false),
            ("stands at zero", |_| 0, false),
            ("minutes", |now| (NOON + now) / 60_000 * 60_000, false),
            ("whole seconds", |now| (NOON + now) / 1000 * 1000, true),
            ("set now and then", |now| NOON + now + now / 2500 * 3_600_000, true),
        ];
        for (name, clock, is_clock) in clocks {
            for apart in [100, 500, 2000] {
                let mut lateness = Lateness::default();
                let mut steps = 0;
                for n in 0..600 {
                    let now = 3_600_000 + n * apart;
                    let stamp = clock(now);
                    let shown =
                        lateness.take(Timestamp::from_millis(now + n % 3), stamp, Duration::from_millis(apart), None).unwrap();
                    steps += u32::from(shown.step_ms.is_some());
                    assert!(lateness.late_since().is_none(), "{name} {apart}: {n}");
                }
                assert_eq!(lateness.is_clock(), is_clock, "{name} {apart}");
                assert!(is_clock || steps < CLOCKLESS * 3, "{name} {apart}: {steps} steps");
                for n in 0..u64::from(CLOCKLESS) + 1 {
                    let now = 90_000_000 + n * apart;
                    lateness.take(Timestamp::from_millis(now), NOON + now, Duration::from_millis(apart), None);
                }
                assert!(lateness.is_clock(), "{name} {apart}: it was put right");
            }
        }
    }

    #[test]
    fn one_late_message_is_none() {
        let seen = run(100, |_| 0, |n| if n % 10 == 9 { 300 } else { 2 });
        assert!(seen.iter().all(|(_, _, late)| !late));
        assert_eq!(seen[9].0, 298);
    }

    #[test]
    fn absurd_stamps_say_nothing_and_end_nothing() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.take(Timestamp::from_millis(1), u64::MAX, PERIOD, None), None);
        for stamp in [0, MAX_STAMP_MS, 0, 1, MAX_STAMP_MS] {
            assert!(lateness.take(Timestamp::from_millis(1), stamp, Duration::MAX, None).is_some());
            assert!(lateness.late_since().is_none());
        }
    }
}

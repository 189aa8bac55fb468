//! How long answers take and what gets lost, in the kinds that networks and machines are known for; each seeded and repeatable.
//!
//! | kind | what it is like |
//! |---|---|
//! | LAN | 0.3 ms there and back, jitter of a fifth of one, a lost packet in 100,000, a stall of about 80 ms an hour |
//! | WAN | 270 ms and a gamma-like tail that drifts; once in twelve minutes losses come in a burst, some of which last for minutes |
//! | cloud | half a millisecond, log-normal; six pauses an hour from 50 ms to 8 s |
//! | homes | machines at the ends of homes' lines: 80 ms, several times that for some seconds now and then |
//! | mobile | LTE: 50 ms, a few more for each turn to send, and every six seconds nothing moves for 0.1 s to 1.7 s |
//!
//! The WAN has the figures of a week of beats between two continents (Hayashibara et al., SRDS 2004), homes those of the Seattle
//! measurements of personal devices (Zhu et al., ToN 2017), mobile those of the traces that come with Mahimahi (Netravali et al.,
//! ATC 2015); each is drawn from distributions fitted to these, not played from them.
//!
//! On top of it come an endpoint's own faults: everything so many times slower, or some of it. Losses of a request or its answer are
//! made up for after TCP's time-outs: 200 ms, 400 ms and so on.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::sim::link::Link;

/// The kind of network and machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// One data centre.
    Lan,
    /// Across an ocean.
    Wan,
    /// Virtual machines with noisy neighbours.
    Cloud,
    /// Personal devices on consumers' lines.
    Homes,
    /// A mobile network.
    Mobile,
}

impl Weather {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Lan, Self::Wan, Self::Cloud, Self::Homes, Self::Mobile];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::Cloud => "cloud",
            Self::Homes => "homes",
            Self::Mobile => "mobile",
        }
    }
}

/// TCP's least time-out before it sends again.
const RTO: Duration = Duration::from_millis(200);
/// Losses in a row after which nothing will come: minutes later, as TCP has it (Linux: `tcp_retries2` is 15).
const GIVEN_UP: u32 = 12;
/// How long a level lasts that the weather keeps for a while.
const LEVEL: Duration = Duration::from_secs(20);
/// The time over which a drift is nine tenths the same.
const DRIFT: f64 = 0.1035;

/// Weather as one endpoint feels it.
#[derive(Debug, Clone)]
pub struct Sky {
    weather: Weather,
    /// What an answer takes to make, on average.
    service: Duration,
    /// The outage under way or the last one, and when the next one begins; none before the first look.
    outage: Option<(Timestamp, Timestamp)>,
    /// A normal variable that drifts, and when it was last looked at.
    drift: (f64, Timestamp),
    /// A factor, and until when it is in force.
    level: (f64, Timestamp),
}

impl Sky {
    /// Weather over an endpoint whose answers take `service` on average.
    #[must_use]
    pub const fn new(weather: Weather, service: Duration) -> Self {
        Self { weather, service, outage: None, drift: (0.0, Timestamp::ZERO), level: (1.0, Timestamp::ZERO) }
    }

    /// What one exchange that begins at `now` takes, a share `loss` of packets lost on top of the weather's own; `None` if
    /// nothing ever comes.
    pub fn exchange(&mut self, now: Timestamp, loss: f64, factor: f64, rng: &mut fastrand::Rng) -> Option<Duration> {
        let mut total = self.travel(now, rng) + self.service.mul_f64(factor * exponential(rng));
        // The request and its answer each must come through; each end sends again by itself.
        for _ in 0..2 {
            let mut timeout = RTO;
            let mut losses = 0;
            while rng.f64() < loss || self.is_lost(now + total, rng) {
                total += timeout;
                timeout *= 2;
                losses += 1;
                if losses == GIVEN_UP {
                    return None;
                }
            }
        }
        Some(total)
    }

    /// What a handshake that begins at `now` takes, a share `loss` of packets lost; `None` if it never ends.
    pub fn connect(&mut self, now: Timestamp, loss: f64, rng: &mut fastrand::Rng) -> Option<Duration> {
        Link { loss, round_trip: self.travel(now, rng) }.connect(rng)
    }

    /// The pause that befalls the machine now, if one does within `span`.
    pub fn pause(&self, span: Duration, rng: &mut fastrand::Rng) -> Option<Duration> {
        let (an_hour, length) = match self.weather {
            Weather::Lan | Weather::Wan | Weather::Homes | Weather::Mobile => (1.0, 0.08 * normal(rng).exp()),
            Weather::Cloud => (6.0, pareto(0.05, 1.6, 8.0, rng)),
        };
        (rng.f64() < an_hour * span.as_secs_f64() / 3600.0).then(|| Duration::from_secs_f64(length.min(8.0)))
    }

    /// What there and back takes.
    fn travel(&mut self, now: Timestamp, rng: &mut fastrand::Rng) -> Duration {
        let seconds = match self.weather {
            Weather::Lan => (0.0003 + 0.0002 * normal(rng)).max(0.0001),
            Weather::Wan => 0.27 + 2.0 * gamma(0.009, self.drift(now, rng)),
            Weather::Cloud => 0.0005 * (0.6 * normal(rng)).exp(),
            Weather::Homes => 0.08 * self.level(now, rng) * (0.05 * normal(rng)).exp(),
            // What meets an outage waits for its end.
            Weather::Mobile => 0.05 + 0.006 * exponential(rng) + self.held(now, rng).as_secs_f64(),
        };
        Duration::from_secs_f64(seconds)
    }

    /// A normal variable that is much like it was a moment ago.
    fn drift(&mut self, now: Timestamp, rng: &mut fastrand::Rng) -> f64 {
        let (last, at) = self.drift;
        let kept = 0.9_f64.powf(now.since(at).as_secs_f64() / DRIFT);
        self.drift = (kept * last + (1.0 - kept * kept).sqrt() * normal(rng), now);
        self.drift.0
    }

    /// A factor of 1 in the middle that lasts: half of the time somewhat less, half of the time more, up to many times as much.
    fn level(&mut self, now: Timestamp, rng: &mut fastrand::Rng) -> f64 {
        if now >= self.level.1 {
            let more = rng.bool();
            let factor = (exponential(rng) * if more { 0.8 } else { -0.2 }).exp();
            self.level = (factor.clamp(0.2, 60.0), now + LEVEL.mul_f64(0.5 + rng.f64()));
        }
        self.level.0
    }

    fn is_lost(&mut self, now: Timestamp, rng: &mut fastrand::Rng) -> bool {
        match self.weather {
            Weather::Lan | Weather::Cloud | Weather::Mobile => rng.f64() < 1e-5,
            Weather::Homes => rng.f64() < 1e-3,
            Weather::Wan => !self.held(now, rng).is_zero(),
        }
    }

    /// How long the outage that is under way at `now` still lasts; zero if none is.
    fn held(&mut self, now: Timestamp, rng: &mut fastrand::Rng) -> Duration {
        let (mut end, mut next) = self.outage.unwrap_or_else(|| (now, now + self.calm(rng)));
        while next <= now {
            end = next + self.lasts(rng);
            next = end + self.calm(rng);
        }
        self.outage = Some((end, next));
        end.since(now)
    }

    /// From the end of an outage to the next one.
    fn calm(&self, rng: &mut fastrand::Rng) -> Duration {
        let seconds = match self.weather {
            Weather::Mobile => 6.2,
            _ => DRIFT / 1.39e-4,
        };
        Duration::from_secs_f64(seconds * exponential(rng))
    }

    fn lasts(&self, rng: &mut fastrand::Rng) -> Duration {
        Duration::from_secs_f64(match self.weather {
            Weather::Mobile => pareto(0.1, 1.5, 1.7, rng),
            // In beats of the original: four of five take two on average, the others from twenty to over a thousand.
            _ if rng.f64() < 0.78 => 2.0 * DRIFT * exponential(rng),
            _ => DRIFT * pareto(20.0, 0.9, 1100.0, rng),
        })
    }
}

/// At least `least`, at most `most`, and the heavier in the tail the smaller `shape` is.
fn pareto(least: f64, shape: f64, most: f64, rng: &mut fastrand::Rng) -> f64 {
    (least * rng.f64().max(1e-9).powf(-1.0 / shape)).min(most)
}

/// A gamma variable of shape 1.5 from a normal one (Wilson and Hilferty).
fn gamma(scale: f64, normal: f64) -> f64 {
    let shape = 1.5_f64;
    scale * shape * (1.0 - 1.0 / (9.0 * shape) + normal / (3.0 * shape.sqrt())).max(0.0).powi(3)
}

/// An exponential variable of mean 1.
pub(super) fn exponential(rng: &mut fastrand::Rng) -> f64 {
    -rng.f64().max(1e-12).ln()
}

/// A normal variable, by the sum of twelve uniform ones.
fn normal(rng: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What exchanges take that begin 20 ms apart, in order of length, and the share that never ends.
    fn exchanges(weather: Weather, loss: f64, factor: f64) -> (Vec<f64>, f64) {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut sky = Sky::new(weather, Duration::from_millis(5));
        let begins = (0..200_000).map(|n| Timestamp::from_millis(20 * n));
        let all: Vec<Option<Duration>> = begins.map(|at| sky.exchange(at, loss, factor, &mut rng)).collect();
        let mut ended: Vec<f64> = all.iter().flatten().map(Duration::as_secs_f64).collect();
        ended.sort_by(f64::total_cmp);
        let lost = share(all.len() - ended.len(), all.len());
        (ended, lost)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    fn share(part: usize, all: usize) -> f64 {
        part as f64 / all as f64
    }

    fn mean(all: &[f64]) -> f64 {
        all.iter().sum::<f64>() * share(1, all.len())
    }

    #[test]
    fn each_kind_is_as_long_as_it_should_be() {
        for (weather, factor, median, p99) in [
            (Weather::Lan, 1.0, 0.003..0.005, 0.02..0.03),
            (Weather::Lan, 10.0, 0.03..0.04, 0.2..0.26),
            (Weather::Wan, 1.0, 0.285..0.305, 0.33..0.45),
            (Weather::Cloud, 1.0, 0.003..0.005, 0.02..0.03),
            (Weather::Homes, 1.0, 0.07..0.12, 0.8..6.0),
            (Weather::Mobile, 1.0, 0.055..0.07, 0.1..1.0),
        ] {
            let (ended, _) = exchanges(weather, 0.0, factor);
            let (middle, high) = (ended[ended.len() / 2], ended[ended.len() / 100 * 99]);
            assert!(median.contains(&middle) && p99.contains(&high), "{weather:?}: {middle} and {high}");
        }
        assert!((0.005..0.0056).contains(&mean(&exchanges(Weather::Lan, 0.0, 1.0).0)));
    }

    #[test]
    fn losses_come_as_they_should() {
        let (ended, _) = exchanges(Weather::Lan, 0.05, 1.0);
        let late = share(ended.iter().filter(|span| **span > 0.2).count(), ended.len());
        assert!((0.09..0.105).contains(&late), "1 - 0.95² of all are late, not {late}");
        // Losses over an ocean come together: what is late is late for a while.
        let mut rng = fastrand::Rng::with_seed(1);
        let mut sky = Sky::new(Weather::Wan, Duration::ZERO);
        let beats = 6_000_000;
        let lost: Vec<bool> = (0..beats).map(|n| sky.is_lost(Timestamp::from_millis(103 * n), &mut rng)).collect();
        let all = lost.iter().filter(|lost| **lost).count();
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let of = share(all, lost.len());
        assert!((0.002..0.007).contains(&of) && (400..1000).contains(&bursts), "{of} lost in {bursts} bursts");
    }

    #[test]
    fn pauses_are_as_frequent_as_they_should_be() {
        let mut rng = fastrand::Rng::with_seed(3);
        let sky = Sky::new(Weather::Cloud, Duration::from_millis(5));
        let hour = 36_000;
        let pauses = (0..10 * hour).filter_map(|_| sky.pause(Duration::from_millis(100), &mut rng)).count();
        assert!((35..85).contains(&pauses), "{pauses} in ten hours");
    }
}

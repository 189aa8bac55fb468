//! How long answers take and what gets lost, in the kinds that networks and machines are known for; each seeded and repeatable.
//!
//! | kind | what it is like |
//! |---|---|
//! | LAN | service of some milliseconds, jitter of a fifth of one, a lost packet in 100,000, a stall of about 80 ms an hour |
//! | WAN | 135 ms each way and a gamma-like tail; losses in bursts, 95 % of them short, some of hundreds of packets |
//! | cloud | half a millisecond, log-normal; six pauses an hour from 50 ms to 8 s |
//!
//! On top of it come an endpoint's own faults: everything so many times slower, or some of it. Losses of a request or its answer are
//! made up for after TCP's time-outs: 200 ms, 400 ms and so on.

use std::time::Duration;

/// The kind of network and machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// One data centre.
    Lan,
    /// Across an ocean.
    Wan,
    /// Virtual machines with noisy neighbours.
    Cloud,
}

/// Weather as one endpoint feels it.
#[derive(Debug, Clone)]
pub struct Sky {
    weather: Weather,
    /// What an answer takes to make, on average.
    service: Duration,
    /// Packets of the burst of losses that are still to come.
    burst: u32,
}

/// TCP's least time-out before it sends again.
const RTO: Duration = Duration::from_millis(200);
/// Losses in a row after which nothing will come.
const GIVEN_UP: u32 = 6;

impl Sky {
    /// Weather over an endpoint whose answers take `service` on average.
    #[must_use]
    pub const fn new(weather: Weather, service: Duration) -> Self {
        Self { weather, service, burst: 0 }
    }

    /// What one exchange takes, a share `loss` of packets lost on top of the weather's own; `None` if nothing ever comes.
    pub fn exchange(&mut self, loss: f64, factor: f64, rng: &mut fastrand::Rng) -> Option<Duration> {
        let mut total = self.travel(rng) + self.service.mul_f64(factor * exponential(rng));
        let mut timeout = RTO;
        let mut losses = 0;
        // The request and its answer each must come through.
        for _ in 0..2 {
            while rng.f64() < loss || self.is_lost(rng) {
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

    /// The pause that befalls the machine now, if one does within `span`.
    pub fn pause(&self, span: Duration, rng: &mut fastrand::Rng) -> Option<Duration> {
        let (an_hour, length) = match self.weather {
            Weather::Lan | Weather::Wan => (1.0, 0.08 * normal(rng).exp()),
            Weather::Cloud => (6.0, (0.05 * rng.f64().max(1e-6).powf(-1.0 / 1.6)).min(8.0)),
        };
        (rng.f64() < an_hour * span.as_secs_f64() / 3600.0).then(|| Duration::from_secs_f64(length.min(8.0)))
    }

    /// What there and back takes.
    pub(super) fn travel(&self, rng: &mut fastrand::Rng) -> Duration {
        Duration::from_secs_f64(match self.weather {
            Weather::Lan => (0.0003 + 0.0002 * normal(rng)).max(0.0001),
            Weather::Wan => 0.27 + 0.009 * (exponential(rng) + 0.5 * exponential(rng)),
            Weather::Cloud => 0.0005 * (0.6 * normal(rng)).exp(),
        })
    }

    fn is_lost(&mut self, rng: &mut fastrand::Rng) -> bool {
        if self.burst > 0 {
            self.burst -= 1;
            return true;
        }
        match self.weather {
            Weather::Lan | Weather::Cloud => rng.f64() < 1e-5,
            Weather::Wan => {
                let begins = rng.f64() < 1.39e-4;
                if begins {
                    self.burst = if rng.f64() < 0.95 { rng.u32(0..4) } else { pareto(rng) };
                }
                begins
            }
        }
    }
}

/// The length of a long burst of losses: at least 20, at most 1100, and as likely to be ten times as long as a tenth as often.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1100")]
fn pareto(rng: &mut fastrand::Rng) -> u32 {
    (20.0 * rng.f64().max(1e-9).powf(-1.0 / 0.9)).min(1100.0) as u32
}

fn exponential(rng: &mut fastrand::Rng) -> f64 {
    -rng.f64().max(1e-12).ln()
}

/// A normal variable, by the sum of twelve uniform ones.
fn normal(rng: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(weather: Weather, loss: f64, factor: f64) -> (f64, f64) {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut sky = Sky::new(weather, Duration::from_millis(5));
        let all: Vec<f64> =
            (0..50_000).filter_map(|_| sky.exchange(loss, factor, &mut rng)).map(|span| span.as_secs_f64()).collect();
        let late = all.iter().filter(|span| **span > 0.2).count();
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        let share = |n: usize| n as f64 / all.len() as f64;
        (all.iter().sum::<f64>() * share(1), share(late))
    }

    #[test]
    fn each_kind_is_as_long_as_it_should_be() {
        let (lan, late) = mean(Weather::Lan, 0.0, 1.0);
        assert!((0.005..0.0056).contains(&lan) && late < 1e-3, "{lan} {late}");
        assert!((0.28..0.33).contains(&mean(Weather::Wan, 0.0, 1.0).0));
        assert!((0.05..0.052).contains(&mean(Weather::Lan, 0.0, 10.0).0));
        let (_, late) = mean(Weather::Lan, 0.05, 1.0);
        assert!((0.09..0.105).contains(&late), "1 - 0.95² of all are late, not {late}");
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

//! A network that loses packets, as far as a probe or a request can tell: TCP sends again, later and later.
//!
//! Loss is drawn packet by packet, so that nothing that a formula takes for granted is built in here too.

use std::time::Duration;

/// A path to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// The share of packets lost, each way and independently.
    pub loss: f64,
    /// There and back.
    pub round_trip: Duration,
}

/// The least retransmission time-out of data (Linux: `TCP_RTO_MIN`).
const DATA_RTO: Duration = Duration::from_millis(200);
/// The first retransmission time-out of a handshake (RFC 6298, 2.1).
const HANDSHAKE_RTO: Duration = Duration::from_secs(1);
/// Times a packet is sent before an end gives up; the last one is minutes later.
const TRIES: u32 = 12;

impl Link {
    /// From the first packet to the last of an answer that takes `service` to make; a fresh connection shakes hands first.
    /// `None` if every packet of a turn was lost.
    pub fn exchange(&self, fresh: bool, service: Duration, rng: &mut fastrand::Rng) -> Option<Duration> {
        let shaken = if fresh { self.turn(HANDSHAKE_RTO, rng)? } else { Duration::ZERO };
        Some(shaken + self.turn(DATA_RTO, rng)? + service)
    }

    /// A handshake alone.
    pub fn connect(&self, rng: &mut fastrand::Rng) -> Option<Duration> {
        self.turn(HANDSHAKE_RTO, rng)
    }

    /// A packet there and one back. Whichever is lost, both ends send again when the first one's time-out is over.
    fn turn(&self, rto: Duration, rng: &mut fastrand::Rng) -> Option<Duration> {
        let mut waited = Duration::ZERO;
        let mut wait = rto;
        for _ in 0..TRIES {
            if rng.f64() >= self.loss && rng.f64() >= self.loss {
                return Some(waited + self.round_trip);
            }
            waited += wait;
            wait *= 2;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn without_loss_an_exchange_is_a_round_trip_or_two() {
        let link = Link { loss: 0.0, round_trip: MS };
        let rng = &mut fastrand::Rng::with_seed(1);
        assert_eq!(link.exchange(false, 5 * MS, rng), Some(6 * MS));
        assert_eq!(link.exchange(true, 5 * MS, rng), Some(7 * MS));
        assert_eq!(link.connect(rng), Some(MS));
        assert_eq!(Link { loss: 1.0, round_trip: MS }.connect(rng), None);
    }

    #[test]
    fn what_is_lost_comes_200_ms_later_and_a_handshake_a_second() {
        let link = Link { loss: 0.05, round_trip: MS };
        let rng = &mut fastrand::Rng::with_seed(2);
        let slow = |fresh: bool, limit: u32, rng: &mut fastrand::Rng| {
            (0..100_000).filter(|_| link.exchange(fresh, MS, rng).is_none_or(|took| took > limit * MS)).count()
        };
        let near = |found: usize, share: f64| (found as f64 - share * 1e5).abs() < 4.0 * (share * 1e5).sqrt() + 1.0;
        let lost: f64 = 1.0 - 0.95_f64.powi(2);
        assert!(near(slow(false, 150, rng), lost));
        assert!(near(slow(false, 500, rng), lost * lost));
        assert!(near(slow(true, 150, rng), 1.0 - (1.0 - lost).powi(2)));
        assert!(near(slow(true, 900, rng), 1.0 - (1.0 - lost) * (1.0 - lost.powi(3))));
    }
}

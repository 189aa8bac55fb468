//! How often a well endpoint is thrown out because packets are lost.
//!
//! A lost packet is sent again after TCP's retransmission time-out: 200 ms at the least on a connection that carries data,
//! 1 s for the first packet of a new one, doubled each time. So what decides is how many tries fit into the probe's
//! time-out. A time-out below 200 ms gives none a second chance; one below 1 s gives a fresh connection none for its
//! handshake. Probes keep their connection, but for every fifth, and a probe that timed out has lost its own: the ones that
//! follow are fresh.

use std::time::Duration;

use crate::base::units::Ratio;
use crate::config::model::Cluster;
use crate::health::check::Check;
use crate::sim::plan::Assumptions;
use crate::sim::plan::detection::failing_needed;

/// The least retransmission time-out of data, in seconds (Linux: `TCP_RTO_MIN`).
const DATA_RTO: f64 = 0.2;
/// The first retransmission time-out of a handshake, in seconds (RFC 6298, 2.1).
const HANDSHAKE_RTO: f64 = 1.0;
/// One probe in so many takes a fresh connection.
pub(super) const FRESH_EVERY: f64 = 5.0;
const DAY: f64 = 86_400.0;

/// What packet loss does to well endpoints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalseEjections {
    /// The share of packets lost, each way.
    pub loss: Ratio,
    /// The share of probes that fail, over all that go out while nothing is in question; of the probe that suffers most.
    pub probes_failed: f64,
    /// Ejections of one endpoint by one proxy in a day.
    pub per_endpoint_day: f64,
}

pub(super) fn false_ejections(cluster: &Cluster, loss: Ratio, assumed: &Assumptions) -> FalseEjections {
    let fall = cluster.health.thresholds.fall.get();
    let each = cluster.probes.iter().map(|probe| {
        let odds = Odds::of(&probe.check, probe.timing.timeout, loss, assumed.round_trip);
        (odds.first(), 1.0 / time_to_eject(odds, fall, probe.timing.interval, probe.timing.fast_interval))
    });
    let each: Vec<(f64, f64)> = each.collect();
    let needed = failing_needed(cluster);
    FalseEjections {
        loss,
        probes_failed: each.iter().map(|(first, _)| *first).fold(0.0, f64::max),
        per_endpoint_day: DAY * together(cluster, &each, needed),
    }
}

/// How likely a probe of a well endpoint fails.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Odds {
    /// On the connection kept from the last one.
    warm: f64,
    /// On a connection of its own.
    fresh: f64,
    /// Whether every one is fresh.
    always_fresh: bool,
}

impl Odds {
    /// The odds of a check with this time-out, at this loss.
    fn of(check: &Check, timeout: Duration, loss: Ratio, round_trip: Duration) -> Self {
        let lost = 1.0 - (1.0 - loss.get()).powi(2);
        let left = timeout.as_secs_f64() - round_trip.as_secs_f64();
        let same = |odds| Self { warm: odds, fresh: odds, always_fresh: true };
        match check {
            // No packet brings a file, and an agent that says nothing fails nobody.
            Check::File(_) | Check::Agent => same(0.0),
            // What takes longer than it may is lost, whatever the network does.
            _ if left <= 0.0 => same(1.0),
            Check::Tcp => same(lost.powi(tries(left, HANDSHAKE_RTO))),
            Check::Http(_) | Check::Grpc(_) => {
                Self { warm: lost.powi(tries(left, DATA_RTO)), fresh: fresh(lost, left), always_fresh: false }
            }
        }
    }

    /// Of the first failure in a row.
    fn first(self) -> f64 {
        if self.always_fresh { self.fresh } else { self.warm + (self.fresh - self.warm) / FRESH_EVERY }
    }
}

/// A handshake, then a request and its answer, in what time the handshake has left.
fn fresh(lost: f64, left: f64) -> f64 {
    let mut passed = 0.0;
    let mut begun = 0.0;
    let mut still_lost = 1.0;
    for _ in 0..tries(left, HANDSHAKE_RTO) {
        passed += still_lost * (1.0 - lost) * (1.0 - lost.powi(tries(left - begun, DATA_RTO)));
        still_lost *= lost;
        begun = if begun > 0.0 { 2.0 * begun + HANDSHAKE_RTO } else { HANDSHAKE_RTO };
    }
    (1.0 - passed).clamp(0.0, 1.0)
}

/// How many times a packet is sent within `left` seconds: at 0, r, 3r, 7r and so on.
fn tries(left: f64, rto: f64) -> i32 {
    let mut count = 1;
    let mut at = rto;
    while at < left && count < 16 {
        count += 1;
        at = 2.0 * at + rto;
    }
    count
}

/// The mean time in seconds until `fall` probes in a row have failed. `E_i` is that time after `i` failures:
/// `E_i = gap_i + q_i·E_(i+1) + (1 - q_i)·E_0`, and `E_fall` is 0.
fn time_to_eject(odds: Odds, fall: u32, interval: Duration, fast: Duration) -> f64 {
    // E_i = a + b·E_0, from the last one back to the first.
    let (mut a, mut b) = (0.0, 0.0);
    for i in (0..fall).rev() {
        let (gap, q) = if i == 0 { (interval, odds.first()) } else { (fast, odds.fresh) };
        a = gap.as_secs_f64() + q * a;
        b = (1.0 - q) + q * b;
    }
    let left = 1.0 - b;
    if left > 0.0 { a / left } else { f64::INFINITY }
}

/// The rate of `needed` probes being out at once, from each one's rate: once one is out, the others have its time out.
fn together(cluster: &Cluster, each: &[(f64, f64)], needed: usize) -> f64 {
    let down = |at: usize| cluster.probes.get(at).map_or(0.0, |probe| probe.timing.down_interval.as_secs_f64());
    let mut rates: Vec<f64> = vec![0.0; needed + 1];
    let mut shares: Vec<f64> = vec![0.0; needed + 1];
    shares[0] = 1.0;
    for (at, (_, rate)) in each.iter().enumerate() {
        let out = (rate * down(at)).min(1.0);
        for count in (1..=needed).rev() {
            rates[count] += rates[count - 1] * out + shares[count - 1] * rate;
            shares[count] += shares[count - 1] * out;
        }
    }
    rates[needed]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn tcp(timeout: u32, loss: f64) -> f64 {
        Odds::of(&Check::Tcp, timeout * MS, Ratio::try_new(loss).unwrap(), MS).fresh
    }

    #[test]
    fn tries_follow_the_retransmissions_of_tcp() {
        for (left, rto, wanted) in [(0.1, 0.2, 1), (0.3, 0.2, 2), (0.7, 0.2, 3), (1.5, 0.2, 4), (0.9, 1.0, 1), (3.5, 1.0, 3)] {
            assert_eq!(tries(left, rto), wanted, "{left} {rto}");
        }
    }

    #[test]
    fn a_fresh_connection_has_four_packets_to_lose_and_no_second_chance_within_200_ms() {
        let lost = 1.0 - 0.95_f64.powi(2);
        assert!((fresh(lost, 0.199) - (1.0 - 0.95_f64.powi(4))).abs() < 1e-12);
        assert!(fresh(lost, 0.5) < fresh(lost, 0.199) && fresh(lost, 1.5) < fresh(lost, 0.9));
        assert!((tcp(500, 0.05) - lost).abs() < 1e-12 && (tcp(1500, 0.05) - lost * lost).abs() < 1e-12);
        assert!(tcp(500, 0.0).abs() < 1e-12);
    }

    /// The exact renewal: 1/ρ = (1-q^k)/((1-q)·q^k) probes.
    #[test]
    fn equal_odds_come_to_the_renewal_of_runs() {
        for (q, fall) in [(0.2, 3_u32), (0.5, 2), (0.01, 1), (0.1855, 3)] {
            let odds = Odds { warm: q, fresh: q, always_fresh: true };
            let power = q.powi(i32::try_from(fall).unwrap());
            let wanted = (1.0 - power) / ((1.0 - q) * power);
            let found = time_to_eject(odds, fall, Duration::from_secs(1), Duration::from_secs(1));
            assert!((found / wanted - 1.0).abs() < 1e-9, "{q} {fall}: {found} and not {wanted}");
        }
        let never = Odds { warm: 0.0, fresh: 0.0, always_fresh: false };
        assert!(time_to_eject(never, 3, MS, MS).is_infinite());
    }
}

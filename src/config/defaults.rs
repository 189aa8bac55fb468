//! Owns every default, once, with its reason.
//!
//! The published schema shows them, lowering applies them, nothing repeats them.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::units::Ratio;
use crate::health::policy::{Damping, Outlier, Silence, SlowStart};

/// Loopback, since whoever reaches it can drain endpoints.
pub(super) const ADMIN_ADDRESS: &str = "127.0.0.1:9900";
/// Nothing in front of it by default; behind a load balancer it is the time that one needs to see /readyz fail.
pub(super) const DRAIN_DELAY: Duration = Duration::ZERO;
/// Within the grace that container platforms give (30 s to 45 s), and longer than [`ROUTE_TIMEOUT`].
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Where containers and service managers collect lines.
pub(super) const ACCESS_LOG: &str = "stdout";
/// A half-finished edit should not act until somebody says so.
pub(super) const WATCH: bool = false;

/// Whoever may enter the folder may connect, as whoever is on the network may connect to a port.
pub(super) const SOCKET_MODE: &str = "0666";
/// Only what was configured to send the header does.
pub(super) const PROXY_PROTOCOL: bool = false;
/// Far more than a service behind one proxy sees, and about 1 GiB of memory if every head were full.
pub(super) const CONNECTIONS: u32 = 10_000;
/// A handshake takes well under a millisecond of a core: so many under way are clients that dawdle, or an attack.
pub(super) const HANDSHAKES: u32 = 1000;
/// What browsers and gRPC clients are used to; a page seldom asks for more at once.
pub(super) const STREAMS: u32 = 100;
/// Room for large cookies and tokens; endpoints seldom take more.
pub(super) const HEAD_BYTES: &str = "64KiB";
/// What common servers take.
pub(super) const HEAD_COUNT: u32 = 100;
/// A head is one packet or a few; who needs longer holds a connection on purpose.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the 60 s for which common load balancers keep a connection: they close first, so no request is lost.
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(75);

/// Longer than a slow page, shorter than the patience of a client or a load balancer in front (30 s to 60 s).
pub(super) const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);
/// Long enough for a server that computes between two writes, short enough to free what a dead peer holds.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// People leave a page open over lunch; what keeps such a connection sends a ping far more often.
pub(super) const UPGRADE_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Two more endpoints: a request that three refuse is not the endpoints' fault.
pub(super) const ATTEMPTS: u32 = 3;
/// What another endpoint may well do better; 500 is left out, since it is mostly the request's fault.
pub(super) const RETRY_WHEN: [&str; 6] = ["connect", "reset", "silence", "502", "503", "504"];
/// A fifth more load at most, when everything fails.
pub(super) const RETRY_BUDGET: &str = "20%";

/// Every endpoint alike.
pub(super) const WEIGHT: u32 = 1;
/// A connect within one data centre takes milliseconds; a second one covers a lost SYN.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Shorter than the 5 s after which common servers close an idle connection: we close first, so no request meets a close.
pub(super) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Enough for 64 exchanges at once per worker and endpoint without a new connection.
pub(super) const POOL_IDLE_CONNECTIONS: u32 = 64;

/// Enough for a short burst, and not more than can be answered before clients lose patience.
pub(super) const PENDING: u32 = 1024;
/// A second of waiting is slow; more is mostly for clients that have left.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// What services call it most often.
pub(super) const HEALTH_PATH: &str = "/health";
/// A failure is seen within seconds, and an endpoint answers half a probe a second.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// Shorter than the interval, so that probes of one endpoint never wait for each other.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// Fast enough to settle a question in a second or two.
pub(super) const FAST_INTERVAL_MAX: Duration = Duration::from_millis(500);
/// A returning endpoint should not wait longer for being seen.
pub(super) const DOWN_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Breaks up probes that several proxies would send at the same moment.
pub(super) const JITTER: &str = "10%";
/// One lost packet or one long collection of garbage is no failure.
pub(super) const FALL: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
/// A process that starts can answer once and fail again.
pub(super) const RISE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// Every success, whatever the service means by 204.
pub(super) const PROBE_STATUS: [&str; 1] = ["200-299"];
/// Half of the cluster must carry the load whatever the reports say: a shared cause must not empty it.
pub(super) const MAX_EJECTED: &str = "50%";

/// What others call it too, and more than chance makes of a service that fails now and then.
pub(super) const CONSECUTIVE: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Who fails every other request is of no use, whatever the siblings do.
pub(super) const ERROR_RATIO: &str = "50%";
/// Endpoints that do the same work differ by less.
pub(super) const AGAINST_SIBLINGS: f64 = 3.0;
/// Fewer say nothing about a share.
pub(super) const MIN_REQUESTS: u32 = 20;
/// Long enough to have `MIN_REQUESTS` of them at two a second.
pub(super) const OUTLIER_WINDOW: Duration = Duration::from_secs(10);
/// About as long as a restart takes.
pub(super) const EJECTION: Duration = Duration::from_secs(5);
/// Who was ejected six times is looked at every five minutes.
pub(super) const EJECTION_MAX: Duration = Duration::from_secs(300);
/// Longer than a usual answer and a short pause of a runtime, shorter than what a person notices.
pub(super) const SILENCE_MIN: Duration = Duration::from_millis(100);
/// Caches and compilers are warm after some seconds.
pub(super) const SLOW_START_WINDOW: Duration = Duration::from_secs(10);
/// Enough requests to learn from, too few to drown in.
pub(super) const SLOW_START_FLOOR: &str = "10%";
/// The second ejection may still be chance.
pub(super) const HOLD: Duration = Duration::from_secs(1);
/// Who is well for a minute is no longer coming and going.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(60);
/// As probes: an endpoint that stops is missed within seconds.
pub(super) const HEARTBEAT_PERIOD: Duration = Duration::from_secs(2);
/// One false suspicion in a hundred million beats.
pub(super) const PHI: u32 = 8;

/// What endpoints that know their part call it most often.
pub(super) const ROLE_FIELD: &str = "role";
/// What databases and election libraries call who takes writes.
pub(super) const LEADER_VALUES: [&str; 3] = ["leader", "primary", "master"];
/// What heartbeats call it too; others say term, generation or timeline.
pub(super) const EPOCH_FIELD: &str = "epoch";

/// Several reports must agree, as with probes.
pub(super) const RULE_REPORTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
/// The share of a level at which it lets go: enough to keep a value that trembles around the level from flapping.
pub(super) const RECOVER: f64 = 0.9;
/// No report is called old before this age, however fast probes are.
pub(super) const MAX_AGE_MIN: Duration = Duration::from_secs(10);
/// So many of the slowest interval must be missed before a report is called old.
pub(super) const MAX_AGE_INTERVALS: u32 = 3;

/// When an endpoint that answers nothing is suspected.
pub(super) const fn silence() -> Silence {
    Silence { min: SILENCE_MIN, enforce: true }
}

/// When the results of live traffic count.
pub(super) fn outlier() -> Outlier {
    Outlier {
        consecutive: CONSECUTIVE,
        error_ratio: constant(ERROR_RATIO),
        against_siblings: AGAINST_SIBLINGS,
        min_requests: MIN_REQUESTS,
        window: OUTLIER_WINDOW,
        ejection: EJECTION,
        ejection_max: EJECTION_MAX,
        enforce: true,
    }
}

/// How an endpoint that returns gets its traffic back.
pub(super) fn slow_start() -> SlowStart {
    SlowStart { window: SLOW_START_WINDOW, floor: constant(SLOW_START_FLOOR) }
}

/// How an endpoint that comes and goes is held out.
pub(super) const fn damping() -> Damping {
    Damping { hold: HOLD, hold_max: HOLD_MAX }
}

/// The share that a default is.
pub(super) fn constant(share: &str) -> Ratio {
    Ratio::parse(share).expect("defaults are shares, each parsed by a test")
}

/// The interval while the verdict is in question: half of the interval, at most [`FAST_INTERVAL_MAX`].
pub(super) fn fast_interval(interval: Duration) -> Duration {
    (interval / 2).min(FAST_INTERVAL_MAX)
}

/// The interval while an endpoint is unhealthy: the interval, at most [`DOWN_INTERVAL_MAX`].
pub(super) fn down_interval(interval: Duration) -> Duration {
    interval.min(DOWN_INTERVAL_MAX)
}

/// How long an endpoint counts as alive: 3.5 periods, so that three beats in a row must be lost, whatever the jitter.
pub(super) fn heartbeat_ttl(period: Duration) -> Duration {
    period.saturating_mul(7) / 2
}

/// The age of a report from which on it is too old: 3 times the slowest interval, at least [`MAX_AGE_MIN`].
pub(super) fn max_age(slowest: Duration) -> Duration {
    slowest.saturating_mul(MAX_AGE_INTERVALS).max(MAX_AGE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_defaults_follow_the_interval() {
        let ms = Duration::from_millis;
        assert_eq!(fast_interval(ms(2000)), ms(500));
        assert_eq!(fast_interval(ms(200)), ms(100));
        assert_eq!(down_interval(ms(2000)), ms(2000));
        assert_eq!(down_interval(ms(30_000)), ms(5000));
        assert_eq!(heartbeat_ttl(ms(500)), ms(1750));
        assert_eq!(max_age(ms(2000)), ms(10_000));
        assert_eq!(max_age(ms(5000)), ms(15_000));
    }
}

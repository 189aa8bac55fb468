//! One endpoint of a life: its probes' slots, who waits for it, and what its traffic has shown since it was last looked at.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::base::ids::EndpointId;
use crate::base::sketch;
use crate::base::time::Timestamp;
use crate::health::Glance;
use crate::health::schedule::Slots;
use crate::sim::life::Scene;
use crate::sim::link::Link;
use crate::sim::weather::Sky;

/// How much of a shorter latency is believed at once; a longer one is at its peak.
const SMOOTH: f64 = 0.1;
/// Latencies of a probe that are remembered.
const REMEMBERED: usize = 100;
/// The shortest deadline of a confirmation.
const LEAST: Duration = Duration::from_millis(50);
/// A deadline is so many times the longest latency.
const TIMES: u32 = 3;

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) request: u64,
    pub(super) sent: Timestamp,
}

/// The runs of one probe.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) slots: Slots,
    pub(super) busy: bool,
    /// Whether the last run has left a connection.
    pub(super) warm: bool,
    last: VecDeque<Duration>,
}

impl Rounds {
    /// A run has passed.
    pub(super) fn took(&mut self, latency: Duration) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(latency);
    }

    /// How long a confirmation may take.
    pub(super) fn deadline(&self, timeout: Duration) -> Duration {
        self.last.iter().max().map_or(timeout, |longest| timeout.min(LEAST.max(*longest * TIMES)))
    }
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: EndpointId,
    pub(super) rounds: Vec<Rounds>,
    pub(super) in_flight: u32,
    pub(super) heard: Timestamp,
    /// What its answers took of late, seconds; 0 before the first.
    pub(super) latency: f64,
    pub(super) refused: Option<Timestamp>,
    pub(super) stalled_until: Timestamp,
    pub(super) sky: Sky,
    /// When each idle connection was last used, the newest last.
    idle: Vec<Timestamp>,
    /// Everybody who waits, in the order in which they were sent.
    waits: BTreeMap<(Timestamp, u64), Wait>,
    /// Up to here an answer has overtaken those who wait.
    overtaken: Option<(Timestamp, u64)>,
    news: Glance,
}

impl Node {
    pub(super) fn new(id: EndpointId, scene: &Scene, now: Timestamp) -> Self {
        let rounds = scene.cluster.probes.iter().map(|probe| Rounds {
            slots: Slots::new(probe.timing, id, &probe.name, now),
            busy: false,
            warm: false,
            last: VecDeque::new(),
        });
        Self {
            id,
            rounds: rounds.collect(),
            in_flight: 0,
            heard: Timestamp::ZERO,
            latency: 0.0,
            refused: None,
            stalled_until: Timestamp::ZERO,
            sky: Sky::new(scene.weather, scene.service),
            idle: Vec::new(),
            waits: BTreeMap::new(),
            overtaken: None,
            news: Glance { endpoint: id, ..Glance::default() },
        }
    }

    /// How long it stands still from now on.
    pub(super) fn stalled(&self, now: Timestamp) -> Duration {
        self.stalled_until.since(now)
    }

    /// What a handshake takes, a share `loss` of packets lost; `None` if it never ends.
    pub(super) fn connect(&self, loss: f64, rng: &mut fastrand::Rng) -> Option<Duration> {
        Link { loss, round_trip: self.sky.travel(rng) }.connect(rng)
    }

    /// Takes an idle connection, if there is one that is not too old.
    pub(super) fn take_idle(&mut self, now: Timestamp, lasts: Duration) -> bool {
        let kept = self.idle.pop().is_some_and(|used| now.since(used) <= lasts);
        if !kept {
            self.idle.clear();
        }
        kept
    }

    /// A request is sent to it.
    pub(super) fn sent(&mut self, wait: Wait) {
        self.in_flight += 1;
        self.waits.insert((wait.sent, wait.request), wait);
    }

    /// A request waits no more: it was answered with a status, or not.
    pub(super) fn settled(&mut self, request: u64, sent: Timestamp, status: Option<u16>, now: Timestamp) {
        if self.waits.remove(&(sent, request)).is_none() {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let news = &mut self.news;
        news.requests += 1;
        if status.is_none_or(|status| status >= 500) {
            news.errors += 1;
        }
        if status.is_none_or(|status| (502..=504).contains(&status)) {
            news.gateway_errors += 1;
            news.streak += 1;
        } else {
            news.streak = 0;
        }
        let Some(status) = status else { return };
        self.idle.push(now);
        let took = now.since(sent).as_secs_f64();
        self.latency = if took > self.latency { took } else { self.latency + (took - self.latency) * SMOOTH };
        if status < 500 {
            news.success_sent = news.success_sent.max(sent);
        }
        self.heard = now;
        self.overtaken = self.overtaken.max(Some((sent, request)));
        if let Ok(bucket) = u8::try_from(sketch::bucket(now.since(sent))) {
            news.latencies.push((bucket, 1));
        }
    }

    /// Everybody who waits, who from now on does not.
    pub(super) fn recalled(&mut self) -> Vec<Wait> {
        self.in_flight = 0;
        std::mem::take(&mut self.waits).into_values().collect()
    }

    /// What is new; none if nothing is and nobody waits.
    pub(super) fn glance(&mut self) -> Option<Glance> {
        let after = self.overtaken.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let oldest = self.waits.range((after, std::ops::Bound::Unbounded)).next().map(|((sent, _), _)| *sent);
        if self.news.requests == 0 && oldest.is_none() {
            return None;
        }
        // A streak and a success go on; the rest is counted anew.
        let next =
            Glance { endpoint: self.id, streak: self.news.streak, success_sent: self.news.success_sent, ..Glance::default() };
        let news = std::mem::replace(&mut self.news, next);
        Some(Glance { oldest, heard: self.heard, in_flight: self.in_flight, ..news })
    }
}

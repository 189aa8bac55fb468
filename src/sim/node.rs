//! One endpoint of an arena: its mood, its probes' slots, who waits for it, and what its traffic has shown since it was last looked at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::balance::Standing;
use crate::base::ids::EndpointId;
use crate::base::sketch;
use crate::base::time::Timestamp;
use crate::health::Glance;
use crate::health::check::ProbeSpec;
use crate::health::schedule::{Slot, Slots};
use crate::sim::mood::Mood;
use crate::sim::weather::Sky;
use crate::traffic::retry::Ending;

/// Latencies of a probe that are remembered.
const REMEMBERED: usize = 100;
/// The shortest deadline of a confirmation.
const LEAST: Duration = Duration::from_millis(50);
/// A deadline is so many times the longest latency.
const TIMES: u32 = 3;

/// One try of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Try {
    pub(super) request: u64,
    pub(super) number: u32,
}

/// The runs of one probe.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) slots: Slots,
    pub(super) busy: bool,
    /// Whether the last run has left a connection.
    pub(super) warm: bool,
    /// Whether a run at once is wanted, and when the next one that is may start.
    wanted: bool,
    pub(super) patience: Timestamp,
    last: VecDeque<Duration>,
}

impl Rounds {
    fn new(id: EndpointId, probe: &ProbeSpec, now: Timestamp) -> Self {
        let slots = Slots::new(probe.timing, id, &probe.name, now);
        Self { slots, busy: false, warm: false, wanted: false, patience: now, last: VecDeque::new() }
    }

    /// Asks for a run at once. Returns when it may start.
    pub(super) fn ask(&mut self, now: Timestamp) -> Timestamp {
        self.wanted = true;
        self.patience.max(now)
    }

    /// Whether a run that was asked for is still to come.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Takes the turn of a run. Returns whether it needs a fresh connection; `None` if it is nobody's turn.
    pub(super) fn take(&mut self, spacing: Duration, now: Timestamp, rng: &mut fastrand::Rng) -> Option<bool> {
        if self.busy {
            return None;
        }
        let slot: Option<Slot> = self.slots.take(now, rng);
        let asked = self.wanted && (slot.is_some() || now >= self.patience);
        if asked {
            self.wanted = false;
            self.patience = now + spacing;
        }
        let fresh = slot.map(|slot| slot.fresh || asked).or(asked.then_some(true))?;
        self.busy = true;
        Some(fresh || !self.warm)
    }

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
    pub(super) mood: Mood,
    /// Since when nobody changes the file that it keeps for probes of that kind; none while that goes on.
    idle_since: Option<Timestamp>,
    pub(super) rounds: Vec<Rounds>,
    pub(super) in_flight: u32,
    pub(super) heard: Timestamp,
    /// How it did of late, as a worker sees it.
    pub(super) standing: Standing,
    pub(super) refused: Option<Timestamp>,
    pub(super) stalled_until: Timestamp,
    /// Until when a stall of ours excuses what takes long.
    pub(super) excused_until: Timestamp,
    /// When it has taken in all that has come.
    taken_in: Timestamp,
    pub(super) sky: Sky,
    /// What it will answer when it goes on.
    pub(super) stuck: Vec<(Try, Option<Ending>)>,
    /// The number of its next heartbeat, and by how many milliseconds its clock is ahead.
    pub(super) beats: u64,
    pub(super) ahead_ms: i64,
    /// When each idle connection was last used, the newest last.
    idle: Vec<Timestamp>,
    /// Everybody who waits, in the order in which they were sent.
    waits: BTreeMap<(Timestamp, Try), ()>,
    /// Up to here an answer has overtaken those who wait.
    overtaken: Option<(Timestamp, Try)>,
    news: Glance,
}

impl Node {
    pub(super) fn new(id: EndpointId, sky: Sky, probes: &[Arc<ProbeSpec>], now: Timestamp) -> Self {
        Self {
            id,
            mood: Mood::Well,
            idle_since: None,
            rounds: probes.iter().map(|probe| Rounds::new(id, probe, now)).collect(),
            in_flight: 0,
            heard: Timestamp::ZERO,
            standing: Standing::default(),
            refused: None,
            stalled_until: Timestamp::ZERO,
            excused_until: Timestamp::ZERO,
            taken_in: Timestamp::ZERO,
            sky,
            stuck: Vec::new(),
            beats: 0,
            ahead_ms: 0,
            idle: Vec::new(),
            waits: BTreeMap::new(),
            overtaken: None,
            news: Glance { endpoint: id, ..Glance::default() },
        }
    }

    /// Behaves otherwise from now on. Returns how it did before.
    pub(super) fn turn(&mut self, mood: Mood, now: Timestamp) -> Mood {
        let changes = mood.is_at_work() && mood != Mood::Wrong;
        self.idle_since = if changes { None } else { self.idle_since.or(Some(now)) };
        std::mem::replace(&mut self.mood, mood)
    }

    /// How long its file has not been changed.
    pub(super) fn file_age(&self, now: Timestamp) -> Duration {
        self.idle_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How long its machine stands still from now on.
    pub(super) fn stalled(&self, now: Timestamp) -> Duration {
        self.stalled_until.since(now)
    }

    /// Takes in a request that comes, which lasts `intake`. Returns how long it waits for its turn; `None` if it comes on a connection
    /// that is not `kept` and more than `accepts` wait to be accepted.
    pub(super) fn take_in(&mut self, kept: bool, (intake, accepts): (Duration, u32), now: Timestamp) -> Option<Duration> {
        let waits = self.taken_in.since(now);
        if !kept && waits > intake * accepts {
            return None;
        }
        self.taken_in = self.taken_in.max(now) + intake;
        Some(waits)
    }

    /// Takes an idle connection, if there is one that is not too old.
    pub(super) fn take_idle(&mut self, now: Timestamp, lasts: Duration) -> bool {
        let kept = self.idle.pop().is_some_and(|used| now.since(used) <= lasts);
        if !kept {
            self.idle.clear();
        }
        kept
    }

    /// A try is sent to it.
    pub(super) fn sent(&mut self, one: Try, now: Timestamp) {
        self.in_flight += 1;
        self.waits.insert((now, one), ());
    }

    /// A try that was sent at `sent` waits no more: it was answered with a status, or not. False if it did not wait.
    pub(super) fn settled(&mut self, one: Try, sent: Timestamp, status: Option<u16>, usual: f64, now: Timestamp) -> bool {
        if self.waits.remove(&(sent, one)).is_none() {
            return false;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let took = now.since(sent);
        let excused = sent < self.excused_until;
        if status.is_none_or(|status| status >= 500) {
            self.standing.failed(took, usual, now);
        } else {
            self.standing.answered(took, now);
        }
        if excused && status.is_none() {
            return true;
        }
        let news = &mut self.news;
        news.requests += 1;
        news.errors += u32::from(status.is_none_or(|status| status >= 500));
        if status.is_none_or(|status| (502..=504).contains(&status)) {
            news.gateway_errors += 1;
            news.streak += 1;
        } else {
            news.streak = 0;
        }
        let Some(status) = status else { return true };
        self.idle.push(now);
        if status < 500 {
            news.success_sent = news.success_sent.max(sent);
        }
        self.heard = now;
        self.overtaken = self.overtaken.max(Some((sent, one)));
        if let Some(bucket) = u8::try_from(sketch::bucket(took)).ok().filter(|_| !excused) {
            news.latencies.push((bucket, 1));
        }
        true
    }

    /// Who was sent before a moment and waits, with the time of each.
    pub(super) fn waiting_since_before(&self, before: Timestamp) -> Vec<(Timestamp, Try)> {
        self.waits.keys().take_while(|(sent, _)| *sent < before).copied().collect()
    }

    /// One that was sent at `sent` waits no more. Who gives up on it says nothing of it.
    pub(super) fn leave(&mut self, sent: Timestamp, one: Try) {
        if self.waits.remove(&(sent, one)).is_some() {
            self.stuck.retain(|(stuck, _)| *stuck != one);
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// The connection that one waited for who was called back would not have come in time.
    pub(super) const fn unconnected(&mut self) {
        self.news.requests += 1;
        self.news.errors += 1;
        self.news.gateway_errors += 1;
        self.news.streak += 1;
    }

    /// One that waits is called back: it counts as an answer that took so long.
    pub(super) fn call_back(&mut self, sent: Timestamp, one: Try, now: Timestamp) {
        self.leave(sent, one);
        if let Ok(bucket) = u8::try_from(sketch::bucket(now.since(sent))) {
            self.news.latencies.push((bucket, 1));
        }
    }

    /// Its process has ended: everybody who waits is reset.
    pub(super) fn die(&mut self, usual: f64, now: Timestamp) -> Vec<Try> {
        self.idle.clear();
        let waits: Vec<(Timestamp, Try)> = self.waits.keys().copied().collect();
        for (sent, one) in &waits {
            self.settled(*one, *sent, None, usual, now);
        }
        self.stuck.clear();
        waits.into_iter().map(|(_, one)| one).collect()
    }

    /// What is new; none if nothing is and nobody waits.
    pub(super) fn glance(&mut self) -> Option<Glance> {
        let after = self.overtaken.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let oldest = self.waits.range((after, std::ops::Bound::Unbounded)).next().map(|((sent, _), ())| *sent);
        if self.news.requests == 0 && self.news.latencies.is_empty() && oldest.is_none() {
            return None;
        }
        // A streak and a success go on; the rest is counted anew.
        let next =
            Glance { endpoint: self.id, streak: self.news.streak, success_sent: self.news.success_sent, ..Glance::default() };
        let news = std::mem::replace(&mut self.news, next);
        Some(Glance { oldest, heard: self.heard, in_flight: self.in_flight, ..news })
    }
}

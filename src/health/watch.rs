//! Acts on a look at the cells: what live traffic shows of each endpoint, alone and against its siblings.
//!
//! Everything here is called every few milliseconds with whatever moved, so what concerns all endpoints (the siblings' counts and
//! latencies) is put together at most four times a second, and an endpoint that nothing new is known of costs nothing.

use std::time::Duration;

use crate::base::sketch::{Sketch, bucket};
use crate::base::time::Timestamp;
use crate::health::cause;
use crate::health::changes::Changes;
use crate::health::cluster::Cluster;
use crate::health::endpoint::Endpoint;
use crate::health::glance::{Glance, Local};
use crate::health::history::{Entry, Kind};
use crate::health::latency::{self, FRESH, FRESHER, LOOKS, PERIOD};
use crate::health::outliers;
use crate::health::overdue::Slow;
use crate::health::policy::{Outlier, Policy};
use crate::health::recent::Counts;
use crate::health::silence::{Heard, Listening};

/// How long is remembered what no outlier policy says it of.
const WINDOW: Duration = Duration::from_secs(10);
/// An answer that takes so many times the siblings' p95 is remarkable.
const REMARKABLE: f64 = 3.0;
/// What silence lasts where nobody has ever answered.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a cluster's endpoints have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    /// When it was last put together.
    at: Option<Timestamp>,
    counts: Counts,
    /// Mean latency in seconds and mean requests in flight of those that are well and not on their way back.
    usual: (f64, f64),
    /// The two that were last heard: each endpoint's siblings were heard when the other of them was.
    heard: [(Timestamp, usize); 2],
    /// The longest time that any of them usually takes; zero if nobody has answered.
    slowest: Duration,
    pub(super) slow: Slow,
    /// Latencies of those that are well and not on their way back, and the bucket beyond which an answer is remarkably slow.
    latencies: Sketch,
    remarkable: usize,
    /// Latencies of the last moment, of the same endpoints; put together when a look first needs them.
    latest: Option<Sketch>,
    /// Requests a second per endpoint.
    pub(super) pace: f64,
}

impl Pool {
    fn hear(&mut self, at: Timestamp, index: usize) {
        if self.heard[0].1 == index || self.heard[0].0 == Timestamp::ZERO {
            self.heard[0] = (at.max(self.heard[0].0), index);
        } else if at >= self.heard[0].0 {
            self.heard = [(at, index), self.heard[0]];
        } else if at > self.heard[1].0 || self.heard[1].1 == index {
            self.heard[1] = (at, index);
        }
    }

    /// When anybody but `index` was last heard.
    fn others_heard(&self, index: usize) -> Timestamp {
        self.heard.iter().filter(|(_, who)| *who != index).map(|(at, _)| *at).max().unwrap_or(Timestamp::ZERO)
    }
}

fn window(policy: &Policy) -> Duration {
    policy.outlier.as_ref().map_or(WINDOW, |outlier| outlier.window)
}

impl Cluster {
    /// Takes in what live traffic has shown since the last call, of those endpoints of which anything is new or awaited, and
    /// what is known of ourselves. `now` is when the cells were read.
    pub fn look(&mut self, glances: &[Glance], local: Local, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        let seen: Vec<(usize, &Glance)> =
            glances.iter().filter_map(|glance| Some((self.position(glance.endpoint)?, glance))).collect();
        let length = window(&self.policy);
        self.pool.latest = None;
        for (index, glance) in &seen {
            let endpoint = &mut self.endpoints[*index];
            endpoint.recent.take(glance, length, now);
            self.pool.hear(glance.heard, *index);
        }
        let judging = self.pool.at.is_none_or(|at| now.since(at) >= PERIOD);
        if judging {
            self.pool_up(now);
        }
        for (index, glance) in seen {
            let moved = self.look_at(index, glance, local, now, &mut changes);
            if moved {
                self.settle(index, now, &mut changes);
            }
        }
        if judging {
            self.judge_latencies(now, &mut changes);
            self.note_slow();
        }
        self.call_overdue(now, &mut changes);
        self.level(now, &mut changes);
        changes.finish()
    }

    fn look_at(&mut self, index: usize, glance: &Glance, local: Local, now: Timestamp, changes: &mut Changes) -> bool {
        let counts = Counts { requests: glance.requests.into(), errors: glance.errors.into() };
        let usual = self.pool.usual;
        let endpoint = &mut self.endpoints[index];
        endpoint.ramp.see(counts, &glance.latencies, glance.in_flight, usual);
        let succeeded = endpoint.succeed(glance.success_sent, &self.policy, now);
        let heard = self.listen(index, glance, local, now, changes);
        let judged = self.judge_errors(index, glance, now);
        let slow = self.judge_latest(index, glance, now);
        succeeded || heard || judged || slow
    }

    /// Whether slow answers go on coming, where so many are that some moments show it.
    fn judge_latest(&mut self, index: usize, glance: &Glance, now: Timestamp) -> bool {
        let Some(policy) = self.policy.outlier else { return false };
        let remarkable = self.pool.remarkable;
        let slow = glance.latencies.iter().any(|(bucket, _)| usize::from(*bucket) > remarkable);
        let endpoint = &mut self.endpoints[index];
        let judged = slow && endpoint.state.is_well() && !endpoint.ramp.is_climbing();
        if !judged || endpoint.recent.slow_looks(remarkable) < LOOKS {
            return false;
        }
        let own = endpoint.recent.latest();
        let theirs = self.pool.latencies.without(&endpoint.recent.latencies(now - FRESH));
        let meanwhile = self.latest().without(&own);
        let endpoint = &mut self.endpoints[index];
        let moved = endpoint.latency.judge_latest(&own, (&theirs, &meanwhile), &policy, now) == latency::Judged::Moved;
        if moved {
            endpoint.history.push(Entry::new(now, Kind::Outlier, "it is much slower than the others"));
            self.note_slow();
        }
        moved
    }

    /// The latencies of the last moment, of all that are well and not on their way back.
    fn latest(&mut self) -> &Sketch {
        let counts =
            |endpoint: &&Endpoint| endpoint.state.is_well() && !endpoint.outliers.is_apart() && !endpoint.ramp.is_climbing();
        self.pool.latest.get_or_insert_with(|| {
            let mut sum = Sketch::default();
            self.endpoints.iter().filter(counts).for_each(|endpoint| sum.merge(&endpoint.recent.latest()));
            sum
        })
    }

    fn listen(&mut self, index: usize, glance: &Glance, local: Local, now: Timestamp, changes: &mut Changes) -> bool {
        let Some(policy) = self.policy.silence else { return false };
        let to = Listening {
            oldest: glance.oldest,
            heard: glance.heard,
            others: self.pool.others_heard(index).max(local.alive),
            excused_until: local.excused_until.max(glance.excused_until),
            patience: self.patience(index, policy.min),
        };
        let endpoint = &mut self.endpoints[index];
        let ready = endpoint.operator.state().is_none();
        let told = match endpoint.silence.listen(to, policy, now) {
            Heard::Nothing => return false,
            Heard::Suspected(waited) => {
                let needed = if self.frozen.is_none() && ready { endpoint.probes.doubt(&self.policy) } else { 0 };
                if needed > 0 {
                    changes.confirm.push((endpoint.id(), needed.min(self.policy.thresholds.fall.get().saturating_sub(1)).max(1)));
                }
                Entry::new(now, Kind::Silence, format!("nothing came back for {waited:.0?} while others answered"))
            }
            Heard::WouldBe(waited) => Entry::new(now, Kind::WouldBe, format!("suspect: nothing came back for {waited:.0?}")),
            Heard::Lifted => Entry::new(now, Kind::Silence, "it answers again"),
        };
        endpoint.history.push(told);
        true
    }

    /// How long an endpoint must be silent: at least `min`, and twice what it usually takes at the longest. Of one that has
    /// not answered often enough that is not known, and what its siblings take counts as well.
    fn patience(&self, index: usize, min: Duration) -> Duration {
        let (own, enough) = self.endpoints[index].recent.p99();
        if enough {
            return min.max(own * 2);
        }
        let others = self.pool.slowest;
        min.max(own.max(others).max(if others.is_zero() { PATIENCE / 2 } else { Duration::ZERO }) * 2)
    }

    fn judge_errors(&mut self, index: usize, glance: &Glance, now: Timestamp) -> bool {
        let Some(policy) = self.policy.outlier else { return false };
        let endpoint = &self.endpoints[index];
        if glance.requests == 0 || endpoint.refused.is_out() {
            return false;
        }
        let apart = endpoint.outliers.is_apart();
        let own = endpoint.recent.counts();
        let siblings = if apart { self.pool.counts } else { self.pool.counts.without(own) };
        let shared = !apart && self.is_shared(index, &policy, now);
        let endpoint = &mut self.endpoints[index];
        if shared {
            return false;
        }
        match endpoint.outliers.look(glance, own, siblings, &policy, now) {
            outliers::Judged::Nothing => return apart,
            outliers::Judged::Ejected(why) => endpoint.history.push(Entry::new(now, Kind::Outlier, format!("eject: {why}"))),
            outliers::Judged::WouldBe(why) => {
                endpoint.recent.clear();
                endpoint.history.push(Entry::new(now, Kind::WouldBe, format!("eject: {why}")));
            }
            outliers::Judged::Back => endpoint.history.push(Entry::new(now, Kind::Outlier, "its trial is over")),
        }
        true
    }

    /// Whether so many endpoints fail their requests at once that the cause is likely shared: nobody is ejected for it until it
    /// has lasted.
    fn is_shared(&mut self, index: usize, policy: &Outlier, now: Timestamp) -> bool {
        let Some(limit) = cause::too_many(self.endpoints.len()) else { return false };
        let bad = |endpoint: &Endpoint| {
            let counts = endpoint.recent.counts();
            endpoint.outliers.is_apart() || is_failing(counts, policy)
        };
        if !bad(&self.endpoints[index]) {
            return false;
        }
        let count = self.endpoints.iter().filter(|endpoint| bad(endpoint)).take(limit).count();
        if count < limit {
            self.shared_since = None;
            return false;
        }
        let since = *self.shared_since.get_or_insert(now);
        now.since(since) < cause::patience(self.policy.interval)
    }

    /// Puts together what the endpoints have in common.
    fn pool_up(&mut self, now: Timestamp) {
        let length = window(&self.policy);
        let (mut counts, mut latencies) = (Counts::default(), Sketch::default());
        let (mut load, mut warm, mut slowest) = (0.0, 0_u32, Duration::ZERO);
        for endpoint in &mut self.endpoints {
            // Of those without traffic, and there may be thousands of them, nothing is to be added but that they are there.
            if let Some(recent) = endpoint.recent.unusual() {
                slowest = slowest.max(recent.p99().0);
                recent.forget(length, now);
            }
            if !endpoint.state.is_well() || endpoint.outliers.is_apart() {
                continue;
            }
            counts.add(endpoint.recent.counts());
            if !endpoint.ramp.is_climbing() {
                if !endpoint.recent.is_quiet() {
                    latencies.merge(&endpoint.recent.latencies(now - FRESH));
                }
                load += f64::from(endpoint.recent.in_flight);
                warm += 1;
            }
        }
        let n = u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX).max(1);
        #[expect(clippy::cast_precision_loss, reason = "requests of a window")]
        let pace = counts.requests as f64 / length.as_secs_f64() / f64::from(n);
        self.pool.at = Some(now);
        self.pool.counts = counts;
        self.pool.pace = pace;
        self.pool.slowest = slowest;
        self.pool.usual = (latencies.mean().0, load / f64::from(warm.max(1)));
        self.pool.remarkable = bucket(Duration::from_secs_f64(latencies.quantile(0.95) * REMARKABLE));
        self.pool.latencies = latencies;
    }

    fn judge_latencies(&mut self, now: Timestamp, changes: &mut Changes) {
        let Some(policy) = self.policy.outlier else { return };
        // Those without traffic have nothing to be compared by, and there may be thousands of them.
        let heard = |endpoint: &Endpoint| !endpoint.recent.is_quiet() || endpoint.latency.since().is_some();
        let known = self.endpoints.iter().enumerate().filter(|(_, endpoint)| heard(endpoint));
        let fresh: Vec<(usize, Sketch)> =
            known.filter_map(|(index, endpoint)| Some((index, fresh(endpoint, &policy, now)?))).collect();
        let mut all = Sketch::default();
        fresh.iter().for_each(|(_, sketch)| all.merge(sketch));
        for (index, own) in &fresh {
            let index = *index;
            let endpoint = &mut self.endpoints[index];
            if endpoint.ramp.is_climbing() {
                continue;
            }
            let slow = endpoint.latency.since();
            let theirs = all.without(own);
            let own = slow.map_or_else(|| own.clone(), |since| endpoint.recent.latencies(since));
            match endpoint.latency.judge(&own, &theirs, &policy, now) {
                latency::Judged::Same => continue,
                latency::Judged::Moved => {
                    let text = match (slow.is_some(), endpoint.latency.since().is_some()) {
                        (false, true) => Some("it is much slower than the others"),
                        (true, false) => Some("it is as fast as the others again"),
                        _ => None,
                    };
                    endpoint.history.extend(text.map(|text| Entry::new(now, Kind::Outlier, text)));
                }
                latency::Judged::WouldBe(own, theirs) => {
                    let text = format!("degrade: answers take {:.1}ms, the others' {:.1}ms", own * 1e3, theirs * 1e3);
                    endpoint.history.push_once(Entry::new(now, Kind::WouldBe, text));
                    changes.touched.push(endpoint.id());
                    continue;
                }
            }
            self.settle(index, now, changes);
        }
    }
}

fn is_failing(counts: Counts, policy: &Outlier) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "requests of a window")]
    let share = counts.errors as f64 / counts.requests.max(1) as f64;
    counts.requests >= u64::from(policy.min_requests) && share >= policy.error_ratio.get()
}

/// An endpoint's fresh latencies; older ones too if they are too few. `None` if it is not to be compared.
fn fresh(endpoint: &Endpoint, policy: &Outlier, now: Timestamp) -> Option<Sketch> {
    if !endpoint.state.is_well() {
        return None;
    }
    let latest = endpoint.recent.latencies(now - FRESHER);
    if latest.len() >= latency::MANY {
        return Some(latest);
    }
    let recent = endpoint.recent.latencies(now - FRESH);
    Some(if recent.len() < policy.min_requests { endpoint.recent.latencies(Timestamp::ZERO) } else { recent })
}

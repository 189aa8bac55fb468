//! The requests of an arena: each is sent to whom the picker chooses, waits, ends, and is tried again as the proxy does it.

use std::time::Duration;

use crate::balance::Loads;
use crate::base::time::Timestamp;
use crate::health::signal::Observation;
use crate::sim::arena::{Arena, Event, REFUSED};
use crate::sim::mood::Mood;
use crate::sim::node::{Node, Try};
use crate::sim::weather::exponential;
use crate::traffic::budget::allows;
use crate::traffic::retry::{Ending, Exchange, may_retry};

/// Who waits for so long for a new connection takes one that has become free meanwhile, and looks again as often.
const RACE: Duration = Duration::from_millis(20);

/// What became of one request.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// When it came.
    pub start: Timestamp,
    /// From then to its end.
    pub latency: Duration,
    /// Whether it was answered with less than 500.
    pub well: bool,
    /// The endpoint that answered, by position.
    pub by: Option<usize>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    start: Timestamp,
    tries: u32,
    tried: Vec<usize>,
    /// Where its current try is, and when it was sent.
    at: Option<(usize, Timestamp)>,
    /// When that has its connection.
    connected: Timestamp,
}

impl Arena {
    /// A request comes. One that was due while we stood still has waited since.
    pub(super) fn arrive(&mut self, due: Timestamp) {
        let gap = exponential(&mut self.rng) / self.arrangement.rate;
        // At next to no requests a second the next one never comes.
        let next = due + Duration::try_from_secs_f64(gap).unwrap_or(Duration::MAX);
        self.plan(next, Event::Arrive { due: next });
        let request = self.next_request;
        self.next_request += 1;
        self.recent.0.inc(self.now);
        self.requests.insert(request, Request { start: due, tries: 0, tried: Vec::new(), at: None, connected: Timestamp::ZERO });
        self.plan(self.now + self.arrangement.patience, Event::GiveUp { request });
        self.send(request);
    }

    /// Sends a request to whom the picker chooses, or ends it if there is nobody.
    fn send(&mut self, request: u64) {
        let Some(asked) = self.requests.get(&request) else { return };
        let tried: Vec<usize> =
            asked.tried.iter().filter_map(|node| self.admitted.iter().position(|other| other == node)).collect();
        let seen = Seen { nodes: &self.nodes, admitted: &self.admitted, usual: self.usual(), now: self.now };
        let picked = self.picker.pick(&mut self.cursor, &mut self.rng, &seen, None, &tried);
        let Some(node) = picked.map(|place| self.admitted[place]) else { return self.finish(request, false, None) };
        let Some(asked) = self.requests.get_mut(&request) else { return };
        asked.tries += 1;
        asked.tried.push(node);
        asked.at = Some((node, self.now));
        let one = Try { request, number: asked.tries };
        self.record.tries[node] += 1;
        self.nodes[node].sent(one, self.now);
        self.begin_try(node, one);
    }

    /// Draws when a try ends and how. Some never end by themselves.
    fn begin_try(&mut self, node: usize, one: Try) {
        let (now, rng, cluster) = (self.now, &mut self.rng, &self.arrangement.cluster);
        let tried = &mut self.nodes[node];
        match tried.mood {
            Mood::Dead => return self.plan(now + REFUSED, Event::Ended { one, ending: Some(Ending::Connect) }),
            Mood::Hung => return tried.stuck.push((one, None)),
            _ => {}
        }
        let (loss, factor) = (tried.mood.loss(), tried.mood.slower(rng));
        let kept = tried.take_idle(now, cluster.pool.idle_timeout);
        let waits = tried.take_in(kept, (self.arrangement.intake, self.arrangement.accepts), now);
        let shaken = if kept { Some(Duration::ZERO) } else { tried.sky.connect(now, loss, rng) };
        let shaken = shaken.zip(waits).map(|(shaken, waits)| shaken + waits);
        let connected = shaken.map_or(Timestamp::NEVER, |shaken| now + shaken);
        self.requests.entry(one.request).and_modify(|asked| asked.connected = connected);
        let Some(shaken) = shaken.filter(|took| *took <= RACE) else {
            let until = now + cluster.connect_timeout;
            return self.plan((now + RACE).min(until), Event::Connecting { node, one, ready: connected, until });
        };
        let fails = tried.mood.fails(rng);
        let Some(took) = tried.sky.exchange(now + shaken, loss, factor, rng) else { return };
        let ends = now + shaken + took + tried.stalled(now);
        let ending = fails.then_some(Ending::Status { status: 503, retry_after: false });
        self.plan(ends, Event::Ended { one, ending });
    }

    /// A try still waits for its connection, which will be `ready` then or given up at `until`, and takes another one if that is free by
    /// now.
    pub(super) fn connecting(&mut self, node: usize, one: Try, ready: Timestamp, until: Timestamp) {
        let (now, rng) = (self.now, &mut self.rng);
        let Some(asked) = self.requests.get_mut(&one.request).filter(|asked| asked.tries == one.number && asked.at.is_some())
        else {
            return;
        };
        let tried = &mut self.nodes[node];
        if ready > now && !tried.take_idle(now, self.arrangement.cluster.pool.idle_timeout) {
            if now >= until {
                return self.ended(one, Some(Ending::Connect));
            }
            return self.plan((now + RACE).min(ready).min(until), Event::Connecting { node, one, ready, until });
        }
        asked.connected = now;
        if tried.mood == Mood::Hung {
            return tried.stuck.push((one, None));
        }
        let (loss, factor, fails) = (tried.mood.loss(), tried.mood.slower(rng), tried.mood.fails(rng));
        let Some(took) = tried.sky.exchange(now, loss, factor, rng) else { return };
        let ending = fails.then_some(Ending::Status { status: 503, retry_after: false });
        let ends = now + took + tried.stalled(now);
        self.plan(ends, Event::Ended { one, ending });
    }

    pub(super) fn ended(&mut self, one: Try, ending: Option<Ending>) {
        let Some(asked) = self.requests.get(&one.request).filter(|asked| asked.tries == one.number) else { return };
        let Some((node, sent)) = asked.at else { return };
        if self.nodes[node].mood == Mood::Hung && ending != Some(Ending::Connect) {
            // It stopped while it was at work on it.
            return self.nodes[node].stuck.push((one, ending));
        }
        let status = match ending {
            None => Some(200),
            Some(Ending::Status { status, .. }) => Some(status),
            Some(_) => None,
        };
        let usual = self.usual();
        if !self.nodes[node].settled(one, sent, status, usual, self.now) {
            return;
        }
        if status.is_some() {
            self.usual.answered(self.now.since(sent), self.now);
        }
        if ending == Some(Ending::Connect) && self.now.since(sent) <= REFUSED {
            self.refused(node);
        }
        match ending {
            None => self.finish(one.request, true, Some(node)),
            Some(ending) => self.try_again(one.request, ending, node),
        }
    }

    fn refused(&mut self, node: usize) {
        let last = self.nodes[node].refused.replace(self.now);
        if last.is_some_and(|last| self.nodes[node].heard > last) {
            self.tell(node, Observation::Answered);
        }
        self.tell(node, Observation::Refused);
        self.ask_at_once(node);
    }

    pub(super) fn try_again(&mut self, request: u64, ending: Ending, node: usize) {
        let Some(asked) = self.requests.get_mut(&request) else { return };
        asked.at = None;
        let sent = ending != Ending::Connect;
        let exchange = Exchange { tries: asked.tries, idempotent: true, body_begun: false, sent };
        let retries = &self.arrangement.retries;
        let (requests, retried) = (self.recent.0.sum(self.now), self.recent.1.sum(self.now));
        if may_retry(retries, exchange, ending) && allows(requests, retried, retries.budget) {
            self.recent.1.inc(self.now);
            self.send(request);
        } else {
            let answered = matches!(ending, Ending::Status { .. });
            self.finish(request, false, answered.then_some(node));
        }
    }

    pub(super) fn give_up(&mut self, request: u64) {
        let Some(asked) = self.requests.get(&request) else { return };
        if let Some((node, sent)) = asked.at {
            let (one, usual) = (Try { request, number: asked.tries }, self.usual());
            self.nodes[node].settled(one, sent, None, usual, self.now);
        }
        self.finish(request, false, None);
    }

    fn finish(&mut self, request: u64, well: bool, by: Option<usize>) {
        if let Some(asked) = self.requests.remove(&request) {
            let latency = self.now.since(asked.start);
            self.record.requests.push(Done { start: asked.start, latency, well, by });
        }
    }

    /// Calls back everybody who waits for an endpoint and may be sent again; the others stay, for an answer may come yet.
    pub(super) fn recall(&mut self, node: usize) {
        for (sent, one) in self.nodes[node].waiting_since_before(Timestamp::NEVER) {
            if self.may_leave(one) {
                self.nodes[node].leave(sent, one);
                self.record.recalled += 1;
                self.send(one.request);
            }
        }
    }

    /// Calls back who was sent to an endpoint before a moment, as far as the budget goes.
    pub(super) fn call_back(&mut self, node: usize, before: Timestamp) {
        for (sent, one) in self.nodes[node].waiting_since_before(before) {
            if self.may_leave(one) {
                self.nodes[node].call_back(sent, one, self.now);
                let given_up = sent + self.arrangement.cluster.connect_timeout;
                if self.requests.get(&one.request).is_some_and(|asked| asked.connected > given_up) {
                    self.plan(given_up, Event::Unconnected { node });
                }
                self.record.called_back += 1;
                self.send(one.request);
            }
        }
    }

    /// Whether a request may leave whom it waits for. If so, that is paid for.
    fn may_leave(&mut self, one: Try) -> bool {
        let retries = &self.arrangement.retries;
        let exchange = Exchange { tries: one.number, idempotent: true, body_begun: false, sent: true };
        let (requests, retried) = (self.recent.0.sum(self.now), self.recent.1.sum(self.now));
        let may = may_retry(retries, exchange, Ending::Silence) && allows(requests, retried, retries.budget);
        if may {
            self.recent.1.inc(self.now);
        }
        may
    }

    /// What an answer usually takes, in seconds.
    pub(super) fn usual(&self) -> f64 {
        self.usual.latency(self.now).unwrap_or_default()
    }
}

/// What a picker sees of endpoints.
struct Seen<'a> {
    nodes: &'a [Node],
    admitted: &'a [usize],
    usual: f64,
    now: Timestamp,
}

impl Seen<'_> {
    fn node(&self, candidate: usize) -> &Node {
        &self.nodes[self.admitted[candidate]]
    }
}

impl Loads for Seen<'_> {
    fn in_flight(&self, candidate: usize) -> u32 {
        self.node(candidate).in_flight
    }

    fn strain(&self, candidate: usize) -> f64 {
        self.node(candidate).standing.strain(self.now)
    }

    fn latency(&self, candidate: usize) -> f64 {
        self.node(candidate).standing.latency(self.now).unwrap_or(self.usual)
    }
}

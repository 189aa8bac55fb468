//! The last transitions, numbered, for whoever watches them.
//!
//! Readers come and go and may be slow; a queue for each would grow with the slowest. Here is one ring that everybody
//! reads at their own pace: who falls behind by more than it holds loses the oldest and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::base::time::Timestamp;
use crate::health::verdict::{Reason, State};

/// How many changes are kept.
pub const KEPT: usize = 1024;

/// One change, as the world outside sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Counts up from 1 in the life of the process.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// What changed.
    pub what: What,
}

/// What changed of a cluster. Endpoints are told by their addresses as configured.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The state of an endpoint.
    Transition {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The state it left.
        from: State,
        /// The state it entered.
        to: State,
        /// Why, most important first.
        reasons: Vec<Reason>,
    },
    /// Who leads.
    Leader {
        /// Who has led until then.
        before: Option<Arc<str>>,
        /// Who leads from then on.
        leader: Option<Arc<str>>,
        /// The highest epoch then.
        epoch: u64,
        /// Why nobody does.
        reasons: Vec<Reason>,
    },
}

/// What a reader has not seen yet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Unseen {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    /// How many more there were that are no longer kept.
    pub lost: u64,
}

type Ring = Arc<Mutex<VecDeque<Arc<Event>>>>;

/// Control's end: where transitions are written.
#[derive(Debug)]
pub(super) struct EventLog {
    ring: Ring,
    newest: watch::Sender<u64>,
}

/// A reader's end. Cheap to clone; each clone waits for itself.
#[derive(Debug, Clone)]
pub struct EventStream {
    ring: Ring,
    newest: watch::Receiver<u64>,
}

fn lock(ring: &Ring) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
    // Nothing that can panic happens under the lock, and a half-done push would still be a valid ring.
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventLog {
    pub(super) fn new() -> Self {
        Self { ring: Arc::default(), newest: watch::Sender::new(0) }
    }

    pub(super) fn stream(&self) -> EventStream {
        EventStream { ring: Arc::clone(&self.ring), newest: self.newest.subscribe() }
    }

    pub(super) fn push(&self, at: Timestamp, cluster: &Arc<str>, what: What) {
        let id = *self.newest.borrow() + 1;
        let event = Event { id, at, cluster: Arc::clone(cluster), what };
        let mut ring = lock(&self.ring);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(Arc::new(event));
        drop(ring);
        self.newest.send_replace(id);
    }
}

impl EventStream {
    /// The id of the newest event, 0 if there was none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Everything after the event `last`; after 0 everything that is kept. An id that was never given, as after a restart
    /// of the process, counts as 0.
    #[must_use]
    pub fn since(&self, last: u64) -> Unseen {
        let ring = lock(&self.ring);
        let newest = ring.back().map_or(0, |event| event.id);
        let last = if last > newest { 0 } else { last };
        let events: Vec<_> = ring.iter().filter(|event| event.id > last).cloned().collect();
        let lost = events.first().map_or(0, |first| first.id - last - 1);
        Unseen { events, lost }
    }

    /// Waits until there is an event after `last`. Returns false when there will never be one.
    pub async fn beyond(&mut self, last: u64) -> bool {
        self.newest.wait_for(|newest| *newest > last).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &EventLog, times: u64) {
        let (from, to) = (State::Unknown, State::Healthy);
        for _ in 0..times {
            let what = What::Transition { endpoint: "a:1".into(), from, to, reasons: Vec::new() };
            log.push(Timestamp::from_millis(5), &"app".into(), what);
        }
    }

    fn ids(unseen: &Unseen) -> Vec<u64> {
        unseen.events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn a_reader_gets_what_came_after_the_last_it_saw() {
        let log = EventLog::new();
        let stream = log.stream();
        assert_eq!(stream.since(0), Unseen::default());
        push(&log, 3);
        assert_eq!((ids(&stream.since(0)), stream.newest()), (vec![1, 2, 3], 3));
        assert_eq!(ids(&stream.since(2)), [3]);
        assert_eq!(stream.since(3), Unseen::default());
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_and_is_told() {
        let log = EventLog::new();
        push(&log, KEPT as u64 + 10);
        let unseen = log.stream().since(4);
        assert_eq!((unseen.events.len(), unseen.events[0].id, unseen.lost), (KEPT, 11, 6));
        assert_eq!(log.stream().since(10).lost, 0);
    }

    #[test]
    fn an_id_of_an_earlier_life_gets_everything() {
        let log = EventLog::new();
        push(&log, 2);
        assert_eq!(ids(&log.stream().since(900)), [1, 2]);
    }

    #[test]
    fn a_reader_waits_for_the_next_event_and_learns_of_the_end() {
        crate::runtime::thread::block_on(async {
            let log = EventLog::new();
            let mut stream = log.stream();
            push(&log, 1);
            assert!(stream.beyond(0).await);
            let mut later = stream.clone();
            let waiting = crate::runtime::task::spawn(async move { later.beyond(1).await });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            push(&log, 1);
            assert!(waiting.await.unwrap());
            drop(log);
            assert!(!stream.beyond(2).await);
        })
        .unwrap();
    }
}

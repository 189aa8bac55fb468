//! Who is let through to a cluster and its endpoints: counts for the whole process, and the queue of those who wait.
//!
//! Workers share these numbers, so a limit means what it says however many workers there are. Connections are always counted,
//! since they last and limits may come with a reload; requests only where they are limited.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

/// A number of things of which there may be only so many.
#[derive(Debug, Default)]
pub struct Count(AtomicU32);

impl Count {
    /// Counts one more, unless there are as many as `limit` allows. [`Self::leave`] must follow.
    pub fn enter(&self, limit: Option<u32>) -> bool {
        match limit {
            None => {
                self.0.fetch_add(1, Relaxed);
                true
            }
            Some(limit) => self.0.fetch_update(Relaxed, Relaxed, |now| (now < limit).then_some(now + 1)).is_ok(),
        }
    }

    /// Counts one less.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// The gate of one cluster.
#[derive(Debug, Default)]
pub struct Gate {
    /// Requests in flight, where they are limited.
    pub requests: CachePadded<Count>,
    /// Connections to endpoints.
    pub connections: Count,
    /// Requests that wait.
    pub pending: Count,
    freed: Notify,
}

impl Gate {
    /// Something has become free: whoever waits longest looks again.
    pub fn freed(&self) {
        if self.pending.get() > 0 {
            self.freed.notify_one();
        }
    }

    /// Where those who wait are called.
    pub const fn call(&self) -> &Notify {
        &self.freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_enter_than_a_limit_allows_however_many_try() {
        let count = Count::default();
        std::thread::scope(|scope| {
            let entering: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| count.enter(Some(100))).count())).collect();
            assert_eq!(entering.into_iter().map(|one| one.join().unwrap()).sum::<usize>(), 100);
        });
        assert!(count.enter(None) && count.get() == 101 && !count.enter(Some(101)));
        count.leave();
        assert!(count.enter(Some(101)));
    }
}

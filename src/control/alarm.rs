//! The one timer of control's loop: kept, and touched only when it is to ring at another moment.
//!
//! A timer that becomes the next one of its thread has the event queue told, which costs two system calls; the loop turns for every
//! signal, and most of them leave the moment where it was.

use std::pin::Pin;

use tokio::time::Sleep;

use crate::base::time::Timestamp;
use crate::runtime::clock;

/// When to wake.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: Timestamp,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Rings at `at`, and not before.
    pub(super) fn set(&mut self, at: Timestamp) {
        match &mut self.sleep {
            Some(_) if self.at == at => {}
            Some(sleep) => sleep.as_mut().reset(clock::instant(at)),
            sleep => *sleep = Some(Box::pin(tokio::time::sleep_until(clock::instant(at)))),
        }
        self.at = at;
    }

    /// Waits until it rings; for ever if it has not been set.
    pub(super) async fn rung(&mut self) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::thread::block_on;

    #[test]
    fn it_rings_when_it_was_last_told_to() {
        block_on(async {
            let mut alarm = Alarm::default();
            let start = clock::now();
            for millis in [3_600_000, 2, 2, 10] {
                alarm.set(start + Duration::from_millis(millis));
            }
            alarm.rung().await;
            assert!(clock::now().since(start) >= Duration::from_millis(10));
            alarm.rung().await;
            alarm.set(start);
            alarm.rung().await;
        })
        .unwrap();
    }
}

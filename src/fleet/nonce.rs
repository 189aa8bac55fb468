//! Numbers that are used once: each message must carry one that we gave out a moment ago.
//!
//! A signature alone does not tell when something was said. This does, without any clock but our own: a number is good for
//! one to two seconds, so a recorded message is worth nothing later, nor one that waited in a buffer while we stood still.

use std::time::Duration;

use crate::base::hex::hex;
use crate::base::time::Timestamp;

/// How long a number is given out; it is good for as long again.
const SPAN: Duration = Duration::from_secs(1);

/// Fresh random bytes.
pub(super) type Random = [u8; 16];

/// The number that is given out, and the one before.
#[derive(Debug)]
pub(super) struct Nonces {
    current: String,
    previous: String,
    since: Timestamp,
}

impl Nonces {
    pub(super) fn new(random: Random, now: Timestamp) -> Self {
        Self { current: hex(&random), previous: String::new(), since: now }
    }

    /// The number to give out.
    pub(super) fn current(&mut self, random: impl FnOnce() -> Random, now: Timestamp) -> &str {
        let age = now.since(self.since);
        if age >= SPAN {
            let fresh = hex(&random());
            // What has not been looked at for two spans was given out too long ago.
            let last = std::mem::replace(&mut self.current, fresh);
            self.previous = if age < SPAN * 2 { last } else { String::new() };
            self.since = now;
        }
        &self.current
    }

    /// Whether a number was given out a moment ago.
    pub(super) fn is_good(&mut self, nonce: &str, random: impl FnOnce() -> Random, now: Timestamp) -> bool {
        self.current(random, now);
        !nonce.is_empty() && (nonce == self.current || nonce == self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_for_one_to_two_seconds() {
        let at = |millis| Timestamp::ZERO + Duration::from_millis(millis);
        let mut nonces = Nonces::new([1; 16], at(0));
        let first = nonces.current(|| [2; 16], at(999)).to_owned();
        assert_eq!(first, hex(&[1; 16]));
        assert!(nonces.is_good(&first, || [2; 16], at(1999)));
        assert_eq!(nonces.current(|| [9; 16], at(2000)), hex(&[2; 16]));
        assert!(!nonces.is_good(&first, || [3; 16], at(2999)));
        assert!(!nonces.is_good("", || [4; 16], at(2999)));
    }

    #[test]
    fn after_a_pause_nothing_old_is_good() {
        let at = |millis| Timestamp::ZERO + Duration::from_millis(millis);
        let mut nonces = Nonces::new([1; 16], at(0));
        let first = nonces.current(|| [2; 16], at(0)).to_owned();
        assert!(!nonces.is_good(&first, || [3; 16], at(2000)));
    }
}

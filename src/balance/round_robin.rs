//! Weighted round robin without a queue: each candidate knows by itself in which rounds it is due.
//!
//! In every round the candidates are looked at in order. One with the share `f` of the largest weight is due in the rounds
//! in which the sum of `f` passes a whole number: in every round if `f` is 1, in every third if it is a third, and so
//! at even distances within a cycle too. Candidates start at different offsets, so that light ones are not all due in the
//! same round. This needs no state but the place in the rotation, where a priority queue would need one per worker and
//! snapshot, kept in order with every pick.
//!
//! A pick looks at as many entries as the largest weight is of the mean. Where that is much, heavy candidates stand in the
//! rotation several times with a part of their weight each, so that the expected number stays below four.

use crate::balance::{Cursor, to_position};

/// Above this multiple of the mean a weight is split.
const SKEW: f64 = 4.0;

/// Split weights are at most this multiple of the mean.
const PART: f64 = 2.0;

/// Picks that meet a tried candidate before all candidates are searched for one that was not.
const PATIENCE: usize = 16;

/// The rotation.
#[derive(Debug, Clone)]
pub(super) struct RoundRobin {
    entries: Box<[Entry]>,
}

/// One place in the rotation.
#[derive(Debug, Clone, Copy)]
struct Entry {
    candidate: u32,
    /// Where in its first round it stands, in fractions of 2^32.
    offset: u32,
    /// Its weight in fractions of 2^32 of the largest, less one: the largest has all of it.
    share: u32,
}

impl Entry {
    fn is_due(self, round: u32) -> bool {
        // Before the round the sum stands at `sum`; it passes a whole number if `share + 1` more overflow.
        let step = u64::from(self.share) + 1;
        let sum = u64::from(self.offset) + step.wrapping_mul(u64::from(round));
        (sum & u64::from(u32::MAX)) + step > u64::from(u32::MAX)
    }
}

impl RoundRobin {
    pub(super) fn new(weights: &[(usize, f64)]) -> Self {
        let parts = split(weights);
        let largest = parts.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
        let entries = parts.iter().zip(0_u32..).map(|((candidate, weight), number)| Entry {
            candidate: u32::try_from(*candidate).unwrap_or(u32::MAX),
            // Multiples of the golden ratio are spread evenly, however many there are.
            offset: number.wrapping_mul(0x9e37_79b9),
            share: to_share(weight / largest),
        });
        Self { entries: entries.collect() }
    }

    pub(super) fn pick(&self, cursor: &mut Cursor, tried: &[usize]) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let first = self.next(cursor);
        if !tried.contains(&first) {
            return Some(first);
        }
        let other = (0..PATIENCE).map(|_| self.next(cursor)).find(|candidate| !tried.contains(candidate));
        Some(other.or_else(|| self.untried(cursor, tried)).unwrap_or(first))
    }

    #[cfg(test)]
    pub(super) const fn entries(&self) -> usize {
        self.entries.len()
    }

    /// How many entries are due in a round.
    #[cfg(test)]
    pub(super) fn due(&self, round: u32) -> usize {
        self.entries.iter().filter(|entry| entry.is_due(round)).count()
    }

    fn next(&self, cursor: &mut Cursor) -> usize {
        loop {
            let (place, round) = cursor.advance(self.entries.len());
            let entry = self.entries[place];
            // The entry with the largest weight is due in every round, so this ends.
            if entry.is_due(round) {
                return to_position(entry.candidate);
            }
        }
    }

    /// The next candidate in order that was not tried, due or not.
    fn untried(&self, cursor: &mut Cursor, tried: &[usize]) -> Option<usize> {
        let mut ahead = (0..self.entries.len()).map(|_| cursor.advance(self.entries.len()).0);
        ahead.by_ref().map(|place| to_position(self.entries[place].candidate)).find(|candidate| !tried.contains(candidate))
    }
}

/// Entries in order of rotation. Weights far above the mean are split, and the parts spread evenly over the rotation.
#[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
fn split(weights: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let count = weights.len() as f64;
    let mean = weights.iter().map(|(_, weight)| weight).sum::<f64>() / count;
    if weights.iter().all(|(_, weight)| *weight <= SKEW * mean) {
        return weights.to_vec();
    }
    let mut placed: Vec<(f64, usize, f64)> = Vec::with_capacity(weights.len() * 2);
    for (number, (candidate, weight)) in weights.iter().enumerate() {
        let parts = (weight / (PART * mean)).ceil().max(1.0);
        for part in 0..to_count(parts) {
            let place = (number as f64 + part as f64 * count / parts) % count;
            placed.push((place, *candidate, weight / parts));
        }
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    placed.into_iter().map(|(_, candidate, weight)| (candidate, weight)).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most half of the number of endpoints")]
const fn to_count(parts: f64) -> usize {
    parts as usize
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to u32 saturates, which is wanted")]
fn to_share(fraction: f64) -> u32 {
    (fraction * 4_294_967_296.0 - 1.0).round() as u32
}

//! Which of a route's clusters gets the next request.
//!
//! Drawing at random would do in the long run; but who gives a new version five of a hundred requests wants to see five
//! in the first hundred. So turns are spread by multiples of the golden ratio, which come closer to the shares than any dice.

/// Multiples of this, in fractions of 2^64, are spread evenly however many there are.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// The same of the plastic number, for turns that are passed on: those have the first kind of place in common.
const PLASTIC: u64 = 0xc13f_a9a9_02a6_328f;

/// The position of the cluster whose turn it is, among clusters with these weights. One that is not `usable` passes its turn
/// on to the others by their weights; only if none is usable it keeps it. 0 if there is nothing to choose from.
#[must_use]
pub fn choose(weights: &[u32], turn: u64, usable: impl Fn(usize) -> bool) -> usize {
    let all = |_: usize| true;
    let first = among(weights, turn.wrapping_mul(GOLDEN), &all).unwrap_or(0);
    if weights.len() < 2 || usable(first) {
        return first;
    }
    among(weights, turn.wrapping_mul(PLASTIC), &usable).unwrap_or(first)
}

fn among(weights: &[u32], place: u64, usable: &impl Fn(usize) -> bool) -> Option<usize> {
    let counted = |(position, weight): (usize, &u32)| (*weight > 0 && usable(position)).then_some((position, u64::from(*weight)));
    let sum: u64 = weights.iter().enumerate().filter_map(counted).map(|(_, weight)| weight).sum();
    let mut left = u64::try_from((u128::from(place) * u128::from(sum)) >> 64).unwrap_or(u64::MAX);
    weights.iter().enumerate().filter_map(counted).find_map(|(position, weight)| {
        let mine = left < weight;
        left = left.saturating_sub(weight);
        mine.then_some(position)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(weights: &[u32], turns: u64, usable: impl Fn(usize) -> bool) -> Vec<u64> {
        let mut counts = vec![0; weights.len()];
        for turn in 0..turns {
            counts[choose(weights, turn, &usable)] += 1;
        }
        counts
    }

    #[test]
    fn shares_are_met_closely_and_at_every_moment() {
        for turns in [100, 1000, 12_345] {
            for weights in [&[95, 5][..], &[1, 1, 1], &[999, 1], &[1000, 500, 250]] {
                let sum = f64::from(weights.iter().sum::<u32>());
                for (count, weight) in counts(weights, turns, |_| true).into_iter().zip(weights) {
                    let fair = turns as f64 * f64::from(*weight) / sum;
                    assert!((count as f64 - fair).abs() < 3.0, "{count} of {turns} for {weight} of {weights:?}");
                }
            }
        }
    }

    #[test]
    fn who_weighs_nothing_gets_nothing() {
        assert_eq!(counts(&[0, 3, 0], 100, |_| true), [0, 100, 0]);
        assert_eq!(counts(&[1], 10, |_| true), [10]);
        assert_eq!(choose(&[], 7, |_| true), 0);
    }

    #[test]
    fn the_share_of_one_that_nobody_serves_goes_to_the_others() {
        assert_eq!(counts(&[50, 50], 100, |position| position == 1), [0, 100]);
        let got = counts(&[50, 30, 10], 800, |position| position != 0);
        assert!(got[0] == 0 && (580..=620).contains(&got[1]), "{got:?}");
        assert_eq!(counts(&[1, 0], 10, |position| position == 1), [10, 0], "a weight of 0 is meant");
        assert_eq!(counts(&[1, 1], 10, |_| false).iter().sum::<u64>(), 10);
    }
}

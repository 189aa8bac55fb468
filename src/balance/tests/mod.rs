//! Pickers as a worker uses them: fairness, evenness, and what a retry gets.

mod consistent;
mod latency;

use proptest::prelude::*;

use super::{Algorithm, Cursor, Loads, Picker, Ring};

const ALL: [Algorithm; 3] = [Algorithm::RoundRobin, Algorithm::LeastRequest, Algorithm::PeakEwma];

fn idle(_: usize) -> u32 {
    0
}

/// The first `n` picks of a fresh worker.
fn picks(algorithm: Algorithm, weights: &[f64], n: usize) -> Vec<usize> {
    let picker = Picker::new(algorithm, weights);
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(7));
    (0..n).filter_map(|_| picker.pick(&mut cursor, &mut rng, &idle, None, &[])).collect()
}

fn counts(picks: &[usize], n: usize) -> Vec<usize> {
    let mut counts = vec![0; n];
    for pick in picks {
        counts[*pick] += 1;
    }
    counts
}

#[test]
fn equal_candidates_take_turns() {
    assert_eq!(picks(Algorithm::RoundRobin, &[1.0, 1.0, 1.0], 7), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(picks(Algorithm::RoundRobin, &[0.5], 3), [0, 0, 0]);
}

#[test]
fn weights_interleave_within_a_cycle() {
    for window in picks(Algorithm::RoundRobin, &[2.0, 1.0], 30).windows(3) {
        assert_eq!(counts(window, 2), [2, 1]);
    }
    for window in picks(Algorithm::RoundRobin, &[3.0, 1.0], 40).windows(4) {
        assert_eq!(counts(window, 2), [3, 1]);
    }
}

#[test]
fn no_candidates_no_pick() {
    for algorithm in ALL {
        assert!(picks(algorithm, &[], 1).is_empty());
    }
}

#[test]
fn a_weight_that_is_none_gets_nothing_unless_all_are() {
    for algorithm in ALL {
        let got = counts(&picks(algorithm, &[0.0, 1.0, f64::NAN, -1.0, f64::INFINITY, 1.0], 100), 6);
        assert_eq!((got[0], got[2], got[3], got[4]), (0, 0, 0, 0), "{algorithm:?}");
        assert!(got[1] > 0 && got[5] > 0);
        assert!(counts(&picks(algorithm, &[0.0, 0.0], 100), 2).iter().all(|count| *count > 20));
    }
}

#[test]
fn a_retry_gets_another_candidate_while_there_is_one() {
    for algorithm in ALL {
        let picker = Picker::new(algorithm, &[1000.0, 1.0, 1.0]);
        let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(7));
        for _ in 0..1000 {
            let mut pick = |tried: &[usize]| picker.pick(&mut cursor, &mut rng, &idle, None, tried).unwrap();
            let first = pick(&[]);
            let second = pick(&[first]);
            let third = pick(&[first, second]);
            let mut all = [first, second, third];
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2], "{algorithm:?}");
            assert!(pick(&[0, 1, 2]) < 3);
        }
        assert_eq!(Picker::new(algorithm, &[1.0]).pick(&mut cursor, &mut rng, &idle, None, &[0]), Some(0));
    }
}

#[test]
fn the_rotation_goes_on_in_a_new_picker() {
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(7));
    let mut pick = |weights: &[f64]| Picker::new(Algorithm::RoundRobin, weights).pick(&mut cursor, &mut rng, &idle, None, &[]);
    let equal = [1.0; 3];
    let got: Vec<usize> = (0..6).filter_map(|_| pick(&equal)).collect();
    assert_eq!(got, [0, 1, 2, 0, 1, 2]);
    assert_eq!((pick(&equal), pick(&equal), pick(&[1.0; 2])), (Some(0), Some(1), Some(0)));
}

#[test]
fn a_seeded_cursor_begins_anywhere() {
    let picker = Picker::new(Algorithm::RoundRobin, &[1.0; 4]);
    let mut rng = fastrand::Rng::with_seed(1);
    let firsts: Vec<usize> = (0..400)
        .filter_map(|_| picker.pick(&mut Cursor::seeded(&mut rng), &mut fastrand::Rng::with_seed(1), &idle, None, &[]))
        .collect();
    assert!(counts(&firsts, 4).iter().all(|count| *count > 60), "{:?}", counts(&firsts, 4));
}

#[test]
fn the_busier_of_two_is_passed_over() {
    let picker = Picker::new(Algorithm::LeastRequest, &[1.0, 1.0]);
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(7));
    let busy = |candidate: usize| if candidate == 0 { 5 } else { 4 };
    for _ in 0..100 {
        assert_eq!(picker.pick(&mut cursor, &mut rng, &busy, None, &[]), Some(1));
    }
    let weighed = Picker::new(Algorithm::LeastRequest, &[2.0, 1.0]);
    for _ in 0..100 {
        assert_eq!(weighed.pick(&mut cursor, &mut rng, &busy, None, &[]), Some(0), "6 / 2 is less than 5 / 1");
    }
}

#[test]
fn load_evens_out_by_weight() {
    let weights = [1.0, 2.0, 1.0, 4.0];
    let picker = Picker::new(Algorithm::LeastRequest, &weights);
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(7));
    let mut load = [0_u32; 4];
    for _ in 0..8000 {
        let pick = picker.pick(&mut cursor, &mut rng, &|candidate: usize| load[candidate], None, &[]).unwrap();
        load[pick] += 1;
    }
    for (weight, load) in weights.iter().zip(load) {
        let fair = 1000.0 * weight;
        assert!((f64::from(load) - fair).abs() < 0.02 * fair, "{load} instead of {fair}");
    }
}

#[test]
fn a_pick_looks_at_few_entries_whatever_the_weights() {
    for weights in [vec![1.0; 10_000], skewed(10_000, 1000.0, 1), skewed(10_000, 1000.0, 100), skewed(10_000, 3.0, 5000)] {
        let picker = Picker::new(Algorithm::RoundRobin, &weights);
        let super::Kind::RoundRobin(rotation) = &picker.0 else { unreachable!() };
        let (looks, rounds) = (rotation.entries() * 100, 100);
        let due: usize = (0..rounds).map(|round| rotation.due(round)).sum();
        assert!(looks < 4 * due, "{looks} entries looked at for {due} picks");
    }
}

/// `n` candidates, `heavy` of which weigh `weight`, the others 1.
fn skewed(n: usize, weight: f64, heavy: usize) -> Vec<f64> {
    (0..n).map(|candidate| if candidate % (n / heavy) == 0 { weight } else { 1.0 }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any number of picks from any place, a candidate has had its share, give or take two turns for each place it
    /// holds in the rotation.
    #[test]
    fn round_robin_is_fair_at_every_moment(weights in proptest::collection::vec(1_u32..50, 1..40), seed: u64, n in 1_usize..2000) {
        let weights: Vec<f64> = weights.into_iter().map(|weight| f64::from(weight) * 0.5).collect();
        let picker = Picker::new(Algorithm::RoundRobin, &weights);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut cursor = Cursor::seeded(&mut rng);
        let picks: Vec<usize> = (0..n).filter_map(|_| picker.pick(&mut cursor, &mut rng, &idle, None, &[])).collect();
        let total: f64 = weights.iter().sum();
        let mean = total / weights.len() as f64;
        for (candidate, count) in counts(&picks, weights.len()).into_iter().enumerate() {
            let fair = n as f64 * weights[candidate] / total;
            let slack = 3.0 * (1.0 + weights[candidate] / (2.0 * mean)).ceil();
            prop_assert!((count as f64 - fair).abs() <= slack, "candidate {candidate} of {weights:?}: {count} of {n}, fair is {fair}");
        }
    }

    #[test]
    fn a_pick_is_always_a_candidate_and_an_untried_one_if_there_is_one(
        weights in proptest::collection::vec(0_u32..1000, 1..30),
        tried in proptest::collection::vec(0_usize..30, 0..6),
        seed: u64,
        algorithm in proptest::sample::select(ALL.to_vec()),
    ) {
        let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
        let picker = Picker::new(algorithm, &weights);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut cursor = Cursor::seeded(&mut rng);
        let usable: Vec<usize> = super::clean(&weights).into_iter().map(|(candidate, _)| candidate).collect();
        for _ in 0..20 {
            let pick = picker.pick(&mut cursor, &mut rng, &idle, None, &tried).unwrap();
            prop_assert!(usable.contains(&pick));
            prop_assert!(!tried.contains(&pick) || usable.iter().all(|candidate| tried.contains(candidate)));
        }
    }
}

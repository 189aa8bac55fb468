//! The ring: who gets which key, what moves when somebody comes or goes, and what a hot key may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::{Cursor, Loads, Picker, Ring};

fn addresses(n: usize) -> Vec<String> {
    (1..=n).map(|number| format!("10.0.0.{number}:80")).collect()
}

fn ring(endpoints: &[(String, u32)]) -> Arc<Ring> {
    Arc::new(Ring::new(endpoints.iter().map(|(address, weight)| (address.as_str(), *weight))))
}

fn alike(n: usize) -> Arc<Ring> {
    ring(&addresses(n).into_iter().map(|address| (address, 1)).collect::<Vec<_>>())
}

/// The number on the ring that a key leads to, where these numbers are candidates at these weights.
fn home(ring: &Arc<Ring>, candidates: &[(usize, f64)], key: u64) -> usize {
    candidates[pick(ring, candidates, key, &|_: usize| 0, &[])].0
}

fn pick(ring: &Arc<Ring>, candidates: &[(usize, f64)], key: u64, loads: &impl Loads, tried: &[usize]) -> usize {
    let picker = Picker::consistent(ring, candidates.iter().copied());
    let mut rng = fastrand::Rng::with_seed(1);
    picker.pick(&mut Cursor::default(), &mut rng, loads, Some(key), tried).unwrap()
}

fn everybody(n: usize) -> Vec<(usize, f64)> {
    (0..n).map(|number| (number, 1.0)).collect()
}

fn keys(n: u64) -> impl Iterator<Item = u64> {
    (0..n).map(|number| xxh3_64(&number.to_le_bytes()))
}

#[test]
fn keys_lead_where_they_led_in_earlier_versions() {
    let ring = alike(5);
    let led: Vec<usize> = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "/", "10.1.2.3"]
        .iter()
        .map(|key| home(&ring, &everybody(5), xxh3_64(key.as_bytes())) + 1)
        .collect();
    assert_eq!(led, PINNED, "a new version must not send everybody elsewhere");
}

/// The last number of the address that each key leads to.
const PINNED: [usize; 10] = [3, 4, 1, 3, 3, 4, 5, 5, 2, 2];

#[test]
fn equal_endpoints_get_equal_shares_of_the_keys() {
    for n in [2, 3, 10, 50] {
        let (ring, everybody) = (alike(n), everybody(n));
        let picker = Picker::consistent(&ring, everybody.iter().copied());
        let mut counts = vec![0_u32; n];
        let total = 20_000;
        for key in keys(total) {
            let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(1));
            counts[picker.pick(&mut cursor, &mut rng, &|_: usize| 0, Some(key), &[]).unwrap()] += 1;
        }
        let fair = total as f64 / n as f64;
        for count in &counts {
            assert!((f64::from(*count) - fair).abs() < 0.25 * fair, "{n}: {counts:?}");
        }
    }
}

#[test]
fn weights_decide_shares() {
    let addresses = addresses(3);
    let endpoints: Vec<(String, u32)> = addresses.into_iter().zip([1, 2, 5]).collect();
    let ring = ring(&endpoints);
    let candidates = [(0, 1.0), (1, 2.0), (2, 5.0)];
    let mut counts = [0_u32; 3];
    for key in keys(8000) {
        counts[home(&ring, &candidates, key)] += 1;
    }
    for (count, fair) in counts.iter().zip([1000.0, 2000.0, 5000.0]) {
        assert!((f64::from(*count) - fair).abs() < 0.2 * fair, "{counts:?}");
    }
}

#[test]
fn what_one_loses_by_weight_is_all_that_moves() {
    let ring = alike(4);
    let lighter = [(0, 1.0), (1, 0.5), (2, 1.0), (3, 1.0)];
    let (mut moved, mut had) = (0, 0);
    for key in keys(4000) {
        let (before, after) = (home(&ring, &everybody(4), key), home(&ring, &lighter, key));
        had += u32::from(before == 1);
        if before != after {
            assert_eq!(before, 1, "only keys of the one that weighs less now move");
            moved += 1;
        }
    }
    assert!((had * 3 / 10..had * 7 / 10).contains(&moved), "{moved} of {had}");
}

#[test]
fn a_hot_key_spreads_no_further_than_the_bound_asks() {
    let n = 4;
    let ring = alike(n);
    let picker = Picker::consistent(&ring, everybody(n).into_iter());
    let mut load = Load(vec![0; n]);
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(1));
    for sent in 1..=400_u32 {
        let to = picker.pick(&mut cursor, &mut rng, &load, Some(7), &[]).unwrap();
        load.0[to] += 1;
        let bound = (1.25 * f64::from(sent) / 4.0).ceil();
        assert!(load.0.iter().all(|load| f64::from(*load) <= bound), "{:?} of {sent}", load.0);
    }
    load.0.sort_unstable();
    assert_eq!(load.0[3], 125, "the key's own endpoint is used to the full: {:?}", load.0);
}

struct Load(Vec<u32>);

impl Loads for Load {
    fn in_flight(&self, candidate: usize) -> u32 {
        self.0[candidate]
    }

    fn total(&self) -> u32 {
        self.0.iter().sum()
    }
}

#[test]
fn a_request_without_a_key_goes_anywhere() {
    let picker = Picker::consistent(&alike(3), everybody(3).into_iter());
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(1));
    let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
    for _ in 0..900 {
        *counts.entry(picker.pick(&mut cursor, &mut rng, &|_: usize| 0, None, &[]).unwrap()).or_default() += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count > 200), "{counts:?}");
}

#[test]
fn nobody_is_picked_of_nobody() {
    let mut rng = fastrand::Rng::with_seed(1);
    for ring in [alike(0), alike(3)] {
        let picker = Picker::consistent(&ring, std::iter::empty());
        assert_eq!(picker.pick(&mut Cursor::default(), &mut rng, &|_: usize| 0, Some(1), &[]), None);
    }
}

#[test]
fn a_large_ring_stays_within_its_bound_of_points() {
    let heavy: Vec<(String, u32)> = (0..300).map(|number| (format!("e{number}:80"), 1000)).collect();
    let ring = ring(&heavy);
    let candidates: Vec<(usize, f64)> = (0..300).map(|number| (number, 1000.0)).collect();
    let led: std::collections::BTreeSet<usize> = keys(2000).map(|key| home_of(&ring, &candidates, key)).collect();
    assert!(led.len() > 250, "{}", led.len());
}

fn home_of(ring: &Arc<Ring>, candidates: &[(usize, f64)], key: u64) -> usize {
    thread_local!(static PICKER: std::cell::RefCell<Option<Picker>> = const { std::cell::RefCell::new(None) });
    PICKER.with_borrow_mut(|picker| {
        let picker = picker.get_or_insert_with(|| Picker::consistent(ring, candidates.iter().copied()));
        picker.pick(&mut Cursor::default(), &mut fastrand::Rng::with_seed(1), &|_: usize| 0, Some(key), &[]).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever leaves, by health or by configuration, whatever the weights: only its keys move.
    #[test]
    fn only_the_keys_of_who_leaves_move(weights in prop::collection::vec(1_u32..4, 2..12), leaver: prop::sample::Index, seed: u64) {
        let n = weights.len();
        let leaver = leaver.index(n);
        let endpoints: Vec<(String, u32)> = addresses(n).into_iter().zip(weights).collect();
        let whole = ring(&endpoints);
        let all: Vec<(usize, f64)> = endpoints.iter().enumerate().map(|(number, (_, weight))| (number, f64::from(*weight))).collect();
        let others: Vec<(usize, f64)> = all.iter().copied().filter(|(number, _)| *number != leaver).collect();
        let left: Vec<(String, u32)> = endpoints.iter().enumerate().filter(|(number, _)| *number != leaver).map(|(_, one)| one.clone()).collect();
        let smaller = ring(&left);
        let renumbered: Vec<(usize, f64)> = others.iter().enumerate().map(|(number, (_, weight))| (number, *weight)).collect();
        for key in keys(40).map(|key| key ^ seed) {
            let before = home(&whole, &all, key);
            let unwell = home(&whole, &others, key);
            let gone = &left[home(&smaller, &renumbered, key)].0;
            prop_assert_eq!(&endpoints[unwell].0, gone, "left by health or by configuration: the same");
            prop_assert!(before == unwell || before == leaver, "{} -> {}, though {} left", before, unwell, leaver);
        }
    }

    #[test]
    fn a_retry_gets_another_one_and_always_the_same(n in 2_usize..8, key: u64) {
        let ring = alike(n);
        let first = pick(&ring, &everybody(n), key, &|_: usize| 0, &[]);
        let second = pick(&ring, &everybody(n), key, &|_: usize| 0, &[first]);
        prop_assert!(second != first);
        prop_assert_eq!(second, pick(&ring, &everybody(n), key, &|_: usize| 0, &[first]));
        let all: Vec<usize> = (0..n).collect();
        prop_assert_eq!(first, pick(&ring, &everybody(n), key, &|_: usize| 0, &all));
    }
}

//! Candidates that are slow or fail, in a small world of one worker: each answers after its own time, or at once with a failure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Algorithm, Cursor, Loads, Picker};
use crate::balance::Standing;
use crate::base::time::Timestamp;

struct Candidate {
    takes: Duration,
    fails: bool,
    in_flight: u32,
    standing: Standing,
}

struct World {
    candidates: Vec<Candidate>,
    now: Timestamp,
}

impl Loads for World {
    fn in_flight(&self, candidate: usize) -> u32 {
        self.candidates[candidate].in_flight
    }

    fn strain(&self, candidate: usize) -> f64 {
        self.candidates[candidate].standing.strain(self.now)
    }

    fn latency(&self, candidate: usize) -> f64 {
        self.candidates[candidate].standing.latency(self.now).unwrap_or(0.01)
    }
}

/// Who got how many of the requests of 30 s, one each 5 ms.
fn shares(algorithm: Algorithm, candidates: &[(u64, bool)]) -> Vec<u32> {
    let candidate = |(takes, fails): &(u64, bool)| Candidate {
        takes: Duration::from_millis(*takes),
        fails: *fails,
        in_flight: 0,
        standing: Standing::default(),
    };
    let mut world = World { candidates: candidates.iter().map(candidate).collect(), now: Timestamp::from_millis(1000) };
    let picker = Picker::new(algorithm, &vec![1.0; candidates.len()]);
    let (mut cursor, mut rng) = (Cursor::default(), fastrand::Rng::with_seed(7));
    let mut got = vec![0; candidates.len()];
    let mut ends: BTreeMap<(Timestamp, u32), usize> = BTreeMap::new();
    for request in 0..6000_u32 {
        world.now = world.now + Duration::from_millis(5);
        while let Some(end) = ends.first_entry().filter(|end| end.key().0 <= world.now) {
            let at = end.key().0;
            let ended = &mut world.candidates[end.remove()];
            ended.in_flight -= 1;
            if ended.fails { ended.standing.failed(ended.takes, 0.01, at) } else { ended.standing.answered(ended.takes, at) }
        }
        let picked = picker.pick(&mut cursor, &mut rng, &world, None, &[]).unwrap();
        got[picked] += 1;
        let candidate = &mut world.candidates[picked];
        candidate.in_flight += 1;
        ends.insert((world.now + candidate.takes, request), picked);
    }
    got
}

#[test]
fn the_quicker_one_gets_more() {
    let got = shares(Algorithm::PeakEwma, &[(10, false), (40, false), (40, false)]);
    assert!(got[0] > got[1] + got[2], "{got:?}");
    assert!(got[1] > 100 && got[2] > 100, "the others are not starved: {got:?}");
    let alike = shares(Algorithm::PeakEwma, &[(20, false), (20, false), (20, false)]);
    assert!(alike.iter().all(|got| (1500..2500).contains(got)), "{alike:?}");
}

#[test]
fn who_fails_fast_attracts_nothing() {
    for algorithm in [Algorithm::PeakEwma, Algorithm::LeastRequest] {
        let got = shares(algorithm, &[(20, false), (20, false), (0, true)]);
        assert!(got[2] < 300, "{algorithm:?}: {got:?}, a fair share is 2000");
    }
}

//! The power of two choices: of two different candidates drawn at random, the one with less load for its weight.
//!
//! Taking the least loaded of all sends every worker to the same candidate at once, since each knows the others' requests
//! a little late; and one that answers errors fast looks idle and draws everything. With two drawn at random a candidate's
//! share is bounded by twice its fair one, and load still evens out. With equal load the one that was drawn first, which is
//! random, is taken. What load is, the caller says.

/// Draws that meet a tried candidate before all are searched for one that was not.
const PATIENCE: usize = 8;

/// Candidates and their weights.
#[derive(Debug, Clone)]
pub(super) struct TwoChoices {
    candidates: Box<[(usize, f64)]>,
}

impl TwoChoices {
    pub(super) fn new(candidates: Vec<(usize, f64)>) -> Self {
        Self { candidates: candidates.into_boxed_slice() }
    }

    /// The candidate with less of `load` for its weight.
    pub(super) fn pick(&self, rng: &mut fastrand::Rng, load: impl Fn(usize) -> f64, tried: &[usize]) -> Option<usize> {
        let one = self.draw(rng, tried, None)?;
        let Some(two) = self.draw(rng, tried, Some(one.0)) else { return Some(one.0) };
        let weighed = |(candidate, weight): (usize, f64)| load(candidate) / weight;
        // A tried candidate comes second whatever its load.
        let second_is_tried = !tried.is_empty() && tried.contains(&two.0) && !tried.contains(&one.0);
        Some(if !second_is_tried && weighed(two) < weighed(one) { two.0 } else { one.0 })
    }

    /// One candidate at random but `not` this one, preferably one that was not tried.
    fn draw(&self, rng: &mut fastrand::Rng, tried: &[usize], not: Option<usize>) -> Option<(usize, f64)> {
        let allowed = |candidate: &(usize, f64)| not != Some(candidate.0);
        let mut drawn = None;
        for _ in 0..PATIENCE {
            drawn = Some(self.candidates[self.number(rng)?]).filter(allowed).or(drawn);
            match drawn {
                Some((candidate, _)) if !tried.contains(&candidate) => return drawn,
                _ => {}
            }
        }
        let start = self.number(rng)?;
        let all = || self.candidates[start..].iter().chain(&self.candidates[..start]).copied().filter(allowed);
        all().find(|(candidate, _)| !tried.contains(candidate)).or(drawn).or_else(|| all().next())
    }

    fn number(&self, rng: &mut fastrand::Rng) -> Option<usize> {
        (!self.candidates.is_empty()).then(|| rng.usize(..self.candidates.len()))
    }
}

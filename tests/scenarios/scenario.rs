//! What a scenario is: a fault script, and goals that its numbers are held against.

use crate::facts::Facts;
use crate::rig::Stage;

/// How the numbers of several runs become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The highest.
    Worst,
    /// The highest but one of a hundred; the highest of fewer.
    P99,
    /// All of them together.
    Sum,
}

/// A number and how high it may be.
#[derive(Debug)]
pub(crate) struct Goal {
    /// Its name among the facts.
    pub(crate) key: &'static str,
    /// What it is.
    pub(crate) words: &'static str,
    pub(crate) how: How,
    pub(crate) most: f64,
    pub(crate) unit: &'static str,
}

impl Goal {
    pub(crate) const fn new(key: &'static str, words: &'static str, how: How, most: f64, unit: &'static str) -> Self {
        Self { key, words, how, most, unit }
    }

    /// One number of all runs; `None` if no run has it.
    pub(crate) fn of(&self, runs: &[Facts]) -> Option<f64> {
        let all = runs.iter().flatten().filter(|(key, _)| *key == self.key).map(|(_, value)| *value);
        let mut all: Vec<f64> = all.collect();
        all.sort_by(f64::total_cmp);
        match self.how {
            How::Sum => (!all.is_empty()).then(|| all.iter().sum()),
            How::Worst => all.last().copied(),
            How::P99 => all.get((all.len() * 99).div_ceil(100).max(1) - 1).copied(),
        }
    }
}

/// A fault script.
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What happens in it.
    pub(crate) title: &'static str,
    /// How often it is run at full length.
    pub(crate) runs: u32,
    /// Whether packets must be lost, which needs root and a network namespace.
    pub(crate) needs_loss: bool,
    pub(crate) goals: &'static [Goal],
    /// Plays it once.
    pub(crate) play: fn(Stage) -> Facts,
}

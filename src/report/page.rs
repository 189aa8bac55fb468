//! A page: what every format offers, once its bytes are read, to whoever looks for metrics in it.
//!
//! The formats differ in how a number is named and found; which numbers are wanted, their units and their hints are the
//! same for all, and stand in `reading` once.

use super::tree::Node;
use super::value::Asks;

/// A number on a page, as it is written there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number<'a> {
    /// Where it stands, as `map` would say it.
    pub(super) path: &'a str,
    /// The path without what tells equal ones apart (the labels of a Prometheus series).
    pub(super) name: &'a str,
    /// Its value, which may be NaN or infinite.
    pub(super) value: f64,
}

/// What stands in a place that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lookup {
    /// A number.
    Number {
        /// As it is written; may be NaN or infinite.
        value: f64,
        /// The last part of its name, whose ending may tell the unit.
        key: String,
        /// The unit that the page states beside it.
        unit: Option<String>,
    },
    /// Something else, described as `is …` would be continued.
    Other(&'static str),
    /// Nothing.
    Missing,
    /// The place itself is not well-formed; says what is wanted.
    BadPlace(&'static str),
}

/// How several numbers in one place become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// The greatest.
    Max,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// Their mean.
    Avg,
}

impl Fold {
    /// The fold of `values`; NaN if any of them is NaN, and `None` if there are none.
    pub(super) fn of(self, values: &[f64]) -> Option<f64> {
        if values.iter().any(|value| value.is_nan()) {
            return Some(f64::NAN);
        }
        let first = *values.first()?;
        Some(match self {
            Self::Max => values.iter().copied().fold(first, f64::max),
            Self::Min => values.iter().copied().fold(first, f64::min),
            Self::Sum => sum(values),
            Self::Avg => sum(values) / values.len() as f64,
        })
    }
}

/// Added in order of size, so that the order on the page does not change the last digit.
fn sum(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.iter().sum()
}

/// An amount and the limit that makes a share of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    /// What is used.
    pub(super) used: f64,
    /// Of how much; over zero.
    pub(super) limit: f64,
    /// Where both stand, for a hint.
    pub(super) place: String,
}

/// A page of one format.
pub(super) trait Page {
    /// The status word as written.
    fn word(&self) -> Option<&str>;

    /// What it says about its status word, for people.
    fn comment(&self) -> Option<&str> {
        None
    }

    /// What the endpoint asks for.
    fn asks(&self) -> Asks {
        Asks::default()
    }

    /// What stands at `place`, several numbers folded by `fold` unless the place says how.
    fn lookup(&self, place: &str, fold: Fold) -> Lookup;

    /// Whatever stands at `place`, in a format that holds more than numbers.
    fn node<'a>(&'a self, _place: &'a str) -> Option<&'a Node> {
        None
    }

    /// Every number, in an order that does not depend on the order of keys; until `see` returns false.
    fn visit(&self, see: &mut dyn FnMut(Number<'_>) -> bool);

    /// Memory as an amount used and its limit, where the format has names of its own for them.
    fn memory_pair(&self) -> Option<Pair> {
        None
    }
}

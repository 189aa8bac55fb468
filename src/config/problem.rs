//! Owns what is wrong with a configuration: one [`Problem`] per mistake, and all [`Problems`] of one file.
//!
//! Whoever fixes a file wants to fix it once, so nothing here stops at the first mistake. A problem says where it is, what
//! was said, what is wanted and what would help; it never says what a secret is.

use std::fmt;
use std::sync::Arc;

use crate::config::path::Path;

/// More problems than this are counted and not told: a file with so many is of another kind.
pub const MAX_PROBLEMS: usize = 1000;

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named, or `command line`.
    pub file: Arc<str>,
    /// The line, from 1; 0 where there is no text.
    pub line: usize,
    /// The column in characters, from 1; 0 where there is no text.
    pub column: usize,
    /// The path in the document, such as `clusters[0].health.interval`.
    pub path: String,
    /// What stands there.
    pub said: String,
    /// What would be right.
    pub wanted: String,
    /// What would help, such as the nearest key.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}: said {}, wanted {}", self.path, self.said, self.wanted)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// All mistakes of one configuration, in order of their positions; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    untold: usize,
}

impl Problems {
    /// Sorts problems by position and keeps the first [`MAX_PROBLEMS`] of them.
    pub(super) fn new(mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| (problem.line, problem.column));
        let untold = list.len().saturating_sub(MAX_PROBLEMS);
        list.truncate(MAX_PROBLEMS);
        Self { list, untold }
    }

    /// The problems, in order of their positions.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many there are, told or not.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.list.len() + self.untold
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// One problem a line, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        if self.untold == 0 { Ok(()) } else { write!(f, "\nand {} more problems", self.untold) }
    }
}

impl std::error::Error for Problems {}

/// A mistake whose position is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Where it is.
    pub(super) path: Path,
    /// Whether the key itself is meant, and not its value.
    pub(super) at_key: bool,
    /// What stands there; `None`: what the tree has there.
    pub(super) said: Option<String>,
    /// What would be right.
    pub(super) wanted: String,
    /// What would help.
    pub(super) hint: Option<String>,
}

impl Finding {
    /// The value at `path` is not what is wanted.
    pub(super) fn new(path: Path, wanted: impl Into<String>) -> Self {
        Self { path, at_key: false, said: None, wanted: wanted.into(), hint: None }
    }

    /// With what would help.
    pub(super) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// With other words for what stands there.
    pub(super) fn said(mut self, said: impl Into<String>) -> Self {
        self.said = Some(said.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize) -> Problem {
        Problem {
            file: "a.yaml".into(),
            line,
            column: 7,
            path: "workers".to_owned(),
            said: "0".to_owned(),
            wanted: "more".to_owned(),
            hint: Some("leave it out".to_owned()),
        }
    }

    #[test]
    fn a_problem_says_where_what_and_what_would_help() {
        assert_eq!(problem(12).to_string(), "a.yaml:12:7: workers: said 0, wanted more; leave it out");
        assert_eq!(problem(0).to_string(), "a.yaml: workers: said 0, wanted more; leave it out");
    }

    #[test]
    fn problems_come_in_order_and_are_bounded() {
        let some = Problems::new(vec![problem(3), problem(1)]);
        assert_eq!(some.iter().map(|p| p.line).collect::<Vec<_>>(), [1, 3]);
        let many = Problems::new(vec![problem(1); MAX_PROBLEMS + 5]);
        assert_eq!((many.count(), many.iter().count()), (MAX_PROBLEMS + 5, MAX_PROBLEMS));
        assert!(many.to_string().ends_with("and 5 more problems"));
    }
}

//! Owns the path of a setting within the document, such as `clusters[0].health.interval`.
//!
//! Every stage names a setting by its path, and only the tree knows positions: so a problem found three stages after the
//! text was read still points at its line. It decides nothing.

use std::fmt;

/// One step down into the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an item of a list, counted from 0.
    Item(usize),
}

/// The way from the top of the document to one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// The path of the value of `key` below this one.
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The path of an item below this one.
    pub(super) fn item(&self, index: usize) -> Self {
        self.with(Step::Item(index))
    }

    /// The steps, from the top down.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Goes one step down.
    pub(super) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Comes back up.
    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(top)");
        }
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !is_plain(key) => write!(f, "[{key:?}]")?,
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Whether a key reads well without quotes.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_way_to_the_setting() {
        assert_eq!(Path::default().to_string(), "(top)");
        assert_eq!(Path::default().key("clusters").item(0).key("health").to_string(), "clusters[0].health");
        assert_eq!(Path::default().key("a.b").key("").key("x-c").to_string(), r#"["a.b"][""].x-c"#);
    }
}

//! Whose cells are read at the next look: those in which something has been counted, and those in which something was found last
//! time. For what a worker counts may be seen later than its mark, and who waits for an answer leaves none while waiting.

use std::collections::BTreeSet;

/// Endpoints of one cluster, by their positions.
#[derive(Debug, Default)]
pub(super) struct Stirred {
    marked: BTreeSet<usize>,
    again: BTreeSet<usize>,
}

impl Stirred {
    /// All of so many endpoints, as when their positions have changed.
    pub(super) fn all(count: usize) -> Self {
        Self { marked: (0..count).collect(), again: BTreeSet::new() }
    }

    /// Something has been counted.
    pub(super) fn mark(&mut self, position: usize) {
        self.marked.insert(position);
    }

    /// What is found at those that may have something.
    pub(super) fn look<T>(&mut self, mut find: impl FnMut(usize) -> Option<T>) -> Vec<T> {
        let marked = std::mem::take(&mut self.marked);
        let before = std::mem::replace(&mut self.again, marked.clone());
        let mut found = Vec::new();
        for position in marked.union(&before) {
            if let Some(one) = find(*position) {
                self.again.insert(*position);
                found.push(one);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_marked_is_looked_at_twice_and_who_has_something_again() {
        let mut stirred = Stirred::all(3);
        let mut look = |has: &[usize]| {
            let mut seen = Vec::new();
            let found = stirred.look(|position| {
                seen.push(position);
                has.contains(&position).then_some(position)
            });
            assert!(found.iter().all(|position| has.contains(position)));
            seen
        };
        assert_eq!(look(&[]), [0, 1, 2]);
        assert_eq!(look(&[1]), [0, 1, 2]);
        assert_eq!(look(&[1]), [1]);
        assert_eq!(look(&[]), [1]);
        assert_eq!(look(&[1]), [0; 0]);
        stirred.mark(2);
        assert_eq!(stirred.look(Some), [2]);
    }
}

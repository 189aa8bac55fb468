//! Decides whether an endpoint that speaks is the one that spoke last, one that was started since, or one that is gone.
//!
//! A process that was restarted has an empty cache and none of its predecessor's habits; a process that was replaced and still
//! speaks would keep its successor's place alive. A boot id, drawn anew at every start, tells them apart. It has no order,
//! so the last few are remembered: who has been followed by another one does not come back.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How many boot ids are remembered of those that are gone.
const GONE: usize = 4;

/// Longest boot id, in bytes; longer ones are cut, so that an endpoint cannot make us keep more.
pub const MAX_BOOT_ID: usize = 64;

/// Who speaks at one address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Incarnation {
    current: Option<Arc<str>>,
    gone: VecDeque<Arc<str>>,
}

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// The one that spoke last, or the first one ever.
    Known,
    /// One that was started since.
    New,
    /// One that has been followed by another.
    Zombie,
}

impl Incarnation {
    /// Takes in a boot id.
    pub(super) fn meet(&mut self, boot_id: &Arc<str>) -> Met {
        let Some(current) = &self.current else {
            self.current = Some(Arc::clone(boot_id));
            return Met::Known;
        };
        if current == boot_id {
            return Met::Known;
        }
        if self.gone.contains(boot_id) {
            return Met::Zombie;
        }
        if self.gone.len() == GONE {
            self.gone.pop_front();
        }
        self.gone.extend(self.current.replace(Arc::clone(boot_id)));
        Met::New
    }

    /// The boot id of the one that speaks, if it has said so.
    pub(super) const fn current(&self) -> Option<&Arc<str>> {
        self.current.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_been_followed_does_not_come_back() {
        let mut incarnation = Incarnation::default();
        let mut meet = |boot_id: &str| incarnation.meet(&Arc::from(boot_id));
        assert_eq!([meet("a"), meet("a"), meet("b"), meet("b")], [Met::Known, Met::Known, Met::New, Met::Known]);
        assert_eq!([meet("a"), meet("b"), meet("c"), meet("b")], [Met::Zombie, Met::Known, Met::New, Met::Zombie]);
    }

    #[test]
    fn only_the_last_few_are_remembered() {
        let mut incarnation = Incarnation::default();
        let ids: Vec<Arc<str>> = (0..6).map(|n| Arc::from(format!("boot-{n}"))).collect();
        for id in &ids {
            incarnation.meet(id);
        }
        assert_eq!(incarnation.gone.len(), GONE);
        assert_eq!(incarnation.meet(&ids[1]), Met::Zombie);
        assert_eq!(incarnation.meet(&ids[0]), Met::New, "forgotten, and so taken for new");
    }
}

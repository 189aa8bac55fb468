//! Decides whether an endpoint that speaks is the one that spoke last, one that was started since, or one that is gone.
//!
//! A process that was restarted has an empty cache and none of its predecessor's habits; a process that was replaced and still
//! speaks would keep its successor's place alive. A boot id, drawn anew at every start, tells them apart. It has no order,
//! so the last few are remembered: who has been followed by another one does not come back.
//!
//! Unless several processes share the address, behind a balancer or one port: then their answers to probes come by turns, and
//! none of them has followed another. A pushed beat is the word of one process, and no sign of that.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::health::seldom::Usual;

/// How many boot ids are remembered of those that are gone.
const GONE: usize = 4;

/// Longest boot id, in bytes; longer ones are cut, so that an endpoint cannot make us keep more.
pub const MAX_BOOT_ID: usize = 64;

/// So many turns from one boot id to another in the answers to probes, each soon after the one before, are too many for restarts,
/// if somebody came back meanwhile.
const TURNS: u8 = 4;
/// The same if nobody came back, as where more processes share an address than are remembered.
const TURNS_OF_MANY: u8 = 12;
/// So many answers in a row of one process say that it is alone.
const ALONE: u8 = 16;

/// Who speaks at one address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Incarnation {
    current: Option<Arc<str>>,
    gone: VecDeque<Arc<str>>,
    #[serde(default)]
    turns: Turns,
}

/// How the boot ids in answers to probes follow each other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Turns {
    last: Option<Arc<str>>,
    /// Answers in a row with the same one.
    same: u8,
    turned: u8,
    returned: bool,
    shared: bool,
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
    /// One of several that share the address.
    Shared,
}

impl Usual for Incarnation {
    const USUAL: &'static Self = &Self {
        current: None,
        gone: VecDeque::new(),
        turns: Turns { last: None, same: 0, turned: 0, returned: false, shared: false },
    };
}

impl Incarnation {
    /// Takes in the boot id in the answer to a probe.
    pub(super) fn answer(&mut self, boot_id: &Arc<str>) -> Met {
        let met = self.follow(boot_id);
        self.turns.take(boot_id, met);
        if self.turns.shared { Met::Shared } else { met }
    }

    /// Whether several processes share the address.
    pub(super) const fn is_shared(&self) -> bool {
        self.turns.shared
    }

    /// Takes in the boot id of a beat.
    pub(super) fn meet(&mut self, boot_id: &Arc<str>) -> Met {
        if self.turns.shared { Met::Shared } else { self.follow(boot_id) }
    }

    fn follow(&mut self, boot_id: &Arc<str>) -> Met {
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

impl Turns {
    fn take(&mut self, boot_id: &Arc<str>, met: Met) {
        self.returned |= met == Met::Zombie;
        if self.last.as_ref() == Some(boot_id) {
            self.same = self.same.saturating_add(1);
            if self.same >= ALONE {
                *self = Self { last: self.last.take(), same: self.same, ..Self::default() };
            }
            return;
        }
        if self.last.replace(Arc::clone(boot_id)).is_some() {
            self.turned = self.turned.saturating_add(1);
        }
        self.same = 1;
        self.shared |= self.turned >= if self.returned { TURNS } else { TURNS_OF_MANY };
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

    /// Takes in answers to probes; each letter is a process.
    fn answers(text: &str) -> (Vec<Met>, Incarnation) {
        let mut incarnation = Incarnation::default();
        let met = text.chars().map(|name| incarnation.answer(&name.to_string().into())).collect();
        (met, incarnation)
    }

    #[test]
    fn processes_that_answer_by_turns_share_an_address() {
        for (text, shared) in [
            ("aaaabbbbbbbbbbbbbbbb", false),
            ("aababa", true),
            ("abcabc", true),
            ("abcdefghijklm", true),
            ("abcdefgh", false),
            ("abab", false),
            ("ababaaaaaaaaaaaaaaaa", false),
            ("aaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(answers(text).1.is_shared(), shared, "{text}");
        }
        let (met, mut both) = answers("ababab");
        assert_eq!(met, [Met::Known, Met::New, Met::Zombie, Met::Known, Met::Shared, Met::Shared]);
        for _ in 0..ALONE {
            assert_eq!(both.answer(&"c".into()), if both.is_shared() { Met::Shared } else { Met::Known });
        }
        assert!(!both.is_shared(), "one is alone");
        assert_eq!(both.answer(&"a".into()), Met::Zombie);
    }
}

//! What is remembered of one endpoint: the last signals that moved it and every transition.
//!
//! An operator asks why an endpoint is out minutes after it went. Ordinary passes, and failures of what has long failed,
//! are left out, since two minutes of them would push out the one entry that explains the rest.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::health::verdict::State;

/// Entries that are kept per endpoint.
pub const HISTORY: usize = 64;

/// What there is room for at first: a first probe, and what followed from it.
const FEW: usize = 2;

/// Longest detail of an entry or a reason, in bytes: text that came from an endpoint is cut there.
const DETAIL: usize = 256;

/// What an entry tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run of a probe.
    Probe,
    /// A report that counted towards a rule, or moved one.
    Report,
    /// What a rule with `enforce: false` would have done.
    WouldBe,
    /// Live traffic was refused a connection.
    Refused,
    /// Live traffic had its connection reset.
    Reset,
    /// Live traffic was answered by an endpoint that had been refusing it.
    Answered,
    /// It fell silent, or was heard again.
    Silence,
    /// Its requests fared badly, or well again.
    Outlier,
    /// Another process answers than before.
    Process,
    /// Its verdict was held back, or believed.
    Held,
    /// A hold for coming and going began or ended.
    Damped,
    /// Of heartbeats: one that moved something, or that they stopped.
    Heartbeat,
    /// The operator spoke, or an order of theirs ran out.
    Operator,
    /// It asked for another state.
    Asks,
    /// A soft ejection was withheld.
    Withheld,
    /// Verdicts of the cluster were frozen.
    Freeze,
    /// And thawed.
    Thaw,
    /// What it says that it is among its siblings, and what it is taken for.
    Role,
    /// We stood still ourselves, and nobody is judged for it.
    Stall,
    /// The state changed.
    Transition,
}

impl Kind {
    /// Every kind.
    pub(super) const ALL: [Self; 20] = [
        Self::Probe,
        Self::Report,
        Self::WouldBe,
        Self::Refused,
        Self::Reset,
        Self::Answered,
        Self::Silence,
        Self::Outlier,
        Self::Process,
        Self::Held,
        Self::Damped,
        Self::Heartbeat,
        Self::Operator,
        Self::Asks,
        Self::Withheld,
        Self::Freeze,
        Self::Thaw,
        Self::Role,
        Self::Stall,
        Self::Transition,
    ];

    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Report => "report",
            Self::WouldBe => "would_be",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Answered => "answered",
            Self::Silence => "silence",
            Self::Outlier => "outlier",
            Self::Process => "process",
            Self::Held => "held",
            Self::Stall => "stall",
            Self::Damped => "damped",
            Self::Heartbeat => "heartbeat",
            Self::Operator => "operator",
            Self::Asks => "asks",
            Self::Withheld => "withheld",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Role => "role",
            Self::Transition => "transition",
        }
    }
}

/// One thing that happened to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// The probe, if it was one.
    pub probe: Option<Arc<str>>,
    /// `pass`, `fail` or `void`, if it was a probe.
    pub result: Option<&'static str>,
    /// The state left, if it was a transition.
    pub from: Option<State>,
    /// The state entered, if it was a transition.
    pub to: Option<State>,
    /// A sentence with the figures, at most 256 bytes.
    pub detail: Box<str>,
}

impl Entry {
    /// An entry without probe or states.
    pub(super) fn new(at: Timestamp, kind: Kind, detail: impl Into<String>) -> Self {
        Self { at, kind, probe: None, result: None, from: None, to: None, detail: clip(detail.into()).into() }
    }
}

/// The last [`HISTORY`] entries of one endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
}

impl History {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() == HISTORY {
            self.entries.pop_front();
        }
        if self.entries.len() == self.entries.capacity() {
            // Thousands of endpoints have come up once, and nothing has happened since.
            self.entries.reserve_exact(FEW.max(self.entries.len()).min(HISTORY - self.entries.len()));
        }
        self.entries.push_back(entry);
    }

    /// The same unless the newest entry is of this kind: what is said again and again is said once.
    pub(super) fn push_once(&mut self, entry: Entry) {
        if self.entries.back().is_none_or(|last| last.kind != entry.kind) {
            self.push(entry);
        }
    }

    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }

    /// Oldest first.
    pub(super) fn to_vec(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }
}

/// Cuts a text at the last whole character within the bound of a detail.
pub(super) fn clip(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(DETAIL));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_entries() {
        let mut history = History::default();
        for n in 0..100 {
            history.push(Entry::new(Timestamp::from_millis(n), Kind::Reset, ""));
        }
        let kept = history.to_vec();
        assert_eq!((kept.len(), kept[0].at, kept[63].at), (64, Timestamp::from_millis(36), Timestamp::from_millis(99)));
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        assert_eq!(clip("é".repeat(300)).len(), 256);
        assert_eq!(clip(format!("x{}", "é".repeat(300))).len(), 255);
        assert_eq!(clip("short".to_owned()), "short");
    }
}

//! Keeps what one endpoint last said that it is among its siblings.
//!
//! What it does not mention stays as it was said, until that is too old: a report's word for as long as reports count, a
//! heartbeat's for its time to live. Who turns out to be another process, or gone, has said nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::health::policy::{LeaderPolicy, Policy};

/// What one endpoint says that it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Role(Option<Box<Said>>);

/// Its last word.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) word: Arc<str>,
    pub(super) epoch: Option<u64>,
    pub(super) at: Timestamp,
    source: Source,
}

/// Where it said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Source {
    Report,
    Beat,
}

impl Role {
    /// It has said what it is. Returns that in words if it is news; what is older than the last word changes nothing.
    pub(super) fn hear(&mut self, word: &Arc<str>, epoch: Option<u64>, at: Timestamp, source: Source) -> Option<String> {
        let before = self.0.take();
        if before.as_ref().is_some_and(|before| at < before.at) {
            self.0 = before;
            return None;
        }
        let same = before.is_some_and(|before| before.word == *word && before.epoch == epoch);
        self.0 = Some(Box::new(Said { word: Arc::clone(word), epoch, at, source }));
        let epoch = epoch.map(|epoch| format!(" in epoch {epoch}")).unwrap_or_default();
        (!same).then(|| format!("says that it is {word:?}{epoch}"))
    }

    /// Its last word.
    pub(super) fn said(&self) -> Option<&Said> {
        self.0.as_deref()
    }

    /// Its last word, if that says that it leads.
    pub(super) fn claim(&self, policy: &LeaderPolicy) -> Option<&Said> {
        self.0.as_deref().filter(|said| policy.leads(&said.word))
    }

    /// Whoever said it is gone.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Lets time pass. Returns whether its last word has become too old.
    pub(super) fn expire(&mut self, now: Timestamp, policy: &Policy) -> bool {
        let old = self.ends(policy).is_some_and(|at| at <= now);
        if old {
            self.0 = None;
        }
        old
    }

    /// When its last word becomes too old.
    pub(super) fn ends(&self, policy: &Policy) -> Option<Timestamp> {
        let said = self.0.as_ref()?;
        let life = match (said.source, &policy.heartbeat) {
            (Source::Beat, Some(heartbeat)) => heartbeat.ttl,
            (Source::Report, _) | (Source::Beat, None) => policy.report_max_age,
        };
        Some(said.at + life)
    }
}

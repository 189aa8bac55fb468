//! All that is known, as one process tells it to the next.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::control::orders::Orders;
use crate::health;

/// Orders and beliefs.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) orders: Orders,
    /// By cluster, then by endpoint's address.
    pub(super) clusters: HashMap<String, HashMap<String, health::Memory>>,
}

impl Memory {
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).inspect_err(|error| tracing::warn!(%error, "what another process knew cannot be read")).ok()
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

//! Counts panics. A panic is a bug; it costs one task, one log line and one count, never the process.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Installs the hook that counts and logs; once, at start.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Relaxed);
        tracing::error!(target: "pulsegate::panic", "a bug ended a task: {info}");
    }));
}

/// Panics since start.
#[must_use]
pub fn count() -> u64 {
    PANICS.load(Relaxed)
}

//! How many descriptors the system grants.
//!
//! A login shell or a container often starts with room for 1024 and leave to ask for far more. A proxy that does not ask
//! stops accepting at some five hundred exchanges at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of descriptors to what is allowed.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(from = ?current, to = ?maximum, "descriptors"),
        Err(error) => tracing::warn!(%error, limit = ?current, "the number of descriptors stays as it is"),
    }
}

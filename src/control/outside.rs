//! What a reload changes beyond control's own: sockets, threads, logs.
//!
//! A reload is all or nothing, so whatever can fail is got ready before anything takes effect: an address that is taken
//! refuses the reload, and does not leave it half made.

use std::sync::Arc;

use crate::config::Config;
use crate::net::listen::ListenSocket;

/// The rest of the process, as a reload sees it. It is called on control's thread and must not wait.
pub trait Outside: Send + std::fmt::Debug {
    /// Gets ready what `new` needs and is not there yet. Nothing that serves changes.
    ///
    /// # Errors
    /// Everything that `new` cannot have, one line each.
    fn prepare(&mut self, new: &Config) -> Result<(), Vec<String>>;

    /// Brings what was prepared into force; the world of `new` has been published.
    fn commit(&mut self, new: &Config);

    /// Lets go of what was prepared.
    fn abandon(&mut self);

    /// The socket that votes of the fleet come in by, if there is a fleet.
    fn votes(&self) -> Option<Arc<ListenSocket>>;

    /// The sockets that heartbeats come in by, in the order of the configuration.
    fn heartbeats(&self) -> Vec<Arc<ListenSocket>>;
}

/// Nothing but control: for tests.
#[derive(Debug)]
pub struct Nothing;

impl Outside for Nothing {
    fn prepare(&mut self, _: &Config) -> Result<(), Vec<String>> {
        Ok(())
    }

    fn commit(&mut self, _: &Config) {}

    fn abandon(&mut self) {}

    fn votes(&self) -> Option<Arc<ListenSocket>> {
        None
    }

    fn heartbeats(&self) -> Vec<Arc<ListenSocket>> {
        Vec::new()
    }
}

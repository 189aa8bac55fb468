//! What control is given at its start: the configuration, and the ways to everybody else.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cluster::{Dropped, Live, RecallSender, SignalQueue};
use crate::config::Config;
use crate::control::outside::Outside;
use crate::heartbeat::Identity;

/// What control starts with.
#[derive(Debug)]
pub struct Setup {
    /// The configuration to begin with.
    pub config: Config,
    /// The file it came from, to be read anew on a reload.
    pub source: Option<PathBuf>,
    /// The world, empty as yet.
    pub live: Arc<Live>,
    /// What workers tell.
    pub signals: SignalQueue,
    /// What they could not tell.
    pub dropped: Arc<Dropped>,
    /// A way to every worker.
    pub recalls: RecallSender,
    /// What a reload changes besides.
    pub outside: Box<dyn Outside>,
    /// What the process knew that is handing over.
    pub memory: Option<String>,
    /// Who answers heartbeats.
    pub proxy: Identity,
}

//! Where log lines go and how they look.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::model::{Log, LogFormat};

/// Logs to standard error from now on. A subscriber that is there already stays.
pub(super) fn install(log: &Log) {
    let level = log.level.as_str();
    // What libraries have to say about every connection is noise even at our own most talkative level.
    let filter = EnvFilter::new(format!("error,pulsegate={level}"));
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let text = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let installed = if text { lines.finish().try_init() } else { lines.json().flatten_event(true).finish().try_init() };
    if installed.is_err() {
        tracing::debug!("a log subscriber was there already");
    }
}

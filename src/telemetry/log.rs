//! Where log lines go and how they look, both of which a reload may change.
//!
//! They are written by a thread of their own from a bounded queue: whoever reads our standard error and stops reading
//! must stop neither control nor a worker. What does not fit is dropped and counted.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::model::{Log, LogFormat};

/// So many lines may wait to be written.
const WAITING: usize = 10_000;

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// What a change needs.
struct Installed {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: reload::Handle<Lines, Filtered>,
    writer: NonBlocking,
    dropped: ErrorCounter,
}

/// Logs to standard error from now on, and writes what waits when the guard is dropped. A subscriber that is there already stays.
pub fn install(log: &Log) -> Option<WorkerGuard> {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).thread_name("log");
    let (writer, guard) = builder.finish(std::io::stderr());
    let dropped = writer.error_counter();
    let (filter, filter_handle) = reload::Layer::new(filter(log));
    let (lines, lines_handle) = reload::Layer::new(lines(log, writer.clone()));
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        tracing::debug!("a log subscriber was there already");
        return None;
    }
    INSTALLED.set(Installed { filter: filter_handle, lines: lines_handle, writer, dropped }).ok().map(|()| guard)
}

/// Logs in another way from now on, if [`install`] was called.
pub fn change(log: &Log) {
    let Some(installed) = INSTALLED.get() else { return };
    let lines = lines(log, installed.writer.clone());
    if let Err(error) = installed.filter.reload(filter(log)).and_then(|()| installed.lines.reload(lines)) {
        tracing::error!(%error, "the log stays as it was");
    }
}

/// Lines that found no place in the queue.
#[must_use]
pub fn dropped() -> u64 {
    INSTALLED.get().map_or(0, |installed| u64::try_from(installed.dropped.dropped_lines()).unwrap_or(u64::MAX))
}

/// What libraries have to say about every connection is noise even at our own most talkative level.
fn filter(log: &Log) -> EnvFilter {
    EnvFilter::new(format!("error,pulsegate={}", log.level.as_str()))
}

fn lines(log: &Log, writer: NonBlocking) -> Lines {
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal);
    if text { lines.boxed() } else { lines.json().flatten_event(true).boxed() }
}

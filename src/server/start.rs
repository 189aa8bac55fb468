//! The order in which a process comes up: find clashes, watch, wait for first verdicts, then listen.
//!
//! A proxy that listens before it knows anything answers 503 to whoever was sent to it by a load balancer that trusts
//! an open port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Dropped, Live, Phase, Recall, signals};
use crate::config::Config;
use crate::control::{self, Handle};
use crate::heartbeat::Identity;
use crate::proxy::Scribe;
use crate::runtime::clock;
use crate::server::Fatal;
use crate::server::crew::Tools;
use crate::server::inherit::Inheritance;
use crate::server::premises::{Premises, workers};
use crate::server::running::{Running, Threads};

/// How long first verdicts are waited for.
const FIRST_VERDICTS: Duration = Duration::from_secs(10);

/// Longest name of this machine that is told, in characters.
const LONGEST_NAME: usize = 64;

/// What a process starts with.
#[derive(Debug)]
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// The file it came from, for reloads; `None` if it came from the command line.
    pub source: Option<PathBuf>,
}

/// Brings everything up inside this process, without logs or signal handlers: for the demo and for tests.
///
/// It returns when the listeners listen, which is when every cluster has had its first verdicts, at the latest after 10 s.
/// Dropping what it returns, or the future, ends everything at once.
///
/// # Errors
/// If an address cannot be listened on, or the system gives no thread.
pub async fn start_in_process(options: Options) -> Result<Running, Fatal> {
    start(options, Inheritance::default()).await
}

/// The same, with what others have left to this process.
pub(super) async fn start(options: Options, inheritance: Inheritance) -> Result<Running, Fatal> {
    let began = clock::now();
    let Inheritance { sockets, memory, predecessor } = inheritance;
    let Options { config, source } = options;
    let dropped = Arc::new(Dropped::default());
    let (reporter, queue) = signals(Arc::clone(&dropped));
    let (live, recalls) = (Arc::new(Live::new()), Recall::queue());
    let scribe = Scribe::start(reporter.clone())?;
    let tools = Tools { live: Arc::clone(&live), reporter, recalls: recalls.clone(), access: scribe.log() };
    let (premises, working) = Premises::new(&config, source.clone(), sockets, scribe, tools)?;
    let (listeners, admin, metrics) = premises.addresses();
    let heartbeats = premises.heartbeat_addresses();
    for address in &heartbeats {
        tracing::info!(%address, "taking heartbeats in");
    }

    let outside = Box::new(premises.clone());
    let setup = control::Setup { config, source, live, signals: queue, dropped, recalls, outside, memory, proxy: identity() };
    let (handle, control) = control::start(setup)?;
    let threads = Threads { control: Some(control), premises, working };
    threads.premises.open_admin(&handle.config(), &handle)?;
    tracing::info!(
        admin_address = admin.map(tracing::field::display),
        metrics_address = metrics.map(tracing::field::display),
        "admin interface listens"
    );

    wait_for_verdicts(&handle).await;
    if let Some(predecessor) = predecessor {
        predecessor.take_over(&handle).await;
        handle.hear_heartbeats(true).await;
    }
    threads.premises.open(&handle.config())?;
    handle.live().enter(Phase::Ready);
    for listener in &listeners {
        tracing::info!(listener = &*listener.name, address = %listener.address, "listening");
    }
    let took = clock::now().since(began);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers = workers(&handle.config()), ?took, "started");
    let admin = admin.expect("every configuration has an admin address");
    Ok(Running { handle, listeners, admin, metrics, heartbeats, threads: Some(threads), left: false })
}

/// What we are called where we answer heartbeats: the name of the machine, and a number of this start.
fn identity() -> Identity {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().take(LONGEST_NAME).collect();
    let boot_id = format!("{:016x}", fastrand::Rng::new().u64(..));
    Identity { name: name.into(), boot_id: boot_id.into() }
}

async fn wait_for_verdicts(handle: &Handle) {
    if tokio::time::timeout(FIRST_VERDICTS, handle.settled()).await.is_err() {
        tracing::warn!(waited = ?FIRST_VERDICTS, "some endpoints have no first verdict yet; listening all the same");
    }
}

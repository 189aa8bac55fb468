//! The order in which a process comes up: find clashes, watch, wait for first verdicts, then listen.
//!
//! A proxy that listens before it knows anything answers 503 to whoever was sent to it by a load balancer that trusts
//! an open port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::cluster::{Dropped, Live, Phase, Recall, RecallReceiver, Reporter, signals};
use crate::config::Config;
use crate::control::{self, Handle};
use crate::proxy::{self, Stage};
use crate::runtime::{clock, thread};
use crate::server::running::{Running, Threads};
use crate::server::sockets::{Sockets, bind_all, bind_one, try_all};
use crate::server::{Fatal, edge};

/// How long first verdicts are waited for.
const FIRST_VERDICTS: Duration = Duration::from_secs(10);

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
    let began = clock::now();
    let Options { config, source } = options;
    try_all(&config.listeners)?;
    let (admin, admin_address) = bind_one("admin", config.admin.address)?;
    let metrics = config.metrics.map(|address| bind_one("metrics", address)).transpose()?;
    let (metrics, metrics_address) = metrics.unzip();

    let workers = config.workers.unwrap_or_else(available_cpus);
    let dropped = Arc::new(Dropped::default());
    let (reporter, queue) = signals(Arc::clone(&dropped));
    let recalls = Recall::queue();
    let recalled = (0..workers).map(|_| recalls.subscribe()).collect();
    let listeners = config.listeners.clone();
    let token = config.admin.token.clone();
    let live = Arc::new(Live::new());
    let setup = control::Setup { config, source, live, signals: queue, dropped, recalls };
    let (handle, control) = control::start(setup)?;
    let mut threads = Threads::new(control);
    threads.edge = Some(edge::start(admin, metrics, handle.clone(), token)?);
    tracing::info!(%admin_address, metrics_address = metrics_address.map(tracing::field::display), "admin interface listens");

    wait_for_verdicts(&handle).await;
    let (bound, sockets) = bind_all(&listeners, workers)?;
    threads.stage = start_workers(&mut threads, &handle, &reporter, recalled, sockets)?;
    handle.live().enter(Phase::Ready);
    for listener in &bound {
        tracing::info!(listener = &*listener.name, address = %listener.address, "listening");
    }
    let took = clock::now().since(began);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers, ?took, "started");
    Ok(Running { handle, listeners: bound, admin: admin_address, metrics: metrics_address, threads })
}

fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

async fn wait_for_verdicts(handle: &Handle) {
    if tokio::time::timeout(FIRST_VERDICTS, handle.settled()).await.is_err() {
        tracing::warn!(waited = ?FIRST_VERDICTS, "some endpoints have no first verdict yet; listening all the same");
    }
}

fn start_workers(
    threads: &mut Threads,
    handle: &Handle,
    reporter: &Reporter,
    recalls: Vec<RecallReceiver>,
    sockets: Vec<Sockets>,
) -> Result<watch::Sender<Stage>, Fatal> {
    let stage = watch::Sender::new(Stage::Serving);
    // Nothing is ever sent: the receiver learns from the last sender's end that no worker is left.
    let (working, workers) = mpsc::channel(1);
    for (index, (recall, sockets)) in recalls.into_iter().zip(sockets).enumerate() {
        let setup = proxy::Setup {
            index,
            live: Arc::clone(handle.live()),
            reporter: reporter.clone(),
            recall,
            sockets,
            stage: stage.subscribe(),
        };
        let working = working.clone();
        let thread = thread::spawn(&format!("worker-{index}"), move || async move {
            proxy::worker(setup).await;
            drop(working);
        })?;
        threads.workers.push(thread);
    }
    threads.working = Some(workers);
    Ok(stage)
}

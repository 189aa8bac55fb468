//! A whole process: wiring, phases, start, drain and signals.
//!
//! Nothing is decided here about requests or health. What is decided is order: what must be there before the first
//! request is accepted, and what must be over before the last thread ends.
//!
//! | file | owns |
//! |---|---|
//! | `start` | how everything comes up |
//! | `running` | what is up, and how it goes down |
//! | `sockets` | listening sockets and the trial for clashes |
//! | `certificates` | certificates read again when their files change |
//! | `edge` | the thread of the admin interface |
//! | `signals`, `log`, `fatal` | what the system says, and what we say |

mod certificates;
mod edge;
mod fatal;
mod log;
mod running;
mod signals;
mod sockets;
mod start;
#[cfg(test)]
mod tests;

pub use fatal::Fatal;
pub use running::Running;
pub use sockets::Bound;
pub use start::{Options, start_in_process};

use crate::control::Handle;
use crate::runtime::{panics, task, thread};
use signals::Signals;

/// Runs a process until SIGTERM, SIGINT or an order to drain has ended it, and everything it had to finish is finished.
///
/// # Errors
/// If it cannot start.
pub fn run(options: Options) -> Result<(), Fatal> {
    log::install(&options.config.log);
    panics::install();
    thread::block_on(live(options))?
}

async fn live(options: Options) -> Result<(), Fatal> {
    let mut signals = Signals::new()?;
    let mut running = tokio::select! {
        running = start_in_process(options) => running?,
        signal = signals.end() => {
            tracing::info!(signal, "stopped before it had started");
            return Ok(());
        }
    };
    serve(&mut running, &mut signals).await;
    running
        .drain(async move {
            signals.end().await;
        })
        .await;
    Ok(())
}

/// Waits for a reason to end. SIGHUP is none: it reloads.
async fn serve(running: &mut Running, signals: &mut Signals) {
    let handle = running.handle.clone();
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Some(signal) => return tracing::info!(signal, "draining"),
                None => reload(handle.clone()),
            },
            () = handle.drain_asked() => return tracing::info!("draining, as ordered"),
            () = running.without_workers() => return tracing::error!("every worker has ended by a bug"),
        }
    }
}

fn reload(handle: Handle) {
    // Control logs what came of it.
    drop(task::spawn(async move { handle.reload().await }));
}

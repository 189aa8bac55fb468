//! A whole process: wiring, phases, start, drain and signals.
//!
//! Nothing is decided here about requests or health. What is decided is order: what must be there before the first
//! request is accepted, and what must be over before the last thread ends.
//!
//! | file | owns |
//! |---|---|
//! | `start` | how everything comes up |
//! | `running` | what is up, and how it goes down |
//! | `premises` | everything besides health, and how a reload changes it |
//! | `certificates` | certificates read again when their files change |
//! | `sockets`, `crew`, `edge` | listening sockets, the workers on them, the thread of the admin interface |
//! | `inherit`, `upgrade` | what was left to us, and how we hand over |
//! | `watch` | whether the configuration file has changed |
//! | `signals`, `limits`, `fatal` | what the system says and grants, and what we say |

mod certificates;
mod crew;
mod edge;
mod fatal;
mod inherit;
mod limits;
mod premises;
mod running;
mod signals;
mod sockets;
mod start;
#[cfg(test)]
mod tests;
mod upgrade;
mod watch;

pub use fatal::Fatal;
pub use running::Running;
pub use sockets::Bound;
pub use start::{Options, start_in_process};

use crate::control::Handle;
use crate::runtime::{panics, task, thread};
use crate::telemetry::log;
use inherit::Inheritance;
use premises::Premises;
use signals::{Signals, Word};
use upgrade::Program;

/// Runs a process until SIGTERM, SIGINT or an order to drain has ended it, or another program has taken over, and everything
/// it had to finish is finished.
///
/// # Errors
/// If it cannot start.
pub fn run(options: Options) -> Result<(), Fatal> {
    let inheritance = Inheritance::take().map_err(Fatal::Inherit)?;
    let program = Program::running()?;
    // What waits to be written is written when this ends.
    let _log = log::install(&options.config.log);
    panics::install();
    limits::raise();
    thread::block_on(live(options, inheritance, program))?
}

async fn live(options: Options, inheritance: Inheritance, program: Program) -> Result<(), Fatal> {
    let mut signals = Signals::new()?;
    let mut running = tokio::select! {
        running = start::start(options, inheritance) => running?,
        signal = signals.end() => {
            tracing::info!(signal, "stopped before it had started");
            return Ok(());
        }
    };
    if serve(&mut running, &mut signals, &program).await {
        running.leave().await;
    }
    running
        .drain(async move {
            signals.end().await;
        })
        .await;
    Ok(())
}

/// Waits for a reason to end. Whether another process serves now.
async fn serve(running: &mut Running, signals: &mut Signals, program: &Program) -> bool {
    let handle = running.handle.clone();
    loop {
        tokio::select! {
            word = signals.next() => match word {
                Word::End(signal) => {
                    tracing::info!(signal, "draining");
                    return false;
                }
                Word::Reload => {
                    running.premises().into_iter().for_each(Premises::reopen_log);
                    reload(handle.clone());
                }
                Word::Upgrade => match upgrade(running, signals, program).await {
                    Ok(upgraded) => return upgraded,
                    Err(error) => tracing::error!(%error, "the upgrade failed; this process goes on as before"),
                },
            },
            () = handle.drain_asked() => {
                tracing::info!("draining, as ordered");
                return false;
            }
            () = running.without_workers() => {
                tracing::error!("every worker has ended by a bug");
                return false;
            }
        }
    }
}

/// Hands over. Whether that came about, or an end was asked for meanwhile.
async fn upgrade(running: &Running, signals: &mut Signals, program: &Program) -> std::io::Result<bool> {
    tracing::info!(?program, "upgrading");
    let Some(premises) = running.premises() else { return Ok(false) };
    tokio::select! {
        handed = upgrade::hand_over(program, premises, &running.handle) => {
            tracing::info!(pid = handed?, "another process serves now; finishing what is under way here");
            Ok(true)
        }
        signal = signals.end() => {
            tracing::info!(signal, "draining, and not upgrading");
            Ok(false)
        }
    }
}

fn reload(handle: Handle) {
    // Control logs what came of it.
    drop(task::spawn(async move { handle.reload().await }));
}

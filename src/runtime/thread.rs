//! Threads with a runtime of their own: the workers, control, and the admin thread.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

/// Starts a thread that runs one future, and what that spawns, on a runtime of its own, until the future ends.
///
/// # Errors
/// If the system gives no thread or no event queue.
pub fn spawn<M, F>(name: &str, make: M) -> io::Result<JoinHandle<()>>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(256).max_blocking_threads(4).build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        tokio::task::LocalSet::new().block_on(&runtime, make());
        // A name lookup that hangs must not hold up the end.
        runtime.shutdown_background();
    })
}

/// Runs a future on this thread until it ends, with local tasks allowed.
///
/// # Errors
/// If the system gives no event queue.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = tokio::task::LocalSet::new().block_on(&runtime, future);
    runtime.shutdown_background();
    Ok(output)
}

//! Threads with a runtime of their own: the workers, control, and the admin thread.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::runtime::{clock, grid, rest};

/// Pause after a bug, so that one that comes again at once does not take the whole machine.
const AFTER_BUG: Duration = Duration::from_millis(100);
/// Timers of a runtime that has just been built began to count that long ago at most: half of the millisecond that they are exact to.
const SINCE: Duration = Duration::from_micros(500);

/// Starts a thread that runs one future, and what that spawns, on a runtime of its own, until the future ends.
///
/// # Errors
/// If the system gives no thread or no event queue.
pub fn spawn<M, F>(name: &str, make: M) -> io::Result<JoinHandle<()>>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let runtime = runtime()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || run(runtime, make()))
}

/// The same, but when a bug ends the future, another one is made and run.
///
/// # Errors
/// If the system gives no thread or no event queue.
pub fn spawn_lasting<M, F>(name: &str, make: M) -> io::Result<JoinHandle<()>>
where
    M: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = ()>,
{
    let first = runtime()?;
    let name = name.to_owned();
    std::thread::Builder::new().name(name.clone()).spawn(move || {
        let mut lived = catch_unwind(AssertUnwindSafe(|| run(first, make()))).is_ok();
        while !lived {
            tracing::error!(thread = name, "a thread ended by a bug; it begins anew");
            std::thread::sleep(AFTER_BUG);
            // On a thread of its own: what belongs to this one is as the bug left it.
            lived = std::thread::scope(|scope| {
                let life = || runtime().map(|runtime| run(runtime, make()));
                let begun = std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, life);
                begun.is_ok_and(|thread| matches!(thread.join(), Ok(Ok(()))))
            });
        }
    })
}

/// A runtime, and a moment shortly before its timers began to count.
fn runtime() -> io::Result<(Runtime, Instant)> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .event_interval(256)
        .max_blocking_threads(4)
        .on_thread_park(rest::rest)
        .on_thread_unpark(rest::wake)
        .build()?;
    // Its timers are the last that is made. What is made before can take long, such as room for one more descriptor.
    let built = clock::instant_now();
    Ok((runtime, built.checked_sub(SINCE).unwrap_or(built)))
}

fn run((runtime, began): (Runtime, Instant), future: impl Future<Output = ()>) {
    grid::begin(began);
    tokio::task::LocalSet::new().block_on(&runtime, future);
    // A name lookup that hangs must not hold up the end.
    runtime.shutdown_background();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::runtime::{clock, timer};

    #[test]
    fn a_bug_is_not_the_end_of_a_thread_that_must_last() {
        let lives = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&lives);
        let thread = spawn_lasting("lasting", move || {
            let life = count.fetch_add(1, Relaxed);
            async move {
                let before = clock::now();
                // Timers are the thread's own, and must run in every life.
                timer::sleep(Duration::from_millis(1)).await;
                assert!(clock::now() > before);
                assert!(life > 1, "a bug");
            }
        });
        thread.unwrap().join().unwrap();
        assert_eq!(lives.load(Relaxed), 3);
    }
}

//! Tasks of the thread they are started on.

use std::future::Future;

use tokio::task::{AbortHandle, JoinHandle};

/// Starts a task on this thread's runtime; it ends with the thread at the latest.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the function that everybody else uses")]
    tokio::task::spawn_local(future)
}

/// A task that ends when its handle is dropped.
#[derive(Debug)]
pub struct Owned(AbortHandle);

impl Owned {
    /// Starts a task that lives as long as the returned handle.
    #[must_use]
    pub fn spawn<F>(future: F) -> Self
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Self(spawn(future).abort_handle())
    }

    /// Whether the task has ended by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

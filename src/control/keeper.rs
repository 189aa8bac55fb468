//! Writes the state file, on a thread of its own: control must not wait for a disk.
//!
//! Whoever gave an order is answered when it is written: an order that was confirmed and then forgotten is worse than none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// How many states may wait to be written: more than there may be orders on their way.
const WAITING: usize = 256;

/// The way to the thread, which ends with it.
#[derive(Debug)]
pub(super) struct Keeper(SyncSender<Job>);

struct Job {
    file: PathBuf,
    text: String,
    then: Box<dyn FnOnce() + Send>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let (queue, jobs) = sync_channel::<Job>(WAITING);
        std::thread::Builder::new().name("state".to_owned()).spawn(move || {
            for Job { file, text, then } in jobs {
                if let Err(error) = write(&file, &text) {
                    tracing::error!(%error, file = %file.display(), "the state file cannot be written; orders will not survive a restart");
                }
                then();
            }
        })?;
        Ok(Self(queue))
    }

    /// Writes, and then does what is to be done then; at once, if too much waits already.
    pub(super) fn keep(&self, file: &Path, text: String, then: Box<dyn FnOnce() + Send>) {
        let job = Job { file: file.to_owned(), text, then };
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.0.try_send(job) {
            tracing::error!(file = %job.file.display(), "the state file is not written; its disk is too slow");
            (job.then)();
        }
    }
}

/// Nobody ever sees half a file, not even after a loss of power.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    let mut written = File::create(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(new, file)
}

/// The text of a state file; none if there is no such file.
pub(super) fn read(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

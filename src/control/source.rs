//! Where a configuration is read from when it is read anew.

use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::config::{self, Config};

/// The configuration file, if there is one.
#[derive(Debug, Clone)]
pub(super) struct Source(pub(super) Option<PathBuf>);

/// What reading it gave: a configuration, or all of its problems.
pub(super) type Read = Result<Config, Vec<String>>;

impl Source {
    /// Starts to read it on a thread of its own: control must not wait for a disk, nor for lookups that fill the runtime's pool.
    pub(super) fn read(&self) -> oneshot::Receiver<Read> {
        let (done, read) = oneshot::channel();
        let Some(file) = self.0.clone() else {
            let problem = "this configuration came from the command line: there is no file to read anew".to_owned();
            drop(done.send(Err(vec![problem])));
            return read;
        };
        let reading = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            let loaded = config::load(&file).map(|loaded| loaded.config);
            drop(done.send(loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect())));
        });
        if let Err(error) = reading {
            // The thread's end of the channel is gone with it, which the reader takes for a failure.
            tracing::error!(%error, "no thread to read the configuration on");
        }
        read
    }
}

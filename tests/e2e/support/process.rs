//! A program that runs until this is dropped, with all its children, and the signals it is sent.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::until;

/// The program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Process {
    /// Starts it in a process group of its own. What it prints goes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.process_group(0).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs what is missing"));
        Self { child, log: log.to_owned(), ended: false }
    }

    /// What it has printed so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal, by its name without SIG, to it and its children.
    pub(crate) fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" -- \"$1\"", name, &group]).status().unwrap();
        assert!(status.success(), "SIG{name} to {group}: {status}");
    }

    /// Kills it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if !self.ended {
            self.signal("KILL");
            self.child.wait().unwrap();
            self.ended = true;
        }
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn exit(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let (status, took) = until(limit, "the process ends", || self.child.try_wait().unwrap());
        self.ended = true;
        (status, took)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.ended = self.ended || self.child.try_wait().unwrap().is_some();
        self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A program that runs until this is dropped, with all its children, and the signals it is sent.

use std::os::fd::OwnedFd;
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

    /// The same, with this as its standard input.
    pub(crate) fn start_with(mut command: Command, input: OwnedFd, log: &Path) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.process_group(0).stdin(input).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
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

    /// Sends a signal to this one process of the group.
    pub(crate) fn signal_one(name: &str, pid: u32) {
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" -- \"$1\"", name, &pid.to_string()]).status().unwrap();
        assert!(status.success(), "SIG{name} to {pid}: {status}");
    }

    /// The processes of its group that run, the oldest first.
    pub(crate) fn group(&self) -> Vec<u32> {
        let group = self.child.id().to_string();
        let mut found: Vec<u32> = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
                // What stands before the last bracket is a name, and may be anything.
                let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
                (fields.get(2) == Some(&group.as_str()) && fields.first() != Some(&"Z")).then_some(pid)
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// Kills it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if !self.ended {
            self.signal("KILL");
            self.child.wait().unwrap();
            self.ended = true;
        }
        // It may have left its work to another one.
        for pid in self.group() {
            Self::signal_one("KILL", pid);
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

//! Signals of the system: SIGTERM and SIGINT end, SIGHUP reloads, SIGUSR2 upgrades.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals we listen for. From its making on they no longer kill the process.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Drain and end; the signal's name.
    End(&'static str),
    /// Read the configuration anew, and open the access log anew.
    Reload,
    /// Hand over to the program as it is now.
    Upgrade,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for SIGTERM or SIGINT, and gives its name. Nothing is lost if it is dropped.
    pub(super) async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for whichever comes next. Nothing is lost if it is dropped.
    pub(super) async fn next(&mut self) -> Word {
        tokio::select! {
            _ = self.terminate.recv() => Word::End("SIGTERM"),
            _ = self.interrupt.recv() => Word::End("SIGINT"),
            _ = self.hangup.recv() => Word::Reload,
            _ = self.upgrade.recv() => Word::Upgrade,
        }
    }
}

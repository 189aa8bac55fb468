//! The upgrade: another program takes over every socket and all that is known, without a moment in which nobody listens.
//!
//! The other one is started beside us, gets our sockets and what we know, and prepares itself while we go on serving. Only
//! when it says that it is ready do we stop accepting and finish what we have. If it fails before, nothing has happened.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use crate::control::Handle;
use crate::net::handover::{send_descriptors, send_words};
use crate::net::listen::ListenSocket;
use crate::net::socket_file::SocketFile;
use crate::runtime::clock;
use crate::server::inherit::{Greeting, HANDOVER, PATIENCE, READY};
use crate::server::premises::Premises;

/// How long the other program may take to be ready: longer than it waits for first verdicts.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The program that this process runs, and what it was started with; found out before anybody replaces the file.
#[derive(Debug, Clone)]
pub(super) struct Program {
    file: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// What runs now. A program that was started by a path is found by that path again, links on it followed anew.
    ///
    /// # Errors
    /// If the system does not say what runs.
    pub(super) fn running() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let file = match arguments.next().map(PathBuf::from) {
            Some(path) if path.components().count() > 1 => std::path::absolute(path)?,
            _ => std::env::current_exe()?,
        };
        Ok(Self { file, arguments: arguments.collect() })
    }

    fn start(&self, channel: UnixStream) -> io::Result<Child> {
        let mut command = Command::new(&self.file);
        command.args(&self.arguments).stdin(OwnedFd::from(channel)).env(HANDOVER, std::process::id().to_string());
        // What a service manager passed to us has been taken, and its numbers mean nothing to anybody else.
        for variable in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(variable);
        }
        command.spawn()
    }
}

/// A program that is about to take over. It is killed when this is dropped before it has.
#[derive(Debug)]
struct Successor(Option<Child>);

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Starts the program anew and hands everything over to it. When this returns the other one serves, and we must not accept
/// any more. If it is dropped before, or fails, nothing has happened.
///
/// # Errors
/// If the program cannot be started, or is not ready in time.
pub(super) async fn hand_over(program: &Program, premises: &Premises, handle: &Handle) -> io::Result<u32> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_write_timeout(Some(PATIENCE))?;
    ours.set_read_timeout(Some(READY_WITHIN))?;
    let mut successor = Successor(Some(program.start(theirs)?));
    let (sockets, memory) = (premises.legacy(), handle.memory().await);
    let ours = blocking(move || {
        prepare(&ours, &sockets, &memory)?;
        // From here on they go with the other one's sockets.
        sockets.iter().filter_map(|(_, socket)| socket.file()).for_each(|file| file.own(false));
        Ok(ours)
    })
    .await?;
    let memory = handle.memory().await;
    blocking(move || send_words(&ours, &memory)).await?;
    Ok(successor.0.take().map_or(0, |child| child.id()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Hands over what is needed to prepare, and waits until the other one is ready.
fn prepare(mut channel: &UnixStream, sockets: &[(Arc<str>, Arc<ListenSocket>)], memory: &str) -> io::Result<()> {
    let has_file = |socket: &ListenSocket| socket.file().is_some_and(SocketFile::is_ours);
    let greeting = Greeting {
        sockets: sockets.iter().map(|(name, _)| name.to_string()).collect(),
        files: (0..sockets.len()).filter(|place| has_file(&sockets[*place].1)).collect(),
        clock: clock::reading(),
    };
    send_words(channel, &serde_json::to_string(&greeting).map_err(io::Error::other)?)?;
    let descriptors: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    send_descriptors(channel, &descriptors)?;
    send_words(channel, memory)?;
    let mut word = [0; READY.len()];
    match channel.read_exact(&mut word) {
        Ok(()) if word == READY => Ok(()),
        Ok(()) => Err(io::Error::other("the new process does not know how to take over")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::other("the new process is not ready in time")),
        Err(_) => Err(io::Error::other("the new process has ended; the lines before say why")),
    }
}

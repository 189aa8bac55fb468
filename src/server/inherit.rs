//! What a process finds at its start that others have left to it: sockets of a service manager, or all of a predecessor.
//!
//! A service manager binds sockets before we run and passes them by number (`LISTEN_FDS`). A predecessor, on SIGUSR2, sends its
//! sockets and what it knows over a Unix socket that stands where standard input would, and goes on serving until we say
//! that we do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use serde::{Deserialize, Serialize};

use crate::control::Handle;
use crate::net::handover::{receive_descriptors, receive_words};
use crate::net::listen::ListenSocket;
use crate::runtime::clock;
use crate::server::sockets::Spare;

/// Holds the id of the process that hands over, so that nobody else takes its own standard input for the channel.
pub(super) const HANDOVER: &str = "PULSEGATE_HANDOVER";
/// How long the other process may take for each thing it has to say.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What we say when we are ready to serve.
pub(super) const READY: &[u8] = b"ready\n";

/// What others have left to this process.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    pub(super) sockets: Vec<Spare>,
    /// What the predecessor knew.
    pub(super) memory: Option<String>,
    pub(super) predecessor: Option<Predecessor>,
}

/// The process that serves until we do.
#[derive(Debug)]
pub(super) struct Predecessor {
    channel: UnixStream,
    /// Sockets whose files go with them once we serve.
    files: Vec<Arc<ListenSocket>>,
}

/// The first words of a predecessor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Greeting {
    /// The owner of each socket, in the order in which these follow.
    pub(super) sockets: Vec<String>,
    /// Which of them are in the file system, with files that go over too; by their place among them.
    #[serde(default)]
    pub(super) files: Vec<usize>,
    /// What its clock says.
    pub(super) clock: clock::Reading,
}

impl Inheritance {
    /// Takes everything there is; once, before anything else opens a descriptor.
    ///
    /// # Errors
    /// If something is there that cannot be taken.
    pub(super) fn take() -> io::Result<Self> {
        let ours = std::env::var(HANDOVER).ok().and_then(|id| id.parse().ok());
        match rustix::process::getppid() {
            Some(parent) if ours == Some(parent.as_raw_nonzero().get()) => Self::from_predecessor(),
            _ => Ok(Self { sockets: from_manager()?, ..Self::default() }),
        }
    }

    fn from_predecessor() -> io::Result<Self> {
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // The channel must close when we are done with it.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        channel.set_read_timeout(Some(PATIENCE))?;
        channel.set_write_timeout(Some(PATIENCE))?;
        let greeting: Greeting = serde_json::from_str(&receive_words(&channel)?).map_err(io::Error::other)?;
        if !clock::go_on_from(greeting.clock) {
            return Err(io::Error::other("the clock runs already"));
        }
        let descriptors = receive_descriptors(&channel, greeting.sockets.len())?;
        let memory = receive_words(&channel)?;
        let spare = |(name, descriptor): (String, OwnedFd)| spare(Some(name), descriptor);
        let sockets = greeting.sockets.into_iter().zip(descriptors).map(spare).collect::<io::Result<Vec<_>>>()?;
        let files = greeting.files.iter().filter_map(|place| Some(Arc::clone(&sockets.get(*place)?.socket))).collect();
        Ok(Self { sockets, memory: Some(memory), predecessor: Some(Predecessor { channel, files }) })
    }
}

impl Predecessor {
    /// Says that we are ready, and takes in what has changed since the beginning. From then on nobody else accepts.
    pub(super) async fn take_over(self, handle: &Handle) {
        let last = (&self.channel).write_all(READY).and_then(|()| receive_words(&self.channel));
        self.files.iter().filter_map(|socket| socket.file()).for_each(|file| file.own(true));
        match last {
            Ok(memory) => {
                handle.remember(memory).await;
                tracing::info!("took over from the running process");
                if let Some(Err(error)) = std::env::var_os("NOTIFY_SOCKET").map(|socket| tell_manager(&socket)) {
                    tracing::warn!(%error, "the service manager does not learn of this process");
                }
            }
            // It has ended, then; its sockets are ours.
            Err(error) => tracing::warn!(%error, "the process that handed over said no last word"),
        }
    }
}

/// Tells a service manager that the service is this process now (`sd_notify(3)`).
fn tell_manager(socket: &OsStr) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let word = format!("READY=1\nMAINPID={}\n", std::process::id());
    UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address).map(drop)
}

/// The sockets of a service manager. Only descriptors of ours are looked at: the variables may be another process's.
fn from_manager() -> io::Result<Vec<Spare>> {
    let mut passed = ListenFd::from_env();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        let name = names.next().filter(|name| !name.is_empty()).map(str::to_owned);
        let on_network = passed.take_tcp_listener(number).map(|listener| listener.map(OwnedFd::from));
        let taken = match on_network {
            Ok(taken) => taken,
            Err(_) => passed.take_unix_listener(number)?.map(OwnedFd::from),
        };
        if let Some(descriptor) = taken {
            // Whoever we start must not inherit it by accident.
            rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
            sockets.push(spare(name, descriptor)?);
        }
    }
    Ok(sockets)
}

fn spare(name: Option<String>, descriptor: OwnedFd) -> io::Result<Spare> {
    Ok(Spare { name, socket: Arc::new(ListenSocket::try_from(descriptor)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_learns_which_process_it_is() {
        let name = format!("pulsegate-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let manager = UnixDatagram::bind(&path).unwrap();
        let unnamed = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        tell_manager(path.as_os_str()).unwrap();
        tell_manager(OsStr::new(&format!("@{name}"))).unwrap();
        for manager in [manager, unnamed] {
            let mut word = [0; 64];
            let length = manager.recv(&mut word).unwrap();
            assert_eq!(word[..length], *format!("READY=1\nMAINPID={}\n", std::process::id()).as_bytes());
        }
        std::fs::remove_file(path).unwrap();
    }
}

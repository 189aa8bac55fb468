//! The file of a listening socket: made with the socket, and removed with it.
//!
//! A process that is killed leaves its file behind, and the next one could not bind. So a file at which nobody answers is
//! replaced; but one at which somebody does is somebody's, and what is no socket is never touched. A file is removed by
//! whoever made it or took it over, as long as it is still the same file.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::base::address::SocketPath;

/// By what a file is known to be the same: device and number.
type Print = (u64, u64);

/// A socket's file.
#[derive(Debug)]
pub struct SocketFile {
    path: SocketPath,
    print: Option<Print>,
    /// Whether it goes with the socket.
    ours: AtomicBool,
}

impl SocketFile {
    /// Binds a socket to a path, with these bits of its mode.
    pub(super) fn bind(path: &SocketPath, mode: u32, socket: &Socket) -> io::Result<Self> {
        make_way(path)?;
        socket.bind(&SockAddr::unix(path.path())?)?;
        let file = Self { path: path.clone(), print: print(path), ours: AtomicBool::new(true) };
        // Nobody can connect before somebody listens, so that nobody gets in meanwhile.
        file.set_mode(mode)?;
        Ok(file)
    }

    /// Changes the bits of its mode, if it goes with the socket.
    ///
    /// # Errors
    /// If it is not there any more.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        if self.is_ours() { fs::set_permissions(self.path.path(), fs::Permissions::from_mode(mode)) } else { Ok(()) }
    }

    /// That of a socket which somebody else has bound, and keeps.
    pub(super) fn of_another(path: &SocketPath) -> Self {
        Self { path: path.clone(), print: print(path), ours: AtomicBool::new(false) }
    }

    /// Where it is.
    #[must_use]
    pub const fn path(&self) -> &SocketPath {
        &self.path
    }

    /// Whether it goes with the socket.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.ours.load(Relaxed)
    }

    /// From now on it goes with the socket, or is left to another process.
    pub fn own(&self, ours: bool) {
        self.ours.store(ours, Relaxed);
    }

    /// Removes it, so that nobody finds the socket any more; those who have are not affected.
    pub fn remove(&self) {
        if self.is_ours() && self.is_there() {
            // It may be gone, and then it is as it should be.
            drop(fs::remove_file(self.path.path()));
        }
        self.own(false);
    }

    /// An error if somebody has put another file in its place.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_there() || !self.is_ours() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "another process has replaced the file"))
    }

    fn is_there(&self) -> bool {
        self.print.is_some() && print(&self.path) == self.print
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes what a process that has ended left at this path.
fn make_way(path: &SocketPath) -> io::Result<()> {
    let found = match fs::symlink_metadata(path.path()) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is no socket"));
    }
    let trial = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else it would wait where as many wait already as may.
    trial.set_nonblocking(true)?;
    match trial.connect(&SockAddr::unix(path.path())?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path.path()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}

fn print(path: &SocketPath) -> Option<Print> {
    fs::symlink_metadata(path.path()).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::net::listen::{ListenSocket, bind_path};

    fn path(name: &str) -> SocketPath {
        let path = std::env::temp_dir().join(format!("pulsegate-{name}-{}", std::process::id()));
        SocketPath::parse(&format!("unix:{}", path.display())).unwrap()
    }

    #[test]
    fn a_file_comes_and_goes_with_its_socket() {
        let path = path("goes");
        let socket = bind_path(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(path.path()).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(UnixStream::connect(path.path()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        socket.open().unwrap();
        assert!(UnixStream::connect(path.path()).is_ok());
        assert_eq!(bind_path(&path, 0o666).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.path().exists());
    }

    #[test]
    fn what_was_left_behind_is_replaced_and_what_is_no_socket_is_not() {
        let path = path("left");
        drop(std::os::unix::net::UnixListener::bind(path.path()).unwrap());
        let socket = bind_path(&path, 0o666).unwrap();
        socket.open().unwrap();
        drop(socket);
        fs::write(path.path(), "precious").unwrap();
        assert_eq!(bind_path(&path, 0o666).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(path.path()).unwrap(), "precious");
        fs::remove_file(path.path()).unwrap();
    }

    #[test]
    fn a_file_that_is_another_ones_stays() {
        let path = path("stays");
        let first = bind_path(&path, 0o666).unwrap();
        first.open().unwrap();
        let second = ListenSocket::try_from(first.as_fd().try_clone_to_owned().unwrap()).unwrap();
        second.file().unwrap().own(true);
        first.file().unwrap().own(false);
        drop(first);
        assert!(UnixStream::connect(path.path()).is_ok());
        // Nobody listens as yet, so another process takes it for left behind.
        let third = bind_path(&self::path("third"), 0o666).unwrap();
        fs::rename(third.file().unwrap().path().path(), path.path()).unwrap();
        assert_eq!(second.open().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(second);
        assert!(path.path().exists());
        fs::remove_file(path.path()).unwrap();
    }
}

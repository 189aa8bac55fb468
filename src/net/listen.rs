//! Listening sockets.
//!
//! On the network each worker has a socket of its own on the same address, so that the kernel spreads connections and no worker
//! waits for another. The same option would let a second process listen unnoticed, hence the trial bind without it. In the
//! file system there is one socket for all of them; its file belongs to whoever listens, see `socket_file`.
//!
//! Binding and listening are two steps: an address can be had before anybody may connect to it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::base::address::{ListenAddress, Site, SocketPath};
use crate::net::socket::Socket;
use crate::net::socket_file::SocketFile;
use crate::net::unwatched::Unwatched;

/// How many connections may wait to be accepted, per socket; the system's own limit holds too.
const BACKLOG: i32 = 4096;

/// A bound socket. Connections to it are refused until it has been opened.
#[derive(Debug)]
pub struct ListenSocket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    /// Removes its file when it is dropped, before the socket is closed.
    Unix(SocketFile, UnixListener),
}

/// Accepts connections on a socket that others may accept on too.
#[derive(Debug)]
pub enum Acceptor {
    /// On the network. The event queue watches a socket that listens as it does any other, and takes nothing out of it unasked.
    Tcp(TcpStream),
    /// In the file system.
    Unix(tokio::net::UnixListener),
}

/// Binds an address that nobody else may have: the trial at start, and listeners that have one socket.
///
/// # Errors
/// If the address is taken, not ours, or not allowed.
pub fn bind_exclusive(address: ListenAddress) -> io::Result<ListenSocket> {
    bind(address.socket(), false)
}

/// Binds an address that other sockets of this process share.
///
/// # Errors
/// If the address is taken by another process, not ours, or not allowed.
pub fn bind_shared(address: SocketAddr) -> io::Result<ListenSocket> {
    bind(address, true)
}

/// Binds a path in the file system, for which there is one socket only. What a process that has ended left there is replaced.
/// `mode` says who may connect, as bits of the file (0o666: everybody who may enter the folder).
///
/// # Errors
/// If somebody listens there, something else than a socket is there, or the folder is not there or not ours.
pub fn bind_path(path: &SocketPath, mode: u32) -> io::Result<ListenSocket> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let file = SocketFile::bind(path, mode, &socket)?;
    Ok(ListenSocket(Kind::Unix(file, socket.into())))
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<ListenSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The unspecified address stands for both families.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    tcp(socket).map(ListenSocket)
}

/// Small heads and bodies are written whole, and waiting to fill a segment only adds delay. Whoever is accepted has it from here: it
/// is one call less for each connection.
fn tcp(socket: RawSocket) -> io::Result<Kind> {
    socket.set_tcp_nodelay(true)?;
    Ok(Kind::Tcp(socket.into()))
}

impl TryFrom<OwnedFd> for ListenSocket {
    type Error = io::Error;

    /// A socket from elsewhere, which must be a bound one for streams. The file of one in the file system stays its owner's.
    fn try_from(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = RawSocket::from(descriptor);
        if socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a socket for streams"));
        }
        socket.set_nonblocking(true)?;
        let bound = socket.local_addr()?;
        if bound.is_ipv4() || bound.is_ipv6() {
            return tcp(socket).map(Self);
        }
        let path =
            bound.as_pathname().and_then(|path| path.to_str()).and_then(|path| SocketPath::parse(&format!("unix:{path}")).ok());
        let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a socket without an address that we know"))?;
        Ok(Self(Kind::Unix(SocketFile::of_another(&path), socket.into())))
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Tcp(socket) => socket.as_fd(),
            Kind::Unix(_, socket) => socket.as_fd(),
        }
    }
}

impl ListenSocket {
    /// From now on connections are taken, and wait to be accepted. Opening it again changes nothing.
    ///
    /// # Errors
    /// If another process listens there after all.
    pub fn open(&self) -> io::Result<()> {
        if let Kind::Unix(file, _) = &self.0 {
            file.check()?;
        }
        SockRef::from(self).listen(BACKLOG)
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<Site> {
        match &self.0 {
            Kind::Tcp(socket) => socket.local_addr().map(Site::Ip),
            Kind::Unix(file, _) => Ok(Site::Unix(file.path().clone())),
        }
    }

    /// Its file, if it is in the file system.
    #[must_use]
    pub const fn file(&self) -> Option<&SocketFile> {
        match &self.0 {
            Kind::Tcp(_) => None,
            Kind::Unix(file, _) => Some(file),
        }
    }

    /// Another handle on the same socket on the network, to accept with. Connections that wait are lost only with the last handle.
    ///
    /// # Errors
    /// If there are no descriptors left, or it is in the file system.
    pub fn handle(&self) -> io::Result<TcpListener> {
        match &self.0 {
            Kind::Tcp(socket) => socket.try_clone(),
            Kind::Unix(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The same wherever it is.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn acceptor(&self) -> io::Result<Acceptor> {
        Ok(match &self.0 {
            Kind::Tcp(socket) => Acceptor::Tcp(TcpStream::from_std(OwnedFd::from(socket.try_clone()?).into())?),
            Kind::Unix(_, socket) => Acceptor::Unix(tokio::net::UnixListener::from_std(socket.try_clone()?)?),
        })
    }
}

impl Acceptor {
    /// The address that everybody connects to whom it accepts, if there is only one.
    #[must_use]
    pub fn only_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().filter(|address| !address.ip().is_unspecified()),
            Self::Unix(_) => None,
        }
    }

    /// The next connection, and the address that it comes from, if it has one. What is written there is sent at once.
    ///
    /// # Errors
    /// If the client has left already, or there are no descriptors left.
    pub async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => listener.async_io(Interest::READABLE, || accept(listener)).await,
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (stream.into(), None)),
        }
    }

    /// Those who wait now, to the last.
    ///
    /// # Errors
    /// If the system does not give the socket back.
    pub fn into_waiting(self) -> io::Result<Waiting> {
        Ok(match self {
            Self::Tcp(listener) => Waiting::Tcp(OwnedFd::from(listener.into_std()?).into()),
            Self::Unix(listener) => Waiting::Unix(listener.into_std()?),
        })
    }
}

/// The connections that wait at a socket.
#[derive(Debug)]
pub enum Waiting {
    /// On the network.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener),
}

impl Iterator for Waiting {
    type Item = (Socket, Option<SocketAddr>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Tcp(listener) => accept(listener).ok(),
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().ok()?;
                let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
                Some((stream.ok()?.into(), None))
            }
        }
    }
}

/// Accepts whoever waits on the network. Who has sent something already is not waited for, so nobody watches them yet.
fn accept(listener: impl AsFd) -> io::Result<(Socket, Option<SocketAddr>)> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    Ok((Socket::Unwatched(Unwatched::new(socket.into())), peer))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::runtime::thread::block_on;

    fn on_the_network(socket: &ListenSocket) -> SocketAddr {
        socket.address().unwrap().ip().unwrap()
    }

    #[test]
    fn a_taken_address_is_found_by_the_exclusive_bind_only() {
        let any = ListenAddress::parse("127.0.0.1:0").unwrap();
        let first = bind_shared(any.socket()).unwrap();
        first.open().unwrap();
        let taken = on_the_network(&first);
        let listen = ListenAddress::parse(&taken.to_string()).unwrap();
        assert_eq!(bind_exclusive(listen).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(bind_shared(taken).is_ok());
    }

    #[test]
    fn nobody_connects_before_it_is_open() {
        let socket = bind_shared(ListenAddress::parse("127.0.0.1:0").unwrap().socket()).unwrap();
        let address = on_the_network(&socket);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        socket.open().unwrap();
        socket.open().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (accepted, peer) = socket.handle().unwrap().accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(accepted.nodelay().unwrap(), "who is accepted has it from the socket");
        let handed_over = ListenSocket::try_from(OwnedFd::from(socket.handle().unwrap())).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        assert!(handed_over.handle().unwrap().accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn an_address_of_all_is_nobodys_in_particular() {
        block_on(async {
            for (bound, only) in [("127.0.0.1:0", true), ("0.0.0.0:0", false), ("[::]:0", false)] {
                let socket = bind_shared(ListenAddress::parse(bound).unwrap().socket()).unwrap();
                socket.open().unwrap();
                let address = on_the_network(&socket);
                assert_eq!(socket.acceptor().unwrap().only_address(), only.then_some(address), "{bound}");
            }
        })
        .unwrap();
    }
}

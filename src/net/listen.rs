//! Listening sockets.
//!
//! Each worker has a socket of its own on the same address, so that the kernel spreads connections and no worker waits
//! for another. The same option would let a second process listen unnoticed, hence the trial bind without it.
//!
//! Binding and listening are two steps: an address can be had before anybody may connect to it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::base::address::ListenAddress;

/// How many connections may wait to be accepted, per socket; the system's own limit holds too.
const BACKLOG: i32 = 4096;

/// A bound socket. Connections to it are refused until it has been opened.
#[derive(Debug)]
pub struct ListenSocket(TcpListener);

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

fn bind(address: SocketAddr, shared: bool) -> io::Result<ListenSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The unspecified address stands for both families.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(ListenSocket(socket.into()))
}

impl TryFrom<OwnedFd> for ListenSocket {
    type Error = io::Error;

    /// A socket from elsewhere, which must be a bound one for streams.
    fn try_from(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        if socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a socket for streams"));
        }
        socket.set_nonblocking(true)?;
        let socket = Self(socket.into());
        socket.address()?;
        Ok(socket)
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ListenSocket {
    /// From now on connections are taken, and wait to be accepted. Opening it again changes nothing.
    ///
    /// # Errors
    /// If another process listens there after all.
    pub fn open(&self) -> io::Result<()> {
        SockRef::from(&self.0).listen(BACKLOG)
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Another handle on the same socket, to accept with. Connections that wait are lost only with the last handle.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn handle(&self) -> io::Result<TcpListener> {
        self.0.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_taken_address_is_found_by_the_exclusive_bind_only() {
        let any = ListenAddress::parse("127.0.0.1:0").unwrap();
        let first = bind_shared(any.socket()).unwrap();
        first.open().unwrap();
        let taken = first.address().unwrap();
        let listen = ListenAddress::parse(&taken.to_string()).unwrap();
        assert_eq!(bind_exclusive(listen).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(bind_shared(taken).is_ok());
    }

    #[test]
    fn nobody_connects_before_it_is_open() {
        let socket = bind_shared(ListenAddress::parse("127.0.0.1:0").unwrap().socket()).unwrap();
        let address = socket.address().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        socket.open().unwrap();
        socket.open().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (_, peer) = socket.handle().unwrap().accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }
}

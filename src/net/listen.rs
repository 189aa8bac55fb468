//! Listening sockets.
//!
//! Each worker has a socket of its own on the same address, so that the kernel spreads connections and no worker waits
//! for another. The same option would let a second process listen unnoticed, hence the trial bind without it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::base::address::ListenAddress;

/// How many connections may wait to be accepted, per socket; the system's own limit holds too.
const BACKLOG: i32 = 4096;

/// Binds an address that nobody else may have: the trial at start, and listeners that have one socket.
///
/// # Errors
/// If the address is taken, not ours, or not allowed.
pub fn bind_exclusive(address: ListenAddress) -> io::Result<TcpListener> {
    bind(address.socket(), false)
}

/// Binds an address that other sockets of this process share.
///
/// # Errors
/// If the address is taken by another process, not ours, or not allowed.
pub fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address, true)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The unspecified address stands for both families.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_found_by_the_exclusive_bind_only() {
        let any = ListenAddress::parse("127.0.0.1:0").unwrap();
        let first = bind_shared(any.socket()).unwrap();
        let taken = first.local_addr().unwrap();
        let listen = ListenAddress::parse(&taken.to_string()).unwrap();
        assert_eq!(bind_exclusive(listen).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(bind_shared(taken).is_ok());
    }
}

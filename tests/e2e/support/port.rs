//! A free port of 127.0.0.1 that stays ours while whoever listens on it is dead.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// The port. A socket is bound to it that never listens: the system gives it to no other socket, connections to it are refused
/// while nobody listens, and a process that binds it by its number, as servers do, may.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    _bound: Socket,
}

impl Port {
    /// A port that nobody has.
    pub(crate) fn free() -> Self {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.set_reuse_address(true).unwrap();
        bound.set_reuse_port(true).unwrap();
        bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = bound.local_addr().unwrap().as_socket().unwrap();
        Self { address, _bound: bound }
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

//! The listening sockets of all workers, and the trial that finds clashes before anything is started.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::base::address::ListenAddress;
use crate::config::model::Listener;
use crate::net::listen::{bind_exclusive, bind_shared};
use crate::server::Fatal;

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The listener's name.
    pub name: Arc<str>,
    /// The address, with the port that the system gave where the configuration says 0.
    pub address: SocketAddr,
}

/// A worker's sockets, each with the name of its listener.
pub(super) type Sockets = Vec<(Arc<str>, TcpListener)>;

/// Finds out whether every listener could listen. The sockets that workers share would listen beside those of another
/// process unnoticed, and take turns with it.
pub(super) fn try_all(listeners: &[Listener]) -> Result<(), Fatal> {
    for listener in listeners.iter().filter(|listener| listener.address.socket().port() != 0) {
        drop(bind_exclusive(listener.address).map_err(|error| cannot_listen(listener, error))?);
    }
    Ok(())
}

/// Binds every listener once for each worker.
pub(super) fn bind_all(listeners: &[Listener], workers: usize) -> Result<(Vec<Bound>, Vec<Sockets>), Fatal> {
    let mut bound = Vec::new();
    let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
    for listener in listeners {
        let mut address = listener.address.socket();
        for own in &mut sockets {
            let socket = bind_shared(address).map_err(|error| cannot_listen(listener, error))?;
            // The first socket decides the port where the configuration leaves it to the system.
            address = socket.local_addr()?;
            own.push((Arc::clone(&listener.name), socket));
        }
        bound.push(Bound { name: Arc::clone(&listener.name), address });
    }
    Ok((bound, sockets))
}

/// Binds an address that has one socket: that of the admin interface or of the metrics listener.
pub(super) fn bind_one(setting: &str, address: ListenAddress) -> Result<(TcpListener, SocketAddr), Fatal> {
    let fatal = |error| Fatal::Listen { who: setting.to_owned(), address: address.to_string(), error };
    let socket = bind_exclusive(address).map_err(fatal)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn cannot_listen(listener: &Listener, error: io::Error) -> Fatal {
    Fatal::Listen { who: format!("listener {}", listener.name), address: listener.address.to_string(), error }
}

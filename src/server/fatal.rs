//! Why the process cannot start, in a sentence for whoever started it.

use std::io;

/// What keeps the process from starting.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// An address cannot be listened on.
    #[error("{who} cannot listen on {address}: {why}", why = hint(error))]
    Listen {
        /// Which setting the address comes from.
        who: String,
        /// The address.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// Something was left to this process that it cannot take.
    #[error("what was passed to this process cannot be taken: {0}")]
    Inherit(io::Error),
    /// The access log cannot be written.
    #[error("access_log: {file} cannot be written: {error}")]
    AccessLog {
        /// The file.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives no thread, event queue or signal handler.
    #[error("the system refuses what every process needs: {0}")]
    System(#[from] io::Error),
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use by another process or listener".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; a port below 1024 needs the capability CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    }
}

//! Connections to endpoints: every address of a name in turn, within one time-out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::base::address::Site;
use crate::net::socket::Socket;

/// Between two tries at a socket in the file system where too many others wait.
const CROWDED: Duration = Duration::from_millis(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has not resolved, so there is nowhere to connect to.
    #[error("the name does not resolve")]
    Unresolved,
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer within the time-out.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// No way there: no route to the host or network.
    #[error("not reachable: {0}")]
    Unroutable(io::Error),
    /// We could not try: out of descriptors, ports or memory. It says nothing about the endpoint.
    #[error("could not try to connect: {0}")]
    Local(io::Error),
    /// The endpoint's certificate is not one that we believe.
    #[error("the certificate is not believed: {0}")]
    Certificate(String),
    /// TLS could not be agreed on.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// Anything else.
    #[error("connect failed: {0}")]
    Other(io::Error),
}

impl DialError {
    /// The same error for somebody else who waited for the same connection.
    #[must_use]
    pub fn again(&self) -> Self {
        let copy = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        match self {
            Self::Unresolved => Self::Unresolved,
            Self::Refused => Self::Refused,
            Self::Timeout(limit) => Self::Timeout(*limit),
            Self::Unroutable(error) => Self::Unroutable(copy(error)),
            Self::Local(error) => Self::Local(copy(error)),
            Self::Certificate(why) => Self::Certificate(why.clone()),
            Self::Tls(why) => Self::Tls(why.clone()),
            Self::Other(error) => Self::Other(copy(error)),
        }
    }
}

/// Connects to the first address that accepts.
///
/// # Errors
/// The error of the last address tried, or the time-out, which covers all of them.
pub async fn connect(addresses: &[SocketAddr], timeout: Duration) -> Result<TcpStream, DialError> {
    tokio::time::timeout(timeout, connect_any(addresses)).await.unwrap_or(Err(DialError::Timeout(timeout)))
}

/// Connects to the first address that accepts, without a time-out of its own: the caller has one.
///
/// # Errors
/// The error of the last address tried.
pub async fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = DialError::Unresolved;
    for address in addresses {
        match dial(None, *address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to the first place of an endpoint that accepts, from an address of ours, or from the one that the system takes. Where
/// that address does not lead, in the other family or in the file system, is passed over. It has no time-out of its own.
///
/// # Errors
/// The error of the last place tried.
pub async fn reach(source: Option<IpAddr>, sites: &[Site]) -> Result<Socket, DialError> {
    let mut last = DialError::Unresolved;
    for site in sites {
        let connected = match site {
            Site::Ip(address) if source.is_none_or(|source| source.is_ipv4() == address.is_ipv4()) => {
                dial(source, *address).await.map(Socket::Tcp)
            }
            Site::Unix(path) if source.is_none() => dial_file(path.path()).await.map(Socket::Unix),
            _ => continue,
        };
        match connected {
            Err(DialError::Local(error)) if source.is_some() => return Err(DialError::Local(error)),
            Err(error) => last = error,
            connected => return connected,
        }
    }
    Err(last)
}

async fn dial_file(path: &Path) -> Result<UnixStream, DialError> {
    loop {
        match UnixStream::connect(path).await {
            // As many wait there already as may. On the network the system itself would try again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(CROWDED).await,
            connected => return connected.map_err(classify_unix),
        }
    }
}

async fn dial(source: Option<IpAddr>, address: SocketAddr) -> Result<TcpStream, DialError> {
    let connected = match source {
        None => TcpStream::connect(address).await,
        // That we have no such address says nothing about the endpoint.
        Some(source) => bound(source).map_err(DialError::Local)?.connect(address).await,
    };
    let stream = connected.map_err(classify)?;
    // Small heads and bodies are written whole; waiting to fill a segment only adds delay.
    stream.set_nodelay(true).map_err(DialError::Local)?;
    Ok(stream)
}

fn bound(source: IpAddr) -> io::Result<TcpSocket> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket)
}

/// A file that is not there is a process that is not there; and who keeps us from a socket is not us.
fn classify_unix(error: io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::NotFound => DialError::Refused,
        io::ErrorKind::PermissionDenied => DialError::Other(error),
        _ => classify(error),
    }
}

fn classify(error: io::Error) -> DialError {
    use io::ErrorKind as Kind;
    // EMFILE and ENFILE have no kind of their own.
    let out_of_descriptors = matches!(error.raw_os_error(), Some(23 | 24));
    match error.kind() {
        Kind::ConnectionRefused => DialError::Refused,
        Kind::TimedOut => DialError::Other(error),
        Kind::HostUnreachable | Kind::NetworkUnreachable => DialError::Unroutable(error),
        Kind::AddrNotAvailable | Kind::AddrInUse | Kind::OutOfMemory | Kind::PermissionDenied => DialError::Local(error),
        _ if out_of_descriptors => DialError::Local(error),
        _ => DialError::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::thread::block_on;

    #[test]
    fn the_second_address_is_tried_when_the_first_refuses() {
        block_on(async {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = connect(&[gone, open.local_addr().unwrap()], Duration::from_secs(5)).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), open.local_addr().unwrap());
            assert!(matches!(connect(&[gone], Duration::from_secs(5)).await, Err(DialError::Refused)));
            let site = Site::from(open.local_addr().unwrap());
            assert!(reach(Some([127, 0, 0, 2].into()), std::slice::from_ref(&site)).await.is_ok());
            assert_eq!(open.accept().await.unwrap().1.ip(), IpAddr::from([127, 0, 0, 1]));
            assert_eq!(open.accept().await.unwrap().1.ip(), IpAddr::from([127, 0, 0, 2]));
            let not_ours = reach(Some([192, 0, 2, 1].into()), &[site]).await;
            assert!(matches!(not_ours, Err(DialError::Local(_))));
            assert!(matches!(connect(&[], Duration::from_secs(5)).await, Err(DialError::Unresolved)));
        })
        .unwrap();
    }

    #[test]
    fn a_socket_in_the_file_system_is_reached_by_its_path_and_from_no_address() {
        block_on(async {
            let path = std::env::temp_dir().join(format!("pulsegate-dial-{}", std::process::id()));
            let site = [Site::parse_listen(&format!("unix:{}", path.display())).unwrap()];
            assert!(matches!(reach(None, &site).await, Err(DialError::Refused)), "no file");
            let open = tokio::net::UnixListener::bind(&path).unwrap();
            assert!(matches!(reach(None, &site).await, Ok(Socket::Unix(_))));
            assert!(matches!(reach(Some([127, 0, 0, 1].into()), &site).await, Err(DialError::Unresolved)));
            drop(open);
            assert!(matches!(reach(None, &site).await, Err(DialError::Refused)), "nobody listens");
            std::fs::remove_file(path).unwrap();
        })
        .unwrap();
    }
}

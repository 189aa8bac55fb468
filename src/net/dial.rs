//! Connections to endpoints: every address of a name in turn, within one time-out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

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
    connect_from(None, addresses).await
}

/// The same from an address of ours, or from the one that the system takes. An address of the other family is passed over.
///
/// # Errors
/// The error of the last address tried.
pub async fn connect_from(source: Option<IpAddr>, addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = DialError::Unresolved;
    for address in addresses.iter().filter(|address| source.is_none_or(|source| source.is_ipv4() == address.is_ipv4())) {
        let connected = match source {
            None => TcpStream::connect(address).await,
            Some(source) => match bound(source) {
                Ok(socket) => socket.connect(*address).await,
                // That we have no such address says nothing about the endpoint.
                Err(error) => return Err(DialError::Local(error)),
            },
        };
        match connected {
            Ok(stream) => {
                // Small heads and bodies are written whole; waiting to fill a segment only adds delay.
                stream.set_nodelay(true).map_err(DialError::Local)?;
                return Ok(stream);
            }
            Err(error) => last = classify(error),
        }
    }
    Err(last)
}

fn bound(source: IpAddr) -> io::Result<TcpSocket> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket)
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
            assert!(connect_from(Some([127, 0, 0, 2].into()), &[open.local_addr().unwrap()]).await.is_ok());
            assert_eq!(open.accept().await.unwrap().1.ip(), IpAddr::from([127, 0, 0, 1]));
            assert_eq!(open.accept().await.unwrap().1.ip(), IpAddr::from([127, 0, 0, 2]));
            let not_ours = connect_from(Some([192, 0, 2, 1].into()), &[open.local_addr().unwrap()]).await;
            assert!(matches!(not_ours, Err(DialError::Local(_))));
            assert!(matches!(connect(&[], Duration::from_secs(5)).await, Err(DialError::Unresolved)));
        })
        .unwrap();
    }
}

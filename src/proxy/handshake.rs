//! A TLS handshake with a client: bounded in time, and in how many there are at once.
//!
//! A handshake costs us more than the client who asks for it, so those under way are counted over all workers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use rustls::{ProtocolVersion, ServerConfig};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cluster::{Listener, ListenerError};
use crate::net::socket::Socket;
use crate::runtime::timer;
use crate::tls::Renewable;

/// How much that has been encrypted waits for the client, in bytes: a piece of an answer as it is read from an endpoint, so that
/// it goes out in one.
const ENCRYPTED: usize = 96 * 1024;

/// A handshake that has a place among those under way; given back on drop.
#[derive(Debug)]
pub(crate) struct Handshake {
    config: Arc<ServerConfig>,
    _seat: Seat,
}

#[derive(Debug)]
struct Seat(Arc<AtomicUsize>);

/// Why there is no secured stream.
#[derive(Debug)]
pub(crate) enum NoHandshake {
    /// The client left without a word, as those do that only look whether somebody listens.
    Left,
    /// It failed.
    Failed(ListenerError),
}

impl Handshake {
    /// Takes a place.
    pub(crate) fn begin(tls: &Renewable, listener: &Listener) -> Result<Self, ListenerError> {
        let before = listener.handshakes.fetch_add(1, Relaxed);
        let seat = Seat(Arc::clone(&listener.handshakes));
        if before >= listener.config.limits.handshakes {
            return Err(ListenerError::HandshakeLimit);
        }
        Ok(Self { config: tls.config(), _seat: seat })
    }

    /// Shakes hands within `timeout`.
    pub(crate) async fn run(self, stream: Socket, timeout: Duration) -> Result<TlsStream<Socket>, NoHandshake> {
        let acceptor = TlsAcceptor::from(self.config);
        let mut accept = acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(ENCRYPTED)));
        let mut begun = false;
        let accepted = std::future::poll_fn(|cx| {
            let corked = std::mem::replace(&mut begun, true);
            if corked {
                accept.get_ref().inspect(|socket| socket.cork(true));
            }
            let result = Pin::new(&mut accept).poll(cx);
            let waited_for = match &result {
                // Tickets for the client's next visit wait for the first answer. All else the client waits for.
                Poll::Ready(Ok(stream)) => Some(stream).filter(|stream| !speaks_1_3(stream)).map(|stream| stream.get_ref().0),
                Poll::Ready(Err(_)) => None,
                Poll::Pending => accept.get_ref(),
            };
            waited_for.filter(|_| corked).inspect(|socket| socket.cork(false));
            result
        });
        let result = tokio::select! {
            biased;
            result = accepted => result,
            () = timer::sleep(timeout) => return Err(NoHandshake::Failed(ListenerError::HandshakeTimeout)),
        };
        result.map_err(|error| {
            tracing::debug!("a TLS handshake failed: {error}");
            // An alert, or bytes that are none of TLS, come as other kinds.
            let left = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
            if left { NoHandshake::Left } else { NoHandshake::Failed(ListenerError::Handshake) }
        })
    }
}

fn speaks_1_3(stream: &TlsStream<Socket>) -> bool {
    stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

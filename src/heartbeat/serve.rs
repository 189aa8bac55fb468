//! The sockets that heartbeats come in by: accept, TLS, HTTP/1.1, and the bounds that keep senders from starving each other.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::heartbeat::service::Service;
use crate::net::accept::accept;
use crate::runtime::task;
use crate::tls::Renewable;

/// Connections at a time, for each socket; more wait to be accepted. Room for ten thousand senders and as many that reconnect.
const CONNECTIONS: usize = 20_000;

/// For a head, and between two beats: longer than the periods that keep a connection, and far shorter than for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Largest buffer of a connection, in bytes; also the largest head.
const BUFFER: usize = 16 * 1024;

/// For a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes that are computed before everybody else on this thread has had a turn: it is control's, and ten thousand senders that
/// reconnect at once must not keep it from judging.
const HANDSHAKES_AT_ONCE: usize = 2;

/// Takes beats in on a bound socket for as long as what it returns lives, under TLS if there is any. `name` is what the socket is
/// called where beats are shown.
///
/// # Errors
/// If the socket cannot be watched.
pub fn serve(
    socket: std::net::TcpListener,
    name: Arc<str>,
    tls: Option<Arc<Renewable>>,
    service: Rc<Service>,
) -> io::Result<task::Owned> {
    // Connections end when nobody is taken in any more: who kept one shall come back to whoever listens then.
    let open = watch::Sender::new(());
    let turns = Rc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
    accept(socket, "heartbeats", CONNECTIONS, move |stream, _| {
        let (tls, turns, name, closed) = (tls.clone(), Rc::clone(&turns), Arc::clone(&name), open.subscribe());
        let service = Rc::clone(&service);
        async move {
            if stream.set_nodelay(true).is_err() {
                return;
            }
            // On the heap, each for itself: the room of a handshake would be ten thousand times there for nothing.
            match tls {
                None => Box::pin(connection(stream, &name, &service, closed)).await,
                Some(tls) => match Box::pin(tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, &tls, &turns))).await {
                    Ok(Ok(stream)) => Box::pin(connection(stream, &name, &service, closed)).await,
                    Ok(Err(error)) if has_left(&error) => {}
                    Ok(Err(error)) => service.unsecured(&error.to_string()),
                    Err(_) => service.unsecured("not done in time"),
                },
            }
        }
    })
}

async fn shake_hands(stream: TcpStream, tls: &Renewable, turns: &Semaphore) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let turn = turns.acquire().await.expect("the semaphore is never closed");
    let shaking = hello.into_stream(tls.config());
    tokio::task::yield_now().await;
    drop(turn);
    shaking.await
}

/// Whether somebody left without a word, as those do that only look whether anybody listens.
fn has_left(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

async fn connection<S>(stream: S, name: &Arc<str>, service: &Service, mut closed: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let answering = service_fn(|request| async { Ok::<_, Infallible>(service.answer(request, name).await) });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER).auto_date_header(false);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), answering));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        _ = closed.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse() {
            service.garbled(&format!("no HTTP: {error}"));
        } else {
            tracing::debug!(%error, "a heartbeat's connection ended badly");
        }
    }
}

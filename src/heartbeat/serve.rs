//! The sockets that heartbeats come in by: accept, HTTP/1.1, and the bounds that keep senders from starving each other.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::heartbeat::service::Service;
use crate::runtime::task;

/// Connections at a time, for each socket; more wait to be accepted. Room for ten thousand senders and as many that reconnect.
const CONNECTIONS: usize = 20_000;

/// For a head, and between two beats: longer than the periods that keep a connection, and far shorter than for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Largest buffer of a connection, in bytes; also the largest head.
const BUFFER: usize = 16 * 1024;

/// Pause after a failed accept: what is lacking then, such as descriptors, does not come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes beats in on a bound socket for as long as what it returns lives.
///
/// # Errors
/// If the socket cannot be watched.
pub fn serve(socket: std::net::TcpListener, service: Rc<Service>) -> io::Result<task::Owned> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    Ok(task::Owned::spawn(accept(socket, service)))
}

async fn accept(socket: TcpListener, service: Rc<Service>) {
    // Connections end when nobody is taken in any more: who kept one shall come back to whoever listens then.
    let (_open, closed) = watch::channel(());
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match socket.accept().await {
            Ok((stream, _)) => drop(task::spawn(connection(stream, Rc::clone(&service), closed.clone(), slot))),
            Err(error) => {
                tracing::warn!(%error, "a heartbeat's connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Rc<Service>, mut closed: watch::Receiver<()>, _slot: OwnedSemaphorePermit) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let answering = service_fn(|request| async { Ok::<_, Infallible>(service.answer(request).await) });
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

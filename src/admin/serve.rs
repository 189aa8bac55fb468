//! Sockets of the interface: accept, HTTP/1.1, and the bounds that keep a slow or greedy client from starving the others.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Answer;
use crate::runtime::task;

/// Connections at a time, per listener; more wait to be accepted.
const CONNECTIONS: usize = 256;

/// For a request's head. It runs between two requests as well, so it is longer than a scraper's usual pause.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// For a client to take what we sent it; then the connection is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest head, in bytes.
const HEAD_BYTES: usize = 32 * 1024;

/// Pause after a failed accept: what is lacking then, such as descriptors, does not come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts on a bound socket for ever, each connection in a task of its own.
///
/// # Errors
/// If the socket cannot be watched.
pub(super) fn serve<S, F>(listener: std::net::TcpListener, service: S) -> io::Result<task::Owned>
where
    S: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Ok(task::Owned::spawn(accept(listener, Rc::new(service))))
}

async fn accept<S, F>(listener: TcpListener, service: Rc<S>)
where
    S: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => drop(task::spawn(connection(stream, Rc::clone(&service), slot))),
            Err(error) => {
                tracing::warn!(%error, "the admin interface cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S, F>(stream: TcpStream, service: Rc<S>, _slot: OwnedSemaphorePermit)
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let patient = SockRef::from(&stream).set_tcp_user_timeout(Some(SEND_TIMEOUT)).and_then(|()| stream.set_nodelay(true));
    let service = service_fn(|request| {
        let answer = service(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_header_size(HEAD_BYTES);
    let served = http.serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = patient.map_err(hyper_error).and(served.map_err(hyper_error)) {
        tracing::debug!(error, "a connection to the admin interface ended badly");
    }
}

fn hyper_error(error: impl std::fmt::Display) -> String {
    error.to_string()
}

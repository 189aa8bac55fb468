//! Sockets of the interface: accept, HTTP/1.1, and the bounds that keep a slow or greedy client from starving the others.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::answer::Answer;
use crate::net::accept::accept;
use crate::runtime::task;

/// Connections at a time, per listener; more wait to be accepted.
const CONNECTIONS: usize = 256;

/// For a request's head. It runs between two requests as well, so it is longer than a scraper's usual pause.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// For a client to take what we sent it; then the connection is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest head, in bytes.
const HEAD_BYTES: usize = 32 * 1024;

/// Accepts on a bound socket for ever, each connection in a task of its own.
///
/// # Errors
/// If the socket cannot be watched.
pub(super) fn serve<S, F>(listener: std::net::TcpListener, service: S) -> io::Result<task::Owned>
where
    S: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let service = Rc::new(service);
    accept(listener, "the admin interface", CONNECTIONS, move |stream, _| connection(stream, Rc::clone(&service)))
}

async fn connection<S, F>(stream: TcpStream, service: Rc<S>)
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

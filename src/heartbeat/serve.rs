//! The sockets that heartbeats come in by: accept, TLS, HTTP/1.1, and the bounds that keep senders from starving each other.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::base::time::Timestamp;
use crate::heartbeat::line::{self, Line, Stage};
use crate::heartbeat::plain::{self, Plain};
use crate::heartbeat::service::{Believed, Refused, Service};
use crate::net::accept::accept;
use crate::runtime::timer::Deadline;
use crate::runtime::{clock, task};
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

/// Takes beats in by a connection until it ends. Between two of them nothing is kept but the stream.
async fn connection<S>(mut stream: S, name: &Arc<str>, service: &Service, mut closed: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let seat = Seat { name, service, stage: Rc::default(), patience: Deadline::unset(), closed: closed.clone() };
    let mut leaving = pin!(async { drop(closed.changed().await) });
    let mut first = Bytes::new();
    seat.patience.set(clock::now() + HEAD_TIMEOUT);
    loop {
        let came = if first.is_empty() { seat.idle(&mut stream, leaving.as_mut()).await } else { seat.take(&first) };
        match came {
            Some(Came::Plain(believed, rest)) => {
                if !Box::pin(seat.answer(&mut stream, believed)).await {
                    return end(stream).await;
                }
                first = rest;
                continue;
            }
            Some(Came::Other(bytes)) => first = bytes,
            None => return end(stream).await,
        }
        // On the heap, so that a connection on which nothing is said is rid of it.
        match Box::pin(seat.serve(stream, first, leaving.as_mut())).await {
            Some(rest) => (stream, first) = rest,
            None => return,
        }
    }
}

/// What TLS says at its end needs no answer.
async fn end<S: AsyncWrite + Unpin>(mut stream: S) {
    poll_fn(|cx| {
        drop(Pin::new(&mut stream).poll_shutdown(cx));
        Poll::Ready(())
    })
    .await;
}

/// What has come on a connection on which nothing was being said.
enum Came {
    /// A beat, read already, and what has come after it.
    Plain(Box<Result<Believed, Refused>>, Bytes),
    /// Something else, or a part of it.
    Other(Bytes),
}

/// What one connection is served with.
struct Seat<'a> {
    name: &'a Arc<str>,
    service: &'a Service,
    stage: Rc<Cell<Stage>>,
    /// Until then the head of the next beat must be there, and what was answered be gone.
    patience: Deadline,
    closed: watch::Receiver<()>,
}

impl Seat<'_> {
    /// Waits for the first bytes of a beat, or for one that comes whole; `None` if the connection is over.
    async fn idle<S, L>(&self, stream: &mut S, mut leaving: Pin<&mut L>) -> Option<Came>
    where
        S: AsyncRead + Unpin,
        L: Future<Output = ()>,
    {
        poll_fn(|cx| {
            if let Poll::Ready(read) = line::poll_first(stream, cx, |bytes| self.take(bytes)) {
                return Poll::Ready(read.ok().flatten());
            }
            let over = self.patience.poll_reached(cx).is_ready() || leaving.as_mut().poll(cx).is_ready();
            if over { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Makes out what has come; `None` if nothing has.
    fn take(&self, bytes: &[u8]) -> Option<Came> {
        let Some(Plain { token, body, rest }) = Plain::read(bytes) else {
            return (!bytes.is_empty()).then(|| Came::Other(Bytes::copy_from_slice(bytes)));
        };
        let believed = self.service.believe(token, body, self.name);
        Some(Came::Plain(Box::new(believed), Bytes::copy_from_slice(rest)))
    }

    /// Answers a beat. Returns whether the connection goes on.
    async fn answer<S>(&self, stream: &mut S, believed: Box<Result<Believed, Refused>>) -> bool
    where
        S: AsyncWrite + Unpin,
    {
        let answer = self.service.settle(*believed).await;
        let goes_on = self.closed.has_changed().is_ok();
        let answer = if goes_on { answer } else { answer.with(CONNECTION, "close") };
        let written = plain::written(&answer);
        let mut left = &*written;
        self.patience.set(clock::now() + HEAD_TIMEOUT);
        poll_fn(|cx| match line::poll_say(stream, &mut left, cx) {
            Poll::Ready(said) => Poll::Ready(said.is_ok() && goes_on),
            Poll::Pending => self.patience.poll_reached(cx).map(|()| false),
        })
        .await
    }

    /// Answers until nothing is left to be answered; then the stream comes back, with what has been read of the next beat. `None` if the
    /// connection has ended.
    async fn serve<S, L>(&self, stream: S, first: Bytes, mut leaving: Pin<&mut L>) -> Option<(S, Bytes)>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
        L: Future<Output = ()>,
    {
        let answering = service_fn(|request| {
            self.patience.set(Timestamp::NEVER);
            self.stage.set(Stage::Asked);
            async {
                let answer = self.service.answer(request, self.name).await;
                self.patience.set(clock::now() + HEAD_TIMEOUT);
                // Of what is refused the rest may be still to come.
                if answer.status == StatusCode::OK {
                    self.stage.set(Stage::Answered);
                }
                Ok::<_, Infallible>(answer.into_response())
            }
        });
        self.stage.set(Stage::Asked);
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_buf_size(BUFFER).auto_date_header(false);
        let mut serving = http.serve_connection(TokioIo::new(Line::new(stream, first, Rc::clone(&self.stage))), answering);
        let mut left = false;
        let ended = poll_fn(|cx| {
            if let Poll::Ready(ended) = Pin::new(&mut serving).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            if !left && leaving.as_mut().poll(cx).is_ready() {
                left = true;
                Pin::new(&mut serving).graceful_shutdown();
                cx.waker().wake_by_ref();
            }
            match self.stage.get() {
                Stage::Sent if !left => Poll::Ready(None),
                _ if self.patience.poll_reached(cx).is_ready() => Poll::Ready(Some(Ok(()))),
                _ => Poll::Pending,
            }
        })
        .await;
        match ended {
            None => {
                let parts = serving.into_parts();
                return Some((parts.io.into_inner().into_stream(), parts.read_buf));
            }
            Some(Ok(())) => {}
            Some(Err(error)) if error.is_parse() => self.service.garbled(&format!("no HTTP: {error}")),
            Some(Err(error)) => tracing::debug!(%error, "a heartbeat's connection ended badly"),
        }
        None
    }
}

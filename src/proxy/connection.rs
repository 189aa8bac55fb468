//! One client connection: its limits, its idle times, and a close that lets the client read what we said last.
//!
//! hyper's own header timer also runs while a connection is idle, so both times are kept here: `head_timeout` from the
//! first byte of a head (or from accept) to its end, `keepalive_timeout` between exchanges.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{HeaderValue, Version};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::base::time::Timestamp;
use crate::cluster::ListenerError;
use crate::config::model::{self, ListenerLimits};
use crate::net::shared::{Shared, Waiting};
use crate::proxy::exchange;
use crate::proxy::worker::{Place, Stage, Worker};
use crate::runtime::clock;
use crate::runtime::timer::{self, Deadline};
use crate::traffic::forward::Client;

/// How long and how much a closing connection still reads, so that our last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;
/// hyper's own bound of header lines: a table of that size is part of its parser, any other is allocated for every head.
const DEFAULT_HEAD_COUNT: usize = 100;
/// Smallest read buffer that hyper allows.
const MIN_BUFFER: usize = 8192;

/// What is constant for a connection, made once.
#[derive(Debug)]
pub(crate) struct Context {
    /// The number of the socket that it came in by.
    pub(crate) socket: usize,
    /// Who it is from.
    pub(crate) client: Client,
    /// The exchange's deadline; exchanges on a connection come one after another.
    pub(crate) deadline: Deadline,
    /// What is going on.
    pub(crate) activity: Activity,
    limits: ListenerLimits,
}

/// What a connection is doing, and until when it may.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Cell<State>,
    deadline: Deadline,
    head_timeout: Duration,
    keepalive_timeout: Duration,
    /// `idle_timeout` of the exchange that is going on.
    pub(crate) body_limit: Cell<Option<Duration>>,
    unread: Cell<bool>,
    /// Whether the client speaks HTTP/1.0.
    old: Cell<bool>,
    cut_short: Cell<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has come since the last exchange.
    Idle,
    /// Something has come; whether it is a whole head is about to be seen.
    Begun,
    /// A head is on its way.
    Head,
    /// An exchange is going on.
    Busy,
}

impl Context {
    pub(crate) fn new(socket: usize, listener: &model::Listener, peer: SocketAddr) -> Rc<Self> {
        let ip = peer.ip().to_canonical();
        let address = HeaderValue::from_str(&ip.to_string()).expect("an IP address is a header value");
        let trusted = listener.trusted_proxies.iter().any(|net| net.contains(&ip));
        let limits = listener.limits.clone();
        let activity = Activity {
            state: Cell::new(State::Head),
            deadline: Deadline::unset(),
            head_timeout: limits.head_timeout,
            keepalive_timeout: limits.keepalive_timeout,
            body_limit: Cell::new(None),
            unread: Cell::new(false),
            old: Cell::new(false),
            cut_short: Cell::new(false),
        };
        activity.deadline.set(clock::now() + limits.head_timeout);
        Rc::new(Self { socket, client: Client { address, trusted }, deadline: Deadline::unset(), activity, limits })
    }
}

impl Activity {
    /// An exchange begins.
    pub(crate) fn busy(&self) {
        self.state.set(State::Busy);
        self.deadline.set(Timestamp::NEVER);
    }

    /// An exchange has ended.
    pub(crate) fn rest(&self, now: Timestamp) {
        self.state.set(State::Idle);
        self.deadline.set(now + self.keepalive_timeout);
    }

    /// Whether the client may still be sending a body that nobody reads.
    pub(crate) fn leave_unread(&self, unread: bool) {
        self.unread.set(unread);
    }

    /// The exchange is in this version.
    pub(crate) fn serve_version(&self, version: Version) {
        self.old.set(version == Version::HTTP_10);
    }

    /// An answer has ended before its end. To a client of HTTP/1.0, which knows no chunks, the end of the connection would
    /// look like the end of the answer.
    pub(crate) fn break_off(&self) {
        self.cut_short.set(self.old.get());
    }

    fn read(&self) {
        if self.state.get() == State::Idle {
            self.state.set(State::Begun);
        }
    }

    /// What has come was no whole head: the rest of it must come in time.
    fn wait_for_head(&self) {
        if self.state.get() == State::Begun {
            self.state.set(State::Head);
            self.deadline.set(clock::now() + self.head_timeout);
        }
    }

    /// The client takes nothing; only for so long.
    fn stuck(&self) {
        if let (State::Busy, Some(limit)) = (self.state.get(), self.body_limit.get())
            && self.deadline.get() == Timestamp::NEVER
        {
            self.deadline.set(clock::now() + limit);
        }
    }

    fn wrote(&self) {
        if self.state.get() == State::Busy {
            self.deadline.set(Timestamp::NEVER);
        }
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, context: Rc<Context>, stream: TcpStream, place: Place) {
    // Without this a head and its body may wait for each other's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!("a client's connection ended at once: {error}");
    }
    let socket = Shared::new(stream);
    let ended = drive(&worker, &context, socket.clone()).await;
    match ended {
        Ended::Closed if context.activity.cut_short.get() => socket.reset(),
        Ended::Closed => {}
        Ended::Refused => {
            worker.count(context.socket, ListenerError::BadRequest);
            linger(socket).await;
        }
        Ended::Overdue(reason) => {
            if let Some(reason) = reason {
                worker.count(context.socket, reason);
            }
        }
    }
    drop(place);
}

/// How a connection ended.
enum Ended {
    /// By either side, cleanly or not.
    Closed,
    /// The parser refused what came.
    Refused,
    /// A time-out ended it.
    Overdue(Option<ListenerError>),
}

async fn drive(worker: &Rc<Worker>, context: &Rc<Context>, socket: Shared) -> Ended {
    let service = {
        let (worker, context) = (Rc::clone(worker), Rc::clone(context));
        service_fn(move |request| exchange::serve(Rc::clone(&worker), Rc::clone(&context), request))
    };
    let io = TokioIo::new(ClientSocket { socket: socket.clone(), context: Rc::clone(context) });
    let mut connection = pin!(parser(&context.limits).serve_connection(io, service));
    let mut leaving = pin!(leave(worker));
    let mut left = false;
    let result = std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        context.activity.wait_for_head();
        if context.activity.deadline.poll_reached(cx).is_ready() {
            return Poll::Ready(Err(context.activity.state.get()));
        }
        if !left && leaving.as_mut().poll(cx).is_ready() {
            left = true;
            // A request that has arrived already is still answered.
            if socket.waiting() == Waiting::Nothing || context.activity.state.get() != State::Idle {
                connection.as_mut().graceful_shutdown();
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    match result {
        Ok(Err(error)) if error.is_parse() => Ended::Refused,
        Ok(_) if context.activity.unread.get() => {
            linger(socket).await;
            Ended::Closed
        }
        Ok(_) => Ended::Closed,
        Err(State::Idle) => Ended::Overdue(None),
        Err(State::Begun | State::Head) => Ended::Overdue(Some(ListenerError::HeadTimeout)),
        Err(State::Busy) => Ended::Overdue(Some(ListenerError::IdleTimeout)),
    }
}

/// The parser of heads, with the listener's bounds.
fn parser(limits: &ListenerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(limits.head_bytes).max_buf_size(limits.head_bytes.max(MIN_BUFFER)).header_read_timeout(None);
    if limits.head_count != DEFAULT_HEAD_COUNT {
        builder.max_headers(limits.head_count);
    }
    builder
}

/// Ends when connections without an exchange are to be closed.
async fn leave(worker: &Worker) {
    let mut stage = worker.stage.clone();
    let stage = stage.wait_for(|stage| *stage != Stage::Serving).await.map(|stage| *stage);
    if let Ok(Stage::Closing { idle_grace }) = stage {
        timer::sleep(idle_grace).await;
    }
}

/// Reads on for a moment. Closing a socket that holds unread bytes resets it, and a reset may overtake our last answer.
async fn linger(mut socket: Shared) {
    let mut buffer = [0_u8; 4096];
    let reading = async {
        let mut left = LINGER_BYTES;
        while let Ok(n @ 1..) = socket.read(&mut buffer).await {
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = timer::sleep(LINGER) => {}
    }
}

/// The client's socket, which tells the connection's activity what passes.
#[derive(Debug)]
struct ClientSocket {
    socket: Shared,
    context: Rc<Context>,
}

impl ClientSocket {
    fn note(&self, written: &Poll<std::io::Result<usize>>) {
        match written {
            Poll::Pending => self.context.activity.stuck(),
            Poll::Ready(_) => self.context.activity.wrote(),
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.context.activity.read();
        }
        result
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

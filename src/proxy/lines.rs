//! Connections to one endpoint on which several exchanges run side by side: HTTP/2.
//!
//! A connection is shared by as many exchanges as the endpoint allows, so that one is enough for most workers. Whoever comes
//! while the first is still being made waits for it and does not make another. A connection on which a request got no answer
//! while nothing at all was heard takes no further ones: over HTTP/1.1 it would have been closed with that request.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::base::time::Timestamp;
use crate::cluster::{EndpointCells, Upstream as Settings};
use crate::http1::MAX_HEAD_BYTES;
use crate::net::dial::DialError;
use crate::proxy::account::Account;
use crate::proxy::frames::{Event, Frames};
use crate::proxy::metered::Metered;
use crate::proxy::source::RequestBody;
use crate::proxy::upstream::Upstream;
use crate::runtime::{clock, task};

/// How many exchanges are on one connection at most, if the endpoint allows as many.
const STREAMS: usize = 100;
/// How long an endpoint may take to say how many exchanges it allows; after that it is sent as many as there are.
const FIRST_WORD: Duration = Duration::from_millis(100);
/// How much of one answer waits for its client, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same of all answers on a connection: room for each of them, so that clients that read nothing hold up nobody else.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;
/// How much of one request's body waits for the endpoint, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// Largest head that is read at all, in bytes. It leaves room for heads that are over our bound and refused as such, since one
/// that is not read is told from no other breach.
const LARGEST_HEAD: usize = 4 * MAX_HEAD_BYTES;
/// Frames that an endpoint may send for nothing: at once, and a second. It is believed more than a client, and must not be cut off
/// for what an implementation of HTTP/2 does of itself; but it must not keep a worker busy.
const CREDIT: u32 = 10_000;
const CREDIT_PER_SECOND: u32 = 10_000;
/// What an exchange adds: the head of its answer, some interim ones before it, trailers, and what goes with them.
const CREDIT_PER_EXCHANGE: u32 = 16;

/// The connections of one worker to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Lines(RefCell<Vec<Rc<Line>>>);

/// A connection.
#[derive(Debug)]
pub(crate) struct Line {
    sender: SendRequest<RequestBody>,
    active: Cell<usize>,
    /// How many exchanges the endpoint allows on it.
    allowed: Rc<Cell<usize>>,
    /// Takes no further exchanges.
    spent: Cell<bool>,
    /// What it is counted as.
    counted: Cell<Counted>,
    idle_since: Cell<Timestamp>,
    heard: Rc<Heard>,
    /// Reads and writes for everybody; ends with the connection.
    _task: task::Owned,
}

/// What has come on a connection so far.
#[derive(Debug)]
struct Heard {
    /// How often anything came.
    times: Cell<u64>,
    /// Whether the head of an answer has begun and is not all there.
    within_head: Cell<bool>,
    /// What the endpoint may send for nothing.
    account: Account,
}

/// What a connection is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Active,
    Idle,
    Gone,
}

/// A place on a connection; given back on drop.
#[derive(Debug)]
pub(crate) struct Ride {
    line: Rc<Line>,
    upstream: Rc<Upstream>,
    heard: u64,
}

impl Lines {
    /// The connection with room that has the most on it, so that those that are not needed become idle and are closed.
    pub(crate) fn take(&self) -> Option<Rc<Line>> {
        let lines = self.0.borrow();
        lines.iter().filter(|line| line.has_room()).max_by_key(|line| line.active.get()).cloned()
    }

    /// Whether one of them takes another exchange.
    pub(crate) fn have_room(&self) -> bool {
        self.0.borrow().iter().any(|line| line.has_room())
    }

    /// Adds a connection that has just been made.
    pub(crate) fn add(&self, line: Rc<Line>, cells: &EndpointCells) {
        line.count(cells);
        self.0.borrow_mut().push(line);
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Lets go of what has ended, takes no further exchanges, or has been idle for too long.
    pub(crate) fn sweep(&self, now: Timestamp, settings: Settings, cells: &EndpointCells) {
        self.retain(cells, |line| {
            let idle = line.active.get() == 0;
            !(idle && (line.is_over() || now >= line.idle_since.get() + settings.idle_timeout))
        });
    }

    /// Lets go of one that is idle. Whether there was one.
    pub(crate) fn close_idle(&self, cells: &EndpointCells) -> bool {
        let mut closed = false;
        self.retain(cells, |line| {
            let closes = !closed && line.active.get() == 0;
            closed |= closes;
            !closes
        });
        closed
    }

    /// Lets go of all of them; exchanges under way keep theirs until they end.
    pub(crate) fn clear(&self, cells: &EndpointCells) {
        self.retain(cells, |_| false);
    }

    fn retain(&self, cells: &EndpointCells, mut keep: impl FnMut(&Line) -> bool) {
        self.0.borrow_mut().retain(|line| {
            let kept = keep(line);
            if !kept {
                line.spent.set(true);
                line.count(cells);
            }
            kept
        });
    }
}

impl Line {
    /// Begins to speak HTTP/2 on a stream.
    ///
    /// The first thing that an endpoint says is how many exchanges it allows. All who wait for this connection would otherwise be
    /// sent there, and those that are too many get stuck behind the others instead of getting a connection of their own.
    pub(crate) async fn open(stream: Metered, now: Timestamp) -> Result<Rc<Self>, DialError> {
        let account = Account::new(CREDIT, CREDIT_PER_SECOND, now);
        let heard = Rc::new(Heard { times: Cell::new(0), within_head: Cell::new(false), account });
        let (first_word, spoke) = oneshot::channel();
        let io = TokioIo::new(Listening {
            stream,
            heard: Rc::clone(&heard),
            frames: Frames::of_answers(),
            first_word: Some(first_word),
        });
        let mut builder = Builder::new(Tasks);
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER);
        let (sender, connection) = builder.handshake(io).await.map_err(|error| DialError::Other(io::Error::other(error)))?;
        if let Ok(Err(_)) = tokio::time::timeout(FIRST_WORD, spoke).await {
            let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "the endpoint closed the connection without a word");
            return Err(DialError::Other(closed));
        }
        let allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
        let told = Rc::clone(&allowed);
        let mut connection = Box::pin(connection);
        let task = task::Owned::spawn(std::future::poll_fn(move |cx| {
            let ended = connection.as_mut().poll(cx);
            told.set(connection.current_max_send_streams());
            // How it ended reaches whoever waits for an answer; without one, the connection is simply gone.
            ended.map(drop)
        }));
        Ok(Rc::new(Self {
            sender,
            active: Cell::new(0),
            allowed,
            spent: Cell::new(false),
            counted: Cell::new(Counted::Gone),
            idle_since: Cell::new(now),
            heard,
            _task: task,
        }))
    }

    fn is_over(&self) -> bool {
        self.spent.get() || self.sender.is_closed()
    }

    fn has_room(&self) -> bool {
        !self.is_over() && self.active.get() < STREAMS.min(self.allowed.get())
    }

    /// Whether exchanges go on on it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.active.get() > 0 && !self.is_over()
    }

    /// Has the gauges say what it is doing now.
    fn count(&self, cells: &EndpointCells) {
        let now = match (self.active.get(), self.spent.get()) {
            (1.., _) => Counted::Active,
            (0, false) => Counted::Idle,
            (0, true) => Counted::Gone,
        };
        let before = self.counted.replace(now);
        for (state, gauge) in [(Counted::Active, &cells.active), (Counted::Idle, &cells.idle)] {
            match (before == state, now == state) {
                (true, false) => gauge.dec(),
                (false, true) => gauge.inc(),
                _ => {}
            }
        }
    }

    /// Takes a place on it.
    pub(crate) fn ride(self: Rc<Self>, upstream: &Rc<Upstream>) -> Ride {
        self.active.set(self.active.get() + 1);
        self.count(upstream.cells());
        self.heard.account.refund(CREDIT_PER_EXCHANGE);
        let heard = self.heard.times.get();
        Ride { line: self, upstream: Rc::clone(upstream), heard }
    }
}

impl Ride {
    /// A handle to send one request by.
    pub(crate) fn sender(&self) -> SendRequest<RequestBody> {
        self.line.sender.clone()
    }

    /// Whether the endpoint has been cut off for what it sent for nothing.
    pub(crate) fn is_flooded(&self) -> bool {
        self.line.heard.account.is_overdrawn()
    }

    /// What came is a breach of the protocol: those who are under way stay, and nobody joins them.
    pub(crate) fn distrust(&self) {
        self.line.spent.set(true);
    }

    /// No answer has come. If nothing else has been heard meanwhile, the connection is as good as dead; so it is if a head has
    /// begun to come and does not go on.
    pub(crate) fn doubt(&self) {
        if self.line.heard.times.get() == self.heard || self.line.heard.within_head.get() {
            self.line.spent.set(true);
        }
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        self.line.active.set(self.line.active.get() - 1);
        if self.line.active.get() == 0 {
            self.line.idle_since.set(clock::now());
        }
        self.line.count(self.upstream.cells());
    }
}

/// A stream that counts how often anything is heard, and what of it is for nothing.
#[derive(Debug)]
struct Listening {
    stream: Metered,
    heard: Rc<Heard>,
    frames: Frames,
    /// To be told of the first.
    first_word: Option<oneshot::Sender<()>>,
}

impl Listening {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.heard.account.wrote(*bytes);
        }
        written
    }
}

impl AsyncRead for Listening {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.times.set(self.heard.times.get() + 1);
            if let Some(first_word) = self.first_word.take() {
                // Whoever waited for it may have gone on.
                let _ = first_word.send(());
            }
            let Self { frames, heard, .. } = &mut *self;
            frames.read(&buf.filled()[before..], |event| match event {
                Event::Overhead | Event::HeadBegun => heard.account.charge(1),
                Event::Started | Event::HeadEnded => {}
            });
            heard.within_head.set(frames.is_within_head());
            if heard.account.is_overdrawn() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "frames for nothing")));
            }
        }
        result
    }
}

impl AsyncWrite for Listening {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Starts what hyper wants to run beside the exchanges.
#[derive(Debug, Clone, Copy)]
struct Tasks;

impl<F: Future + 'static> Executor<F> for Tasks
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(task::spawn(future));
    }
}

//! A connection of a probe on which HTTP/2 is spoken: one exchange at a time, and a task that moves bytes meanwhile.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use crate::net::stream::Stream;
use crate::probe::trouble::Trouble;
use crate::runtime::task::{self, Owned};

/// What a request may carry.
pub(super) type Body = Full<Bytes>;

/// How much of an answer may be on its way before we have taken it: answers of probes are short, and there may be thousands.
const WINDOW: u32 = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// Moves bytes for as long as this lives.
    _driver: Owned,
}

/// Runs hyper's tasks on this thread.
#[derive(Debug, Clone, Copy)]
struct Here;

impl<F> hyper::rt::Executor<F> for Here
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(task::spawn(future));
    }
}

impl Connection {
    /// Begins to speak.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(super) async fn open(stream: Stream) -> Result<Self, Trouble> {
        let mut builder = Builder::new(Here);
        builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| Trouble::of_http2(&error))?;
        let driver = async {
            // How it ended is told to whoever asks on it.
            drop(connection.await);
        };
        Ok(Self { sender, _driver: Owned::spawn(driver) })
    }

    /// Whether it can take a request: open, and the other side has not asked us to leave.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Sends a request, and waits for the answer's head. There is no time-out in here.
    ///
    /// # Errors
    /// If none comes.
    pub(super) async fn ask(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

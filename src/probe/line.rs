//! The line to an endpoint: one warm connection between runs, and the exchange on it.
//!
//! Probes over fresh connections alone cost a handshake each and fail with every lost SYN; over a warm one alone they never
//! notice that nobody accepts any more. So one connection is kept, and the caller says when a run takes a fresh one. An
//! endpoint may close what is idle whenever it likes: a warm connection that turns out closed before any byte of an answer
//! is no failure, and the request goes once more, over a fresh one.
//!
//! Between runs only the socket is kept. hyper's buffers, 16 KiB a connection, are made for a run and dropped after it, so
//! that thousands of endpoints cost little memory.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use crate::probe::answer::Answer;
use crate::probe::target::Target;
use crate::probe::trouble::Trouble;
use crate::probe::wire::Wire;
use crate::report::spec::Format;

type Body = Empty<Bytes>;

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;

/// The line to one endpoint.
#[derive(Debug)]
pub(super) struct Line {
    /// Kept from the last run, idle.
    warm: Option<Wire>,
    /// The format of the reports that are read from the answers.
    format: Format,
}

/// An exchange that broke off.
struct Break {
    error: hyper::Error,
    /// Whether any byte of an answer had come.
    heard: bool,
}

impl Line {
    /// A line on which reports come in `format`, or none.
    pub(super) const fn new(format: Format) -> Self {
        Self { warm: None, format }
    }

    /// Sends a request and waits for the whole answer, over a fresh connection or the warm one.
    ///
    /// # Errors
    /// If no whole answer comes. There is no time-out in here: who drops the future closes the connection.
    pub(super) async fn ask(&mut self, target: &Target, request: Request<Body>, fresh: bool) -> Result<Answer, Trouble> {
        let warm = self.warm.take().filter(|wire| !fresh && !target.addresses().is_empty() && wire.is_idle());
        if let Some(wire) = warm {
            match self.exchange(wire, request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(broken) if broken.heard || broken.error.is_parse() => return Err(broken.trouble()),
                Err(_) => {}
            }
        }
        let wire = Wire::new(target.connect().await?);
        self.exchange(wire, request).await.map_err(|broken| broken.trouble())
    }

    async fn exchange(&mut self, wire: Wire, request: Request<Body>) -> Result<Answer, Break> {
        let heard = wire.listen();
        let broken = |error| Break { error, heard: heard.get() };
        let handshake = builder().handshake(TokioIo::new(wire)).await;
        let (mut sender, mut connection) = handshake.map_err(broken)?;
        let answer = drive(&mut connection, converse(&mut sender, request, self.format)).await.map_err(broken)?;
        if !answer.is_cut() {
            self.warm = keep(sender, connection).await;
        }
        Ok(answer)
    }
}

impl Break {
    fn trouble(&self) -> Trouble {
        Trouble::of_http(&self.error, self.heard)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // The contract writes them so, and the simplest of servers compare letter by letter.
    builder.title_case_headers(true).max_buf_size(MAX_HEAD).max_header_size(MAX_HEAD);
    builder
}

async fn converse(sender: &mut SendRequest<Body>, request: Request<Body>, format: Format) -> hyper::Result<Answer> {
    Answer::read(sender.send_request(request).await?, format).await
}

/// Moves bytes for as long as the conversation takes. One task does both, so that one poll sees all that has come.
async fn drive<T>(connection: &mut Connection<TokioIo<Wire>, Body>, conversation: impl Future<Output = T>) -> T {
    let mut conversation = pin!(conversation);
    let mut ended = false;
    std::future::poll_fn(|cx| {
        // How it ended is told to the conversation.
        ended = ended || connection.poll_without_shutdown(cx).is_ready();
        conversation.as_mut().poll(cx)
    })
    .await
}

/// The socket of a connection on which everything has been said, if the endpoint keeps it open.
async fn keep(mut sender: SendRequest<Body>, mut connection: Connection<TokioIo<Wire>, Body>) -> Option<Wire> {
    let open = std::future::poll_fn(|cx| {
        let open = connection.poll_without_shutdown(cx).is_pending();
        Poll::Ready(open && matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))))
    })
    .await;
    let parts = connection.into_parts();
    (open && parts.read_buf.is_empty()).then(|| parts.io.into_inner())
}

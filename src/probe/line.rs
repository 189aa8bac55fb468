//! The line to an endpoint: one warm connection between runs, and the exchange on it.
//!
//! Probes over fresh connections alone cost a handshake each and fail with every lost SYN; over a warm one alone they never
//! notice that nobody accepts any more. So one connection is kept, and the caller says when a run takes a fresh one. An
//! endpoint may close what is idle whenever it likes: a warm connection that turns out closed before any byte of an answer
//! is no failure, and the request goes once more, over a fresh one.
//!
//! Between runs only the socket is kept: what is read goes through a buffer that all of a thread's connections share, so that
//! thousands of endpoints cost little memory.

use std::future::poll_fn;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;

use crate::http1::{Connection, Conversation, Fault, Heard, RequestHead};
use crate::net::stream::Stream;
use crate::probe::answer::Answer;
use crate::probe::target::Target;
use crate::probe::trouble::Trouble;
use crate::report::spec::Format;
use crate::tls::Application;

type Body = Empty<Bytes>;

/// The line to one endpoint.
#[derive(Debug)]
pub(super) struct Line {
    /// What is read from its answers.
    format: Format,
    /// Kept from the last run, idle.
    warm: Option<Connection<Stream>>,
}

impl Line {
    pub(super) const fn new(format: Format) -> Self {
        Self { format, warm: None }
    }

    /// Sends a request and waits for the whole answer, over a fresh connection or the warm one.
    ///
    /// # Errors
    /// If no whole answer comes. There is no time-out in here: who drops the future closes the connection.
    pub(super) async fn ask(&mut self, target: &Target, request: &Request<Body>, fresh: bool) -> Result<Answer, Trouble> {
        let warm = self.warm.take().filter(|_| !fresh && !target.addresses().is_empty());
        if let Some(connection) = warm.and_then(quiet) {
            match self.exchange(connection, request).await {
                Err(Fault::Closed { heard: false } | Fault::Broken { heard: false, .. }) => {}
                other => return other.map_err(Trouble::from),
            }
        }
        let connection = Connection::new(target.connect(Application::Http1).await?);
        self.exchange(connection, request).await.map_err(Trouble::from)
    }

    async fn exchange(&mut self, connection: Connection<Stream>, request: &Request<Body>) -> Result<Answer, Fault> {
        let head = RequestHead {
            method: request.method(),
            target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
            headers: request.headers(),
            more: b"",
            host: None,
            // The contract writes them so, and the simplest of servers compare letter by letter.
            title_case: true,
        };
        let mut conversation = Conversation::new(connection, head, Body::new());
        let reply = loop {
            match poll_fn(|cx| conversation.poll_reply(cx)).await? {
                Heard::Interim(_) => {}
                Heard::Final(reply) => break reply,
            }
        };
        let answer = Answer::read(reply, &mut conversation, self.format).await?;
        self.warm = conversation.finish();
        Ok(answer)
    }
}

/// The connection, if it can take a request: open, and nothing has come that nobody asked for.
fn quiet(mut connection: Connection<Stream>) -> Option<Connection<Stream>> {
    connection.is_quiet().then_some(connection)
}

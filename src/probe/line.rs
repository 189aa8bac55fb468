//! The line to an endpoint: one warm connection between runs, and the exchange on it.
//!
//! Probes over fresh connections alone cost a handshake each and fail with every lost SYN; over a warm one alone they never
//! notice that nobody accepts any more. So one connection is kept, and the caller says when a run takes a fresh one. An
//! endpoint may close what is idle whenever it likes: a warm connection that turns out closed before any byte of an answer
//! is no failure, and the request goes once more, over a fresh one.
//!
//! Between runs only the socket is kept: what is read goes through a buffer that all of a thread's connections share, so that
//! thousands of endpoints cost little memory.

use std::cell::RefCell;
use std::future::poll_fn;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri};
use http_body_util::{Empty, Full};

use crate::http1::{Brief, Connection, Conversation, Fault, Heard, RequestHead};
use crate::net::stream::Stream;
use crate::probe::answer::Answer;
use crate::probe::http2;
use crate::probe::request::Question;
use crate::probe::target::Target;
use crate::probe::trouble::Trouble;
use crate::report::spec::Format;

thread_local! {
    /// Where requests are written before they are sent.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The line to one endpoint.
#[derive(Debug)]
pub(super) struct Line {
    /// Whether what is asked has been found sound: it is the same in every run but for digits.
    sound: bool,
    /// What is read from its answers.
    format: Format,
    /// Kept from the last run, idle.
    warm: Option<Warm>,
}

#[derive(Debug)]
enum Warm {
    Http1(Connection<Stream>),
    Http2(http2::Connection),
}

impl Line {
    pub(super) const fn new(format: Format) -> Self {
        Self { sound: false, format, warm: None }
    }

    /// Asks and waits for the whole answer, over a fresh connection or the warm one.
    ///
    /// # Errors
    /// If no whole answer comes. There is no time-out in here: who drops the future closes the connection.
    pub(super) async fn ask(&mut self, target: &Target, question: &Question<'_>, fresh: bool) -> Result<Answer, Trouble> {
        if !self.sound {
            question.check()?;
            self.sound = true;
        }
        match self.warm.take().filter(|_| !fresh && target.is_known()).and_then(quiet) {
            Some(Warm::Http1(connection)) => match self.exchange(connection, question).await {
                Err(Fault::Closed { heard: false } | Fault::Broken { heard: false, .. }) => {}
                other => return other.map_err(Trouble::from),
            },
            Some(Warm::Http2(connection)) => {
                if let Ok(answer) = Box::pin(self.exchange_http2(connection, target, question)).await {
                    return Ok(answer);
                }
            }
            None => {}
        }
        // Together they are ten times as large as what a warm connection needs, and rarely wanted.
        Box::pin(self.ask_afresh(target, question)).await
    }

    async fn ask_afresh(&mut self, target: &Target, question: &Question<'_>) -> Result<Answer, Trouble> {
        let (stream, http2) = target.connect_http().await?;
        if http2 {
            return self.exchange_http2(http2::Connection::open(stream).await?, target, question).await;
        }
        self.exchange(Connection::new(stream), question).await.map_err(Trouble::from)
    }

    async fn exchange_http2(
        &mut self,
        mut connection: http2::Connection,
        target: &Target,
        question: &Question<'_>,
    ) -> Result<Answer, Trouble> {
        let asked = connection.ask(for_http2(question, target)?).await;
        let response = asked.map_err(|error| Trouble::of_http2(&error))?;
        let answer = Answer::read_http2(response, self.format).await?;
        if !answer.is_cut() {
            self.warm = Some(Warm::Http2(connection));
        }
        Ok(answer)
    }

    /// What comes of it on the connection.
    async fn exchange(&mut self, mut connection: Connection<Stream>, question: &Question<'_>) -> Result<Answer, Fault> {
        if question.check.method == Method::HEAD {
            return Box::pin(self.hear(begin(connection, question))).await;
        }
        let (mut request, mut sent) = (ROOM.take(), 0);
        request.clear();
        question.write(&mut request);
        poll_fn(|cx| connection.poll_say(&request, &mut sent, cx)).await;
        ROOM.set(request);
        let format = self.format;
        match poll_fn(|cx| connection.poll_hear(cx, |plain| Answer::of(plain, format))).await? {
            Brief::Plain(answer) => {
                self.warm = Some(Warm::Http1(connection));
                Ok(answer)
            }
            // Hardly any answer is like that, so all others need no room for it.
            Brief::Other(came) => Box::pin(self.hear(Conversation::said(connection, came))).await,
        }
    }

    async fn hear(&mut self, mut conversation: Conversation<Stream, Empty<Bytes>>) -> Result<Answer, Fault> {
        let reply = loop {
            match poll_fn(|cx| conversation.poll_reply(cx)).await? {
                Heard::Interim(_) => {}
                Heard::Final(reply) => break reply,
            }
        };
        let answer = Answer::read(reply, &mut conversation, self.format).await?;
        self.warm = conversation.finish().map(Warm::Http1);
        Ok(answer)
    }
}

/// The question as it is asked on a connection.
fn begin(connection: Connection<Stream>, question: &Question<'_>) -> Conversation<Stream, Empty<Bytes>> {
    let mut lines = Vec::new();
    question.write_lines(&mut lines);
    Conversation::new(connection, RequestHead { more: &lines, ..question.head() }, Empty::new())
}

/// The connection, if it can take a request: open, and nothing has come that nobody asked for.
fn quiet(mut warm: Warm) -> Option<Warm> {
    let quiet = match &mut warm {
        Warm::Http1(connection) => connection.is_quiet(),
        Warm::Http2(connection) => connection.is_ready(),
    };
    quiet.then_some(warm)
}

/// The request as it is sent over HTTP/2, where its target names the host.
fn for_http2(question: &Question<'_>, target: &Target) -> http::Result<Request<http2::Body>> {
    let (mut head, _) = question.request()?.into_parts();
    let host = head.headers.remove(HOST).map(|host| host.as_bytes().to_vec()).unwrap_or_default();
    let mut uri = head.uri.into_parts();
    uri.scheme = Some(if target.is_secured() { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(host.as_slice())?);
    head.uri = Uri::from_parts(uri)?;
    Ok(Request::from_parts(head, Full::default()))
}

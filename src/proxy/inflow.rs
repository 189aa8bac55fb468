//! An answer's body as it comes from an endpoint, whichever protocol brings it.
//!
//! Above this nobody knows how an answer is read. What it costs to end one, or to keep its connection, is the attempt's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http1::Conversation;
use crate::net::conduit::Conduit;
use crate::proxy::early::Early;
use crate::proxy::metered::Metered;
use crate::proxy::pool::Connection;
use crate::proxy::source::RequestBody;

/// From so many bytes on, a body's rest is better left in the system than copied: it takes more calls of the system's.
const WORTH_LEAVING: u64 = 128 * 1024;

/// The body of an endpoint's answer.
#[derive(Debug)]
pub(crate) enum Inflow {
    /// Over HTTP/1.1, with the connection that brings it and what is left of the request.
    Http1(Box<Conversation<Metered, RequestBody>>),
    /// Over HTTP/2; dropped before its end, it tells the endpoint that nobody reads on.
    Http2(Incoming),
    /// The same after a status that has no body: nothing but its end may come.
    Bodyless(Incoming),
    /// The same, while the request is still on its way.
    Early(Early),
}

/// The endpoint broke off, or what came was no body.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct BrokenOff {
    /// For the log.
    why: String,
    /// Whether what came is a breach of the protocol, after which nothing more is asked for on the connection.
    pub(crate) is_breach: bool,
}

impl BrokenOff {
    fn new(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), is_breach: false }
    }

    fn breach(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), is_breach: true }
    }
}

impl Inflow {
    /// The body that follows the head which has just been read.
    pub(crate) fn http1(conversation: Box<Conversation<Metered, RequestBody>>) -> Self {
        let whole = conversation.is_sent() || conversation.is_end();
        if whole { Self::Http1(conversation) } else { Self::Early(Early::new(conversation)) }
    }

    /// The body that follows a head with this status on a shared connection.
    pub(crate) fn http2(body: Incoming, status: StatusCode) -> Self {
        let bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodyless { Self::Bodyless(body) } else { Self::Http2(body) }
    }

    /// The next part of the body, left in the system if it is long and nobody has to look at it on the way.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        conduit: Option<&Conduit>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let (Self::Http1(conversation), Some(conduit)) = (&mut *self, conduit)
            && let Some((metered, left)) = conversation.unread()
            && left >= WORTH_LEAVING
            && let Some(socket) = metered.plain()
        {
            match ready!(conduit.poll_fill(cx, socket, left)) {
                Ok(None) => {}
                Ok(Some(part)) => {
                    let passed = conversation.pass(part.len());
                    return Poll::Ready(Some(passed.map(|()| Frame::data(part)).map_err(BrokenOff::new)));
                }
                Err(error) => return Poll::Ready(Some(Err(BrokenOff::new(error)))),
            }
        }
        Pin::new(self).poll_frame(cx)
    }

    /// The stream that brought the answer, which is HTTP's no more, and what has been read of it.
    pub(crate) fn into_stream(self) -> Option<(Metered, Bytes)> {
        match self {
            Self::Http1(conversation) => Some(conversation.into_stream()),
            // The request is still on its way: nobody asked for another protocol with a body.
            Self::Http2(_) | Self::Bodyless(_) | Self::Early(_) => None,
        }
    }

    /// The connection, if the answer has been read, the request has been sent, and the endpoint keeps it.
    pub(crate) fn finish(self) -> Option<Connection> {
        match self {
            Self::Http1(conversation) => conversation.finish(),
            Self::Http2(_) | Self::Bodyless(_) => None,
            Self::Early(early) => early.finish(),
        }
    }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Http1(conversation) => conversation.poll_frame(cx).map_err(BrokenOff::new),
            Self::Early(early) => early.poll_frame(cx).map_err(BrokenOff::new),
            Self::Http2(body) => poll_shared(body, cx),
            Self::Bodyless(body) => match ready!(poll_shared(body, cx)) {
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| !data.is_empty()) => {
                    Poll::Ready(Some(Err(BrokenOff::breach("a body where there is none"))))
                }
                other => Poll::Ready(other),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(conversation) => conversation.is_end(),
            Self::Http2(body) | Self::Bodyless(body) => body.is_end_stream(),
            Self::Early(early) => early.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(conversation) => conversation.size_hint(),
            Self::Http2(body) | Self::Bodyless(body) => body.size_hint(),
            Self::Early(early) => early.size_hint(),
        }
    }
}

/// The next piece of a body that came on a shared connection.
///
/// An endpoint that resets the stream without naming an error has no use for the rest of the request (RFC 9113, section 8.1): to
/// hyper the answer ends with that, whether all of it has come or not.
fn poll_shared(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
    match ready!(Pin::new(&mut *body).poll_frame(cx)) {
        Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
        Some(Err(error)) => {
            let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<h2::Error>());
            let is_breach = cause.is_some_and(h2::Error::is_library);
            Poll::Ready(Some(Err(BrokenOff { why: error.to_string(), is_breach })))
        }
        None if body.is_end_stream() => Poll::Ready(None),
        None => Poll::Ready(Some(Err(BrokenOff::new("the stream was reset before its end")))),
    }
}

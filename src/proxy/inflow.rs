//! An answer's body as it comes from an endpoint, whichever protocol brings it.
//!
//! Above this nobody knows how an answer is read. What it costs to end one, or to keep its connection, is the attempt's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http1::Conversation;
use crate::proxy::early::Early;
use crate::proxy::metered::Metered;
use crate::proxy::pool::Connection;
use crate::proxy::source::RequestBody;

/// The body of an endpoint's answer.
#[derive(Debug)]
pub(crate) enum Inflow {
    /// Over HTTP/1.1, with the connection that brings it and what is left of the request.
    Http1(Box<Conversation<Metered, RequestBody>>),
    /// Over HTTP/2; dropped before its end, it tells the endpoint that nobody reads on.
    Http2(Incoming),
    /// The same, while the request is still on its way.
    Early(Early),
}

/// The endpoint broke off, or what came was no body. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BrokenOff(String);

impl Inflow {
    /// The body that follows the head which has just been read.
    pub(crate) fn http1(conversation: Box<Conversation<Metered, RequestBody>>) -> Self {
        let whole = conversation.is_sent() || conversation.is_end();
        if whole { Self::Http1(conversation) } else { Self::Early(Early::new(conversation)) }
    }

    /// The stream that brought the answer, which is HTTP's no more, and what has been read of it.
    pub(crate) fn into_stream(self) -> Option<(Metered, Bytes)> {
        match self {
            Self::Http1(conversation) => Some(conversation.into_stream()),
            // The request is still on its way: nobody asked for another protocol with a body.
            Self::Http2(_) | Self::Early(_) => None,
        }
    }

    /// The connection, if the answer has been read, the request has been sent, and the endpoint keeps it.
    pub(crate) fn finish(self) -> Option<Connection> {
        match self {
            Self::Http1(conversation) => conversation.finish(),
            Self::Http2(_) => None,
            Self::Early(early) => early.finish(),
        }
    }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Http1(conversation) => conversation.poll_frame(cx).map_err(|fault| BrokenOff(fault.to_string())),
            Self::Early(early) => early.poll_frame(cx).map_err(|fault| BrokenOff(fault.to_string())),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(|error| BrokenOff(error.to_string())),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(conversation) => conversation.is_end(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Early(early) => early.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(conversation) => conversation.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Early(early) => early.size_hint(),
        }
    }
}

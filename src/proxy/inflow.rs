//! An answer's body as it comes from an endpoint, whichever protocol brings it.
//!
//! Above this nobody knows how an answer is read. What it costs to end one, or to keep its connection, is the attempt's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of an endpoint's answer.
#[derive(Debug)]
pub(crate) enum Inflow {
    /// Over HTTP/1.1.
    Http1(hyper::body::Incoming),
}

/// The endpoint broke off, or what came was no body. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BrokenOff(String);

impl Body for Inflow {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
        };
        frame.map_err(|error| BrokenOff(error.to_string()))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
        }
    }
}

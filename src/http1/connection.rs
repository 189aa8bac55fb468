//! A connection with nothing on it: fresh, or between two requests.

use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::io::{AsyncRead, ReadBuf};

/// A connection to an endpoint that waits for its next request.
#[derive(Debug)]
pub struct Connection<S> {
    pub(super) stream: S,
}

impl<S> Connection<S> {
    /// A connection on a stream on which nothing has been said yet.
    #[must_use]
    pub const fn new(stream: S) -> Self {
        Self { stream }
    }

    /// The stream beneath.
    #[must_use]
    pub const fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Whether nothing has come, as far as is known: an end or bytes that nobody has asked for make a connection useless,
    /// for they would be taken for the next request's answer. Asks the system only if there is news.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        // Nobody waits here: whoever reads next is woken.
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
    }
}

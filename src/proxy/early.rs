//! An answer that has come while its request is still being sent.
//!
//! A client may send all of its request before it reads anything. What is left of the request is sent by a task of its own
//! then: were it sent only while the client takes the answer, a large answer would wait for the client, and the client for us.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::http1::{Conversation, Fault};
use crate::proxy::metered::Metered;
use crate::proxy::pool::Connection;
use crate::proxy::source::RequestBody;
use crate::runtime::task;

/// A conversation in which both sides talk.
#[derive(Debug)]
pub(crate) struct Early {
    shared: Rc<Shared>,
    _sending: task::Owned,
}

#[derive(Debug)]
struct Shared {
    /// Gone when the answer has been read, and with it the rest of the request.
    conversation: RefCell<Option<Box<Conversation<Metered, RequestBody>>>>,
    failed: Cell<bool>,
    /// Who reads the answer.
    reader: RefCell<Option<Waker>>,
}

impl Early {
    pub(crate) fn new(conversation: Box<Conversation<Metered, RequestBody>>) -> Self {
        let conversation = RefCell::new(Some(conversation));
        let shared = Rc::new(Shared { conversation, failed: Cell::new(false), reader: RefCell::default() });
        let sender = Rc::clone(&shared);
        let sending = task::Owned::spawn(async move { std::future::poll_fn(|cx| sender.poll_send(cx)).await });
        Self { shared, _sending: sending }
    }

    pub(crate) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.shared.failed.get() {
            return Poll::Ready(Some(Err(Fault::RequestBody)));
        }
        let frame = self.shared.conversation.borrow_mut().as_mut().map_or(Poll::Ready(None), |talk| talk.poll_frame(cx));
        if frame.is_pending() {
            self.shared.reader.replace(Some(cx.waker().clone()));
        }
        frame
    }

    pub(crate) fn is_end(&self) -> bool {
        self.shared.conversation.borrow().as_ref().is_none_or(|talk| talk.is_end())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.shared.conversation.borrow().as_ref().map_or_else(|| SizeHint::with_exact(0), |talk| talk.size_hint())
    }

    pub(crate) fn finish(self) -> Option<Connection> {
        let conversation = self.shared.conversation.borrow_mut().take();
        conversation?.finish()
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        // The task ends at its next turn; the connection ends now.
        let conversation = self.shared.conversation.borrow_mut().take();
        drop(conversation);
    }
}

impl Shared {
    fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        let sent = match self.conversation.borrow_mut().as_mut() {
            Some(conversation) => conversation.poll_sent(cx),
            None => return Poll::Ready(()),
        };
        if matches!(sent, Poll::Ready(Err(_))) {
            self.failed.set(true);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        sent.map(drop)
    }
}

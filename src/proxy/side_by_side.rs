//! Serves a connection on which exchanges run side by side: HTTP/2.
//!
//! Each exchange is a task of its own. hyper asks for the next piece of an answer only when the client has room for it, so a
//! client that takes nothing would hold its exchange, and the endpoint's connection, for ever: the task that carries the
//! exchange watches for that.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use http::header::{CONNECTION, COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::cluster::ListenerError;
use crate::config::model::ListenerLimits;
use crate::net::shared::Shared;
use crate::proxy::body::AnswerBody;
use crate::proxy::client_socket::ClientSocket;
use crate::proxy::connection::Ended;
use crate::proxy::context::Context;
use crate::proxy::exchange;
use crate::proxy::outbox::{Gathered, Outbox};
use crate::proxy::patience::Patience;
use crate::proxy::streams::Streams;
use crate::proxy::worker::Worker;
use crate::runtime::{clock, task};

/// How much of one request's body waits for the endpoint, and of all bodies of a connection, in bytes. The client stops when
/// it is full: it must be enough for a whole round trip, and is memory that a client can take.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of one answer waits for the client, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that ended by errors before the connection ends.
const ERROR_RESETS: usize = 200;

/// Serves a connection until it ends; `first` is what has been read of it.
pub(crate) async fn drive(worker: &Rc<Worker>, context: &Rc<Context>, socket: Shared, first: Vec<u8>) -> Ended {
    let streams = Streams::new(&context.limits);
    let born = Rc::new(RefCell::new(None));
    let service = {
        let (worker, context, streams, born) = (Rc::clone(worker), Rc::clone(context), Rc::clone(&streams), Rc::clone(&born));
        service_fn(move |request| {
            let context = context.stream(&streams);
            *born.borrow_mut() = Some(Rc::clone(&context));
            serve(Rc::clone(&worker), context, request)
        })
    };
    let outbox = Outbox::new(socket.clone(), Rc::clone(&streams));
    let io = TokioIo::new(Gathered::new(ClientSocket::new(socket, Rc::clone(&streams), first), &outbox));
    let tasks = Tasks { worker: Rc::clone(worker), born };
    let mut connection = pin!(builder(tasks, &context.limits).serve_connection(io, service));
    let mut leaving = pin!(context.door.leaving());
    let (mut left, looked) = (false, Cell::new(false));
    let patience = Patience::default();
    std::future::poll_fn(|cx| {
        if streams.are_several() && patience.waits(cx, worker.steps.get(), clock::now) {
            return Poll::Pending;
        }
        let result = connection.as_mut().poll(cx);
        if let Poll::Ready(Err(_)) = outbox.poll_send(cx) {
            return Poll::Ready(Ended::Closed);
        }
        if streams.is_flooded() {
            return Poll::Ready(Ended::Flooded);
        }
        if let Poll::Ready(result) = result {
            return Poll::Ready(result.map_or_else(|error| ended(&error), |()| Ended::Closed));
        }
        if streams.head.poll_reached(cx).is_ready() {
            return Poll::Ready(Ended::Overdue(Some(ListenerError::HeadTimeout)));
        }
        if streams.idle.poll_reached(cx).is_ready() {
            return Poll::Ready(Ended::Overdue(None));
        }
        if !left
            && context.door.is_worth_a_look(&looked)
            && let Poll::Ready(idle_grace) = leaving.as_mut().poll(cx)
        {
            left = true;
            // The client is told at once which requests are still answered (RFC 9113, section 6.8), and need not listen.
            connection.as_mut().graceful_shutdown();
            streams.leave(idle_grace);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// The machinery, with the listener's bounds.
fn builder(tasks: Tasks, limits: &ListenerLimits) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // A client may take back at once whatever it may have under way; who does it again and again is charged for it.
        .max_pending_accept_reset_streams(usize::try_from(limits.streams).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(ERROR_RESETS);
    builder
}

/// What an error of the machinery means.
fn ended(error: &hyper::Error) -> Ended {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    tracing::debug!("a client's connection ended: {error}: {cause:?}");
    match cause {
        Some(cause) if cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) => Ended::Flooded,
        Some(cause) if cause.is_library() => Ended::Refused,
        _ => Ended::Closed,
    }
}

/// Serves one request, which from here on looks like any other.
fn serve(
    worker: Rc<Worker>,
    context: Rc<Context>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, std::convert::Infallible>> {
    join_cookies(request.headers_mut());
    let answered = exchange::serve(worker, context, request);
    async move {
        let mut answer = answered.await;
        if let Ok(answer) = &mut answer {
            answer.headers_mut().remove(CONNECTION);
        }
        answer
    }
}

/// HTTP/2 allows a Cookie in pieces; everybody else wants one line (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Starts the tasks of a connection's exchanges.
#[derive(Debug, Clone)]
struct Tasks {
    worker: Rc<Worker>,
    /// The exchange that has just been made: its task follows at once.
    born: Rc<RefCell<Option<Rc<Context>>>>,
}

impl<F: Future + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let task = Carried { worker: Rc::clone(&self.worker), context: self.born.take(), future: Box::pin(future) };
        drop(task::spawn(task));
    }
}

/// An exchange, with a watch over how long its client takes nothing.
struct Carried<F> {
    worker: Rc<Worker>,
    context: Option<Rc<Context>>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Carried<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.worker.steps.set(self.worker.steps.get() + 1);
        if self.future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(context) = self.context.as_ref().filter(|context| context.activity.is_handed()) else { return Poll::Pending };
        if context.deadline.poll_reached(cx).is_pending() {
            return Poll::Pending;
        }
        self.worker.count(&context.door, ListenerError::IdleTimeout);
        // What is dropped with this resets the stream.
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_cookie_become_one() {
        let check = |pieces: &[&'static str], wanted: &[&str]| {
            let mut headers = HeaderMap::new();
            for piece in pieces {
                headers.append(COOKIE, HeaderValue::from_static(piece));
            }
            join_cookies(&mut headers);
            assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), wanted);
        };
        check(&[], &[]);
        check(&["a=1"], &["a=1"]);
        check(&["a=1", "b=2; c=3", "d=4"], &["a=1; b=2; c=3; d=4"]);
    }
}

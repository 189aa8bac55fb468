//! Serves a connection on which exchanges come one by one: HTTP/1.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;

use crate::config::model::ListenerLimits;
use crate::net::shared::{Shared, Waiting};
use crate::proxy::client_socket::{ClientSocket, Guess};
use crate::proxy::connection::Ended;
use crate::proxy::context::{Context, Idling, State};
use crate::proxy::exchange;
use crate::proxy::parked;
use crate::proxy::worker::Worker;

/// hyper's own bound of header lines: a table of that size is part of its parser, any other is allocated for every head.
const DEFAULT_HEAD_COUNT: usize = 100;
/// Smallest read buffer that hyper allows.
const MIN_BUFFER: usize = 8192;

/// Where the machinery of HTTP/1 stops.
enum Stop {
    Ended(Ended),
    /// The connection idles; what had been read of a next head, which is nothing as a rule.
    Idle(Vec<u8>),
}

/// Serves a connection until it ends, or turns out to be HTTP/2 where that `may_be`.
pub(crate) async fn drive(worker: &Rc<Worker>, context: &Rc<Context>, socket: Shared, may_be_http2: bool) -> Ended {
    let guess = may_be_http2.then(Rc::<Guess>::default);
    let mut io = match &guess {
        Some(guess) => ClientSocket::guessing(socket.clone(), Rc::clone(context), guess),
        None => ClientSocket::new(socket.clone(), Rc::clone(context), Vec::new()),
    };
    loop {
        // On the heap, so that a connection which is parked is rid of it.
        let first = match Box::pin(serve(worker, context, &socket, io, guess.as_deref())).await {
            Stop::Ended(ended) => return ended,
            Stop::Idle(first) => first,
        };
        if first.is_empty()
            && let Some(ended) = parked::wait(context, &socket).await
        {
            return ended;
        }
        io = ClientSocket::new(socket.clone(), Rc::clone(context), first);
    }
}

async fn serve(
    worker: &Rc<Worker>,
    context: &Rc<Context>,
    socket: &Shared,
    io: ClientSocket<Rc<Context>>,
    guess: Option<&Guess>,
) -> Stop {
    let service = {
        let (worker, context) = (Rc::clone(worker), Rc::clone(context));
        service_fn(move |request| exchange::serve(Rc::clone(&worker), Rc::clone(&context), request))
    };
    let mut connection = parser(&context.limits).serve_connection(TokioIo::new(io), service);
    let mut leaving = pin!(context.door.left());
    let (mut left, looked) = (false, Cell::new(false));
    let activity = &context.activity;
    let stopped = std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            let refused = matches!(&result, Err(error) if error.is_parse());
            return Poll::Ready(Some(if refused { Ended::Refused } else { Ended::Closed }));
        }
        if let Some(first) = guess.and_then(Guess::http2) {
            return Poll::Ready(Some(Ended::Http2(first)));
        }
        activity.wait_for_head();
        while activity.deadline.poll_reached(cx).is_ready() {
            match activity.go_on_idling() {
                Idling::Overdue => return Poll::Ready(Some(Ended::overdue(activity.state()))),
                // What TLS has encrypted must have gone out as well.
                Idling::Parked if !left && Pin::new(&mut socket.clone()).poll_flush(cx).is_ready() => return Poll::Ready(None),
                // The machinery of HTTP reads on, and so has the socket watched.
                Idling::Watched => cx.waker().wake_by_ref(),
                Idling::Parked | Idling::Attended => {}
            }
        }
        if !left && context.door.is_worth_a_look(&looked) && leaving.as_mut().poll(cx).is_ready() {
            left = true;
            // A request that has arrived already is still answered.
            if socket.waiting() == Waiting::Nothing || activity.state() != State::Idle {
                Pin::new(&mut connection).graceful_shutdown();
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    match stopped {
        None => Stop::Idle(connection.into_parts().read_buf.into()),
        Some(Ended::Closed) if activity.has_left_http() => Stop::Ended(Ended::Upgraded(connection.into_parts().read_buf)),
        Some(ended) => Stop::Ended(ended),
    }
}

/// The parser of heads, with the listener's bounds.
fn parser(limits: &ListenerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(limits.head_bytes).max_buf_size(limits.head_bytes.max(MIN_BUFFER)).header_read_timeout(None);
    if limits.head_count != DEFAULT_HEAD_COUNT {
        builder.max_headers(limits.head_count);
    }
    builder
}

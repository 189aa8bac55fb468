//! A client's connection between two exchanges of which nothing is kept but the socket.
//!
//! The machinery of HTTP/1 keeps some ten kilobytes of buffers for every connection, and most connections of most services do
//! nothing most of the time. So one that has idled for a while is taken out of that machinery and waits here, until bytes come,
//! or until its time is over. What it costs to put it back is paid by the first request after a pause, and by no other.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::net::shared::{Shared, Waiting};
use crate::proxy::connection::Ended;
use crate::proxy::context::Context;

/// How long a connection idles before it is parked: longer than the pauses of a client that is at work.
pub(super) const AFTER: Duration = if cfg!(test) { Duration::from_millis(40) } else { Duration::from_secs(5) };

/// Waits until something has come, or for the end of the connection, which is then told.
pub(crate) async fn wait(context: &Context, socket: &Shared) -> Option<Ended> {
    let mut leaving = pin!(context.door.left());
    let activity = &context.activity;
    #[cfg(test)]
    seen::note(context.downstream.ends);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(waiting) = socket.poll_waiting(cx) {
            return Poll::Ready((waiting == Waiting::End).then_some(Ended::Closed));
        }
        if activity.deadline.poll_reached(cx).is_ready() {
            return Poll::Ready(Some(Ended::overdue(activity.state())));
        }
        // What has just come is still answered.
        let leaves = leaving.as_mut().poll(cx).is_ready();
        if leaves { Poll::Ready((socket.waiting() == Waiting::Nothing).then_some(Ended::Closed)) } else { Poll::Pending }
    })
    .await
}

/// Which connections have been parked, for tests that have to know.
#[cfg(test)]
pub(super) mod seen {
    use std::collections::HashSet;
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use crate::net::proxy_header::Ends;

    static PARKED: Mutex<Option<HashSet<SocketAddr>>> = Mutex::new(None);

    pub(super) fn note(ends: Option<Ends>) {
        PARKED.lock().unwrap().get_or_insert_default().extend(ends.map(|ends| ends.client));
    }

    /// Whether this client's connection has been parked since it was last asked for.
    pub(in crate::proxy) fn take(client: SocketAddr) -> bool {
        PARKED.lock().unwrap().get_or_insert_default().remove(&client)
    }
}

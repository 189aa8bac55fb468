//! One client connection: how it is opened, which protocol it speaks, and a close that lets the client read what we said last.

use std::cell::Cell;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsStream;

use crate::cluster::{Listener, ListenerError};
use crate::config::model::{self, Protocol};
use crate::net::proxy_header::{self, Ends};
use crate::net::shared::{Shared, Waiting};
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::proxy::context::{Context, State};
use crate::proxy::door::Door;
use crate::proxy::downstream::Downstream;
use crate::proxy::handshake::{Handshake, NoHandshake};
use crate::proxy::worker::{Place, Worker};
use crate::proxy::{one_by_one, side_by_side};
use crate::runtime::timer;
use crate::tls;
use crate::traffic::added::Client;

/// How long and how much a closing connection still reads, so that our last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// A connection that has been accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// What it came in by.
    door: Rc<Door>,
    listener: Arc<model::Listener>,
    /// Where it comes from, if that has an address.
    peer: Option<SocketAddr>,
    /// Where it goes to, if that is known without asking.
    ours: Option<SocketAddr>,
    handshake: Option<Handshake>,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By either side, cleanly or not.
    Closed,
    /// What came is no HTTP.
    Refused,
    /// What came cost more than it was worth.
    Flooded,
    /// A time-out ended it.
    Overdue(Option<ListenerError>),
    /// Another protocol is spoken from here on, and this has come of it.
    Upgraded(Bytes),
    /// It is HTTP/2, and this is what has come of it.
    Http2(Vec<u8>),
}

impl Ended {
    /// A time-out ended it in this state.
    pub(crate) const fn overdue(state: State) -> Self {
        Self::Overdue(match state {
            State::Idle => None,
            State::Begun | State::Head => Some(ListenerError::HeadTimeout),
            State::Busy => Some(ListenerError::IdleTimeout),
        })
    }
}

impl Accepted {
    /// A connection from `peer`, to `ours` if that is known; an error if the listener has no room for its handshake.
    pub(crate) fn new(
        door: Rc<Door>,
        listener: &Listener,
        (peer, ours): (Option<SocketAddr>, Option<SocketAddr>),
    ) -> Result<Self, ListenerError> {
        let handshake = listener.tls.as_ref().map(|tls| Handshake::begin(tls, listener)).transpose()?;
        Ok(Self { door, listener: Arc::clone(&listener.config), peer, ours, handshake })
    }

    /// Whether it begins with who connects.
    fn is_announced(&self) -> bool {
        self.listener.proxy_protocol && self.is_trusted()
    }

    fn is_trusted(&self) -> bool {
        match self.ip() {
            Some(ip) => self.listener.trusted_proxies.iter().any(|net| net.contains(&ip)),
            None => self.listener.trusts_unix,
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// What is known of the client; `certificate` is the one that has been verified.
    fn client(&self, stream: &Stream) -> Client {
        let secured = match stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(stream),
        };
        Client::new(self.ip(), self.is_trusted(), secured.is_some(), secured.and_then(|stream| subject(stream)))
    }
}

/// The verified name of whoever is at the other end.
fn subject(stream: &TlsStream<Socket>) -> Option<HeaderValue> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    HeaderValue::from_str(&tls::subject(certificate)?).ok()
}

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, accepted: Accepted, stream: Socket, place: Place) {
    let door = Rc::clone(&accepted.door);
    let (mut speaking, mut ended) = (pin!(speak(worker, accepted, stream)), pin!(door.ended()));
    let looked = Cell::new(false);
    std::future::poll_fn(|cx| {
        let over = speaking.as_mut().poll(cx).is_ready() || (door.is_worth_a_look(&looked) && ended.as_mut().poll(cx).is_ready());
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    drop(place);
}

async fn speak(worker: Rc<Worker>, mut accepted: Accepted, mut stream: Socket) {
    if accepted.is_announced() {
        // The handshake of TLS, if there is one, and the first head have their own time.
        let limit = accepted.listener.limits.head_timeout;
        match Box::pin(tokio::time::timeout(limit, proxy_header::take(&mut stream))).await {
            Ok(Ok(Some(source))) => accepted.peer = Some(source),
            Ok(Ok(None)) => {}
            Ok(Err(_)) => return worker.count(&accepted.door, ListenerError::ProxyHeader),
            Err(_) => return worker.count(&accepted.door, ListenerError::HeadTimeout),
        }
    }
    let ours = match accepted.ours.map_or_else(|| stream.local(), |ours| Ok(Some(ours))) {
        Ok(ours) => ours,
        Err(error) => return tracing::debug!("a client's connection ended at once: {error}"),
    };
    let downstream = Downstream::new(accepted.peer.map(|client| Ends { client, ours: ours.unwrap_or_else(|| nowhere(client)) }));
    let mut protocol = accepted.listener.protocol;
    let stream = match accepted.handshake.take() {
        None => Stream::from(stream),
        Some(handshake) => match Box::pin(handshake.run(stream, accepted.listener.limits.head_timeout)).await {
            Ok(stream) => {
                protocol = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { secured(protocol) };
                Stream::from(TlsStream::from(stream))
            }
            Err(NoHandshake::Left) => return,
            Err(NoHandshake::Failed(reason)) => return worker.count(&accepted.door, reason),
        },
    };
    let context = Context::new(Rc::clone(&accepted.door), accepted.client(&stream), downstream, &accepted.listener.limits);
    drop(accepted);
    let socket = if matches!(stream, Stream::Tls(_)) { Shared::corked(stream) } else { Shared::new(stream) };
    let mut ended = match protocol {
        Protocol::Http2 => Ended::Http2(Vec::new()),
        Protocol::Auto => one_by_one::drive(&worker, &context, socket.clone(), true).await,
        Protocol::Http1 => one_by_one::drive(&worker, &context, socket.clone(), false).await,
    };
    if let Ended::Http2(first) = ended {
        // The machinery of HTTP/2 is large, and most connections do not need it.
        ended = Box::pin(side_by_side::drive(&worker, &context, socket.clone(), first)).await;
    }
    if let Ended::Upgraded(first) = ended {
        if let Some(tunnel) = context.activity.take_tunnel() {
            Box::pin(tunnel.run(socket, first)).await;
        }
        return;
    }
    end(&worker, &context, socket, ended).await;
}

/// The address that a client has connected to who was told of on a socket in the file system: nobody knows.
const fn nowhere(client: SocketAddr) -> SocketAddr {
    let ip = if client.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(ip, 0)
}

/// What is spoken under TLS by a client that did not choose.
const fn secured(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Auto | Protocol::Http1 => Protocol::Http1,
        Protocol::Http2 => Protocol::Http2,
    }
}

async fn end(worker: &Worker, context: &Context, socket: Shared, ended: Ended) {
    match ended {
        Ended::Closed if context.activity.is_cut_short() => socket.reset(),
        Ended::Closed if context.activity.is_unread() || has_unseen(&socket) => Box::pin(linger(socket)).await,
        Ended::Closed | Ended::Http2(_) | Ended::Upgraded(_) | Ended::Overdue(None) => {}
        Ended::Refused => {
            worker.count(&context.door, ListenerError::BadRequest);
            Box::pin(linger(socket)).await;
        }
        Ended::Flooded => worker.count(&context.door, ListenerError::Flood),
        Ended::Overdue(Some(reason)) => worker.count(&context.door, reason),
    }
}

/// Whether something has come that nobody has been told of.
fn has_unseen(socket: &Shared) -> bool {
    socket.is_unwatched() && socket.waiting() == Waiting::Bytes
}

/// Reads on for a moment. Closing a socket that holds unread bytes resets it, and a reset may overtake our last answer. It has a
/// buffer, so it goes on the heap: a connection that needs none should not have the room.
async fn linger(mut socket: Shared) {
    let mut buffer = [0_u8; 4096];
    let reading = async {
        let mut left = LINGER_BYTES;
        while let Ok(n @ 1..) = socket.read(&mut buffer).await {
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = timer::sleep(LINGER) => {}
    }
}

//! What others say: who may be believed, and the answer that each gets.
//!
//! The order of checks is that of trust: nothing is read before its signature holds, nothing is remembered before its
//! number is fresh. Whoever is refused is told why only if the key is right.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::fleet::ballot::{Answer, MAX_BODY, Message};
use crate::fleet::key::Seal;
use crate::fleet::mailbox::{Desk, Word, random};
use crate::health::electorate::MAX_SIZE;
use crate::net::accept::accept;
use crate::runtime::{clock, task};

/// Where messages are posted.
pub(super) const PATH: &str = "/v1/votes";
pub(super) const KEY: &str = "pulsegate-key";
pub(super) const MAC: &str = "pulsegate-mac";
/// What is signed, so that no message can pass for an answer.
pub(super) const MESSAGE: &[u8] = b"message\n";
pub(super) const ANSWER: &[u8] = b"answer\n";

/// Connections at a time: two for each proxy that there can be.
const CONNECTIONS: usize = 2 * MAX_SIZE;
/// For a head, a body, and between two messages: a peer speaks five times a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest head, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

type Reply = Response<Full<Bytes>>;

/// Listens to the others.
pub(super) fn serve(socket: std::net::TcpListener, desk: Rc<Desk>) -> io::Result<task::Owned> {
    accept(socket, "the fleet", CONNECTIONS, move |stream, from| connection(stream, from.ip().to_canonical(), Rc::clone(&desk)))
}

async fn connection(stream: TcpStream, from: IpAddr, desk: Rc<Desk>) {
    let service = service_fn(|request| {
        let desk = Rc::clone(&desk);
        async move { Ok::<_, Infallible>(receive(request, from, &desk).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_header_size(HEAD_BYTES);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection of the fleet ended badly");
    }
}

async fn receive(request: Request<Incoming>, from: IpAddr, desk: &Desk) -> Reply {
    if request.method() != Method::POST || request.uri().path() != PATH {
        return bare(StatusCode::NOT_FOUND);
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => judge(&head.headers, &body.to_bytes(), from, desk),
        Ok(Err(_)) => {
            desk.counts.malformed.inc();
            closing(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Err(_) => closing(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Decides whether a message is believed, and answers it.
fn judge(headers: &HeaderMap, body: &Bytes, from: IpAddr, desk: &Desk) -> Reply {
    if !seal(headers).is_some_and(|seal| desk.keys.verify(MESSAGE, &seal, body)) {
        desk.counts.refused.inc();
        desk.complain(&from.to_string(), "key", "it is not signed with a key of our key_file");
        return bare(StatusCode::UNAUTHORIZED);
    }
    let message = match Message::decode(body) {
        Ok(message) => message,
        Err(error) => {
            desk.counts.malformed.inc();
            desk.complain(&from.to_string(), "malformed", &error.to_string());
            return bare(StatusCode::BAD_REQUEST);
        }
    };
    let seq = message.seq;
    match admit(message, from, desk) {
        Ok(()) => answer(desk, StatusCode::OK, seq, None),
        Err(Refusal::Stale) => {
            desk.counts.stale.inc();
            answer(desk, StatusCode::CONFLICT, seq, None)
        }
        Err(Refusal::Stranger(kind, detail)) => {
            desk.counts.refused.inc();
            desk.complain(&from.to_string(), kind, &detail);
            answer(desk, StatusCode::FORBIDDEN, seq, Some(detail))
        }
    }
}

enum Refusal {
    /// Said at another time.
    Stale,
    /// Not of our fleet.
    Stranger(&'static str, String),
}

fn admit(message: Message, from: IpAddr, desk: &Desk) -> Result<(), Refusal> {
    let stranger = |kind, detail| Err(Refusal::Stranger(kind, detail));
    let Message { fleet, from: name, size, boot, seq, nonce, ballot } = message;
    if fleet != desk.fleet {
        return stranger("fleet", format!("fleet {fleet:?} is not ours, {:?}", desk.fleet));
    }
    if size != desk.size {
        return stranger("size", format!("{name:?} says that the fleet has {size} proxies, {:?} says {}", desk.name, desk.size));
    }
    if name == desk.name {
        return stranger("name", format!("{name:?} is our own name; fleet.self must differ on every proxy"));
    }
    if !desk.nonces.borrow_mut().is_good(&nonce, random, clock::now()) {
        return Err(Refusal::Stale);
    }
    let mut roll = desk.roll.borrow_mut();
    let addresses = desk.addresses.borrow();
    let Some(peer) = roll.place(&name, from, &addresses, |place| desk.is_heard(place)) else {
        return stranger("peers", format!("{name:?} is one more than fleet.peers lists"));
    };
    if !roll.admit(peer, &boot, seq) {
        return Err(Refusal::Stale);
    }
    desk.counts.ok.inc();
    desk.tell(Word::Heard { peer, name, ballot });
    Ok(())
}

/// What a message or an answer is signed with.
pub(super) fn seal(headers: &HeaderMap) -> Option<Seal> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    Some(Seal { key: text(KEY)?, mac: text(MAC)? })
}

fn answer(desk: &Desk, status: StatusCode, seq: u64, refused: Option<String>) -> Reply {
    let nonce = desk.nonces.borrow_mut().current(random, clock::now()).to_owned();
    let body = Answer { name: Arc::clone(&desk.name), nonce, seq, refused }.encode();
    let mut reply = bare(status);
    for (name, value) in sealed(desk, ANSWER, &body) {
        reply.headers_mut().insert(name, value);
    }
    *reply.body_mut() = body.into();
    reply
}

/// The headers that sign a body.
pub(super) fn sealed(desk: &Desk, kind: &[u8], body: &[u8]) -> Vec<(&'static str, HeaderValue)> {
    let Some(Seal { key, mac }) = desk.keys.sign(kind, body) else { return Vec::new() };
    let value = |text: String| HeaderValue::from_str(&text).expect("hexadecimal digits are a header value");
    vec![(KEY, value(key)), (MAC, value(mac))]
}

fn bare(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

fn closing(status: StatusCode) -> Reply {
    let mut reply = bare(status);
    reply.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

//! Endpoints that misbehave, each in the way that its name says, on real sockets.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::runtime::task::{self, Owned};

/// How an endpoint answers every request.
#[derive(Debug, Clone)]
pub(super) enum Behaviour {
    /// With these bytes, and keeps the connection.
    Answers(Vec<u8>),
    /// With these bytes, and closes the connection.
    AnswersAndCloses(Vec<u8>),
    /// Byte by byte, each in a segment of its own.
    AnswersSlowly(Vec<u8>),
    /// Properly to the first request of a connection; reads the second and closes.
    ClosesOnSecondRequest(Vec<u8>),
    /// Properly to the first request of a connection; breaks off in the middle of the second answer's head.
    BreaksOffSecondHead(Vec<u8>),
    /// Properly, and closes when the connection has been idle until [`Misbehaving::close_idle`].
    ClosesWhenIdle(Vec<u8>),
    /// Not at all.
    StallsBeforeAnswer,
    /// With a head, and nothing after it.
    StallsAfterHeaders,
    /// With part of a body, and a reset.
    ResetsMidBody,
    /// With part of a body, and a close.
    ClosesMidBody,
    /// With a close.
    ClosesBeforeAnswer,
}

/// A running endpoint; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Misbehaving {
    pub(super) address: SocketAddr,
    seen: Rc<Seen>,
    _serving: Owned,
}

#[derive(Debug)]
struct Seen {
    connections: Cell<usize>,
    heads: RefCell<Vec<String>>,
    closed: watch::Sender<usize>,
    close_idle: watch::Sender<bool>,
}

/// An answer with a length.
pub(super) fn ok(body: &str) -> Vec<u8> {
    with_status("200 OK", "", body)
}

pub(super) fn with_status(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// An address where nobody listens.
pub(super) async fn refuses_connections() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Misbehaving {
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Rc::new(Seen {
            connections: Cell::new(0),
            heads: RefCell::default(),
            closed: watch::Sender::new(0),
            close_idle: watch::Sender::new(false),
        });
        let serving = Owned::spawn(serve(listener, behaviour, Rc::clone(&seen)));
        Self { address, seen, _serving: serving }
    }

    /// Connections accepted so far.
    pub(super) fn connections(&self) -> usize {
        self.seen.connections.get()
    }

    /// The heads of the requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.seen.heads.borrow().clone()
    }

    /// Has connections closed while they are idle, and waits until one is.
    pub(super) async fn close_idle(&self) {
        let mut closed = self.seen.closed.subscribe();
        let before = *closed.borrow_and_update();
        self.seen.close_idle.send_replace(true);
        closed.wait_for(|closed| *closed > before).await.unwrap();
        self.seen.close_idle.send_replace(false);
    }
}

async fn serve(listener: TcpListener, behaviour: Behaviour, seen: Rc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        seen.connections.set(seen.connections.get() + 1);
        let (behaviour, seen) = (behaviour.clone(), Rc::clone(&seen));
        drop(task::spawn(async move {
            // A prober that goes away in the middle is none of its business.
            drop(converse(stream, &behaviour, &seen).await);
            seen.closed.send_modify(|closed| *closed += 1);
        }));
    }
}

/// Ends when the connection is to be closed.
async fn converse(mut stream: TcpStream, behaviour: &Behaviour, seen: &Seen) -> std::io::Result<()> {
    for request in 0.. {
        let mut close_idle = seen.close_idle.subscribe();
        tokio::select! {
            head = read_head(&mut stream) => match head? {
                Some(head) => seen.heads.borrow_mut().push(head),
                None => return Ok(()),
            },
            _ = close_idle.wait_for(|close| *close && request > 0) => return Ok(()),
        }
        if !answer(&mut stream, behaviour, request).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn read_head(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&byte);
    }
    Ok(Some(String::from_utf8(head).unwrap()))
}

/// Answers one request of a connection; false if the connection is to be closed then.
async fn answer(stream: &mut TcpStream, behaviour: &Behaviour, request: usize) -> std::io::Result<bool> {
    match behaviour {
        Behaviour::Answers(bytes) | Behaviour::ClosesWhenIdle(bytes) => stream.write_all(bytes).await?,
        Behaviour::AnswersAndCloses(bytes) => {
            stream.write_all(bytes).await?;
            return Ok(false);
        }
        Behaviour::AnswersSlowly(bytes) => {
            for byte in bytes {
                stream.write_all(&[*byte]).await?;
                tokio::task::yield_now().await;
            }
        }
        Behaviour::ClosesOnSecondRequest(_) if request > 0 => return Ok(false),
        Behaviour::BreaksOffSecondHead(_) if request > 0 => {
            stream.write_all(b"HTTP/1.1 20").await?;
            return Ok(false);
        }
        Behaviour::ClosesOnSecondRequest(bytes) | Behaviour::BreaksOffSecondHead(bytes) => stream.write_all(bytes).await?,
        Behaviour::StallsBeforeAnswer => std::future::pending().await,
        Behaviour::StallsAfterHeaders => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await?;
            std::future::pending().await
        }
        Behaviour::ResetsMidBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").await?;
            SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO))?;
            return Ok(false);
        }
        Behaviour::ClosesMidBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").await?;
            return Ok(false);
        }
        Behaviour::ClosesBeforeAnswer => return Ok(false),
    }
    Ok(true)
}

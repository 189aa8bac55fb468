//! Endpoints made of raw sockets, each known by what it does.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::wire::{Message, Peer};

/// An endpoint that serves until the test ends.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// One that does this on every connection, each on a thread of its own.
    pub(crate) fn serving(behaviour: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let behaviour = Arc::new(behaviour);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, SeqCst);
                let behaviour = Arc::clone(&behaviour);
                std::thread::spawn(move || behaviour(Peer::new(stream)));
            }
        });
        Self { address, connections }
    }

    /// One that answers every request by a function of it, and keeps its connections.
    pub(crate) fn answering(answer: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        Self::serving(move |mut peer| {
            while let Ok(request) = peer.request() {
                if !peer.send(answer(&request)) {
                    return;
                }
            }
        })
    }

    /// One that tells in its answer what it was asked.
    pub(crate) fn echo() -> Self {
        Self::answering(|request| ok(&shown(request)))
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// A plain 200 with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A request as text: its first line, its header lines, an empty line, its body, and its trailers.
pub(crate) fn shown(request: &Message) -> String {
    let lines = |fields: &[(String, String)]| fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
    format!("{}\n{}\n{}\n{}", request.first, lines(&request.fields), request.body, lines(&request.trailers))
}

/// The value of a header in what [`shown`] says.
pub(crate) fn seen<'a>(echo: &'a str, name: &str) -> Option<&'a str> {
    let head = echo.split("\n\n").next().unwrap_or_default();
    let mut values = head.lines().skip(1).filter_map(|line| line.split_once(": ")).filter(|(found, _)| *found == name);
    let value = values.next().map(|(_, value)| value);
    assert!(values.next().is_none(), "{name} stands twice: {echo}");
    value
}

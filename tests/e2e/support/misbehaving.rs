//! Endpoints that do what no real service can be made to do, each called by what it does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::SockRef;

/// Most connections that one endpoint takes in its life.
const CONNECTIONS: usize = 1000;
/// Most requests on one connection.
const REQUESTS: usize = 1000;
/// A client that is silent for so long has been forgotten by its test.
const SILENCE: Duration = Duration::from_secs(30);

/// What an endpoint does with every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    /// Answers the head and half of the body, and then nothing.
    StallsAfterHeaders,
    /// Answers half of a body of known length, and resets the connection.
    ResetsMidBody,
    /// Answers a chunk, and closes the connection without the last one.
    EndsMidChunks,
    /// Reads the request and closes.
    ClosesWithoutAnswer,
    /// Answers well, and closes the connection that it promised to keep.
    ClosesAfterAnswer,
    /// Answers, but not in HTTP.
    SpeaksAnotherProtocol,
    /// Takes the request and never answers.
    Hangs,
}

/// An endpoint that misbehaves.
#[derive(Debug)]
pub(crate) struct Misbehaving {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl Misbehaving {
    /// Starts it; it goes on until the tests end.
    pub(crate) fn start(what: Misbehaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(CONNECTIONS).flatten() {
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || converse(stream, what, &counter));
            }
        });
        Self { address, asked }
    }

    /// Its address as a configuration has it.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// How many requests it has read.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }
}

fn converse(stream: TcpStream, what: Misbehaviour, asked: &AtomicU64) {
    drop(stream.set_nodelay(true));
    drop(stream.set_read_timeout(Some(SILENCE)));
    let mut stream = BufReader::new(stream);
    for _ in 0..REQUESTS {
        if read_request(&mut stream).is_none() {
            return;
        }
        asked.fetch_add(1, Relaxed);
        if !misbehave(&mut stream, what) {
            return;
        }
    }
}

/// Does it. Whether the connection goes on.
fn misbehave(stream: &mut BufReader<TcpStream>, what: Misbehaviour) -> bool {
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ";
    let mut say = |text: &str| drop(stream.get_mut().write_all(text.as_bytes()));
    match what {
        Misbehaviour::StallsAfterHeaders => say(HALF),
        Misbehaviour::ResetsMidBody => {
            say(HALF);
            // What was said must arrive before the reset throws away what has not.
            std::thread::sleep(Duration::from_millis(50));
            SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
            return false;
        }
        Misbehaviour::EndsMidChunks => {
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n");
            return false;
        }
        Misbehaviour::ClosesWithoutAnswer => return false,
        Misbehaviour::ClosesAfterAnswer => {
            say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwell\n");
            return false;
        }
        Misbehaviour::SpeaksAnotherProtocol => {
            say("220 mail.example.com ESMTP\r\n");
            return false;
        }
        Misbehaviour::Hangs => {}
    }
    true
}

/// Reads a request with its body, which has a length if there is one.
fn read_request(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink()).ok()?;
    Some(())
}

//! HTTP/1.1 as a client speaks it: one connection, one exchange after another, every byte of an answer accounted for.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may keep a client waiting: longer than any limit that the program under test keeps by default.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    /// Whether the other side has said that it closes.
    closing: bool,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// One GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// One POST without a body on a connection of its own.
pub(crate) fn post(address: SocketAddr, path: &str) -> io::Result<Answer> {
    ask(address, &format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n"))
}

/// One request, as it stands, on a connection of its own.
pub(crate) fn ask(address: SocketAddr, request: &str) -> io::Result<Answer> {
    Client::connect(address)?.ask(request)
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), closing: false })
    }

    /// Sends a request and reads its answer to the last byte. An answer that ends early is an error.
    pub(crate) fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.send(request)?;
        self.answer()
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Whether the connection can be used for another request.
    pub(crate) const fn is_reusable(&self) -> bool {
        !self.closing
    }

    /// Whether something of an answer has arrived.
    pub(crate) fn arrived(&self) -> bool {
        self.stream.get_ref().set_nonblocking(true).unwrap();
        let arrived = self.stream.get_ref().peek(&mut [0]).is_ok();
        self.stream.get_ref().set_nonblocking(false).unwrap();
        arrived
    }

    /// Reads a line without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the answer was complete")),
            _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// Reads the head of an answer.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no status line: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new() })
    }

    /// Reads an answer to the last byte.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        self.closing = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if answer.header("transfer-encoding").is_some() {
            self.chunks(&mut answer.body)?;
        } else if let Some(length) = answer.header("content-length") {
            answer.body.resize(length.parse().map_err(io::Error::other)?, 0);
            self.stream.read_exact(&mut answer.body)?;
        } else {
            self.closing = true;
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
            let start = body.len();
            body.resize(start + length, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.line()?;
            if length == 0 {
                return Ok(());
            }
        }
    }
}

impl Answer {
    /// The first header of this name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

//! One side of a connection that speaks HTTP/1 by the byte, strictly: what it cannot read as one plain message is a fault.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything that should happen takes; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
}

/// A request or an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The line that opens it.
    pub(crate) first: String,
    /// Its header lines, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// Its body, without framing.
    pub(crate) body: String,
    /// What follows the last chunk.
    pub(crate) trailers: Vec<(String, String)>,
}

/// Why there is no whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The other side closed before the first byte of one.
    Closed,
    /// It closed, or kept silent, in the middle of one.
    Broken(String),
    /// What came is not one plain message.
    Malformed(String),
}

/// How the body of a message is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A request.
    Request,
    /// An answer to this kind of request.
    Answer {
        /// Whether the request was HEAD.
        to_head: bool,
    },
}

impl Message {
    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_else(|_| panic!("no status: {self:?}"))
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.word(0)
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.word(1)
    }

    fn word(&self, position: usize) -> &str {
        self.first.split(' ').nth(position).unwrap_or_default()
    }

    /// The value of a header that stands once; none if it is absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    /// How often a header stands.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(found, _)| found == name).count()
    }

    /// The error of an answer of the proxy's own.
    pub(crate) fn error(&self) -> Option<&str> {
        self.header("proxy-status")?.strip_prefix("pulsegate; error=")
    }
}

impl Peer {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// Takes a connection over.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::with_capacity(64 * 1024, stream) }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// What is left to read.
    pub(crate) fn reader(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.stream
    }

    /// Sends bytes; false if the other side has gone.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&self) {
        // The other side may have closed by now, which says it as well.
        drop(self.socket().shutdown(Shutdown::Write));
    }

    /// One exchange.
    pub(crate) fn ask(&mut self, request: &str) -> Message {
        self.send(request);
        self.answer(request.starts_with("HEAD ")).unwrap_or_else(|fault| panic!("{request:?} got {fault:?}"))
    }

    /// The next request.
    pub(crate) fn request(&mut self) -> Result<Message, Fault> {
        self.message(Role::Request)
    }

    /// The next final answer; interim ones are passed over.
    pub(crate) fn answer(&mut self, to_head: bool) -> Result<Message, Fault> {
        loop {
            let answer = self.message(Role::Answer { to_head })?;
            if answer.status() >= 200 {
                return Ok(answer);
            }
        }
    }

    /// The next message.
    pub(crate) fn message(&mut self, role: Role) -> Result<Message, Fault> {
        let mut message = self.head()?;
        self.body(&mut message, role)?;
        Ok(message)
    }

    /// The next head, without its body.
    pub(crate) fn head(&mut self) -> Result<Message, Fault> {
        if self.stream.fill_buf().map_err(|error| Fault::Broken(error.to_string()))?.is_empty() {
            return Err(Fault::Closed);
        }
        let first = self.line()?;
        Ok(Message { first, fields: self.fields()?, ..Message::default() })
    }

    /// Reads the body that belongs to a head.
    pub(crate) fn body(&mut self, message: &mut Message, role: Role) -> Result<(), Fault> {
        let codings = message.count("transfer-encoding");
        let lengths = message.count("content-length");
        if codings + lengths > 1 {
            return Err(Fault::Malformed(format!("two framings: {message:?}")));
        }
        if let Role::Answer { to_head } = role
            && (to_head || message.status() < 200 || matches!(message.status(), 204 | 304))
        {
            return Ok(());
        }
        if let Some(coding) = message.header("transfer-encoding") {
            if coding != "chunked" {
                return Err(Fault::Malformed(format!("transfer coding {coding:?}")));
            }
            return self.chunks(message);
        }
        if let Some(length) = message.header("content-length") {
            let length = number(length, 10)?;
            message.body = self.exactly(length)?;
        } else if matches!(role, Role::Answer { .. }) {
            self.stream.read_to_string(&mut message.body).map_err(|error| Fault::Broken(error.to_string()))?;
        }
        Ok(())
    }

    fn chunks(&mut self, message: &mut Message) -> Result<(), Fault> {
        loop {
            let size = number(&self.line()?, 16)?;
            if size == 0 {
                message.trailers = self.fields()?;
                return Ok(());
            }
            let chunk = self.exactly(size)?;
            message.body.push_str(&chunk);
            let end = self.line()?;
            if !end.is_empty() {
                return Err(Fault::Malformed(format!("{end:?} where a chunk ends")));
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(length).unwrap();
        self.stream.by_ref().take(limit).read_to_end(&mut bytes).map_err(|error| Fault::Broken(error.to_string()))?;
        if bytes.len() < length {
            return Err(Fault::Broken(format!("{} bytes of {length}: {}", bytes.len(), String::from_utf8_lossy(&bytes))));
        }
        String::from_utf8(bytes).map_err(|error| Fault::Malformed(error.to_string()))
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Fault> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let plain = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
            let field = line.split_once(':').filter(|(name, _)| plain(name));
            let (name, value) = field.ok_or_else(|| Fault::Malformed(format!("header line {line:?}")))?;
            fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// A line without its end, which must be CR LF.
    pub(crate) fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(|error| Fault::Broken(error.to_string()))?;
        let shown = String::from_utf8_lossy(&line).into_owned();
        if !line.ends_with(b"\n") {
            return Err(Fault::Broken(format!("a line ends at {shown:?}")));
        }
        let bare = line.strip_suffix(b"\r\n").ok_or_else(|| Fault::Malformed(format!("a bare LF ends {shown:?}")))?;
        let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        if bare.iter().any(control) {
            return Err(Fault::Malformed(format!("a control in {shown:?}")));
        }
        Ok(String::from_utf8_lossy(bare).into_owned())
    }

    /// Whether the other side has closed, and everything it said has been read.
    pub(crate) fn at_end(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn number(text: &str, radix: u32) -> Result<usize, Fault> {
    let digits = !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
    let number = digits.then(|| usize::from_str_radix(text, radix).ok()).flatten();
    number.ok_or_else(|| Fault::Malformed(format!("{text:?} is no plain number")))
}

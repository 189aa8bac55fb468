//! The endpoint of the benchmark: answers as cheaply as it can, so that what is measured is the proxy in front of it.
//!
//! `responder PORT COUNT FIRST` listens on COUNT loopback addresses from the FIRST after 127.1.0.0 on, on the same port, on one
//! thread. `/b/N` is answered by N bytes, `/c/N` by N bytes in chunks of 4 KiB, `/health` by a small report; bodies of known
//! length are read and forgotten. After `/sick/N` those of its addresses before the Nth fail their `/health`.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::LocalSet;

const BUFFER: usize = 64 * 1024;
const CHUNK: usize = 4096;
const SICK: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsick";
/// Answers of one size are made once.
const KEPT: usize = 64;

/// Complete answers by path, head and body.
type Answers = RefCell<Vec<(Vec<u8>, Rc<[u8]>)>>;

/// What all addresses share.
#[derive(Default)]
struct House {
    answers: Answers,
    sick: Cell<u32>,
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u32| arguments.next().and_then(|word| word.parse().ok()).unwrap_or(default);
    let (port, count, first) = (number(7001), number(1), number(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().event_interval(256).build()?;
    LocalSet::new().block_on(&runtime, async move {
        let house = Rc::<House>::default();
        for index in first..first + count {
            let listener = listen(index, u16::try_from(port).map_err(std::io::Error::other)?)?;
            tokio::task::spawn_local(accept(listener, index, Rc::clone(&house)));
        }
        println!("listening");
        std::future::pending::<()>().await;
        Ok(())
    })
}

fn listen(index: u32, port: u16) -> std::io::Result<TcpListener> {
    let [_, _, high, low] = index.to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 1, high, low), port)))?;
    socket.listen(1024)
}

async fn accept(listener: TcpListener, index: u32, house: Rc<House>) {
    while let Ok((stream, _)) = listener.accept().await {
        let house = Rc::clone(&house);
        tokio::task::spawn_local(async move {
            // A client that leaves is the usual end of a connection.
            drop(serve(stream, index, &house).await);
        });
    }
}

async fn serve(mut stream: TcpStream, index: u32, house: &House) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_head(&mut stream, &mut buffer).await? else { return Ok(()) };
        skip(&mut stream, &mut buffer, request.body).await?;
        let answer = match request.path.strip_prefix(b"/sick/").and_then(|rest| std::str::from_utf8(rest).ok()?.parse().ok()) {
            Some(count) => {
                house.sick.set(count);
                answer(&house.answers, b"/b/2")
            }
            None if request.path == b"/health" && index < house.sick.get() => Rc::from(SICK),
            None => answer(&house.answers, &request.path),
        };
        let size = if request.is_head { head_length(&answer) } else { answer.len() };
        stream.write_all(&answer[..size]).await?;
        if request.close {
            return stream.shutdown().await;
        }
    }
}

struct Request {
    path: Vec<u8>,
    body: usize,
    is_head: bool,
    close: bool,
}

/// The next request; none if the client is done.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    loop {
        if let Some((request, length)) = parse(buffer)? {
            buffer.drain(..length);
            return Ok(Some(request));
        }
        if buffer.len() >= BUFFER || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(bytes: &[u8]) -> std::io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(std::io::Error::other)? else { return Ok(None) };
    let value = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let body = value("content-length").and_then(|v| std::str::from_utf8(v).ok()?.parse().ok()).unwrap_or(0);
    let close = value("connection").is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
    let path = head.path.unwrap_or("/").as_bytes().to_vec();
    Ok(Some((Request { path, body, is_head: head.method == Some("HEAD"), close }, length)))
}

async fn skip(stream: &mut TcpStream, buffer: &mut Vec<u8>, mut body: usize) -> std::io::Result<()> {
    loop {
        let here = body.min(buffer.len());
        buffer.drain(..here);
        body -= here;
        if body == 0 {
            return Ok(());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn answer(answers: &Answers, path: &[u8]) -> Rc<[u8]> {
    let mut answers = answers.borrow_mut();
    if let Some((_, known)) = answers.iter().find(|(known, _)| known == path) {
        return Rc::clone(known);
    }
    let made: Rc<[u8]> = compose(&String::from_utf8_lossy(path)).into();
    if answers.len() < KEPT {
        answers.push((path.to_vec(), Rc::clone(&made)));
    }
    made
}

fn compose(path: &str) -> Vec<u8> {
    let size = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok()).map(|n| n.min(64 << 20));
    if path == "/health" {
        return sized("application/json", br#"{"status":"ok","cpu":0.31,"memory":0.42}"#);
    }
    if let Some(size) = size("/c/") {
        let mut all = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let body = vec![b'x'; size];
        for chunk in body.chunks(CHUNK) {
            all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            all.extend_from_slice(chunk);
            all.extend_from_slice(b"\r\n");
        }
        all.extend_from_slice(b"0\r\n\r\n");
        return all;
    }
    sized("text/plain", &vec![b'x'; size("/b/").unwrap_or(2)])
}

fn sized(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: responder\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn head_length(answer: &[u8]) -> usize {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4)
}

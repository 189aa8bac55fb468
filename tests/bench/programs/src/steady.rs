//! Offers requests at a fixed rate and measures from the moment at which each was due, so that a proxy that stalls
//! cannot hide the requests that should have been sent meanwhile.
//!
//! `steady ADDRESS PATH RATE SECONDS CONNECTIONS` prints `done failed p50 p90 p99 p999 max`, times in microseconds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Requests that are not answered this long after the last was due have failed.
const GRACE: Duration = Duration::from_secs(3);

struct Load {
    address: String,
    request: Vec<u8>,
    start: Instant,
    gap: Duration,
    total: u32,
    next: Cell<u32>,
    taken: RefCell<Vec<u32>>,
    failed: Cell<u32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, address, path, rate, seconds, connections] = words.as_slice() else {
        return Err("usage: steady ADDRESS PATH RATE SECONDS CONNECTIONS".into());
    };
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let connections: usize = connections.parse()?;
    let load = Rc::new(Load {
        address: address.clone(),
        request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n").into_bytes(),
        start: Instant::now() + Duration::from_millis(100),
        gap: Duration::from_secs_f64(1.0 / rate),
        total: (rate * seconds) as u32,
        next: Cell::new(0),
        taken: RefCell::default(),
        failed: Cell::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let senders: Vec<_> = (0..connections).map(|_| tokio::task::spawn_local(send(Rc::clone(&load)))).collect();
        let end = load.start + Duration::from_secs_f64(seconds) + GRACE;
        for sender in senders {
            drop(tokio::time::timeout_at(end.into(), sender).await);
        }
    });
    report(&load);
    Ok(())
}

fn report(load: &Load) {
    let mut taken = load.taken.borrow_mut();
    taken.sort_unstable();
    let lost = load.total - u32::try_from(taken.len()).unwrap_or(u32::MAX).min(load.total);
    let at = |share: f64| taken.get(((taken.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(0);
    println!("{} {} {} {} {} {} {}", taken.len(), lost, at(0.5), at(0.9), at(0.99), at(0.999), at(1.0));
}

async fn send(load: Rc<Load>) {
    let mut stream = None;
    loop {
        let number = load.next.get();
        if number >= load.total {
            return;
        }
        load.next.set(number + 1);
        let due = load.start + load.gap * number;
        // Timers are no finer than a millisecond; the rest of the wait is spun away by letting others run.
        if let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| *wait > Duration::from_millis(2)) {
            tokio::time::sleep(wait - Duration::from_millis(1)).await;
        }
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        match exchange(&load, &mut stream).await {
            Ok(()) => load.taken.borrow_mut().push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX)),
            Err(_) => {
                load.failed.set(load.failed.get() + 1);
                stream = None;
            }
        }
    }
}

async fn exchange(load: &Load, stream: &mut Option<TcpStream>) -> std::io::Result<()> {
    if stream.is_none() {
        let fresh = TcpStream::connect(&load.address).await?;
        fresh.set_nodelay(true)?;
        *stream = Some(fresh);
    }
    let Some(stream) = stream else { return Ok(()) };
    stream.write_all(&load.request).await?;
    let mut buffer = [0; 16 * 1024];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        if let Some(whole) = length(&buffer[..filled])? {
            return if whole == filled { Ok(()) } else { rest(stream, whole - filled).await };
        }
    }
}

async fn rest(stream: &mut TcpStream, mut missing: usize) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    while missing > 0 {
        let room = missing.min(buffer.len());
        let count = stream.read(&mut buffer[..room]).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        missing -= count;
    }
    Ok(())
}

/// Length of the whole answer, once its head is there; anything but a 200 with a length is a failure.
fn length(bytes: &[u8]) -> std::io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(bytes).map_err(std::io::Error::other)? else { return Ok(None) };
    if head.code != Some(200) {
        return Err(std::io::Error::other("not 200"));
    }
    let body = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = body.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    body.map(|body| Some(start + body)).ok_or_else(|| std::io::Error::other("no length"))
}

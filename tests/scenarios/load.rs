//! Requests at random moments of a fixed rate, whatever becomes of those before: open loop.
//!
//! The time of a request runs from the moment it should have been sent, not from when a client got round to it, so a proxy that
//! stands still cannot hide the requests that it kept from being sent (coordinated omission).

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pulsegate::base::time::Timestamp;
use pulsegate::runtime::{clock, task, thread};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any limit of a proxy here.
const PATIENCE: Duration = Duration::from_secs(18);
/// Between two looks at the schedule.
const TICK: Duration = Duration::from_millis(1);
/// The status of a request that got no answer.
pub(crate) const NONE: u16 = 0;

/// What became of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Its number.
    pub(crate) id: u32,
    /// When it should have been sent.
    pub(crate) start: Timestamp,
    /// From then to its whole answer.
    pub(crate) latency: Duration,
    /// [`NONE`] if there was no answer.
    pub(crate) status: u16,
    /// Who answered, if an endpoint did.
    pub(crate) endpoint: Option<usize>,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    /// With a body of 64 bytes.
    Post,
}

/// Requests under way.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Sends `rate` requests a second.
    pub(crate) fn start(address: SocketAddr, rate: f64, method: Method, seed: u64) -> Self {
        let (stop, samples) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, written) = (Arc::clone(&stop), Arc::clone(&samples));
        let thread = thread::spawn("load", move || drive(address, rate, method, seed, stopped, written)).unwrap();
        Self { stop, samples, thread: Some(thread) }
    }

    /// Ends it, waits for every answer that is still to come, and gives what became of all, in order of their starts.
    pub(crate) fn end(mut self) -> Vec<Sample> {
        self.halt();
        let mut samples = std::mem::take(&mut *held(&self.samples));
        samples.sort_by_key(|sample| sample.start);
        samples
    }

    fn halt(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.halt();
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn drive(
    address: SocketAddr,
    rate: f64,
    method: Method,
    seed: u64,
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let idle = Rc::new(RefCell::new(Vec::new()));
    let under_way = Rc::new(());
    let mut next = clock::now();
    let mut id = 0;
    while !stop.load(Relaxed) {
        while next <= clock::now() {
            let (idle, samples, alive) = (Rc::clone(&idle), Arc::clone(&samples), Rc::clone(&under_way));
            let start = next;
            drop(task::spawn(async move {
                let sample = one(address, method, id, start, &idle).await;
                held(&samples).push(sample);
                drop(alive);
            }));
            id += 1;
            next = next + Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / rate);
        }
        tokio::time::sleep(TICK).await;
    }
    // Each of them ends within its patience.
    while Rc::strong_count(&under_way) > 1 {
        tokio::time::sleep(TICK).await;
    }
}

async fn one(address: SocketAddr, method: Method, id: u32, start: Timestamp, idle: &RefCell<Vec<TcpStream>>) -> Sample {
    let text = match method {
        Method::Get => format!("GET / HTTP/1.1\r\nHost: app\r\nx-id: {id}\r\n\r\n"),
        Method::Post => format!("POST / HTTP/1.1\r\nHost: app\r\nx-id: {id}\r\nContent-Length: 64\r\n\r\n{id:064}"),
    };
    let exchange = async {
        let kept = take(idle);
        let mut stream = match kept {
            Some(stream) => stream,
            None => TcpStream::connect(address).await?,
        };
        drop(stream.set_nodelay(true));
        stream.write_all(text.as_bytes()).await?;
        let answer = Answer::read(&mut stream).await?;
        if answer.keep {
            idle.borrow_mut().push(stream);
        }
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    let (status, endpoint) = match answer {
        Ok(Ok(answer)) => (answer.status, answer.endpoint),
        _ => (NONE, None),
    };
    Sample { id, start, latency: clock::now().since(start), status, endpoint }
}

/// An idle connection that the other side has not closed.
fn take(idle: &RefCell<Vec<TcpStream>>) -> Option<TcpStream> {
    loop {
        let stream = idle.borrow_mut().pop()?;
        let closed = stream.try_read(&mut [0; 1]);
        if closed.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return Some(stream);
        }
    }
}

/// As much of an answer as is looked at.
struct Answer {
    status: u16,
    endpoint: Option<usize>,
    keep: bool,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(1024);
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let length = field("content-length").and_then(|word| word.parse::<usize>().ok());
        let closes = field("connection").is_some_and(|value| value.contains("close"));
        let endpoint = field("x-endpoint").and_then(|word| word.parse().ok());
        // Without a length the body ends with the connection.
        while length.is_none_or(|length| bytes.len() < head + length) {
            if stream.read_buf(&mut bytes).await? == 0 {
                if length.is_none() {
                    break;
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Self { status, endpoint, keep: !closes && length.is_some() })
    }
}

//! Owns the load of the demo: requests at an even pace, whatever becomes of the earlier ones, on a thread of its own.
//!
//! A load that waits for each answer would send least while an endpoint hangs, and hide what that costs. How many requests
//! may be under way is bounded; what does not fit is not sent.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::base::time::Timestamp;
use crate::net::dial;
use crate::runtime::{clock, task, thread};

/// Requests a second.
pub(super) const RATE: u32 = 200;
/// Most requests under way.
const UNDER_WAY: u32 = 512;
/// For a connection and a whole answer: longer than the proxy may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Older connections are not used again, since the proxy may be about to close them.
const IDLE: Duration = Duration::from_secs(10);

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
}

impl Tally {
    /// Requests that have ended.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Those of them that were not answered with 200.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// What the first of them ended with.
    pub(super) fn first_failure(&self) -> Option<&str> {
        self.first_failure.get().map(String::as_str)
    }

    fn count(&self, result: Result<(), Failed>) {
        self.requests.fetch_add(1, Relaxed);
        if let Err(failed) = result {
            self.failed.fetch_add(1, Relaxed);
            self.first_failure.get_or_init(|| failed.to_string());
        }
    }
}

/// A running load.
#[derive(Debug)]
pub(super) struct Load {
    tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Why a request failed.
#[derive(Debug)]
enum Failed {
    Connect(dial::DialError),
    Http(hyper::Error),
    Status(StatusCode),
    Timeout,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection to the proxy: {error}"),
            Self::Http(error) => write!(f, "no answer from the proxy: {error}"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Timeout => write!(f, "no answer within {}s", TIMEOUT.as_secs()),
        }
    }
}

impl Load {
    /// Starts to send requests to this address.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(proxy: SocketAddr) -> io::Result<Self> {
        let tally = Arc::<Tally>::default();
        let (stop, stopped) = watch::channel(false);
        let counted = Arc::clone(&tally);
        let thread = thread::spawn("load", move || send(Rc::new(Sender::new(proxy, counted)), stopped))?;
        Ok(Self { tally, stop, thread })
    }

    /// What has been counted so far.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Sends no more, waits for what is under way, and gives what was counted.
    pub(super) fn finish(self) -> Arc<Tally> {
        self.stop.send_replace(true);
        // A panic there is counted like every other; what was counted until then stands.
        drop(self.thread.join());
        self.tally
    }
}

/// Sends at an even pace until told to stop, then waits for what is under way.
async fn send(sender: Rc<Sender>, mut stopped: watch::Receiver<bool>) {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = pace.tick() => sender.begin(),
        }
    }
    while sender.under_way.get() > 0 {
        pace.tick().await;
    }
}

type Connection = SendRequest<Empty<Bytes>>;

struct Sender {
    proxy: SocketAddr,
    tally: Arc<Tally>,
    under_way: Cell<u32>,
    idle: RefCell<Vec<(Connection, Timestamp)>>,
}

impl Sender {
    fn new(proxy: SocketAddr, tally: Arc<Tally>) -> Self {
        Self { proxy, tally, under_way: Cell::new(0), idle: RefCell::default() }
    }

    fn begin(self: &Rc<Self>) {
        if self.under_way.get() == UNDER_WAY {
            return;
        }
        self.under_way.set(self.under_way.get() + 1);
        let sender = Rc::clone(self);
        drop(task::spawn(async move {
            let result = tokio::time::timeout(TIMEOUT, sender.exchange()).await;
            sender.tally.count(result.unwrap_or(Err(Failed::Timeout)));
            sender.under_way.set(sender.under_way.get() - 1);
        }));
    }

    async fn exchange(&self) -> Result<(), Failed> {
        let mut connection = match self.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await.map_err(Failed::Http)?;
        let request = Request::get("/").header(http::header::HOST, self.proxy.to_string());
        let request = request.body(Empty::new()).expect("the parts are valid");
        let answer = connection.send_request(request).await.map_err(Failed::Http)?;
        let status = answer.status();
        answer.into_body().collect().await.map_err(Failed::Http)?;
        self.idle.borrow_mut().push((connection, clock::now()));
        if status == StatusCode::OK { Ok(()) } else { Err(Failed::Status(status)) }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let oldest = clock::now() - IDLE;
        idle.retain(|(connection, since)| *since > oldest && !connection.is_closed());
        idle.pop().map(|(connection, _)| connection)
    }

    async fn connect(&self) -> Result<Connection, Failed> {
        let stream = dial::connect_any(&[self.proxy]).await.map_err(Failed::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Failed::Http)?;
        // It ends when its sender is dropped; its error reaches whoever waits for the answer.
        drop(task::spawn(async move { drop(connection.await) }));
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Endpoint, Mood};

    /// Runs a load on an endpoint until so many requests have ended.
    fn run(mood: Option<Mood>, requests: u64) -> Arc<Tally> {
        thread::block_on(async {
            let endpoint = Endpoint::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            if let Some(mood) = mood {
                endpoint.set_mood(mood);
            }
            let load = Load::start(endpoint.address()).unwrap();
            while load.tally().requests() < requests {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::task::spawn_blocking(|| load.finish()).await.unwrap()
        })
        .unwrap()
    }

    #[test]
    fn a_well_endpoint_answers_every_request() {
        let tally = run(None, 20);
        assert!(tally.requests() >= 20);
        assert_eq!((tally.failed(), tally.first_failure()), (0, None));
    }

    #[test]
    fn a_request_that_is_refused_is_a_failed_one() {
        let tally = run(Some(Mood::Refuses), 3);
        assert_eq!(tally.failed(), tally.requests());
        assert!(tally.first_failure().is_some());
    }
}

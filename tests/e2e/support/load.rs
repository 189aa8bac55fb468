//! Requests at a rate, from several clients that keep their connections, and what became of each.
//!
//! The rate is that of a schedule and not of the answers: a client that was held up catches up at once, so that a stall
//! of the proxy is not hidden by clients that wait politely.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pulsegate::runtime::clock;

use super::{Answer, Client, PATIENCE, until};

/// The longest that load goes on, should nobody end it.
const LONGEST: Duration = Duration::from_secs(60);
/// How many failures are kept to be shown; the others are counted.
const SHOWN: usize = 5;

/// Waits until no other test puts load on the machine.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clients at work. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    orders: Arc<Orders>,
    clients: Vec<JoinHandle<Tally>>,
}

#[derive(Debug)]
struct Orders {
    address: SocketAddr,
    request: String,
    between: Duration,
    most: u64,
    stop: AtomicBool,
    may_be_refused: AtomicBool,
    answered: AtomicU64,
}

/// What became of requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Those answered 200.
    pub(crate) answered: u64,
    /// All others.
    pub(crate) failed: u64,
    /// The longest time until an answer.
    pub(crate) slowest: Duration,
    /// Answers by their text.
    pub(crate) by_text: BTreeMap<String, u64>,
    /// The first failures.
    failures: Vec<String>,
}

impl Load {
    /// Puts `rate` GETs a second on an address, with so many clients.
    pub(crate) fn start(address: SocketAddr, path: &str, rate: u32, clients: u32) -> Self {
        Self::with(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"), rate, clients)
    }

    /// The same, each on a connection of its own.
    pub(crate) fn start_closing(address: SocketAddr, path: &str, rate: u32, clients: u32) -> Self {
        Self::with(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"), rate, clients)
    }

    fn with(address: SocketAddr, request: String, rate: u32, clients: u32) -> Self {
        let between = Duration::from_secs(1) * clients / rate;
        let most = u64::try_from(LONGEST.as_nanos() / between.as_nanos()).unwrap();
        let orders = Arc::new(Orders {
            address,
            request,
            between,
            most,
            stop: AtomicBool::new(false),
            may_be_refused: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        });
        let client = |number: u32| {
            let orders = Arc::clone(&orders);
            // They start one after the other, so that their requests come one after the other.
            let delay = between * number / clients;
            std::thread::spawn(move || Worker { orders, connection: None, tally: Tally::default() }.run(delay))
        };
        let clients = (0..clients).map(client).collect();
        Self { orders, clients }
    }

    /// How many requests have been answered so far.
    fn answered(&self) -> u64 {
        self.orders.answered.load(Relaxed)
    }

    /// Waits until so many more requests have been answered.
    #[track_caller]
    pub(crate) fn go_on(&self, requests: u64) {
        let wanted = self.answered() + requests;
        until(PATIENCE, &format!("{requests} more requests are answered"), || (self.answered() >= wanted).then_some(()));
    }

    /// From now on a client whose new connection is refused leaves content.
    pub(crate) fn allow_refusal(&self) {
        self.orders.may_be_refused.store(true, Relaxed);
    }

    /// Waits until every client has left, or makes it.
    pub(crate) fn end(mut self, stop: bool) -> Tally {
        self.orders.stop.store(stop, Relaxed);
        let mut sum = Tally::default();
        for client in std::mem::take(&mut self.clients) {
            sum.add(client.join().unwrap());
        }
        sum
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.orders.stop.store(true, Relaxed);
        for client in std::mem::take(&mut self.clients) {
            drop(client.join());
        }
    }
}

struct Worker {
    orders: Arc<Orders>,
    connection: Option<Client>,
    tally: Tally,
}

impl Worker {
    fn run(mut self, delay: Duration) -> Tally {
        let began = clock::now() + delay;
        let mut slot = began;
        for _ in 0..self.orders.most {
            // The pace of the load; nothing waits for anything here.
            std::thread::sleep(slot.since(clock::now()));
            slot = slot + self.orders.between;
            if self.orders.stop.load(Relaxed) || !self.exchange() {
                break;
            }
        }
        self.tally
    }

    /// One exchange. Whether there is to be another.
    fn exchange(&mut self) -> bool {
        let began = clock::now();
        if self.connection.is_none() {
            match Client::connect(self.orders.address) {
                Ok(client) => self.connection = Some(client),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && self.orders.may_be_refused.load(Relaxed) => {
                    return false;
                }
                Err(error) => {
                    self.tally.fail(format!("no connection: {error}"));
                    return true;
                }
            }
        }
        let Some(client) = &mut self.connection else { return true };
        let answer = client.ask(&self.orders.request);
        if answer.is_err() || !client.is_reusable() {
            self.connection = None;
        }
        self.tally.slowest = self.tally.slowest.max(clock::now().since(began));
        self.tally.count(answer, &self.orders.answered);
        true
    }
}

impl Tally {
    fn count(&mut self, answer: io::Result<Answer>, answered: &AtomicU64) {
        match answer {
            Ok(answer) if answer.status == 200 => {
                self.answered += 1;
                answered.fetch_add(1, Relaxed);
                *self.by_text.entry(answer.text()).or_default() += 1;
            }
            Ok(answer) => self.fail(format!("{}: {}", answer.status, answer.text())),
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        if self.failures.len() < SHOWN {
            self.failures.push(format!("{} {why}", clock::wall()));
        }
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
        self.failures.extend(other.failures);
        for (text, count) in other.by_text {
            *self.by_text.entry(text).or_default() += count;
        }
    }

    /// Fails unless at least so many requests were answered, and every one.
    #[track_caller]
    pub(crate) fn assert_all_answered(&self, at_least: u64) {
        assert_eq!(self.failed, 0, "of {} requests: {:#?}", self.answered + self.failed, self.failures);
        assert!(self.answered >= at_least, "only {} requests", self.answered);
    }
}

//! An endpoint as a process of its own, so that it can be killed and stopped: answers in 5 ms on average, misbehaves on order.
//!
//! Orders come as lines on standard input. The id of every request goes to standard output before it is answered, so that what an
//! endpoint received is known even if it is killed the moment after. It ends when standard input does.

use std::convert::Infallible;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pulsegate::runtime::{clock, task, thread};
use socket2::{Domain, Socket, Type};
use tokio::sync::{Semaphore, oneshot};

/// What an answer takes on average.
const SERVICE: Duration = Duration::from_millis(5);
/// How much longer everything takes while it is cold.
const COLD: f64 = 5.0;

/// What it has been told to do.
#[derive(Debug)]
struct Mood {
    /// All answers take so many times as long.
    slower: AtomicU64,
    /// This share of answers is a 503.
    failing: AtomicU64,
    /// This share of answers takes `tail` times as long.
    tailing: AtomicU64,
    tail: AtomicU64,
    /// Whether its health is answered with 503.
    sick: AtomicBool,
}

impl Mood {
    fn well() -> Self {
        let [slower, failing, tailing, tail] = [1.0, 0.0, 0.0, 1.0].map(|value: f64| AtomicU64::new(value.to_bits()));
        Self { slower, failing, tailing, tail, sick: AtomicBool::new(false) }
    }

    fn obey(&self, order: &str) {
        let words: Vec<&str> = order.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(1.0).to_bits();
        match words.first().copied() {
            Some("slower") => self.slower.store(number(1), Relaxed),
            Some("failing") => self.failing.store(number(1), Relaxed),
            Some("tailing") => {
                self.tailing.store(number(1), Relaxed);
                self.tail.store(number(2), Relaxed);
            }
            Some("sick") => self.sick.store(true, Relaxed),
            Some("well") => self.sick.store(false, Relaxed),
            _ => {}
        }
    }
}

/// Its state, on its one thread.
struct Place {
    name: String,
    mood: Arc<Mood>,
    /// Requests that are served at a time; the others queue.
    seats: Semaphore,
    /// Until when it is cold.
    warm_at: pulsegate::base::time::Timestamp,
    rng: Mutex<fastrand::Rng>,
}

/// Serves until standard input ends: address, name, seats, how long it is cold in milliseconds.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let [address, name, seats, cold] = arguments else { return ExitCode::from(2) };
    let mood = Arc::new(Mood::well());
    let (end, ended) = oneshot::channel::<()>();
    let told = Arc::clone(&mood);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            told.obey(&line);
        }
        drop(end);
    });
    let place = Rc::new(Place {
        name: name.clone(),
        mood,
        seats: Semaphore::new(seats.parse().unwrap()),
        warm_at: clock::now() + Duration::from_millis(cold.parse().unwrap()),
        rng: Mutex::new(fastrand::Rng::new()),
    });
    let address: SocketAddr = address.parse().unwrap();
    thread::block_on(async move {
        tokio::select! {
            () = accept(address, place) => {}
            _ = ended => {}
        }
    })
    .unwrap();
    ExitCode::SUCCESS
}

async fn accept(address: SocketAddr, place: Rc<Place>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    // Whoever started it holds the port by a socket that never listens.
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(1024).unwrap();
    let listener = tokio::net::TcpListener::from_std(socket.into()).unwrap();
    say("ready");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Small answers must not wait for an acknowledgement.
        drop(stream.set_nodelay(true));
        let place = Rc::clone(&place);
        drop(task::spawn(async move {
            let answer = service_fn(move |request| {
                let place = Rc::clone(&place);
                async move { Ok::<_, Infallible>(place.answer(request).await) }
            });
            // A client that goes away is its own affair; what it has sent counts as received all the same.
            drop(http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), answer).await);
        }));
    }
}

fn say(line: &str) {
    // Whoever reads it may have gone.
    drop(writeln!(io::stdout().lock(), "{line}"));
}

impl Place {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let health = request.uri().path() == "/health";
        if let Some(id) = request.headers().get("x-id").and_then(|id| id.to_str().ok()) {
            say(id);
        }
        // The body counts as part of the request.
        drop(request.into_body().collect().await);
        let _seat = self.seats.acquire().await;
        let (time, fails) = self.draw();
        tokio::time::sleep(time).await;
        let bad = if health { self.mood.sick.load(Relaxed) } else { fails };
        let status = if bad { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let answer = Response::builder().status(status).header("x-endpoint", &self.name);
        answer.body(Full::from("ok\n")).unwrap()
    }

    /// How long this answer takes, and whether it is a 503.
    fn draw(&self) -> (Duration, bool) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |value: &AtomicU64| f64::from_bits(value.load(Relaxed));
        let tail = if rng.f64() < level(&self.mood.tailing) { level(&self.mood.tail) } else { 1.0 };
        let cold = if clock::now() < self.warm_at { COLD } else { 1.0 };
        // The mean of an exponential time; half a millisecond is what the timer adds.
        let time = SERVICE.mul_f64(-(1.0 - rng.f64()).ln() * level(&self.mood.slower) * tail * cold);
        (time.saturating_sub(Duration::from_micros(500)), rng.f64() < level(&self.mood.failing))
    }
}

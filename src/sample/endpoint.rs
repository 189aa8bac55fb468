//! A small HTTP service: `/health` with its report, every other path with its name.
//!
//! While it refuses it keeps its port by a socket that is bound and does not listen. Without that, the kernel could give
//! the port to any connection that goes out meanwhile, and the endpoint could not come back.
//!
//! `POST /sick?mode=hang` and `POST /well` change its mood from outside, in every mood in which it listens.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::mood::Mood;
use super::usage::{Look, Meter, Usage};
use crate::base::address::ListenAddress;
use crate::net::listen;
use crate::runtime::{task, timer};

/// Most connections at a time; a further one is closed at once.
const CONNECTIONS: usize = 4096;
/// Between the answer that promises a mood and a mood that would cut that answer off.
const BEFORE_REFUSING: Duration = Duration::from_millis(100);
/// Between two tries to listen or accept when the system has no more sockets.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// A running endpoint; it stops when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    state: Rc<State>,
    /// Dropped with the endpoint, which ends it and its connections.
    _serving: task::Owned,
}

#[derive(Debug)]
struct State {
    name: Arc<str>,
    mood: watch::Sender<Mood>,
    meter: RefCell<Meter>,
    answered: Cell<u64>,
    /// The change of mood that was asked for over HTTP and is still to come.
    planned: RefCell<Option<task::Owned>>,
}

impl Endpoint {
    /// Starts an endpoint that is well and is called by its address. It runs on this thread, which must allow local tasks.
    ///
    /// # Errors
    /// If the address is taken, not ours, or not allowed. Port 0 asks the system for a free one.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_as(None, address).await
    }

    /// Starts an endpoint with a name of its own.
    ///
    /// # Errors
    /// As [`Endpoint::start`].
    #[expect(clippy::unused_async, reason = "only callable where the tasks it starts can run")]
    pub async fn start_as(name: Option<Arc<str>>, address: SocketAddr) -> io::Result<Self> {
        if address.port() != 0 {
            drop(listen::bind_exclusive(ListenAddress::from(address))?);
        }
        let port = Port::take(address)?;
        let address = port.address;
        let listener = port.listen()?;
        let state = Rc::new(State {
            name: name.unwrap_or_else(|| address.to_string().into()),
            mood: watch::Sender::new(Mood::Well),
            meter: RefCell::default(),
            answered: Cell::new(0),
            planned: RefCell::new(None),
        });
        state.usage();
        let serving = task::Owned::spawn(serve(Rc::clone(&state), port, listener));
        Ok(Self { address, state, _serving: serving })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// How it behaves.
    #[must_use]
    pub fn mood(&self) -> Mood {
        *self.state.mood.borrow()
    }

    /// Changes how it behaves, from this thread's next turn on.
    pub fn set_mood(&self, mood: Mood) {
        self.state.planned.take();
        self.state.mood.send_replace(mood);
    }

    /// Requests answered so far, those for `/health` apart.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.state.answered.get()
    }

    /// Stops at once: closes its connections and its port.
    pub fn stop(self) {}
}

/// A port that stays ours whether anybody listens on it or not.
struct Port {
    address: SocketAddr,
    _bound: Socket,
}

impl Port {
    fn take(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an internet address"))?;
        Ok(Self { address: bound, _bound: socket })
    }

    fn listen(&self) -> io::Result<TcpListener> {
        let socket = listen::bind_shared(self.address)?;
        socket.open()?;
        TcpListener::from_std(socket.handle()?)
    }
}

/// Accepts connections while the mood is not to refuse; forgets all of them when it is.
async fn serve(state: Rc<State>, port: Port, listener: TcpListener) {
    let mut mood = state.mood.subscribe();
    let mut listener = Some(listener);
    let mut connections: Vec<task::Owned> = Vec::new();
    loop {
        if matches!(*mood.borrow_and_update(), Mood::Refuses) {
            listener = None;
            connections.clear();
            if mood.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            listener = port.listen().inspect_err(|error| tracing::warn!(%error, "sample endpoint cannot listen")).ok();
            if listener.is_none() {
                timer::sleep(BETWEEN_TRIES).await;
            }
            continue;
        };
        tokio::select! {
            changed = mood.changed() => if changed.is_err() { return },
            accepted = open.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.retain(|connection| !connection.is_finished());
                    if connections.len() < CONNECTIONS {
                        connections.push(task::Owned::spawn(converse(Rc::clone(&state), stream)));
                    }
                }
                Err(_) => timer::sleep(BETWEEN_TRIES).await,
            },
        }
    }
}

async fn converse(state: Rc<State>, stream: tokio::net::TcpStream) {
    // Without it, small answers may wait for the other side's acknowledgement.
    drop(stream.set_nodelay(true));
    let service = service_fn(|request| {
        let state = Rc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, request).await) }
    });
    // An error is the other side's going away, of which there is nobody to tell.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

type Answer = Response<Full<Bytes>>;

async fn answer(state: &Rc<State>, request: Request<Incoming>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/sick") => return turn_sick(state, request.uri().query().unwrap_or_default()),
        (&Method::POST, "/well") => {
            state.planned.take();
            state.mood.send_replace(Mood::Well);
            return text(StatusCode::OK, format!("{} is well\n", state.name));
        }
        _ => {}
    }
    let health = request.uri().path() == "/health";
    drain(request.into_body()).await;
    // The sender lives as long as the state, so this ends only when the mood is another.
    drop(state.mood.subscribe().wait_for(|mood| !matches!(mood, Mood::Hangs)).await);
    if health {
        return health_answer(state);
    }
    state.answered.set(state.answered.get() + 1);
    text(StatusCode::OK, format!("{}\n", state.name))
}

fn turn_sick(state: &Rc<State>, query: &str) -> Answer {
    match Mood::parse(query) {
        Ok((mood, span)) => {
            let planned = task::Owned::spawn(be(Rc::downgrade(state), mood, span));
            state.planned.replace(Some(planned));
            text(StatusCode::OK, format!("{} is sick: {mood:?}\n", state.name))
        }
        Err(wanted) => text(StatusCode::BAD_REQUEST, format!("{wanted}\n")),
    }
}

/// Takes on a mood, and lets it pass. It holds the state only for moments, since the state holds it.
async fn be(state: Weak<State>, mood: Mood, span: Option<Duration>) {
    let set = |mood| state.upgrade().map(|state| state.mood.send_replace(mood));
    if matches!(mood, Mood::Refuses) {
        timer::sleep(BEFORE_REFUSING).await;
    }
    set(mood);
    if let Some(span) = span {
        timer::sleep(span).await;
        set(Mood::Well);
    }
}

/// Reads a request's body to its end, without keeping it, so that the connection can be used again.
async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn health_answer(state: &State) -> Answer {
    let mood = *state.mood.borrow();
    let status = match mood {
        Mood::Status(code) => StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        _ => StatusCode::OK,
    };
    let mut answer = Response::new(Full::new(report(state.usage(), mood).into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// The report; without cpu and memory where they cannot be measured.
fn report(usage: Option<Usage>, mood: Mood) -> String {
    let rounded = |share: f64| (share * 10_000.0).round() / 10_000.0;
    let word = if matches!(mood, Mood::Status(code) if code >= 400) { "DOWN" } else { "UP" };
    let mut report = json!({ "status": word });
    if let Some(usage) = usage {
        report["cpu"] = rounded(usage.cpu).into();
        report["memory"] = rounded(usage.memory).into();
        report["host"] = json!({ "cpu": rounded(usage.host_cpu), "memory": rounded(usage.host_memory) });
    }
    if let Mood::Cpu(cpu) = mood {
        report["cpu"] = cpu.into();
    }
    format!("{report}\n")
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

impl State {
    fn usage(&self) -> Option<Usage> {
        Look::now().ok().map(|look| self.meter.borrow_mut().usage(look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    fn run<F: Future>(future: F) -> F::Output {
        crate::runtime::thread::block_on(future).unwrap()
    }

    async fn endpoint() -> Endpoint {
        Endpoint::start_as(Some("a".into()), SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
    }

    async fn ask(endpoint: &Endpoint, method: &str, target: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(endpoint.address()).await?;
        let head = format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").unwrap().1
    }

    #[test]
    fn it_answers_with_its_name_and_a_report_that_is_read() {
        run(async {
            let endpoint = endpoint().await;
            let answer = ask(&endpoint, "GET", "/any").await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert_eq!(body(&answer), "a\n");
            assert_eq!(endpoint.answered(), 1);
            let health = ask(&endpoint, "GET", "/health").await.unwrap();
            let read = body(&health).to_owned();
            let said = report::Said::new(Some("application/json"), read.as_bytes());
            let read = report::read(&report::spec::Spec::default(), &said);
            let read = read.unwrap().unwrap();
            assert_eq!(read.status, Some(report::StatusWord::Healthy));
            assert!(read.metric("memory").is_some_and(|memory| memory > 0.0), "{health}");
            assert!(read.metric("cpu").is_some(), "{health}");
        });
    }

    #[test]
    fn it_is_sick_at_its_health_path_as_it_is_told() {
        run(async {
            let endpoint = endpoint().await;
            endpoint.set_mood(Mood::Status(503));
            let health = ask(&endpoint, "GET", "/health").await.unwrap();
            assert!(health.starts_with("HTTP/1.1 503 ") && body(&health).contains("DOWN"), "{health}");
            assert!(ask(&endpoint, "GET", "/").await.unwrap().starts_with("HTTP/1.1 200 "));
            endpoint.set_mood(Mood::Cpu(0.97));
            assert!(ask(&endpoint, "GET", "/health").await.unwrap().contains("\"cpu\":0.97"));
        });
    }

    #[test]
    fn it_refuses_and_comes_back_on_the_same_port() {
        run(async {
            let endpoint = endpoint().await;
            let mut open = TcpStream::connect(endpoint.address()).await.unwrap();
            assert!(ask(&endpoint, "GET", "/").await.is_ok(), "the open connection has been accepted by now");
            endpoint.set_mood(Mood::Refuses);
            let mut rest = Vec::new();
            let closed = open.read_to_end(&mut rest).await;
            assert!(matches!(closed, Ok(0) | Err(_)), "an open connection is closed: {closed:?}");
            let refused = TcpStream::connect(endpoint.address()).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            endpoint.set_mood(Mood::Well);
            while ask(&endpoint, "GET", "/").await.is_err() {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn what_hangs_is_answered_once_it_is_well() {
        run(async {
            let endpoint = endpoint().await;
            endpoint.set_mood(Mood::Hangs);
            let mut hanging = TcpStream::connect(endpoint.address()).await.unwrap();
            hanging.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            // Its mood can be changed meanwhile, and once this later request is answered, the earlier one has been read.
            let sick = ask(&endpoint, "POST", "/sick?mode=hang").await.unwrap();
            assert!(body(&sick).contains("Hangs"), "{sick}");
            assert_eq!(hanging.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(endpoint.answered(), 0);
            assert_eq!(body(&ask(&endpoint, "POST", "/well").await.unwrap()), "a is well\n");
            let mut answer = String::new();
            hanging.read_to_string(&mut answer).await.unwrap();
            assert_eq!(body(&answer), "a\n");
            assert_eq!(endpoint.mood(), Mood::Well);
        });
    }

    #[test]
    fn a_mood_that_was_asked_for_a_while_passes() {
        run(async {
            let endpoint = endpoint().await;
            let answer = ask(&endpoint, "POST", "/sick?mode=refuse&for=50ms").await.unwrap();
            assert!(body(&answer).contains("Refuses"), "{answer}");
            let mut moods = endpoint.state.mood.subscribe();
            moods.wait_for(|mood| *mood == Mood::Refuses).await.unwrap();
            moods.wait_for(|mood| *mood == Mood::Well).await.unwrap();
            assert!(ask(&endpoint, "POST", "/sick?mode=nope").await.unwrap().starts_with("HTTP/1.1 400 "));
        });
    }

    #[test]
    fn a_stopped_endpoint_gives_its_port_back() {
        run(async {
            let endpoint = endpoint().await;
            let address = endpoint.address();
            endpoint.stop();
            while let Err(error) = Endpoint::start(address).await {
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
                tokio::task::yield_now().await;
            }
        });
    }
}

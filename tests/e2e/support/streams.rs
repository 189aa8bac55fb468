//! Requests at a rate over HTTP/2 and TLS, side by side on a few connections, and what became of each.
//!
//! A client that is asked to leave (GOAWAY) opens another connection, and sends again what the proxy says it has not looked at: so
//! do real clients (RFC 9113, section 8.7). Everything else that is no answer has failed.

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pulsegate::runtime::{clock, task, thread};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, until};

/// How often one request may be told that it was not looked at.
const TRIES: usize = 5;

type Sender = SendRequest<Empty<Bytes>>;

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Streams {
    orders: Arc<Orders>,
    clients: JoinHandle<Vec<String>>,
}

#[derive(Debug)]
struct Orders {
    address: SocketAddr,
    between: Duration,
    stop: AtomicBool,
    answered: AtomicU64,
    connections: AtomicU64,
}

/// One connection, and which it is.
#[derive(Default)]
struct Line(Mutex<(u64, Option<Sender>)>);

impl Streams {
    /// Puts `rate` GETs a second on an address, on so many connections. `certificate` is that of `site.test`.
    pub(crate) fn start(address: SocketAddr, certificate: &str, rate: u32, connections: u32) -> Self {
        let between = Duration::from_secs(1) * connections / rate;
        let orders = Arc::new(Orders {
            address,
            between,
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let (ours, tls) = (Arc::clone(&orders), connector(certificate));
        let clients = std::thread::spawn(move || {
            let work = async move {
                let client = |_| task::spawn(client(Arc::clone(&ours), tls.clone()));
                let clients: Vec<_> = (0..connections).map(client).collect();
                let mut failures = Vec::new();
                for client in clients {
                    failures.extend(client.await.unwrap());
                }
                failures
            };
            thread::block_on(work).unwrap()
        });
        Self { orders, clients }
    }

    /// Waits until so many more requests have been answered.
    #[track_caller]
    pub(crate) fn go_on(&self, requests: u64) {
        let answered = || self.orders.answered.load(Relaxed);
        let wanted = answered() + requests;
        until(PATIENCE, &format!("{requests} more streams are answered"), || (answered() >= wanted).then_some(()));
    }

    /// Ends them. Gives how many requests were answered, on how many connections, and what became of all others.
    pub(crate) fn end(self) -> (u64, u64, Vec<String>) {
        self.orders.stop.store(true, Relaxed);
        let failures = self.clients.join().unwrap();
        (self.orders.answered.load(Relaxed), self.orders.connections.load(Relaxed), failures)
    }
}

fn connector(certificate: &str) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn client(orders: Arc<Orders>, tls: TlsConnector) -> Vec<String> {
    let (line, mut due, mut requests) = (Rc::new(Line::default()), clock::now(), Vec::new());
    while !orders.stop.load(Relaxed) {
        requests.push(task::spawn(ask(Rc::clone(&line), Arc::clone(&orders), tls.clone())));
        due = due + orders.between;
        tokio::time::sleep_until(clock::instant(due)).await;
    }
    let mut failures = Vec::new();
    for request in requests {
        failures.extend(request.await.unwrap().err());
    }
    failures
}

async fn ask(line: Rc<Line>, orders: Arc<Orders>, tls: TlsConnector) -> Result<(), String> {
    for _ in 0..TRIES {
        let (number, mut sender) = line.sender(&orders, &tls).await.map_err(|error| format!("no connection: {error}"))?;
        let request = Request::get("https://site.test/").body(Empty::new()).unwrap();
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.map_err(|_| "no answer".to_owned())?;
        match answer {
            Ok(response) if response.status() == StatusCode::OK => {
                response.into_body().collect().await.map_err(|error| format!("the answer breaks off: {error:?}"))?;
                orders.answered.fetch_add(1, Relaxed);
                return Ok(());
            }
            Ok(response) => return Err(response.status().to_string()),
            Err(error) if was_not_looked_at(&error) => line.leave(number).await,
            Err(error) => return Err(format!("{error:?}")),
        }
    }
    Err(format!("not looked at {TRIES} times"))
}

/// Whether a request may be sent again: it has not left, or the other side says that it has ignored it.
fn was_not_looked_at(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let ignored = cause
        .is_some_and(|cause| cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM)));
    error.is_canceled() || ignored
}

impl Line {
    /// The connection, or a new one.
    async fn sender(&self, orders: &Orders, tls: &TlsConnector) -> Result<(u64, Sender), Box<dyn Error>> {
        let mut line = self.0.lock().await;
        if let Some(sender) = line.1.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((line.0, sender.clone()));
        }
        let stream = TcpStream::connect(orders.address).await?;
        let stream = tls.connect(ServerName::try_from("site.test")?, stream).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // How it ends is told to whoever asks on it.
        drop(task::spawn(async move { drop(connection.await) }));
        orders.connections.fetch_add(1, Relaxed);
        *line = (line.0 + 1, Some(sender.clone()));
        Ok((line.0, sender))
    }

    /// Takes that connection no more.
    async fn leave(&self, number: u64) {
        let mut line = self.0.lock().await;
        if line.0 == number {
            line.1 = None;
        }
    }
}

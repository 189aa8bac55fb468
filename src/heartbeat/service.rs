//! From a request to its answer: who speaks, for whom, what is said, and what control makes of it.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::sync::{mpsc, oneshot};

use crate::base::address::EndpointAddress;
use crate::cluster::Endpoint;
use crate::health::signal::{Beat, BeatResult, BeatState, ReportReading};
use crate::heartbeat::answer::Answer;
use crate::heartbeat::directory::{Directory, Gate, Sender};
use crate::heartbeat::message::{self, Acked, Identity, MAX_BEAT, Message};
use crate::heartbeat::refusal::{Counts, Refusal, Teller};
use crate::report::spec::{Format, Spec};
use crate::report::{self, Said};
use crate::runtime::{clock, rest};
use crate::traffic::bearer;

/// Where beats are posted to.
pub(super) const PATH: &str = "/v1/heartbeats";
/// For the whole body of one, once its head is there.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A beat on its way to control.
#[derive(Debug)]
pub struct Pushed {
    /// Whom it speaks for.
    pub endpoint: Arc<Endpoint>,
    /// When it came.
    pub at: crate::base::time::Timestamp,
    /// What it says.
    pub beat: Beat,
    /// The report in it.
    pub report: Option<ReportReading>,
    /// To be answered with what it was taken for, when what follows is shown.
    pub taken: oneshot::Sender<BeatResult>,
}

/// An endpoint that its first beat has made, and what that beat was taken for.
pub type Joined = (Arc<Endpoint>, BeatResult);

/// The beat of an endpoint that is not there yet, on its way to control.
#[derive(Debug)]
pub struct FirstBeat {
    /// The cluster that it wants to join.
    pub cluster: Arc<str>,
    /// Whom it speaks for.
    pub address: EndpointAddress,
    /// When it came.
    pub at: crate::base::time::Timestamp,
    /// What it says.
    pub beat: Beat,
    /// The report in it.
    pub report: Option<ReportReading>,
    /// To be answered with the endpoint that it has become and what it was taken for, or with nothing if there is no room.
    pub taken: oneshot::Sender<Option<Joined>>,
}

/// What takes beats in.
#[derive(Debug)]
pub struct Service {
    directory: Rc<Directory>,
    control: mpsc::Sender<Pushed>,
    newcomers: mpsc::Sender<FirstBeat>,
    proxy: Identity,
    counts: Counts,
    teller: Teller,
}

/// A beat that has been read and believed, on its way to control; it lives no longer in the bytes that it came in.
pub(super) struct Believed {
    gate: Rc<Gate>,
    acked: Acked,
    what: What,
}

enum What {
    Beat(Pushed, oneshot::Receiver<BeatResult>),
    First(FirstBeat, oneshot::Receiver<Option<Joined>>),
}

/// A refusal with what is known of it.
pub(super) struct Refused {
    why: Refusal,
    cluster: Arc<str>,
    endpoint: Arc<str>,
    detail: String,
}

impl Refused {
    fn new(why: Refusal) -> Self {
        Self { why, cluster: "".into(), endpoint: "".into(), detail: why.detail().to_owned() }
    }

    fn of(why: Refusal, gate: &Gate) -> Self {
        Self { cluster: Arc::clone(&gate.name), ..Self::new(why) }
    }

    fn by(why: Refusal, gate: &Gate, sender: &Sender) -> Self {
        Self { endpoint: sender.endpoint.address.text(), ..Self::of(why, gate) }
    }
}

impl Service {
    /// A service that knows the clusters of `directory` and tells `control`, and of `newcomers` too.
    #[must_use]
    pub fn new(
        directory: Rc<Directory>,
        control: mpsc::Sender<Pushed>,
        newcomers: mpsc::Sender<FirstBeat>,
        proxy: Identity,
        counts: Counts,
    ) -> Self {
        Self { directory, control, newcomers, proxy, counts, teller: Teller::default() }
    }

    /// Answers one request, which came by the socket of this name.
    pub(super) async fn answer<B>(&self, request: Request<B>, way: &Arc<str>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.uri().path() != PATH {
            return Answer::problem(StatusCode::NOT_FOUND, "heartbeats are posted to /v1/heartbeats");
        }
        if request.method() != Method::POST {
            return Answer::problem(StatusCode::METHOD_NOT_ALLOWED, "heartbeats are posted").with(ALLOW, "POST");
        }
        let (parts, body) = request.into_parts();
        let believed = match read(body).await {
            Ok(body) => self.believe(bearer::given(&parts.headers), &body, way),
            Err(refused) => Err(refused),
        };
        self.settle(believed).await
    }

    /// Reads a beat that came by the socket of this name with this token.
    pub(super) fn believe(&self, token: Option<&[u8]>, body: &[u8], way: &Arc<str>) -> Result<Believed, Refused> {
        let at = clock::now();
        let message = Message::read(body).map_err(|detail| Refused { detail, ..Refused::new(Refusal::Malformed) })?;
        let Some(gate) = self.directory.gate(&message.cluster) else {
            // Only who has a token learns which clusters there are.
            let known = self.directory.knows(token);
            return Err(Refused::new(if known { Refusal::UnknownCluster } else { Refusal::Unauthorized }));
        };
        let speaker = authorise(&gate, token, &message)?;
        if let Speaker::Known(sender) = &speaker
            && !gate.spend(sender, at)
        {
            return Err(Refused::by(Refusal::RateLimited, &gate, sender));
        }
        let received_at_ms = clock::wall().unix_millis();
        let report = message.report.zip(gate.report.as_ref()).map(|(text, spec)| reading(spec, text));
        let beat = Beat { received_at_ms: Some(received_at_ms), way: Some(Arc::clone(way)), ..message.beat };
        let acked = Acked { seq: beat.seq, received_at_ms, ttl: gate.policy.ttl, next_in: gate.policy.next_in(beat.period) };
        let what = match speaker {
            Speaker::Known(sender) => {
                let (taken, is_taken) = oneshot::channel();
                What::Beat(Pushed { endpoint: Arc::clone(&sender.endpoint), at, beat, report, taken }, is_taken)
            }
            Speaker::Newcomer(address) => {
                let (taken, is_taken) = oneshot::channel();
                What::First(FirstBeat { cluster: Arc::clone(&gate.name), address, at, beat, report, taken }, is_taken)
            }
        };
        Ok(Believed { gate, acked, what })
    }

    /// Tells control of a beat and answers it with what that makes of it, or says why it is refused.
    pub(super) async fn settle(&self, believed: Result<Believed, Refused>) -> Answer {
        let taken = match believed {
            Ok(believed) => self.take(believed).await,
            Err(refused) => Err(refused),
        };
        rest::did(rest::BEATS);
        taken.map_or_else(|refused| self.refuse(&refused), Answer::ack)
    }

    async fn take(&self, Believed { gate, acked, what }: Believed) -> Result<Vec<u8>, Refused> {
        let (endpoint, result) = match what {
            What::Beat(pushed, is_taken) => {
                let endpoint = Arc::clone(&pushed.endpoint);
                // It is gone only when everything ends; then there is no answer either.
                drop(self.control.send(pushed).await);
                let stopping = |_| Refused { endpoint: endpoint.address.text(), ..Refused::of(Refusal::Stopping, &gate) };
                let result = is_taken.await.map_err(stopping)?;
                (endpoint, result)
            }
            What::First(first, is_taken) => {
                drop(self.newcomers.send(first).await);
                let joined = is_taken.await.map_err(|_| Refused::of(Refusal::Stopping, &gate))?;
                joined.ok_or_else(|| Refused::of(Refusal::ClusterFull, &gate))?
            }
        };
        if result == BeatResult::Zombie {
            return Err(Refused { endpoint: endpoint.address.text(), ..Refused::of(Refusal::Zombie, &gate) });
        }
        Ok(message::ack(&acked, &endpoint.view(), gate.leader().as_ref(), &self.proxy))
    }

    fn refuse(&self, refused: &Refused) -> Answer {
        let Refused { why, cluster, endpoint, detail } = refused;
        // One that control has taken in is counted there.
        if *why != Refusal::Zombie {
            self.counts.count(cluster, endpoint, why.as_str());
        }
        self.teller.tell(*why, cluster, endpoint, detail);
        let answer = Answer::problem(why.status(), detail);
        match why {
            Refusal::RateLimited | Refusal::ClusterFull | Refusal::Stopping => answer.with(RETRY_AFTER, "1"),
            Refusal::TooLarge => answer.with(CONNECTION, "close"),
            _ => answer,
        }
    }

    /// What came was no HTTP.
    pub(super) fn garbled(&self, detail: &str) {
        let refused = Refused { detail: detail.to_owned(), ..Refused::new(Refusal::Malformed) };
        drop(self.refuse(&refused));
    }

    /// TLS could not be agreed on, so that nothing came.
    pub(super) fn unsecured(&self, detail: &str) {
        let refused = Refused { detail: detail.to_owned(), ..Refused::new(Refusal::Handshake) };
        drop(self.refuse(&refused));
    }
}

/// Who speaks.
enum Speaker<'a> {
    Known(&'a Sender),
    /// Whoever joins with this beat.
    Newcomer(EndpointAddress),
}

fn authorise<'a>(gate: &'a Gate, token: Option<&[u8]>, message: &Message<'_>) -> Result<Speaker<'a>, Refused> {
    let address = &*message.endpoint;
    let pass = gate.admits(token).ok_or_else(|| Refused::of(Refusal::Unauthorized, gate))?;
    let sender = gate.find(address);
    if !pass.covers(address) {
        let named = |sender| Refused::by(Refusal::Forbidden, gate, sender);
        return Err(sender.map_or_else(|| Refused::of(Refusal::Forbidden, gate), named));
    }
    if let Some(sender) = sender {
        return Ok(Speaker::Known(sender));
    }
    if !gate.joins() || message.beat.state == BeatState::Bye {
        return Err(Refused::of(Refusal::UnknownEndpoint, gate));
    }
    let address = canonical(address).map_err(|detail| Refused { detail, ..Refused::of(Refusal::Malformed, gate) })?;
    Ok(gate.find(address.as_str()).map_or(Speaker::Newcomer(address), Speaker::Known))
}

/// One spelling for each address: two would be two endpoints. It is one on the network: whoever has a token must not have us
/// connect to the sockets of this machine. And it is one of somebody: a program that says where it listens may say everywhere.
fn canonical(text: &str) -> Result<EndpointAddress, String> {
    let said = |error: crate::base::address::AddressError| error.to_string();
    let address = EndpointAddress::parse_network(text).map_err(said)?;
    if let Some(ip) = address.socket().map(|socket| socket.ip().to_canonical())
        && (ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST))
    {
        return Err(format!("endpoint is where its traffic goes, and nobody can be reached at {ip}"));
    }
    EndpointAddress::parse_network(&match address.socket() {
        Some(socket) => socket.to_string(),
        None => format!("{}:{}", address.host(), address.port()),
    })
    .map_err(said)
}

/// Reads the report in a beat. It is JSON, whatever the probes' answers are.
fn reading(spec: &Spec, text: &str) -> ReportReading {
    let said = Said::new(Some("application/json"), text.as_bytes());
    let is_json = matches!(spec.format, Format::Auto | Format::Json | Format::HealthJson | Format::Spring);
    let read =
        if is_json { report::read(spec, &said) } else { report::read(&Spec { format: Format::Json, ..spec.clone() }, &said) };
    match read {
        Ok(Some(report)) => ReportReading::Read(report),
        Ok(None) => ReportReading::None,
        Err(unreadable) => ReportReading::Void(unreadable.to_string()),
    }
}

async fn read<B>(body: B) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > MAX_BEAT as u64 {
        return Err(Refused::new(Refusal::TooLarge));
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BEAT).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refused::new(Refusal::TooLarge)),
        Ok(Err(error)) => Err(Refused { detail: format!("cut short: {error}"), ..Refused::new(Refusal::Malformed) }),
        Err(_) => Err(Refused { detail: "its body did not come in time".to_owned(), ..Refused::new(Refusal::Malformed) }),
    }
}

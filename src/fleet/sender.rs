//! What we say to one peer: everything, every 200 ms, and at once when it changes.
//!
//! One message is under way at a time. A peer that does not answer within a second costs a connection and nothing else.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::base::address::EndpointAddress;
use crate::fleet::ballot::{Answer, Ballot, Message};
use crate::fleet::mailbox::{Desk, PERIOD, Word};
use crate::fleet::reception::{ANSWER, MESSAGE, PATH, seal, sealed};
use crate::net::{dial, resolve};
use crate::runtime::task;

/// For a message and its answer, connecting included.
const PATIENCE: Duration = Duration::from_secs(1);
/// Largest answer, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// A connection to the peer.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    _task: task::Owned,
}

/// One peer and what is known of it.
struct Peer {
    desk: Rc<Desk>,
    index: usize,
    address: EndpointAddress,
    line: Option<Line>,
    nonce: String,
    seq: u64,
}

/// What came back.
enum Outcome {
    /// Our message was taken, or will be with the number that came.
    Answered(StatusCode, Answer),
    /// The peer does not believe us, or cannot be believed.
    Refused(String),
}

/// Speaks to a peer for ever.
pub(super) async fn send(desk: Rc<Desk>, index: usize, address: EndpointAddress) {
    let mut ballots = desk.ballots.clone();
    let mut peer = Peer { desk, index, address, line: None, nonce: String::new(), seq: 0 };
    loop {
        let ballot = std::sync::Arc::clone(&ballots.borrow_and_update());
        if tokio::time::timeout(PATIENCE, peer.speak(&ballot)).await.is_err() {
            peer.line = None;
        }
        tokio::select! {
            changed = ballots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

impl Peer {
    /// Says it, and once more if the peer wanted another number.
    async fn speak(&mut self, ballot: &Ballot) {
        for _ in 0..2 {
            match self.post(ballot).await {
                Ok(Outcome::Answered(_, answer)) if answer.name == self.desk.name => {
                    return self.refused("it bears our own name; fleet.self must differ on every proxy");
                }
                Ok(Outcome::Answered(status, answer)) => {
                    self.learn(&answer);
                    match answer.refused {
                        Some(why) => return self.refused(&why),
                        None if status == StatusCode::OK => return,
                        None => {}
                    }
                }
                Ok(Outcome::Refused(why)) => return self.refused(&why),
                Err(error) => {
                    tracing::debug!(peer = self.address.as_str(), error, "a peer of the fleet is not reached");
                    self.line = None;
                    return;
                }
            }
        }
    }

    fn learn(&mut self, answer: &Answer) {
        answer.nonce.clone_into(&mut self.nonce);
        if let Some(peer) = self.desk.roll.borrow_mut().introduce(self.index, &answer.name) {
            self.desk.tell(Word::Mistaken { peer });
        }
    }

    fn refused(&self, why: &str) {
        self.desk.complain(self.address.as_str(), "refused", why);
        self.desk.tell(Word::Refused { peer: self.index });
    }

    async fn post(&mut self, ballot: &Ballot) -> Result<Outcome, String> {
        self.seq += 1;
        let desk = Rc::clone(&self.desk);
        let message = Message {
            fleet: desk.fleet.clone(),
            from: desk.name.clone(),
            size: desk.size,
            boot: desk.boot.clone(),
            seq: self.seq,
            nonce: self.nonce.clone(),
            ballot: ballot.clone(),
        };
        let body = message.encode();
        let mut request = Request::builder().method(Method::POST).uri(PATH).header(HOST, self.address.as_str());
        request = request.header(CONTENT_TYPE, "application/json");
        for (name, value) in sealed(&desk, MESSAGE, &body) {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body)).map_err(|error| error.to_string())?;
        let sender = &mut self.line().await?.sender;
        sender.ready().await.map_err(|error| error.to_string())?;
        let (head, body) = sender.send_request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(self.read(head.status, &head.headers, &body))
    }

    fn read(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
            return Outcome::Refused(format!("it answers {status}: another key, or another program"));
        }
        let signed = seal(headers).is_some_and(|seal| self.desk.keys.verify(ANSWER, &seal, body));
        match Answer::decode(body).filter(|answer| signed && answer.seq == self.seq) {
            Some(answer) => Outcome::Answered(status, answer),
            None => Outcome::Refused("its answer is not signed with a key of our key_file".to_owned()),
        }
    }

    async fn line(&mut self) -> Result<&mut Line, String> {
        if self.line.as_ref().is_none_or(|line| line.sender.is_closed()) {
            self.line = Some(self.connect().await?);
        }
        self.line.as_mut().ok_or_else(|| "no connection".to_owned())
    }

    async fn connect(&self) -> Result<Line, String> {
        let addresses = resolve::look_up(&self.address).await.map_err(|error| error.to_string())?;
        let stream = dial::reach(None, &addresses).await.map_err(|error| error.to_string())?;
        let found = stream.peer().map(|address| address.ip().to_canonical());
        self.desk.addresses.borrow_mut()[self.index] = found;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let task = task::Owned::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the fleet ended badly");
            }
        });
        Ok(Line { sender, _task: task })
    }
}

//! Mailboxes that talk to one another over real sockets, and what forged, foreign or repeated messages come to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::base::address::{EndpointAddress, ListenAddress};
use crate::config::model::Secret;
use crate::fleet::ballot::{Answer, Message};
use crate::fleet::key::Seal;
use crate::fleet::mailbox::{Counts, Mailbox, Setup, Word};
use crate::fleet::reception::MESSAGE;
use crate::fleet::{Ballot, Keys};
use crate::health::electorate::{Vote, Votes};
use crate::net::listen::bind_exclusive;
use crate::runtime::thread::block_on;

const KEY: &str = "a key that nobody else has";

/// Something that never takes this long on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Proxy {
    words: mpsc::Receiver<Word>,
    ballots: watch::Sender<Arc<Ballot>>,
    counts: Arc<Counts>,
    address: SocketAddr,
    _mailbox: Mailbox,
}

impl Proxy {
    async fn word(&mut self) -> Word {
        tokio::time::timeout(PATIENCE, self.words.recv()).await.expect("a word comes").expect("the mailbox is open")
    }

    /// Waits for what somebody of this name says, and whether the endpoint is up by it.
    async fn hears(&mut self, from: &str, vote: Vote) {
        loop {
            if let Word::Heard { name, ballot, .. } = self.word().await
                && &*name == from
                && ballot == says(vote)
            {
                return;
            }
        }
    }

    async fn is_refused(&mut self) {
        while !matches!(self.word().await, Word::Refused { .. }) {}
    }
}

fn says(vote: Vote) -> Ballot {
    Ballot { well: true, votes: Votes::from([("app".into(), BTreeMap::from([("a:1".into(), vote)]))]) }
}

fn keys(text: &str) -> Keys {
    Keys::new(&[Secret(text.into())])
}

fn socket() -> std::net::TcpListener {
    let socket = bind_exclusive(ListenAddress::parse("127.0.0.1:0").unwrap()).unwrap();
    socket.open().unwrap();
    socket.handle().unwrap()
}

fn open(name: &str, key: &str, size: usize, socket: std::net::TcpListener, peers: &[SocketAddr]) -> Proxy {
    let (tell, words) = mpsc::channel(64);
    let (ballots, said) = watch::channel(Arc::new(says(Vote::Up)));
    let counts = Arc::new(Counts::default());
    let address = socket.local_addr().unwrap();
    let setup = Setup {
        fleet: "edge".into(),
        name: name.into(),
        size,
        peers: peers.iter().map(|peer| EndpointAddress::parse(&peer.to_string()).unwrap()).collect(),
        keys: keys(key),
        socket,
        ballots: said,
        words: tell,
        counts: Arc::clone(&counts),
    };
    Proxy { words, ballots, counts, address, _mailbox: Mailbox::open(setup).unwrap() }
}

/// Two proxies that know each other.
fn pair(second: &str, key: &str, size: usize) -> (Proxy, Proxy) {
    let (one, other) = (socket(), socket());
    let (at_one, at_other) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    (open("edge-1", KEY, 3, one, &[at_other]), open(second, key, size, other, &[at_one]))
}

#[test]
fn votes_reach_the_others_and_changes_do_at_once() {
    block_on(async {
        let (mut one, mut other) = pair("edge-2", KEY, 3);
        one.hears("edge-2", Vote::Up).await;
        other.hears("edge-1", Vote::Up).await;
        one.ballots.send_replace(Arc::new(says(Vote::Down)));
        other.hears("edge-1", Vote::Down).await;
        assert_eq!((one.counts.refused.get(), other.counts.refused.get()), (0, 0));
    })
    .unwrap();
}

#[test]
fn another_key_size_or_our_own_name_is_refused_on_both_sides() {
    for (name, key, size) in [("edge-2", "another key altogether", 3), ("edge-2", KEY, 5), ("edge-1", KEY, 3)] {
        block_on(async {
            let (mut one, mut other) = pair(name, key, size);
            one.is_refused().await;
            other.is_refused().await;
            assert!(one.counts.ok.get() == 0 && one.counts.refused.get() > 0, "{name} {key} {size}");
        })
        .unwrap();
    }
}

/// Posts raw bytes and returns status and body.
async fn post(at: SocketAddr, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!("POST /v1/votes HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{head}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.as_bytes().to_vec())
}

fn message(nonce: &str, seq: u64) -> Message {
    Message {
        fleet: "edge".into(),
        from: "edge-9".into(),
        size: 3,
        boot: "b".to_owned(),
        seq,
        nonce: nonce.to_owned(),
        ballot: says(Vote::Down),
    }
}

async fn say(at: SocketAddr, message: &Message) -> (u16, Option<Answer>) {
    let body = message.encode();
    let Seal { key, mac } = keys(KEY).sign(MESSAGE, &body).unwrap();
    let (status, answer) = post(at, &format!("pulsegate-key: {key}\r\npulsegate-mac: {mac}\r\n"), &body).await;
    (status, Answer::decode(&answer))
}

#[test]
fn forged_repeated_and_late_messages_change_nothing() {
    block_on(async {
        let silent = socket();
        let mut one = open("edge-1", KEY, 3, socket(), &[silent.local_addr().unwrap()]);
        let at = one.address;
        let body = message("", 1).encode();
        assert_eq!(post(at, "", &body).await.0, 401, "unsigned");
        assert_eq!(post(at, "pulsegate-key: x\r\npulsegate-mac: y\r\n", &body).await.0, 401, "forged");
        let Seal { key, mac } = keys(KEY).sign(MESSAGE, b"{").unwrap();
        assert_eq!(post(at, &format!("pulsegate-key: {key}\r\npulsegate-mac: {mac}\r\n"), b"{").await.0, 400, "no message");
        let (status, answer) = say(at, &message("", 1)).await;
        assert_eq!(status, 409, "without a number of ours");
        let nonce = answer.unwrap().nonce;
        assert_eq!(say(at, &message(&nonce, 1)).await.0, 200);
        assert_eq!(say(at, &message(&nonce, 1)).await.0, 409, "the same again");
        assert_eq!(say(at, &Message { size: 4, ..message(&nonce, 2) }).await.0, 403, "another size");
        assert_eq!(say(at, &Message { fleet: "other".into(), ..message(&nonce, 2) }).await.0, 403, "another fleet");
        assert_eq!(say(at, &Message { from: "edge-8".into(), ..message(&nonce, 2) }).await.0, 403, "one too many");
        let heard = one.word().await;
        assert!(matches!(heard, Word::Heard { peer: 0, .. }), "{heard:?}");
        assert!(one.words.try_recv().is_err(), "nothing else was believed");
        let Counts { ok, refused, stale, malformed, .. } = &*one.counts;
        assert_eq!((ok.get(), refused.get(), stale.get(), malformed.get()), (1, 5, 2, 1));
    })
    .unwrap();
}

#[test]
fn what_is_too_large_or_elsewhere_is_not_read() {
    block_on(async {
        let silent = socket();
        let one = open("edge-1", KEY, 3, socket(), &[silent.local_addr().unwrap()]);
        assert_eq!(post(one.address, "", &vec![b' '; 1024 * 1024 + 1]).await.0, 413);
        let mut stream = TcpStream::connect(one.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    })
    .unwrap();
}

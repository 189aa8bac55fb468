//! The fleet's end in this process: its socket, a sender for each peer, and what comes of them.
//!
//! It runs on control's thread, beside the probes, so that load on the data plane cannot make a proxy look dead to the
//! others. What it hears goes into a bounded queue; a message that finds it full is dropped and counted, for the next one
//! says the same and is 200 ms away.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::base::address::EndpointAddress;
use crate::base::hex::hex;
use crate::base::time::Timestamp;
use crate::fleet::ballot::Ballot;
use crate::fleet::key::Keys;
use crate::fleet::nonce::{Nonces, Random};
use crate::fleet::reception;
use crate::fleet::roll::Roll;
use crate::fleet::sender;
use crate::health::electorate::FRESH;
use crate::runtime::{clock, task};
use crate::telemetry::cell::Counter;

/// From one message to a peer to the next, while nothing changes.
pub(super) const PERIOD: Duration = Duration::from_millis(200);
/// A thread that comes this much too late has stood still, and what it believes may be of the time before.
const STALL: Duration = Duration::from_millis(500);
/// How many different complaints are told; after that they are only counted.
const TOLD: usize = 256;

/// What the fleet's end needs to know.
#[derive(Debug)]
pub struct Setup {
    /// The fleet's name.
    pub fleet: Arc<str>,
    /// Ours.
    pub name: Arc<str>,
    /// How many proxies there are in all.
    pub size: usize,
    /// Where the others listen.
    pub peers: Vec<EndpointAddress>,
    /// What messages are signed with.
    pub keys: Keys,
    /// Where we listen.
    pub socket: TcpListener,
    /// What we saw ourselves, whenever it changes.
    pub ballots: watch::Receiver<Arc<Ballot>>,
    /// Where it goes what we hear.
    pub words: mpsc::Sender<Word>,
    /// Messages by what became of them.
    pub counts: Arc<Counts>,
}

/// What was heard.
#[derive(Debug)]
pub enum Word {
    /// A peer spoke.
    Heard {
        /// Its position in the configuration.
        peer: usize,
        /// What it calls itself.
        name: Arc<str>,
        /// What it says.
        ballot: Ballot,
    },
    /// A peer does not believe us, or we do not believe it.
    Refused {
        /// Its position in the configuration.
        peer: usize,
    },
    /// What was heard from this peer came from another one.
    Mistaken {
        /// Its position in the configuration.
        peer: usize,
    },
    /// This thread stood still until now.
    Stood,
}

/// Messages received, by what became of them.
#[derive(Debug, Default)]
pub struct Counts {
    /// Believed.
    pub ok: Counter,
    /// Wrong key, fleet, size or name.
    pub refused: Counter,
    /// Without a number that we gave out a moment ago, or heard before. The first one after a pause is always among them.
    pub stale: Counter,
    /// No message at all.
    pub malformed: Counter,
    /// Believed, but there was no room for it.
    pub dropped: Counter,
}

/// The fleet's end; everything ends with it.
#[derive(Debug)]
pub struct Mailbox {
    _tasks: Vec<task::Owned>,
}

/// What all tasks of the room share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) fleet: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) size: usize,
    pub(super) keys: Keys,
    pub(super) boot: String,
    pub(super) counts: Arc<Counts>,
    pub(super) ballots: watch::Receiver<Arc<Ballot>>,
    pub(super) nonces: RefCell<Nonces>,
    pub(super) roll: RefCell<Roll>,
    /// Where each peer was last found.
    pub(super) addresses: RefCell<Vec<Option<IpAddr>>>,
    heard: Vec<Cell<Option<Timestamp>>>,
    words: mpsc::Sender<Word>,
    told: RefCell<HashSet<(String, &'static str)>>,
}

impl Mailbox {
    /// Opens the mailbox on this thread.
    ///
    /// # Errors
    /// If the socket cannot be watched.
    pub fn open(setup: Setup) -> io::Result<Self> {
        let peers = setup.peers.len();
        let desk = Rc::new(Desk {
            fleet: setup.fleet,
            name: setup.name,
            size: setup.size,
            keys: setup.keys,
            boot: hex(&random()),
            counts: setup.counts,
            ballots: setup.ballots,
            nonces: RefCell::new(Nonces::new(random(), clock::now())),
            roll: RefCell::new(Roll::new(peers)),
            addresses: RefCell::new(vec![None; peers]),
            heard: vec![Cell::new(None); peers],
            words: setup.words,
            told: RefCell::default(),
        });
        let mut tasks =
            vec![reception::serve(setup.socket, Rc::clone(&desk))?, task::Owned::spawn(watch_ourselves(Rc::clone(&desk)))];
        let senders = setup.peers.into_iter().enumerate();
        tasks.extend(senders.map(|(peer, address)| task::Owned::spawn(sender::send(Rc::clone(&desk), peer, address))));
        Ok(Self { _tasks: tasks })
    }
}

impl Desk {
    /// Passes on what was heard. A full queue is no harm: the next message says the same.
    pub(super) fn tell(&self, word: Word) {
        if let Word::Heard { peer, .. } = &word {
            self.heard[*peer].set(Some(clock::now()));
        }
        if self.words.try_send(word).is_err() {
            self.counts.dropped.inc();
        }
    }

    /// Whether a peer has been heard lately.
    pub(super) fn is_heard(&self, peer: usize) -> bool {
        self.heard.get(peer).and_then(Cell::get).is_some_and(|at| clock::now().since(at) < FRESH)
    }

    /// Logs a complaint about somebody, the first time it comes up.
    pub(super) fn complain(&self, who: &str, kind: &'static str, detail: &str) {
        let mut told = self.told.borrow_mut();
        if told.len() < TOLD && told.insert((who.to_owned(), kind)) {
            tracing::warn!(peer = who, problem = kind, detail, "a message between proxies of the fleet was refused; told once");
        }
    }
}

/// Random bytes that nobody can foresee.
pub(super) fn random() -> Random {
    let mut bytes = Random::default();
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source never fails once it has started");
    bytes
}

/// Notices when this thread stands still: whoever has slept must not vote on what happened meanwhile.
async fn watch_ourselves(desk: Rc<Desk>) {
    let mut due = clock::now() + PERIOD;
    loop {
        tokio::time::sleep_until(clock::instant(due)).await;
        let now = clock::now();
        if now.since(due) >= STALL {
            desk.tell(Word::Stood);
        }
        due = now + PERIOD;
    }
}

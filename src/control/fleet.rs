//! The fleet as control takes part in it: what we saw goes out, what the others saw rules over verdicts.
//!
//! What is sent is first-hand alone: what a vote of the others has made of a verdict is never sent back to them, or an
//! ejection would keep itself alive. Nothing is sent for an endpoint of which nothing is known.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::base::time::Timestamp;
use crate::config::model;
use crate::control::ward::Fresh;
use crate::control::wards::Wards;
use crate::fleet::{Ballot, Counts, Keys, Mailbox, Setup, Word};
use crate::health::electorate::{Electorate, FRESH, PeerState, Vote, Votes};

/// How many messages may wait; one that finds no room is dropped, and the next says the same.
const WORDS: usize = 256;
/// Probes that start this much too late say that we cannot keep up, and that our votes are worth nothing.
const LAG: Duration = Duration::from_secs(1);

/// The fleet, if there is one.
#[derive(Debug, Default)]
pub(super) struct Fleet(Option<Box<Seat>>);

/// Our seat in it.
#[derive(Debug)]
struct Seat {
    config: model::Fleet,
    electorate: Electorate,
    own: Votes,
    ballots: watch::Sender<Arc<Ballot>>,
    words: mpsc::Receiver<Word>,
    counts: Arc<Counts>,
    /// Until when we may not vote, since we stood still.
    unwell_until: Timestamp,
    /// When the next vote of others goes stale.
    stale: Option<Timestamp>,
    news: bool,
    _mailbox: Mailbox,
}

/// The fleet as it is shown.
#[derive(Debug)]
pub struct FleetView {
    /// Its name.
    pub name: Arc<str>,
    /// Our own name.
    pub own: Arc<str>,
    /// How many proxies there are in all.
    pub size: usize,
    /// Whether a majority is heard.
    pub quorum: bool,
    /// We ourselves first, then the others in the order of the configuration.
    pub members: Vec<MemberView>,
    /// Messages received, by what became of them.
    pub counts: Arc<Counts>,
}

/// One proxy of the fleet as it is shown.
#[derive(Debug)]
pub struct MemberView {
    /// What it calls itself; empty until it has been heard.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: String,
    /// How it stands with us.
    pub state: PeerState,
    /// What it said last.
    pub votes: Votes,
}

impl Fleet {
    /// Takes our seat. This thread must allow local tasks.
    pub(super) fn join(config: &model::Fleet, socket: TcpListener) -> io::Result<Self> {
        let (ballots, said) = watch::channel(Arc::new(Ballot { well: true, votes: Votes::new() }));
        let (tell, words) = mpsc::channel(WORDS);
        let counts = Arc::new(Counts::default());
        let mailbox = Mailbox::open(Setup {
            fleet: Arc::clone(&config.name),
            name: Arc::clone(&config.own),
            size: config.size,
            peers: config.peers.clone(),
            keys: Keys::new(&config.keys),
            socket,
            ballots: said,
            words: tell,
            counts: Arc::clone(&counts),
        })?;
        Ok(Self(Some(Box::new(Seat {
            config: config.clone(),
            electorate: Electorate::new(config.size, config.peers.len()),
            own: Votes::new(),
            ballots,
            words,
            counts,
            unwell_until: Timestamp::ZERO,
            stale: None,
            news: true,
            _mailbox: mailbox,
        }))))
    }

    /// Whether this is our seat by these settings.
    pub(super) fn is_seated_by(&self, config: Option<&model::Fleet>) -> bool {
        self.0.as_ref().map(|seat| &seat.config) == config
    }

    /// Waits for what others say, for ever if there is no fleet.
    pub(super) async fn next(&mut self) -> Word {
        match &mut self.0 {
            Some(seat) => match seat.words.recv().await {
                Some(word) => word,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Takes in what was heard.
    pub(super) fn hear(&mut self, word: Word, now: Timestamp) {
        if let Some(seat) = &mut self.0 {
            seat.hear(word, now);
        }
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        let seat = self.0.as_ref()?;
        let unwell = (!seat.electorate.own_well()).then_some(seat.unwell_until);
        [seat.stale, unwell].into_iter().flatten().min()
    }

    /// Tells the others what changed here, and acts on what changed there.
    pub(super) fn tick(&mut self, wards: &mut Wards, now: Timestamp) {
        if let Some(seat) = &mut self.0 {
            seat.tick(wards, now);
        }
    }
}

/// Notes a vote, or that there is none. Returns whether that changes anything.
fn put(votes: &mut BTreeMap<Arc<str>, Vote>, endpoint: Arc<str>, vote: Option<Vote>) -> bool {
    match vote {
        Some(vote) => votes.insert(endpoint, vote) != Some(vote),
        None => votes.remove(&endpoint).is_some(),
    }
}

impl Seat {
    fn hear(&mut self, word: Word, now: Timestamp) {
        match word {
            Word::Heard { peer, name, ballot } => {
                self.news |= self.electorate.hear(peer, &name, ballot.well, ballot.votes, now);
                self.stale = self.electorate.next_change(now);
            }
            Word::Refused { peer } => {
                self.news |= self.electorate.refuse(peer, now);
                self.stale = self.electorate.next_change(now);
            }
            Word::Mistaken { peer } => {
                self.electorate.forget(peer);
                self.news = true;
            }
            Word::Stood => self.unwell_until = now + FRESH,
        }
    }

    fn tick(&mut self, wards: &mut Wards, now: Timestamp) {
        if self.stale.is_some_and(|at| at <= now) {
            self.news = true;
        }
        let lagging = wards.announcer.shared.lag.seconds() > LAG.as_secs_f64() || wards.ourselves.is_deaf(now);
        if lagging {
            self.unwell_until = self.unwell_until.max(now + LAG);
        }
        let turned = self.electorate.set_own_well(now >= self.unwell_until);
        self.news |= turned;
        let changed = self.collect(wards);
        if changed || turned {
            let ballot = Ballot { well: self.electorate.own_well(), votes: self.own.clone() };
            self.ballots.send_replace(Arc::new(ballot));
        }
        if self.news {
            self.stale = self.electorate.next_change(now);
            let electorate = &self.electorate;
            wards.hear_fleet(|cluster, endpoint| electorate.count(cluster, endpoint, now), now);
        }
        if std::mem::take(&mut self.news) || changed {
            wards.announcer.shared.fleet.store(Some(Arc::new(self.view(now))));
        }
    }

    /// Takes in what we saw since the last look. Returns whether that changes a vote.
    fn collect(&mut self, wards: &mut Wards) -> bool {
        let mut changed = false;
        for (cluster, fresh) in wards.take_votes() {
            changed |= match fresh {
                Fresh::All(votes) => {
                    self.own.get(&cluster) != Some(&votes) && {
                        self.own.insert(cluster, votes);
                        true
                    }
                }
                Fresh::Some(votes) => {
                    let known = self.own.entry(cluster).or_default();
                    votes.into_iter().fold(false, |changed, (endpoint, vote)| changed | put(known, endpoint, vote))
                }
            };
        }
        // Every cluster that is there has told all it knows at least once.
        if self.own.len() > wards.len() {
            self.own.retain(|cluster, _| wards.find(cluster).is_some());
            changed = true;
        }
        changed
    }

    fn view(&self, now: Timestamp) -> FleetView {
        let ourselves = MemberView {
            name: Arc::clone(&self.config.own),
            address: self.config.address.to_string(),
            state: PeerState::Alive,
            votes: self.own.clone(),
        };
        let others = self.electorate.peers().iter().zip(&self.config.peers).map(|(peer, address)| {
            let state = peer.state(now);
            let votes = if state == PeerState::Alive { peer.votes.clone() } else { BTreeMap::new() };
            MemberView { name: Arc::clone(&peer.name), address: address.as_str().to_owned(), state, votes }
        });
        FleetView {
            name: Arc::clone(&self.config.name),
            own: Arc::clone(&self.config.own),
            size: self.config.size,
            quorum: self.electorate.quorate(now),
            members: std::iter::once(ourselves).chain(others).collect(),
            counts: Arc::clone(&self.counts),
        }
    }
}

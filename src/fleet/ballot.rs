//! A message between proxies, and its answer, as they stand on the wire.
//!
//! What comes in is bounded before it is read: a body, the names in it, and how many votes it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::health::electorate::{Vote, Votes};

/// Largest body, in bytes: ten thousand endpoints with long names.
pub(super) const MAX_BODY: usize = 1024 * 1024;
/// Longest name of a fleet, proxy, cluster or endpoint, in bytes.
const MAX_NAME: usize = 256;
/// Most votes in a message.
const MAX_VOTES: usize = 20_000;

/// Everything that a proxy says at once, but for what each receiver is told apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ballot {
    /// Whether its votes weigh anything: not while it stands still or lags.
    pub well: bool,
    /// What it saw itself.
    pub votes: Votes,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) fleet: Arc<str>,
    /// The sender's name.
    pub(super) from: Arc<str>,
    /// How large it believes the fleet to be.
    pub(super) size: usize,
    /// Which run of the sender this is.
    pub(super) boot: String,
    /// Counts the sender's messages to this receiver, from 1.
    pub(super) seq: u64,
    /// The receiver's own number, from its last answer.
    pub(super) nonce: String,
    pub(super) ballot: Ballot,
}

/// Why a message is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the message is not what it should be: {0}")]
    Json(String),
    #[error("a name in the message is longer than 256 bytes")]
    Name,
    #[error("the message holds more than 20000 votes")]
    Votes,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    fleet: Arc<str>,
    from: Arc<str>,
    size: usize,
    boot: String,
    seq: u64,
    nonce: String,
    well: bool,
    votes: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Word>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Up,
    Down,
    Soft,
}

impl Message {
    /// As it is sent.
    pub(super) fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            fleet: Arc::clone(&self.fleet),
            from: Arc::clone(&self.from),
            size: self.size,
            boot: self.boot.clone(),
            seq: self.seq,
            nonce: self.nonce.clone(),
            well: self.ballot.well,
            votes: self.ballot.votes.iter().map(|(cluster, votes)| (Arc::clone(cluster), spoken(votes))).collect(),
        };
        serde_json::to_vec(&wire).expect("names and numbers are always JSON")
    }

    /// Reads one.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let wire: Wire = serde_json::from_slice(body).map_err(|error| Malformed::Json(error.to_string()))?;
        let names = [&*wire.fleet, &*wire.from, &wire.boot, &wire.nonce];
        let endpoints = wire.votes.values().flat_map(BTreeMap::keys);
        if names.into_iter().chain(wire.votes.keys().chain(endpoints).map(|name| &**name)).any(|name| name.len() > MAX_NAME) {
            return Err(Malformed::Name);
        }
        if wire.votes.values().map(BTreeMap::len).sum::<usize>() > MAX_VOTES {
            return Err(Malformed::Votes);
        }
        let votes = wire.votes.into_iter().map(|(cluster, votes)| (cluster, heard(votes))).collect();
        let ballot = Ballot { well: wire.well, votes };
        let Wire { fleet, from, size, boot, seq, nonce, .. } = wire;
        Ok(Self { fleet, from, size, boot, seq, nonce, ballot })
    }
}

fn spoken(votes: &BTreeMap<Arc<str>, Vote>) -> BTreeMap<Arc<str>, Word> {
    let word = |vote: &Vote| match vote {
        Vote::Up => Word::Up,
        Vote::Down => Word::Down,
        Vote::Soft => Word::Soft,
    };
    votes.iter().map(|(endpoint, vote)| (Arc::clone(endpoint), word(vote))).collect()
}

fn heard(votes: BTreeMap<Arc<str>, Word>) -> BTreeMap<Arc<str>, Vote> {
    let vote = |word: Word| match word {
        Word::Up => Vote::Up,
        Word::Down => Vote::Down,
        Word::Soft => Vote::Soft,
    };
    votes.into_iter().map(|(endpoint, word)| (endpoint, vote(word))).collect()
}

/// What a receiver answers, signed as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The receiver's name.
    pub(super) name: Arc<str>,
    /// The number that the next message must carry.
    pub(super) nonce: String,
    /// The sender's number that is answered, so that no old answer can be passed for this one.
    pub(super) seq: u64,
    /// Why the message was not taken; absent if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

impl Answer {
    /// As it is sent.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and numbers are always JSON")
    }

    /// Reads one; nothing if it is none.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let answer: Self = serde_json::from_slice(body).ok()?;
        let short = answer.name.len() <= MAX_NAME && answer.nonce.len() <= MAX_NAME;
        short.then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let votes = Votes::from([("app".into(), BTreeMap::from([("10.0.0.1:80".into(), Vote::Soft), ("b:1".into(), Vote::Up)]))]);
        Message {
            fleet: "edge".into(),
            from: "edge-1".into(),
            size: 3,
            boot: "b00t".to_owned(),
            seq: 7,
            nonce: "n".to_owned(),
            ballot: Ballot { well: true, votes },
        }
    }

    #[test]
    fn a_message_survives_the_wire() {
        assert_eq!(Message::decode(&message().encode()), Ok(message()));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let text = String::from_utf8(message().encode()).unwrap();
        let long = "x".repeat(MAX_NAME + 1);
        for (bad, why) in [
            (String::new(), "empty"),
            ("null".to_owned(), "null"),
            ("[]".to_owned(), "list"),
            (text[..text.len() - 1].to_owned(), "truncated"),
            (format!("{text}x"), "trailing"),
            (text.replace("\"soft\"", "\"maybe\""), "unknown vote"),
            (text.replace("\"size\":3", "\"size\":-3"), "negative size"),
            (text.replace("\"seq\":7,", ""), "missing seq"),
            (text.replace("edge-1", &long), "long name"),
            (text.replace("10.0.0.1:80", &long), "long endpoint"),
            (text.replace("\"app\":{", &format!("\"{long}\":{{")), "long cluster"),
            ("{".repeat(100_000), "deep"),
        ] {
            assert!(Message::decode(bad.as_bytes()).is_err(), "{why}");
        }
        let many = (0..=MAX_VOTES).map(|n| (format!("e{n}").into(), Vote::Up)).collect();
        let ballot = Ballot { well: true, votes: Votes::from([("app".into(), many)]) };
        assert_eq!(Message::decode(&Message { ballot, ..message() }.encode()), Err(Malformed::Votes));
    }

    #[test]
    fn an_answer_survives_the_wire_and_nonsense_does_not() {
        let answer = Answer { name: "edge-2".into(), nonce: "n".to_owned(), seq: 1, refused: Some("size".to_owned()) };
        assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        assert_eq!(Answer::decode(b"{}"), None);
        let long = Answer { name: "x".repeat(MAX_NAME + 1).into(), nonce: String::new(), seq: 0, refused: None };
        assert_eq!(Answer::decode(&long.encode()), None);
    }
}

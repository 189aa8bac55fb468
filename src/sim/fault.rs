//! What goes wrong in a simulated life, and how endpoints behave by it.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::sim::mood::Mood;

/// The endpoint that a fault of one hits, by position.
pub(super) const SICK: usize = 0;

/// A fault of one endpoint, or of what leads to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// None: whoever is taken out is taken out falsely.
    None,
    /// The process is gone, its address refuses connections.
    Refused,
    /// It takes connections and requests and answers nothing.
    Hung,
    /// It answers its probes with 503, and requests as ever.
    Wrong,
    /// It takes so many times as long for everything.
    Limping(f64),
    /// This share of its answers to requests is a 503; its probes pass.
    Errors(f64),
    /// This share of its answers takes a hundred times as long.
    Tail(f64),
    /// This share of packets is lost on the way to it and back.
    Loss(f64),
    /// The same for every endpoint.
    LossEverywhere(f64),
    /// It hangs for so long, works for so long, and again.
    Flapping(Duration),
}

impl Fault {
    /// Those that a simulation plays unless it is told which.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::Refused,
        Self::Hung,
        Self::Wrong,
        Self::Limping(10.0),
        Self::Errors(0.1),
        Self::Tail(0.1),
        Self::Loss(0.2),
        Self::LossEverywhere(0.05),
        Self::Flapping(Duration::from_secs(2)),
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Refused => "refused",
            Self::Hung => "hung",
            Self::Wrong => "wrong",
            Self::Limping(_) => "limping",
            Self::Errors(_) => "errors",
            Self::Tail(_) => "tail",
            Self::Loss(_) => "loss",
            Self::LossEverywhere(_) => "loss-everywhere",
            Self::Flapping(_) => "flapping",
        }
    }

    /// What happens in it, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Refused => "one is gone",
            Self::Hung => "one hangs",
            Self::Wrong => "one fails its probes, and answers",
            Self::Limping(_) => "one is 10 times slower",
            Self::Errors(_) => "10% of one's answers are 503",
            Self::Tail(_) => "10% of one's answers are 100 times slower",
            Self::Loss(_) => "20% packet loss to one",
            Self::LossEverywhere(_) => "5% packet loss to all",
            Self::Flapping(_) => "one hangs for 2s, works for 2s",
        }
    }

    /// Whether being taken out is what its endpoint deserves.
    #[must_use]
    pub const fn is_sick(self) -> bool {
        !matches!(self, Self::None | Self::LossEverywhere(_))
    }

    /// Whom it hits: one endpoint, or all of so many.
    pub(super) fn whom(self, endpoints: usize) -> std::ops::Range<usize> {
        match self {
            Self::None => 0..0,
            Self::LossEverywhere(_) => 0..endpoints,
            _ => SICK..endpoints.min(SICK + 1),
        }
    }

    /// How those behave that it hits, from its begin to `end`.
    pub(super) fn moods(self, begin: Timestamp, end: Timestamp) -> Vec<(Timestamp, Mood)> {
        let mood = match self {
            Self::None => Mood::Well,
            Self::Refused => Mood::Dead,
            Self::Hung => Mood::Hung,
            Self::Wrong => Mood::Wrong,
            Self::Limping(times) => Mood::Limping(times),
            Self::Errors(share) => Mood::Failing(share),
            Self::Tail(share) => Mood::Slow(share, 100.0),
            Self::Loss(share) | Self::LossEverywhere(share) => Mood::Lossy(share),
            Self::Flapping(half) => return flaps(half.max(Duration::from_millis(1)), begin, end),
        };
        vec![(begin, mood)]
    }
}

fn flaps(half: Duration, begin: Timestamp, end: Timestamp) -> Vec<(Timestamp, Mood)> {
    let mut moods = Vec::new();
    let (mut at, mut mood) = (begin, Mood::Hung);
    while at < end {
        moods.push((at, mood));
        mood = if mood == Mood::Hung { Mood::Well } else { Mood::Hung };
        at = at + half;
    }
    moods
}

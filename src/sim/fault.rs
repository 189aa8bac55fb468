//! What goes wrong in a simulated life, and how an endpoint then treats probes and requests.

use std::time::Duration;

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

    /// The share of packets lost on the way to the sick endpoint, and to the others.
    pub(super) const fn loss(self) -> (f64, f64) {
        match self {
            Self::Loss(share) => (share, 0.0),
            Self::LossEverywhere(share) => (share, share),
            _ => (0.0, 0.0),
        }
    }

    /// Whether its endpoint answers nothing, so long after its begin.
    pub(super) fn hangs(self, since: Duration) -> bool {
        match self {
            Self::Hung => true,
            Self::Flapping(half) => !half.is_zero() && (since.as_nanos() / half.as_nanos()).is_multiple_of(2),
            _ => false,
        }
    }

    /// How many times as long an answer takes.
    pub(super) fn slower(self, rng: &mut fastrand::Rng) -> f64 {
        match self {
            Self::Limping(times) => times,
            Self::Tail(share) if rng.f64() < share => 100.0,
            _ => 1.0,
        }
    }

    /// Whether an answer to a request is a 503.
    pub(super) fn fails(self, rng: &mut fastrand::Rng) -> bool {
        matches!(self, Self::Errors(share) if rng.f64() < share)
    }
}

//! What an endpoint of an arena does with what reaches it.

/// What an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    /// Answers.
    Well,
    /// Nobody listens: connects are refused, what was under way is reset.
    Dead,
    /// Takes everything and says nothing. What it was at work on is answered when it goes on.
    Hung,
    /// Answers its probes with 503, and requests as ever.
    Wrong,
    /// This share of its answers to requests is 503; its probes pass.
    Failing(f64),
    /// This share of its answers, to probes as well, takes so many times as long.
    Slow(f64, f64),
    /// Everything takes so many times as long.
    Limping(f64),
    /// This share of the packets to it and from it is lost.
    Lossy(f64),
}

impl Mood {
    /// Whether it lies with the endpoint, so that taking it out is no mistake.
    #[must_use]
    pub fn is_sick(self) -> bool {
        self != Self::Well
    }

    /// Whether it does what it does on its own: send heartbeats, change a file.
    pub(super) const fn is_at_work(self) -> bool {
        !matches!(self, Self::Dead | Self::Hung)
    }

    /// The share of packets that are lost.
    pub(super) const fn loss(self) -> f64 {
        match self {
            Self::Lossy(share) => share,
            _ => 0.0,
        }
    }

    /// How many times as long an answer takes.
    pub(super) fn slower(self, rng: &mut fastrand::Rng) -> f64 {
        match self {
            Self::Limping(times) => times,
            Self::Slow(share, times) if rng.f64() < share => times,
            _ => 1.0,
        }
    }

    /// Whether an answer to a request is a 503.
    pub(super) fn fails(self, rng: &mut fastrand::Rng) -> bool {
        matches!(self, Self::Failing(share) if rng.f64() < share)
    }
}

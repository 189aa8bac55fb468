//! Decides who gets traffic: the available, and when these are too few, whom to let in besides.
//!
//! Tiers, from the wellest on; those of equal wellness are split into primaries and backups:
//!
//! | tier | gets traffic |
//! |---|---|
//! | available primaries | always |
//! | available backups | when no primary is available; under panic |
//! | suspect | when nobody is available; under panic |
//! | ejected, unknown but tried, unhealthy by answer, by timeout, refused | under panic, in this order |
//!
//! Panic is off unless asked for. When fewer primaries are available than the threshold, tiers are added whole, one by
//! one, until as many endpoints as the threshold asks for (at least one) get traffic. Within a tier primaries come before
//! backups, and an available backup comes before any sick primary. The threshold counts the primaries that are not under
//! an operator's order, for these are not sick; endpoints under an order and ones never tried are never let in.

use crate::base::ids::EndpointId;
use crate::base::units::Ratio;
use crate::health::policy::Panic;
use crate::health::verdict::{Code, State};

/// Who gets traffic, and how much against each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Admission {
    /// Whether anybody was let in who is neither available nor suspect.
    pub panic: bool,
    /// How many endpoints are available, backups included.
    pub available: usize,
    /// Those that get traffic, in the order of the configuration, with their effective weights, each above 0.
    pub admitted: Vec<(EndpointId, f64)>,
}

/// How well an endpoint is, as far as letting it in goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Available,
    Suspect,
    Ejected,
    Tried,
    Answer,
    Timeout,
    Refused,
}

const RANKS: [Rank; 7] = [Rank::Available, Rank::Suspect, Rank::Ejected, Rank::Tried, Rank::Answer, Rank::Timeout, Rank::Refused];

impl Rank {
    /// The rank of an endpoint in `state`; `None` if it must not be let in. An unhealthy one has that of its worst reason.
    pub(super) fn of<'a>(state: State, tried: bool, codes: impl Iterator<Item = &'a Code>) -> Option<Self> {
        match state {
            State::Maintenance | State::Draining => None,
            State::Unhealthy => Some(codes.map(sickness).max().unwrap_or(Self::Timeout)),
            State::Ejected => Some(Self::Ejected),
            State::Suspect => Some(Self::Suspect),
            State::Unknown => tried.then_some(Self::Tried),
            State::Degraded | State::Healthy => Some(Self::Available),
        }
    }
}

const fn sickness(code: &Code) -> Rank {
    match code {
        Code::Refused | Code::ProbeRefused => Rank::Refused,
        Code::ProbeTimeout | Code::ProbeTls | Code::ProbeError | Code::HeartbeatExpired => Rank::Timeout,
        _ => Rank::Answer,
    }
}

/// How many endpoints there are of each rank, primaries and backups apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    ranked: [[usize; 2]; RANKS.len()],
    /// Those without an operator's order.
    ready: [usize; 2],
}

impl Tally {
    /// One endpoint enters (`add`) or leaves the count.
    pub(super) fn count(&mut self, seat: Seat, add: bool) {
        let change = |n: &mut usize| if add { *n += 1 } else { *n -= 1 };
        let side = usize::from(seat.backup);
        if seat.ready {
            change(&mut self.ready[side]);
        }
        if let Some(rank) = seat.rank {
            change(&mut self.ranked[rank as usize][side]);
        }
    }

    /// Healthy and degraded endpoints; suspect ones if there are none of these.
    pub(super) fn available(&self) -> usize {
        let of = |rank: Rank| self.ranked[rank as usize].iter().sum();
        match of(Rank::Available) {
            0 => of(Rank::Suspect),
            n => n,
        }
    }

    /// Whether anybody is healthy or degraded.
    pub(super) fn has_available(&self) -> bool {
        self.ranked[Rank::Available as usize] != [0, 0]
    }

    /// Whether endpoints of this rank count as available.
    pub(super) fn is_available(&self, rank: Option<Rank>) -> bool {
        rank == Some(Rank::Available) || (rank == Some(Rank::Suspect) && !self.has_available())
    }
}

/// What admission must know of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) rank: Option<Rank>,
    pub(super) backup: bool,
    /// Whether no operator's order is in force.
    pub(super) ready: bool,
}

/// One endpoint as admission sees it. These are kept beside the endpoints, close together, for every publication looks at all of
/// them, and an endpoint is large.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) id: EndpointId,
    pub(super) seat: Seat,
    /// Effective weight while it gets traffic.
    pub(super) weight: f64,
}

/// Which tiers get traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cut {
    admits: [[bool; 2]; RANKS.len()],
    pub(super) panic: bool,
}

impl Cut {
    /// The tiers that get traffic in a cluster with these endpoints.
    pub(super) fn of(tally: &Tally, panic: Panic) -> Self {
        let mut cut = Self::default();
        let well = tally.ranked[Rank::Available as usize];
        let mut have = match well {
            [0, 0] => cut.admit(Rank::Suspect, 0, tally) + cut.admit(Rank::Suspect, 1, tally),
            [0, _] => cut.admit(Rank::Available, 1, tally),
            [_, _] => cut.admit(Rank::Available, 0, tally),
        };
        let Panic::Below(share) = panic else { return cut };
        let wanted = threshold(tally, share);
        for rank in RANKS {
            for side in [0, 1] {
                if have < wanted && !cut.admits[rank as usize][side] {
                    have += cut.admit(rank, side, tally);
                }
            }
        }
        cut
    }

    fn admit(&mut self, rank: Rank, side: usize, tally: &Tally) -> usize {
        let count = tally.ranked[rank as usize][side];
        if count > 0 {
            self.admits[rank as usize][side] = true;
            self.panic |= rank > Rank::Suspect;
        }
        count
    }

    pub(super) fn admits(&self, seat: Seat) -> bool {
        seat.rank.is_some_and(|rank| self.admits[rank as usize][usize::from(seat.backup)])
    }
}

/// The smallest number that is not below the share of the primaries, or of the backups where there are no primaries.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of endpoints")]
fn threshold(tally: &Tally, share: Ratio) -> usize {
    let n = if tally.ready[0] > 0 { tally.ready[0] } else { tally.ready[1] };
    // A tiny excess is taken off so that 30 % of 10 is the 3 that the user wrote.
    let wanted = (n as f64 * share.get() - 1e-9).ceil().max(1.0);
    wanted as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Panic = Panic::Off;

    fn below(percent: f64) -> Panic {
        Panic::Below(Ratio::try_new(percent / 100.0).unwrap())
    }

    /// Reads `h` healthy, `s` suspect, `e` ejected, `u` unknown (tried), `n` never tried, `a` by answer, `t` by timeout,
    /// `r` refused, `m` maintenance; upper case is a backup. Compares with `+` for those admitted.
    fn check(endpoints: &str, panic: Panic, admitted: &str, panics: bool) {
        let seats: Vec<Seat> = endpoints.chars().map(seat).collect();
        let mut tally = Tally::default();
        for seat in &seats {
            tally.count(*seat, true);
        }
        let cut = Cut::of(&tally, panic);
        let got: String = seats.iter().map(|seat| if cut.admits(*seat) { '+' } else { '-' }).collect();
        assert_eq!((got.as_str(), cut.panic), (admitted, panics), "{endpoints} with {panic:?}");
    }

    fn seat(letter: char) -> Seat {
        let rank = match letter.to_ascii_lowercase() {
            'h' => Some(Rank::Available),
            's' => Some(Rank::Suspect),
            'e' => Some(Rank::Ejected),
            'u' => Some(Rank::Tried),
            'a' => Some(Rank::Answer),
            't' => Some(Rank::Timeout),
            'r' => Some(Rank::Refused),
            _ => None,
        };
        Seat { rank, backup: letter.is_ascii_uppercase(), ready: !letter.eq_ignore_ascii_case(&'m') }
    }

    #[test]
    fn without_panic_only_the_available_and_for_want_of_them_suspects() {
        check("hhr", OFF, "++-", false);
        check("hHs", OFF, "+--", false);
        check("rHs", OFF, "-+-", false);
        check("rRs", OFF, "--+", false);
        check("rst", OFF, "-+-", false);
        check("earutnm", OFF, "-------", false);
        check("", OFF, "", false);
    }

    #[test]
    fn panic_lets_in_tier_by_tier_until_the_threshold_is_met() {
        check("earutnm", below(0.0), "+------", true);
        check("arutnm", below(0.0), "--+---", true);
        check("artnm", below(0.0), "+----", true);
        check("rtnm", below(0.0), "-+--", true);
        check("rnm", below(0.0), "+--", true);
        check("nm", below(0.0), "--", false);
        check("htttt", below(0.0), "+----", false);
        check("aar", below(0.0), "++-", true);
        check("htar", below(50.0), "+-+-", true);
        check("hhar", below(50.0), "++--", false);
        check("htrr", below(75.0), "++++", true);
        check("hshh", below(100.0), "++++", false);
    }

    #[test]
    fn thirty_percent_of_ten_is_three() {
        check("hhhttttttt", below(30.0), "+++-------", false);
        check("hhtttttttt", below(30.0), "++++++++++", true);
    }

    #[test]
    fn an_available_backup_comes_before_a_sick_primary() {
        check("ttH", below(0.0), "--+", false);
        check("httH", below(60.0), "+--+", false);
        check("httH", below(100.0), "++++", true);
        check("ttAH", below(100.0), "--++", true);
        check("tA", below(0.0), "-+", true);
    }

    #[test]
    fn endpoints_under_an_order_are_not_missed() {
        check("hmmm", below(50.0), "+---", false);
        check("mmmH", below(100.0), "---+", false);
    }

    #[test]
    fn suspects_are_available_only_among_themselves() {
        let mut tally = Tally::default();
        tally.count(seat('s'), true);
        assert_eq!((tally.available(), tally.is_available(Some(Rank::Suspect))), (1, true));
        tally.count(seat('H'), true);
        assert_eq!((tally.available(), tally.is_available(Some(Rank::Suspect))), (1, false));
    }
}

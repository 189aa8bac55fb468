//! What the fleet's votes make of one endpoint's own verdict.
//!
//! With `quorum: true` nobody takes an endpoint out alone for evidence that may be the fault of the path to it: a time-out, a
//! slow or failing answer, a heartbeat that does not come. A refused connection or a wrong answer is a fact and needs nobody's
//! consent. Who alone cannot reach an endpoint stops sending to it, and says so; who hears too few to agree with goes by
//! its own evidence.
//!
//! | own evidence | the fleet | verdict |
//! |---|---|---|
//! | time-out | a majority says down | unhealthy, as without a fleet |
//! | time-out | no majority, or too few are heard | suspect, `local_unreachable` |
//! | ejected softly | a majority would have it out | claims its ejection |
//! | ejected softly | no majority, or too few are heard | degraded |
//! | up | a majority says down | ejected, `quorum` |
//! | up | a majority would have it out, mostly softly | degraded, `quorum` |
//! | up | anything else | up |

use crate::base::time::Timestamp;
use crate::health::electorate::{Count, Vote};
use crate::health::seldom::Usual;
use crate::health::verdict::{Code, Reason, State};

/// The votes on one endpoint, as far as they concern its verdict.
#[derive(Debug, Clone, Default)]
pub(super) struct Quorum {
    count: Count,
    /// Since when the fleet's word differs from our own evidence.
    since: Option<Timestamp>,
    last: Ruling,
}

/// What the votes make of the own verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ruling {
    /// The own evidence stands.
    #[default]
    Own,
    /// We alone cannot reach it.
    LocalUnreachable,
    /// An ejection that waits for others to agree.
    Withheld,
    /// The others have it out, and we would not.
    Ejected,
    /// The others would eject it softly, and we would not.
    Contested,
}

impl Usual for Quorum {
    const USUAL: &'static Self = &Self { count: Count::NONE, since: None, last: Ruling::Own };
}

impl Quorum {
    /// Takes in what the others say. Returns whether that is news.
    pub(super) fn hear(&mut self, count: Count) -> bool {
        std::mem::replace(&mut self.count, count) != count
    }

    /// What becomes of the own vote. `path` tells whether it rests on nothing but what the path may be to blame for.
    fn rule(&mut self, own: Option<Vote>, path: bool, now: Timestamp) -> Ruling {
        let ruling = self.ruling(own, path);
        if ruling != self.last {
            self.since = Some(now);
            self.last = ruling;
        }
        ruling
    }

    fn ruling(&self, own: Option<Vote>, path: bool) -> Ruling {
        let count = &self.count;
        if count.majority == 0 {
            return Ruling::Own;
        }
        match own {
            Some(Vote::Down) if path && !count.agreed_down(own) => Ruling::LocalUnreachable,
            Some(Vote::Soft) if !count.agreed_out(own) => Ruling::Withheld,
            Some(Vote::Up | Vote::Soft) | None if count.agreed_down(own) => Ruling::Ejected,
            Some(Vote::Up) | None if count.agreed_out(own) => Ruling::Contested,
            _ => Ruling::Own,
        }
    }

    /// Lets the votes of the others rule over what we found ourselves.
    pub(super) fn consult(&mut self, own: Option<Vote>, reasons: &mut Vec<(State, Reason)>, now: Timestamp) {
        let ruling = self.rule(own, blames_path(reasons), now);
        for (state, reason) in reasons.iter_mut() {
            match (ruling, *state) {
                (Ruling::LocalUnreachable, State::Unhealthy) => *state = State::Suspect,
                (Ruling::Withheld, State::Ejected) => {
                    *state = State::Degraded;
                    reason.detail.push_str(&self.waiting());
                }
                _ => {}
            }
        }
        reasons.extend(self.reason());
    }

    /// Whether others doubt it: then it is worth a look at the fast pace.
    pub(super) const fn in_doubt(&self) -> bool {
        self.count.in_doubt()
    }

    /// The reason that the last ruling gives, and the state that it asks for, if it is one of ours.
    fn reason(&self) -> Option<(State, Reason)> {
        let (count, since) = (&self.count, self.since?);
        let state = match self.last {
            Ruling::Own | Ruling::Withheld => return None,
            Ruling::LocalUnreachable => State::Suspect,
            Ruling::Ejected => State::Ejected,
            Ruling::Contested => State::Degraded,
        };
        let (code, detail) = match state {
            State::Suspect if count.quorate() => {
                (Code::LocalUnreachable, format!("no answer here, but {} of {} proxies heard say up", count.up, count.heard))
            }
            State::Suspect => {
                let detail =
                    format!("no answer here, and only {} proxies heard; {} make a majority", count.heard, count.majority);
                (Code::LocalUnreachable, detail)
            }
            _ => {
                let out = count.down + count.soft;
                (Code::Quorum, format!("{out} other proxies say down, {} make a majority", count.majority))
            }
        };
        Some((state, Reason { code, probe: None, detail, since, until: None }))
    }

    /// What to say of an ejection that waits for others.
    fn waiting(&self) -> String {
        let agreeing = self.count.out(Some(Vote::Soft));
        format!("; {agreeing} of the {} proxies that it takes agree", self.count.majority)
    }
}

/// What we say of it from our own evidence, given the state that asks for nobody's leave.
pub(super) fn vote(base: Option<State>, reasons: &[(State, Reason)]) -> Option<Vote> {
    match base {
        Some(State::Unhealthy) => Some(Vote::Down),
        Some(State::Unknown | State::Suspect) => None,
        _ if reasons.iter().any(|(state, _)| *state == State::Ejected) => Some(Vote::Soft),
        _ => Some(Vote::Up),
    }
}

/// Whether it is unhealthy for nothing but what the way to it may be to blame for.
fn blames_path(reasons: &[(State, Reason)]) -> bool {
    let mut unhealthy = reasons.iter().filter(|(state, _)| *state == State::Unhealthy);
    unhealthy.all(|(_, reason)| matches!(reason.code, Code::ProbeTimeout | Code::ProbeError | Code::HeartbeatExpired))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(up: usize, down: usize, soft: usize) -> Count {
        Count { up, down, soft, heard: 1 + up + down + soft, majority: 2, own_counts: true }
    }

    #[test]
    fn rulings() {
        use Ruling::{Contested, Ejected, LocalUnreachable, Own, Withheld};
        let (up, down, soft) = (Some(Vote::Up), Some(Vote::Down), Some(Vote::Soft));
        for (own, path, votes, wanted) in [
            (down, true, count(0, 1, 0), Own),
            (down, true, count(2, 0, 0), LocalUnreachable),
            (down, true, count(0, 0, 0), LocalUnreachable),
            (down, true, count(1, 0, 1), LocalUnreachable),
            (down, false, count(2, 0, 0), Own),
            (soft, false, count(0, 0, 1), Own),
            (soft, false, count(1, 1, 0), Own),
            (soft, false, count(0, 2, 0), Ejected),
            (soft, false, count(2, 0, 0), Withheld),
            (soft, false, count(0, 0, 0), Withheld),
            (up, false, count(0, 2, 0), Ejected),
            (up, false, count(0, 1, 1), Contested),
            (up, false, count(1, 1, 0), Own),
            (None, false, count(0, 2, 0), Ejected),
            (None, false, count(2, 0, 0), Own),
            (down, true, Count { own_counts: false, ..count(1, 1, 0) }, LocalUnreachable),
            (down, true, Count::default(), Own),
            (soft, false, Count::default(), Own),
        ] {
            let mut quorum = Quorum::default();
            quorum.hear(votes);
            assert_eq!(quorum.rule(own, path, Timestamp::ZERO), wanted, "{own:?} {path} {votes:?}");
            let ours = matches!(wanted, LocalUnreachable | Ejected | Contested);
            assert_eq!(quorum.reason().is_some(), ours, "{wanted:?}");
        }
    }

    /// Every fleet of up to seven, every side of it that still hears itself, every way in which those there see the endpoint. A side that takes it
    /// out holds more than half of the whole fleet, so there is one at most.
    #[test]
    fn no_side_of_a_fleet_takes_out_without_more_than_half_of_it() {
        let sides = (1..=7_usize).flat_map(|size| (1..=size).map(move |side| (size, side)));
        let seen = sides.flat_map(|(size, side)| (0..=side).map(move |down| (size, side, down)));
        for (size, side, down, soft) in seen.flat_map(|(size, side, down)| (0..=side - down).map(move |s| (size, side, down, s)))
        {
            let (up, majority) = (side - down - soft, size / 2 + 1);
            for (own, own_is) in [(Vote::Up, [1, 0, 0]), (Vote::Down, [0, 1, 0]), (Vote::Soft, [0, 0, 1])] {
                let [Some(up), Some(down_there), Some(soft_there)] =
                    [(up, 0), (down, 1), (soft, 2)].map(|(all, vote)| all.checked_sub(own_is[vote]))
                else {
                    continue;
                };
                let mut quorum = Quorum::default();
                quorum.hear(Count { up, down: down_there, soft: soft_there, heard: side, majority, own_counts: true });
                let ruling = quorum.rule(Some(own), true, Timestamp::ZERO);
                let is_out = ruling == Ruling::Ejected || (own != Vote::Up && ruling == Ruling::Own);
                let agree = if own == Vote::Soft { down + soft } else { down };
                assert_eq!(
                    is_out,
                    2 * agree > size,
                    "{own:?} on a side of {side} of {size}: {down} down, {soft} soft: {ruling:?}"
                );
            }
        }
    }
}

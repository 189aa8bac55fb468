//! Owns the course of the demo: which endpoint turns sick, in which way, and when it may be well again.
//!
//! It goes by what is seen and not by the clock alone: a fault stays until it is found and an endpoint is left in peace
//! until it is back, so that a slow machine makes the demo longer and not wrong. Pure: what was seen goes in, cues come out.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::health::verdict::Code;
use crate::sample::Mood;

/// How long everything is well between two faults.
const PAUSE: Duration = Duration::from_millis(1000);
/// How long a fault is left to be looked at once it is found.
const SHOWN: Duration = Duration::from_millis(1500);
/// After this long a fault counts as not found, and an endpoint as not back.
const GIVE_UP: Duration = Duration::from_secs(10);
/// What one fault takes at the usual pace, recovery included: none is begun later than this before the end.
const USUAL: Duration = Duration::from_secs(5);

/// A way to be sick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody listens any more.
    Refuses,
    /// The health path answers 500.
    Answers500,
    /// The report states 97 % cpu.
    ReportsCpu,
    /// Nothing is answered any more.
    Hangs,
}

impl Fault {
    /// Every fault, in the order of the demo. What hangs comes last: requests that wait are sent again within the retry
    /// budget, which is a share of the recent ones.
    pub(super) const ALL: [Self; 4] = [Self::Refuses, Self::Answers500, Self::ReportsCpu, Self::Hangs];

    /// What it is, as a verb.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Refuses => "refuses connections",
            Self::Answers500 => "answers 500 on its health path",
            Self::ReportsCpu => "reports 97% cpu",
            Self::Hangs => "answers nothing any more",
        }
    }

    /// How an endpoint is made to have it.
    pub(super) const fn mood(self) -> Mood {
        match self {
            Self::Refuses => Mood::Refuses,
            Self::Answers500 => Mood::Status(500),
            Self::ReportsCpu => Mood::Cpu(0.97),
            Self::Hangs => Mood::Hangs,
        }
    }

    /// Whether a reason is one that this fault should be found by.
    fn is_told_by(self, code: &Code) -> bool {
        match self {
            Self::Refuses => matches!(code, Code::Refused | Code::ProbeRefused),
            Self::Answers500 => matches!(code, Code::ProbeStatus | Code::ReportStatus),
            Self::ReportsCpu => matches!(code, Code::Report(metric) if &**metric == "cpu"),
            Self::Hangs => matches!(code, Code::ProbeTimeout),
        }
    }
}

/// What is seen of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether it is available.
    pub(super) available: bool,
    /// When it entered its state.
    pub(super) since: Timestamp,
    /// Why it is as it is.
    pub(super) codes: Vec<Code>,
}

/// Something that happens in the demo; endpoints are told by their position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cue {
    /// The endpoint shall turn sick.
    Sick(usize, Fault),
    /// It was found to be, after so long.
    Found(usize, Code, Duration),
    /// It was not found to be.
    Missed(usize, Fault),
    /// It shall be well again.
    Well(usize),
    /// It is available again, after so long.
    Back(usize, Duration),
    /// It is not.
    Lost(usize),
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// Everything is well.
    Calm { since: Timestamp },
    /// An endpoint is sick; `found` if that is known.
    Sick { endpoint: usize, fault: Fault, since: Timestamp, found: Option<Timestamp> },
    /// An endpoint is well again and not yet available.
    Returning { endpoint: usize, since: Timestamp },
}

/// The demo as far as it has come.
#[derive(Debug)]
pub(super) struct Script {
    act: Act,
    end: Option<Timestamp>,
    begun: usize,
    found: usize,
    /// Faults that were not found and endpoints that did not come back.
    failures: usize,
}

impl Script {
    /// A demo that begins now. It ends at `end`, but not before each fault was shown once; without `end` it goes on.
    pub(super) const fn new(now: Timestamp, end: Option<Timestamp>) -> Self {
        Self { act: Act::Calm { since: now }, end, begun: 0, found: 0, failures: 0 }
    }

    /// How many faults were begun.
    pub(super) const fn begun(&self) -> usize {
        self.begun
    }

    /// How many of them were found, for the right reason.
    pub(super) const fn found(&self) -> usize {
        self.found
    }

    /// Whether each fault so far was found and its endpoint came back; one that is still under way spoils nothing.
    pub(super) const fn is_good(&self) -> bool {
        self.failures == 0
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let shown = self.begun >= Fault::ALL.len();
        matches!(self.act, Act::Calm { .. }) && shown && self.end.is_some_and(|end| now >= end)
    }

    /// Goes on, given what is seen of each endpoint now; at most one thing happens.
    pub(super) fn step(&mut self, now: Timestamp, seen: &[Seen]) -> Option<Cue> {
        match self.act {
            Act::Calm { since } => self.begin(now, since, seen),
            Act::Sick { endpoint, fault, since, found: None } => self.look(now, since, endpoint, fault, &seen[endpoint]),
            Act::Sick { endpoint, found: Some(found), .. } => (now.since(found) >= SHOWN).then(|| self.heal(now, endpoint)),
            Act::Returning { endpoint, since } => self.welcome(now, since, endpoint, &seen[endpoint]),
        }
    }

    fn begin(&mut self, now: Timestamp, since: Timestamp, seen: &[Seen]) -> Option<Cue> {
        let calm = now.since(since);
        let all_well = seen.iter().all(|seen| seen.available);
        let too_late = self.begun >= Fault::ALL.len() && self.end.is_some_and(|end| now + USUAL > end);
        if calm < PAUSE || too_late || (!all_well && calm < GIVE_UP) {
            return None;
        }
        let (endpoint, fault) = (self.begun % seen.len(), Fault::ALL[self.begun % Fault::ALL.len()]);
        self.begun += 1;
        self.act = Act::Sick { endpoint, fault, since: now, found: None };
        Some(Cue::Sick(endpoint, fault))
    }

    fn look(&mut self, now: Timestamp, since: Timestamp, endpoint: usize, fault: Fault, seen: &Seen) -> Option<Cue> {
        let code = seen.codes.iter().find(|code| !seen.available && fault.is_told_by(code));
        let cue = match code {
            Some(code) => {
                self.found += 1;
                Cue::Found(endpoint, code.clone(), seen.since.since(since))
            }
            None if now.since(since) >= GIVE_UP => {
                self.failures += 1;
                Cue::Missed(endpoint, fault)
            }
            None => return None,
        };
        self.act = Act::Sick { endpoint, fault, since, found: Some(now) };
        Some(cue)
    }

    fn heal(&mut self, now: Timestamp, endpoint: usize) -> Cue {
        self.act = Act::Returning { endpoint, since: now };
        Cue::Well(endpoint)
    }

    fn welcome(&mut self, now: Timestamp, since: Timestamp, endpoint: usize, seen: &Seen) -> Option<Cue> {
        if !seen.available && now.since(since) < GIVE_UP {
            return None;
        }
        self.act = Act::Calm { since: now };
        if seen.available {
            return Some(Cue::Back(endpoint, seen.since.since(since)));
        }
        self.failures += 1;
        Some(Cue::Lost(endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    /// Plays a demo in which a sick endpoint has these reasons, `lag` after it turned sick, and is back `lag` after it is well.
    fn play(end: Duration, lag: Duration, codes: impl Fn(Fault) -> Vec<Code>) -> (Script, Vec<Cue>, Timestamp) {
        let start = Timestamp::from_millis(1000);
        let mut script = Script::new(start, Some(start + end));
        let (mut now, mut cues, mut sick) = (start, Vec::new(), None);
        let mut well_since = Timestamp::ZERO;
        while !script.is_over(now) {
            let out = |endpoint| match sick {
                Some((ill, fault, since)) if ill == endpoint && now.since(since) >= lag => Some(fault),
                _ => None,
            };
            let seen = |endpoint| match out(endpoint) {
                Some(fault) => Seen { available: codes(fault).is_empty(), since: now, codes: codes(fault) },
                None => Seen { available: sick.is_some() || now.since(well_since) >= lag, since: now, codes: Vec::new() },
            };
            let seen: Vec<Seen> = (0..3).map(seen).collect();
            let cue = script.step(now, &seen);
            match cue {
                Some(Cue::Sick(endpoint, fault)) => sick = Some((endpoint, fault, now)),
                Some(Cue::Well(_)) => (sick, well_since) = (None, now),
                _ => {}
            }
            cues.extend(cue);
            now = now + STEP;
        }
        (script, cues, now)
    }

    fn right(fault: Fault) -> Vec<Code> {
        vec![match fault {
            Fault::Refuses => Code::Refused,
            Fault::Answers500 => Code::ProbeStatus,
            Fault::ReportsCpu => Code::Report("cpu".into()),
            Fault::Hangs => Code::ProbeTimeout,
        }]
    }

    #[test]
    fn twenty_seconds_are_enough_for_every_fault() {
        let (script, cues, end) = play(Duration::from_secs(20), Duration::from_millis(1100), right);
        assert_eq!((script.begun(), script.found(), script.is_good()), (4, 4, true));
        assert!(end.since(Timestamp::from_millis(1000)) <= Duration::from_millis(20_100), "{end:?}");
        assert_eq!(cues[0], Cue::Sick(0, Fault::Refuses));
        assert!(matches!(cues[1], Cue::Found(0, Code::Refused, _)));
        assert_eq!(cues[2], Cue::Well(0));
        assert!(matches!(cues[3], Cue::Back(0, _)));
        assert_eq!(cues[12], Cue::Sick(0, Fault::Hangs));
    }

    #[test]
    fn on_a_slow_machine_it_takes_longer_and_still_shows_every_fault() {
        let (script, _, end) = play(Duration::from_secs(20), Duration::from_secs(6), right);
        assert_eq!((script.begun(), script.is_good()), (4, true));
        assert!(end.since(Timestamp::ZERO) > Duration::from_secs(40));
    }

    #[test]
    fn a_fault_that_is_found_for_another_reason_is_missed() {
        let (script, cues, _) = play(Duration::from_secs(20), STEP, |fault| match fault {
            Fault::Answers500 => vec![Code::ProbeTimeout],
            other => right(other),
        });
        assert_eq!((script.begun(), script.found(), script.is_good()), (4, 3, false));
        assert!(cues.contains(&Cue::Missed(1, Fault::Answers500)));
    }

    #[test]
    fn a_reason_of_an_endpoint_that_still_gets_traffic_finds_nothing() {
        let mut script = Script::new(Timestamp::ZERO, None);
        let seen = [Seen { available: true, since: Timestamp::ZERO, codes: vec![Code::Refused] }];
        let now = Timestamp::ZERO + PAUSE;
        assert_eq!(script.step(now, &seen), Some(Cue::Sick(0, Fault::Refuses)));
        assert_eq!(script.step(now + STEP, &seen), None);
    }

    #[test]
    fn an_endpoint_that_does_not_come_back_spoils_the_demo() {
        let mut script = Script::new(Timestamp::ZERO, None);
        let mut now = Timestamp::ZERO + PAUSE;
        let well = [Seen { available: true, since: now, codes: Vec::new() }];
        let out = [Seen { available: false, since: now, codes: vec![Code::Refused] }];
        assert!(script.step(now, &well).is_some());
        assert!(matches!(script.step(now, &out), Some(Cue::Found(..))));
        now = now + SHOWN;
        assert_eq!(script.step(now, &out), Some(Cue::Well(0)));
        assert_eq!(script.step(now, &out), None);
        assert_eq!(script.step(now + GIVE_UP, &out), Some(Cue::Lost(0)));
        assert!(!script.is_good());
    }
}

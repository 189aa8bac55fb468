//! Keeps what an endpoint's own heartbeats say of it, and what their absence does.
//!
//! A pushed beat proves that its sender lived and could reach us. Its absence proves nothing at once, for packets are lost: so
//! the time to live runs from receipt, on our own clock, and stands still while we do. With `detector: accrual` growing
//! suspicion sends traffic elsewhere before that time is over.
//!
//! | standing | begins | state asked for |
//! |---|---|---|
//! | waiting | nothing has come yet | unknown, where nobody else decides |
//! | fresh | a beat has come | what it says of itself |
//! | suspected | phi has reached its threshold | suspect |
//! | expired | `ttl` is over | unhealthy |
//!
//! What comes twice or out of order is counted and judges nothing; what an older incarnation sends is refused.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::incarnation::{Incarnation, Met};
use crate::health::lateness::{Lateness, SHORT_STALL};
use crate::health::policy::{Detector, HeartbeatPolicy};
use crate::health::seldom::Usual;
use crate::health::sequence::{Place, Sequence};
use crate::health::signal::{Beat, BeatResult, BeatState};
use crate::health::suspicion::{Arrivals, Suspicion};
use crate::health::verdict::{Code, HeartbeatView, Reason, State};
use crate::health::ways::Ways;

/// After a stall of ours every sender gets this long to be read before it is judged.
const READING: Duration = Duration::from_millis(200);

/// What one endpoint's heartbeats say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    standing: Standing,
    since: Timestamp,
    /// Where the time to live runs from: the last beat, moved by our own stalls.
    from: Timestamp,
    /// When the last beat came.
    at: Option<Timestamp>,
    said: BeatState,
    said_since: Timestamp,
    sequence: Sequence,
    arrivals: Option<Arrivals>,
    #[serde(default)]
    lateness: Lateness,
    /// Whether we stood still since the last beat, for so long that the time between the two means nothing.
    stalled: bool,
    /// For how long we stood still last, and until when.
    #[serde(skip)]
    stood: Option<(Duration, Timestamp)>,
    /// When suspicion is looked at next.
    look: Option<Timestamp>,
    /// By how much the sender's clock was behind ours, with the delay of the last beat, in milliseconds.
    offset_ms: Option<i64>,
    last: BeatResult,
    #[serde(skip)]
    ways: Ways,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    Waiting,
    Fresh,
    Suspected,
    Expired,
}

/// What a beat or time changed, in words for the history.
pub(super) type Told = Vec<String>;

impl Usual for Heartbeat {
    const USUAL: &'static Self = &Self::new(Timestamp::ZERO);
}

impl Heartbeat {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            standing: Standing::Waiting,
            since: now,
            from: now,
            at: None,
            said: BeatState::Ready,
            said_since: now,
            sequence: Sequence::NEW,
            arrivals: None,
            lateness: *Lateness::USUAL,
            stalled: false,
            stood: None,
            look: None,
            offset_ms: None,
            last: BeatResult::Ok,
            ways: Ways::NONE,
        }
    }

    /// Heartbeats are wanted from now on. Who was well until now has its time to live to send the first one.
    pub(super) fn begin(&mut self, was_well: bool, now: Timestamp) {
        *self = Self::new(now);
        if was_well {
            self.standing = Standing::Fresh;
        }
    }

    /// Goes on in another process, which has heard nothing until now.
    pub(super) fn resumed(self, now: Timestamp) -> Self {
        Self { from: now, look: None, stalled: true, ..self }
    }

    /// Takes in a beat.
    pub(super) fn take(&mut self, beat: &Beat, at: Timestamp, policy: &HeartbeatPolicy, who: &mut Incarnation) -> Told {
        let mut told = self.follow(beat, at, policy, who);
        if let Some(way) = beat.way.as_ref().filter(|_| self.last != BeatResult::Zombie) {
            told.extend(self.ways.come(way, at, policy.ttl));
        }
        told
    }

    fn follow(&mut self, beat: &Beat, at: Timestamp, policy: &HeartbeatPolicy, who: &mut Incarnation) -> Told {
        let mut told = Told::new();
        match beat.boot_id.as_ref().map_or(Met::Known, |boot_id| who.meet(boot_id)) {
            Met::Zombie => {
                self.last = BeatResult::Zombie;
                told.push("refused: it comes from an incarnation that has been followed by another".to_owned());
                return told;
            }
            Met::New => self.restart("its boot id is a new one", &mut told),
            Met::Known | Met::Shared => {}
        }
        let goes_back = beat.seq.zip(self.sequence.newest()).is_some_and(|(seq, newest)| seq < newest);
        if goes_back && beat.boot_id.is_none() && self.standing == Standing::Expired {
            self.restart("its numbers begin anew", &mut told);
        }
        let place = beat.seq.map(|seq| self.sequence.take(seq, beat.boot_id.is_some()));
        match place {
            Some(Place::Duplicate) => {
                self.last = BeatResult::Duplicate;
                return told;
            }
            Some(Place::Reordered) => {
                self.last = BeatResult::Reordered;
                if let Some(arrivals) = &mut self.arrivals {
                    arrivals.overtaken();
                }
                return told;
            }
            Some(Place::Restarted) => {
                let newest = self.sequence;
                self.restart("its numbers begin anew", &mut told);
                self.sequence = newest;
            }
            Some(Place::Next { .. }) | None => {}
        }
        let missed = if let Some(Place::Next { missed }) = place { missed } else { 0 };
        self.last = if told.is_empty() { BeatResult::Ok } else { BeatResult::Restarted };
        self.time(beat, at, missed, policy, &mut told);
        self.refresh(beat.state, at, policy, &mut told);
        told
    }

    /// Another process has the place: what was learnt of the one before says nothing of it.
    pub(super) fn restart(&mut self, why: &str, told: &mut Told) {
        self.sequence = Sequence::default();
        self.arrivals = None;
        self.lateness.reset();
        self.stalled = true;
        told.push(format!("a new incarnation: {why}"));
    }

    fn time(&mut self, beat: &Beat, at: Timestamp, missed: u32, policy: &HeartbeatPolicy, told: &mut Told) {
        let period = beat.period.unwrap_or(policy.period);
        // Of what comes later than that nothing waited to be read.
        let stood = self.stood.take().filter(|(_, until)| at.since(*until) <= READING).map(|(span, _)| span);
        let stalled = std::mem::replace(&mut self.stalled, false) || stood.is_some();
        let arrivals = self.arrivals.get_or_insert_with(|| Arrivals::new(period));
        if !arrivals.fits(period) {
            *arrivals = Arrivals::new(period);
        }
        if let Some(before) = self.at.filter(|_| !stalled && self.standing != Standing::Waiting) {
            arrivals.learn(at.since(before), missed);
        }
        let Some(stamp) = beat.sent_at_ms else { return };
        let (was_late, was_clock) = (self.lateness.late_since(), self.lateness.is_clock());
        let spacing = period.saturating_mul(missed.saturating_add(1));
        let Some(shown) = self.lateness.take(at, stamp, spacing, stood) else { return };
        if let Some(step) = shown.step_ms {
            self.last = BeatResult::ClockStep;
            told.push(format!("its clock was set by {step} ms; no verdict follows from that"));
        }
        match (was_clock, self.lateness.is_clock()) {
            (true, false) => told.push(
                "its stamps do not go with time, as if they were no milliseconds or stood still; they are left out".to_owned(),
            ),
            (false, true) => told.push("its stamps go with time again".to_owned()),
            _ => {}
        }
        match (was_late, self.lateness.late_since()) {
            (None, Some(_)) => told.push(format!("its beats come {} late", span(shown.delay))),
            (Some(_), None) => told.push("its beats come in time again".to_owned()),
            _ => {}
        }
        if !self.lateness.is_clock() {
            self.offset_ms = None;
            return;
        }
        self.offset_ms = beat.received_at_ms.and_then(|ours| i64::try_from(i128::from(ours) - i128::from(stamp)).ok());
    }

    fn refresh(&mut self, said: BeatState, at: Timestamp, policy: &HeartbeatPolicy, told: &mut Told) {
        if self.standing != Standing::Fresh {
            told.push(match self.standing {
                Standing::Waiting => "the first one came".to_owned(),
                _ => "one came again".to_owned(),
            });
            self.standing = Standing::Fresh;
            self.since = at;
        }
        if said != self.said {
            told.push(format!("it says {:?}", said.as_str()));
            self.said = said;
            self.said_since = at;
        }
        self.at = Some(at);
        self.from = at;
        self.look = match policy.detector {
            Detector::Ttl => None,
            Detector::Accrual { .. } => self.suspicion().map(|suspicion| suspicion.quiet_until()),
        };
    }

    /// Lets time pass.
    pub(super) fn expire(&mut self, now: Timestamp, policy: &HeartbeatPolicy) -> Told {
        let mut told = Told::new();
        if matches!(self.standing, Standing::Expired) || self.said == BeatState::Bye {
            return told;
        }
        if now >= self.from + policy.ttl {
            if self.standing == Standing::Waiting {
                told.push(format!("none came for {}", format_duration(policy.ttl)));
            } else {
                told.push(format!("none for {}", format_duration(policy.ttl)));
            }
            self.enter(Standing::Expired, now);
            return told;
        }
        if self.standing == Standing::Fresh
            && self.look.is_some_and(|look| now >= look)
            && let (Detector::Accrual { phi }, Some(suspicion)) = (policy.detector, self.suspicion())
        {
            if suspicion.is_proved(phi, now) {
                told.push(format!("phi {:.1} of {phi}", suspicion.phi(now)));
                self.enter(Standing::Suspected, now);
            } else {
                self.look = suspicion.proved(phi, self.from + policy.ttl).map(|at| at.max(now + Duration::from_millis(1)));
            }
        }
        told
    }

    fn enter(&mut self, standing: Standing, now: Timestamp) {
        self.standing = standing;
        self.since = now;
        self.look = None;
    }

    /// We stood still for `span`: nobody is late by it, and what has come meanwhile is still to be read.
    pub(super) fn excuse(&mut self, span: Duration, now: Timestamp, policy: &HeartbeatPolicy) {
        let read = (now + READING) - policy.ttl;
        self.from = (self.from + span).min(now).max(read);
        self.look = self.look.map(|look| (look + span).max(now + READING));
        self.stalled |= span > SHORT_STALL;
        let just = self.stood.filter(|(_, until)| now.since(*until) <= READING).map_or(Duration::ZERO, |(span, _)| span);
        self.stood = Some((just + span, now));
    }

    fn suspicion(&self) -> Option<Suspicion> {
        self.arrivals.as_ref().map(|arrivals| arrivals.since(self.from))
    }

    /// When time alone would change the verdict.
    pub(super) fn next_change(&self, policy: &HeartbeatPolicy) -> Option<Timestamp> {
        let expires = self.standing != Standing::Expired && self.said != BeatState::Bye;
        expires.then(|| self.from + policy.ttl)
    }

    /// When time alone would change anything.
    pub(super) fn wake(&self, policy: &HeartbeatPolicy) -> Option<Timestamp> {
        let change = self.next_change(policy)?;
        Some(self.look.filter(|_| self.standing == Standing::Fresh).map_or(change, |look| look.min(change)))
    }

    /// Whether it can be told by heartbeats how the endpoint is.
    pub(super) fn is_settled(&self) -> bool {
        self.standing != Standing::Waiting
    }

    /// Whether this way is left, as one among others: `None` before the first beat.
    pub(super) fn vote(&self) -> Option<bool> {
        match self.standing {
            Standing::Fresh | Standing::Suspected => Some(true),
            Standing::Expired => self.heard().then_some(false),
            Standing::Waiting => None,
        }
    }

    /// What the last beat was taken for.
    pub(super) const fn last(&self) -> BeatResult {
        self.last
    }

    /// Whether any beat has come.
    pub(super) const fn heard(&self) -> bool {
        self.at.is_some()
    }

    /// The states asked for and why. `alone` says that nobody but heartbeats decides.
    pub(super) fn reasons(&self, policy: &HeartbeatPolicy, alone: bool) -> impl Iterator<Item = (State, Reason)> {
        let silent = match self.standing {
            Standing::Waiting if alone => {
                let detail = "no heartbeat yet; the first one admits it".to_owned();
                Some((State::Unknown, self.reason(Code::NotProbedYet, self.since, detail, Some(self.from + policy.ttl))))
            }
            Standing::Expired if alone || self.heard() => {
                let detail =
                    format!("no heartbeat for {}, which is the ttl; the next one brings it back", format_duration(policy.ttl));
                Some((State::Unhealthy, self.reason(Code::HeartbeatExpired, self.since, detail, None)))
            }
            Standing::Suspected => Some((State::Suspect, self.suspected(policy))),
            Standing::Waiting | Standing::Fresh | Standing::Expired => None,
        };
        let said = self.said_state().map(|(state, code)| {
            let detail = format!("its heartbeat says {:?}", self.said.as_str());
            (state, self.reason(code, self.said_since, detail, None))
        });
        let fresh = matches!(self.standing, Standing::Fresh | Standing::Suspected);
        let late = self.lateness.late_since().filter(|_| fresh && self.standing != Standing::Suspected).map(|since| {
            let detail =
                format!("its heartbeats come {} later than the quickest of the last minute", span(self.lateness.delay()));
            (State::Degraded, self.reason(Code::HeartbeatLate, since, detail, None))
        });
        let said = said.filter(|_| fresh || self.said == BeatState::Bye);
        silent.into_iter().chain(said).chain(late)
    }

    fn suspected(&self, policy: &HeartbeatPolicy) -> Reason {
        let phi = self.suspicion().map_or(0.0, |suspicion| suspicion.phi(self.since));
        let missing = span(self.since.since(self.from));
        let detail = format!("no heartbeat for {missing}, phi {phi:.1}; unhealthy when {} are over", format_duration(policy.ttl));
        self.reason(Code::HeartbeatLate, self.since, detail, Some(self.from + policy.ttl))
    }

    #[expect(clippy::unused_self, reason = "reads like the reasons of every other axis")]
    fn reason(&self, code: Code, since: Timestamp, detail: String, until: Option<Timestamp>) -> Reason {
        Reason { code, probe: None, detail, since, until }
    }

    const fn said_state(&self) -> Option<(State, Code)> {
        match self.said {
            BeatState::Ready => None,
            BeatState::Degraded => Some((State::Degraded, Code::ReportStatus)),
            BeatState::Failing => Some((State::Unhealthy, Code::ReportStatus)),
            BeatState::Draining | BeatState::Bye => Some((State::Draining, Code::Draining)),
        }
    }

    /// Everything that is shown.
    pub(super) fn view(&self, policy: &HeartbeatPolicy, who: &Incarnation) -> HeartbeatView {
        HeartbeatView {
            at: self.at,
            deadline: self.next_change(policy),
            last: self.last,
            state: self.said,
            seq: self.sequence.newest(),
            boot_id: who.current().map(Arc::clone),
            delay: self.lateness.delay(),
            clock_offset_ms: self.offset_ms,
            clock_drift_ppm: self.lateness.drift_ppm(),
            suspicion: match policy.detector {
                Detector::Ttl => None,
                Detector::Accrual { .. } => self.suspicion().filter(|_| self.heard()),
            },
            loss: self.arrivals.as_ref().map_or(0.0, Arrivals::loss),
            reason: self
                .reasons(policy, false)
                .map(|(_, reason)| reason)
                .find(|reason| matches!(reason.code, Code::HeartbeatExpired | Code::HeartbeatLate)),
            ways: self.ways.views(),
        }
    }
}

/// A span in whole milliseconds: finer ones mean nothing here.
fn span(span: Duration) -> String {
    format_duration(Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

//! Decides what refused and reset connections of live traffic mean.
//!
//! A process that was killed refuses every connect at once, long before its next probe is due. `fall` refusals with no
//! success between take the endpoint out; a success is a probe that started later and passed, or an answer to live
//! traffic. Since a thousand requests can be refused in one breath, at most one refusal a millisecond counts. A reset
//! alone proves nothing, for endpoints close idle connections as they please: it only asks for a closer look.
//!
//! | standing | with probes that reach it, ends by | without such probes, ends by |
//! |---|---|---|
//! | well | `fall` refusals: out | the same |
//! | out | `rise` passes in a row: well | an answer: well; after 5 s: trial |
//! | trial | an answer or `rise` passes: well; one refusal: out | an answer: well; one refusal: out |
//!
//! Without such probes, as where a file is looked at or an agent asked, nobody but traffic can say that an endpoint came back, so it gets some again, at a degraded endpoint's
//! weight, until it answers or refuses.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::base::units::format_duration;
use crate::health::policy::Policy;
use crate::health::probes::Probes;
use crate::health::signal::ProbeRun;
use crate::health::verdict::{Code, Reason, State};

/// How long an endpoint without probes stays out before it is tried again.
const HOLD: Duration = Duration::from_secs(5);

/// Refusals closer together than this count once.
const SPACING: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Standing {
    #[default]
    Well,
    Out(Timestamp),
    Trial(Timestamp),
}

/// What live connects say of one endpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    standing: Standing,
    /// Refusals that count, since the last success.
    count: u32,
    /// The last refusal that counted, since the last success.
    last: Option<Timestamp>,
    /// The last refusal or reset that no later probe has answered.
    doubt: Option<Timestamp>,
}

impl Refused {
    /// Takes in a refused connect. Returns whether it counted.
    pub(super) fn refuse(&mut self, at: Timestamp, policy: &Policy, probes: &mut Probes) -> bool {
        if self.last.is_some_and(|last| at.since(last) < SPACING) {
            return false;
        }
        self.last = Some(at);
        self.doubt = self.doubt.max(Some(at));
        self.count = self.count.saturating_add(1);
        probes.restart_rise();
        let fell = match self.standing {
            Standing::Well => self.count >= policy.thresholds.fall.get(),
            Standing::Trial(_) => true,
            Standing::Out(_) => false,
        };
        if fell {
            self.standing = Standing::Out(at);
        }
        true
    }

    /// Takes in a reset. Returns whether it raised a doubt that was not there.
    pub(super) fn reset(&mut self, at: Timestamp) -> bool {
        let new = self.doubt.is_none();
        self.doubt = self.doubt.max(Some(at));
        new
    }

    /// Takes in an answer to live traffic. Returns whether it brought the endpoint back or ended a row of refusals.
    pub(super) fn answer(&mut self, probes: &Probes) -> bool {
        let out = matches!(self.standing, Standing::Out(_));
        if out && probes.reach() {
            return false;
        }
        let remarkable = self.count > 0 || self.standing != Standing::Well;
        self.forgive();
        remarkable
    }

    /// Takes in a probe that passed and had started at `started`; `probes` have counted it. One that does not reach the endpoint
    /// answers no doubt of whether it takes connections.
    pub(super) fn pass(&mut self, run: &ProbeRun, policy: &Policy, probes: &mut Probes) {
        let started = run.started;
        if self.doubt.is_some_and(|doubt| started >= doubt) {
            self.doubt = None;
        }
        if probes.name(run.probe).is_some_and(|name| policy.elsewhere.contains(name)) {
            return;
        }
        if self.last.is_some_and(|last| started < last) {
            if self.standing != Standing::Well {
                probes.restart_rise();
            }
            return;
        }
        if self.standing == Standing::Well || probes.risen(policy) {
            self.forgive();
        }
    }

    const fn forgive(&mut self) {
        self.standing = Standing::Well;
        self.count = 0;
        self.last = None;
    }

    /// Lets time pass. Returns whether a trial begins.
    pub(super) fn expire(&mut self, now: Timestamp, probes: &Probes) -> bool {
        match self.standing {
            Standing::Out(since) if !probes.reach() && now >= since + HOLD => {
                self.standing = Standing::Trial(now);
                true
            }
            Standing::Well | Standing::Out(_) | Standing::Trial(_) => false,
        }
    }

    pub(super) fn next_change(&self, probes: &Probes) -> Option<Timestamp> {
        match self.standing {
            Standing::Out(since) if !probes.reach() => Some(since + HOLD),
            Standing::Well | Standing::Out(_) | Standing::Trial(_) => None,
        }
    }

    /// Whether a pass of a probe changes nothing.
    pub(super) fn is_calm(&self) -> bool {
        self.standing == Standing::Well && self.count == 0 && self.last.is_none() && self.doubt.is_none()
    }

    pub(super) const fn is_out(&self) -> bool {
        matches!(self.standing, Standing::Out(_))
    }

    /// Whether a probe should look soon.
    pub(super) const fn in_doubt(&self) -> bool {
        self.doubt.is_some() || self.count > 0
    }

    /// The state this axis asks for and why, unless it is content.
    pub(super) fn reason(&self, policy: &Policy, probes: &Probes) -> Option<(State, Reason)> {
        let reason = |since, until, detail| Reason { code: Code::Refused, probe: None, detail, since, until };
        let count = self.count;
        match self.standing {
            Standing::Well => None,
            Standing::Out(since) if !probes.reach() => {
                let detail = format!("{count} connects refused, no success between; tried again after {}", format_duration(HOLD));
                Some((State::Unhealthy, reason(since, Some(since + HOLD), detail)))
            }
            Standing::Out(since) => {
                let (rise, risen) = (policy.thresholds.rise.get(), probes.rising());
                let detail =
                    format!("{count} connects refused, no success between; {risen} of {rise} probe passes that bring it back");
                Some((State::Unhealthy, reason(since, None, detail)))
            }
            Standing::Trial(since) => {
                let detail = "on trial: an answer ends it, a refused connect takes it out again".to_owned();
                Some((State::Degraded, reason(since, None, detail)))
            }
        }
    }
}

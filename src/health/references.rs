//! Tells a failing endpoint from our own failing link by addresses that have nothing to do with it.
//!
//! A probe that ran out of time says that no answer came; why, it cannot say. Where references are configured, such a failure
//! waits until a reference has been asked after the probe began: if one answers, or refuses, which is an answer too, the failure
//! counts; if every one of them fails as well, it is void.

use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::health::signal::{Failure, ProbeResult, ProbeRun, Signal};

/// How many failures wait at most; what comes beyond counts at once.
const WAITING: usize = 1024;

/// What references have shown, and what waits for them.
#[derive(Debug, Clone, Default)]
pub(super) struct References {
    /// Of each reference, when its newest run that ended had started, and whether that passed.
    newest: Vec<(EndpointId, Timestamp, bool)>,
    waiting: Vec<Signal>,
}

impl References {
    /// Whether a run's failure is to wait: it may be our own link, and no reference has passed since it started.
    pub(super) fn is_in_doubt(&self, run: &ProbeRun) -> bool {
        let lost = matches!(run.result, ProbeResult::Fail(Failure::Timeout(_) | Failure::Error(_)));
        let passed = self.newest.iter().any(|(_, started, passed)| *passed && *started >= run.started);
        lost && !passed && self.waiting.len() < WAITING
    }

    /// Keeps a signal until a reference has been asked.
    pub(super) fn keep(&mut self, signal: Signal) {
        self.waiting.push(signal);
    }

    /// A reference has been asked. Returns the signals that no longer wait, each with whether it is void.
    pub(super) fn told(&mut self, reference: EndpointId, started: Timestamp, passed: bool) -> Vec<(Signal, bool)> {
        match self.newest.iter_mut().find(|(known, _, _)| *known == reference) {
            Some(entry) => *entry = (reference, started, passed),
            None => self.newest.push((reference, started, passed)),
        }
        let newest = std::mem::take(&mut self.newest);
        let decide = |began: Timestamp| {
            let passed = newest.iter().any(|(_, started, passed)| *passed && *started >= began);
            // A reference that was asked a little before has met the same link.
            let failed = newest.iter().all(|(_, _, passed)| !passed);
            passed.then_some(false).or(failed.then_some(true))
        };
        let mut decided = Vec::new();
        for signal in std::mem::take(&mut self.waiting) {
            match decide(began(&signal)) {
                Some(void) => decided.push((signal, void)),
                None => self.waiting.push(signal),
            }
        }
        self.newest = newest;
        decided
    }

    /// References have changed: what waits for those that left counts. Returns it.
    pub(super) fn clear(&mut self) -> Vec<Signal> {
        self.newest.clear();
        std::mem::take(&mut self.waiting)
    }
}

fn began(signal: &Signal) -> Timestamp {
    match &signal.observation {
        crate::health::signal::Observation::Probe(run) => run.started,
        _ => signal.at,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::ids::ClusterId;
    use crate::health::signal::Observation;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn run(started: u64, result: ProbeResult) -> ProbeRun {
        ProbeRun {
            probe: 0,
            started: at(started),
            latency: Duration::ZERO,
            result,
            excerpt: Arc::from(""),
            stamps: crate::health::signal::Stamps::default(),
        }
    }

    fn lost(started: u64) -> ProbeRun {
        run(started, ProbeResult::Fail(Failure::Timeout(Duration::from_secs(1))))
    }

    fn keep(references: &mut References, run: ProbeRun) {
        let observation = Observation::Probe(run);
        references.keep(Signal { cluster: ClusterId(0), endpoint: EndpointId(1), at: at(0), observation });
    }

    #[test]
    fn what_is_lost_waits_until_a_reference_was_asked() {
        let mut references = References::default();
        assert!(references.is_in_doubt(&lost(100)));
        assert!(!references.is_in_doubt(&run(100, ProbeResult::Fail(Failure::Refused))));
        assert!(!references.is_in_doubt(&run(100, ProbeResult::Fail(Failure::Status(503)))));
        keep(&mut references, lost(100));
        assert!(references.told(EndpointId(9), at(50), true).is_empty(), "it was asked before");
        let decided = references.told(EndpointId(9), at(101), true);
        assert_eq!(decided.iter().map(|(_, void)| *void).collect::<Vec<_>>(), [false]);
        assert!(!references.is_in_doubt(&lost(101)) && references.is_in_doubt(&lost(102)));
    }

    #[test]
    fn only_if_all_references_fail_it_is_our_link() {
        let mut references = References::default();
        references.told(EndpointId(8), at(10), true);
        keep(&mut references, lost(100));
        assert!(references.told(EndpointId(9), at(101), false).is_empty(), "the other one has not been asked since");
        let decided = references.told(EndpointId(8), at(102), false);
        assert_eq!(decided.iter().map(|(_, void)| *void).collect::<Vec<_>>(), [true]);
    }
}

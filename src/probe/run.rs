//! One run of one probe: ask, wait until the deadline, judge.

use std::sync::Arc;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::health::check::{Check, HttpCheck, ProbeSpec};
use crate::health::signal::{Failure, ProbeResult, ReportReading};
use crate::probe::answer::Answer;
use crate::probe::line::Line;
use crate::probe::reading;
use crate::probe::request::{self, Stamp};
use crate::probe::target::Target;
use crate::probe::trouble::Trouble;
use crate::probe::vigil;
use crate::report::spec::{Format, Spec};
use crate::runtime::clock;

/// A probe of one endpoint, ready to run.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) spec: ProbeSpec,
    pub(super) target: Target,
    /// What is read from its answers, if reports are.
    pub(super) reads: Option<Arc<Spec>>,
    line: Line,
    nonces: fastrand::Rng,
    runs: u64,
}

/// What one run found.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) started: Timestamp,
    pub(super) latency: Duration,
    pub(super) result: ProbeResult,
    /// What the endpoint answered; none for a tcp probe, and if no whole answer came.
    pub(super) answer: Option<Answer>,
    /// What came of reading it, if reports are read from it and there is one.
    pub(super) reading: Option<ReportReading>,
}

/// What the endpoint did.
enum Found {
    Accepted,
    Answered(Answer),
}

impl Probe {
    pub(super) fn new(spec: ProbeSpec, target: Target, reads: Option<Arc<Spec>>) -> Self {
        let format = reads.as_ref().map_or(Format::None, |reads| reads.format);
        Self { spec, target, reads, line: Line::new(format), nonces: fastrand::Rng::new(), runs: 0 }
    }

    /// Runs once. `state` is how we see the endpoint, `fresh` asks for a connection of the run's own.
    pub(super) async fn run(&mut self, state: &'static str, fresh: bool) -> Outcome {
        let started = clock::now();
        let timeout = self.spec.timing.timeout;
        // On the heap: between runs a probe should weigh little.
        let ended = vigil::within(timeout, Box::pin(self.look(state, fresh))).await;
        let latency = clock::now().since(started);
        let stall = ended.stall();
        let (result, answer, reading) = match ended.output {
            Some(Ok(Found::Answered(answer))) => self.judge(answer),
            Some(Ok(Found::Accepted)) => (ProbeResult::Pass, None, None),
            Some(Err(trouble)) => (trouble.result(), None, None),
            None => (ProbeResult::Fail(Failure::Timeout(timeout)), None, None),
        };
        Outcome { started, latency, result: excused(result, stall), answer, reading }
    }

    async fn look(&mut self, state: &'static str, fresh: bool) -> Result<Found, Trouble> {
        let seq = self.runs;
        self.runs += 1;
        let Check::Http(check) = &self.spec.check else {
            drop(self.target.connect().await?);
            return Ok(Found::Accepted);
        };
        let stamp = Stamp { nonce: request::nonce(&mut self.nonces), seq, time: clock::wall(), state };
        let request = request::request(check, &self.target.host, stamp)?;
        self.line.ask(&self.target, &request, fresh).await.map(Found::Answered)
    }

    fn judge(&self, answer: Answer) -> (ProbeResult, Option<Answer>, Option<ReportReading>) {
        let Check::Http(check) = &self.spec.check else { return (ProbeResult::Pass, None, None) };
        let report = self.reads.as_ref().map(|spec| reading::of(spec, &answer));
        let result = judge(check, &answer, report.as_ref());
        let reading = report.map(reading::told);
        (result, Some(answer), reading)
    }
}

/// The report is read before the probe is judged, so that a failing word in it fails the probe.
fn judge(check: &HttpCheck, answer: &Answer, report: Option<&reading::Report>) -> ProbeResult {
    let report = report.and_then(|report| report.as_ref().ok()).and_then(Option::as_ref);
    check.judge(answer.status.as_u16(), answer.body(), report)
}

/// What might have come in time, had we not stood still, is no failure.
fn excused(result: ProbeResult, stall: Option<Duration>) -> ProbeResult {
    match (&result, stall) {
        (ProbeResult::Fail(Failure::Timeout(_) | Failure::Error(_)), Some(stall)) => {
            let stall = Duration::from_millis(u64::try_from(stall.as_millis()).unwrap_or(u64::MAX));
            ProbeResult::Void(format!("the proxy itself stalled for {stall:?}"))
        }
        _ => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_of_ours_excuses_what_it_may_have_caused_and_nothing_else() {
        let stall = Some(Duration::from_micros(1_234_567));
        let void = || ProbeResult::Void("the proxy itself stalled for 1.234s".to_owned());
        let check = |result: ProbeResult, expected: ProbeResult| {
            assert_eq!(excused(result.clone(), None), result);
            assert_eq!(excused(result, stall), expected);
        };
        check(ProbeResult::Fail(Failure::Timeout(Duration::from_secs(1))), void());
        check(ProbeResult::Fail(Failure::Error("the connection was reset before an answer".to_owned())), void());
        for facts in [Failure::Refused, Failure::Status(503), Failure::Body("ok".to_owned())] {
            check(ProbeResult::Fail(facts.clone()), ProbeResult::Fail(facts));
        }
        check(ProbeResult::Pass, ProbeResult::Pass);
    }
}

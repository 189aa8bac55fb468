//! One run of one probe: ask, wait until the deadline, judge.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::base::address::EndpointAddress;
use crate::base::time::Timestamp;
use crate::health::check::{Check, HttpCheck, ProbeSpec};
use crate::health::signal::{Failure, ProbeResult, ReportReading, Stamps};
use crate::probe::agent::{self, Agent};
use crate::probe::answer::{self, Answer};
use crate::probe::beat::{self, File};
use crate::probe::grpc::{self, GrpcLine};
use crate::probe::line::Line;
use crate::probe::reading;
use crate::probe::request::{self, Nonce, Question, Stamp};
use crate::probe::target::{Target, host_name};
use crate::probe::trouble::Trouble;
use crate::probe::vigil::{self, Timer};
use crate::report::spec::{Format, Spec};
use crate::report::{Asks, Counters};
use crate::runtime::clock;

thread_local! {
    /// What the last answer began with that was another than its endpoint's last.
    static SAID: RefCell<Arc<str>> = RefCell::default();
}

/// A probe of one endpoint, ready to run.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) spec: Arc<ProbeSpec>,
    pub(super) target: Target,
    /// What is read from its answers, if reports are.
    pub(super) reads: Option<Arc<Spec>>,
    /// Whether the status word of an answer counts that brings no report.
    words: bool,
    /// What it is asked over, and what is remembered of it.
    means: Means,
    /// What counters stood at in the last answer.
    counters: Option<Box<Counters>>,
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
    /// What an agent asks for, and its line.
    pub(super) heard: Option<(Asks, Arc<str>)>,
    /// What the answer says of who gave it.
    pub(super) stamps: Stamps,
}

impl Outcome {
    /// The first bytes of what was answered; empty if nothing was. `last` may be shared if it is the same.
    pub(super) fn excerpt(&self, last: &Arc<str>) -> Arc<str> {
        match (&self.heard, &self.answer) {
            (Some((_, line)), _) => Arc::clone(line),
            (None, Some(answer)) if answer.begins(last) => Arc::clone(last),
            // Endpoints of one cluster mostly say the same.
            (None, Some(answer)) => SAID.with_borrow_mut(|said| {
                if !answer.begins(said) {
                    *said = answer.excerpt().into();
                }
                Arc::clone(said)
            }),
            (None, None) => Arc::default(),
        }
    }
}

/// How a probe asks, with what it keeps between runs.
#[derive(Debug)]
enum Means {
    Http(Line),
    Tcp,
    Agent(Box<Agent>),
    Grpc(GrpcLine),
    File(Box<File>),
}

/// What the endpoint did.
enum Found {
    /// It was judged on the way.
    Judged(ProbeResult),
    Answered {
        answer: Answer,
        /// That was sent.
        nonce: Nonce,
    },
    Said(Vec<u8>),
}

impl Means {
    fn new(spec: &ProbeSpec, endpoint: &EndpointAddress, format: Format) -> Self {
        match &spec.check {
            Check::Http(_) => Self::Http(Line::new(format)),
            Check::Tcp => Self::Tcp,
            Check::Agent => Self::Agent(Box::default()),
            Check::Grpc(_) => Self::Grpc(GrpcLine::default()),
            Check::File(check) => Self::File(Box::new(File::new(check, &host_name(endpoint), endpoint.port()))),
        }
    }
}

impl Probe {
    /// One of `endpoint`, wherever it goes.
    pub(super) fn new(
        spec: impl Into<Arc<ProbeSpec>>,
        endpoint: &EndpointAddress,
        target: Target,
        reads: Option<Arc<Spec>>,
    ) -> Self {
        let spec = request::unsigned(spec.into());
        let format = reads.as_ref().map_or(Format::None, |reads| reads.format);
        let means = Means::new(&spec, endpoint, format);
        Self { spec, target, reads, words: false, means, counters: None, nonces: fastrand::Rng::new(), runs: 0 }
    }

    /// The same, and the status words of its answers count although they bring no report.
    pub(super) fn heeding(self, words: bool) -> Self {
        Self { words, ..self }
    }

    /// Runs once. `state` is how we see the endpoint, `fresh` asks for a connection of the run's own.
    pub(super) async fn run(&mut self, state: &'static str, fresh: bool, timer: &mut Timer) -> Outcome {
        let started = clock::now();
        let timeout = self.spec.timing.timeout;
        let ended = vigil::within(timeout, timer, self.look(state, fresh)).await;
        let latency = ended.at.since(started);
        let stall = ended.stall();
        let stamps = Stamps::default();
        let nothing = |result| Outcome { started, latency, result, answer: None, reading: None, heard: None, stamps };
        let outcome = match ended.output {
            Some(Ok(Found::Answered { answer, nonce })) => self.judge(answer, nonce, nothing),
            Some(Ok(Found::Said(line))) => self.hear(line, nothing),
            Some(Ok(Found::Judged(result))) => nothing(result),
            Some(Err(trouble)) => nothing(self.failed(trouble)),
            None => nothing(self.overdue(timeout)),
        };
        Outcome { result: excused(outcome.result, stall), ..outcome }
    }

    async fn look(&mut self, state: &'static str, fresh: bool) -> Result<Found, Trouble> {
        let seq = self.runs;
        self.runs += 1;
        let nonce = Nonce::new(&mut self.nonces);
        let stamp = Stamp { nonce, seq, time: clock::wall(), state };
        if let (Means::Http(line), Check::Http(check)) = (&mut self.means, &self.spec.check) {
            let question = Question::new(check, &self.target.host, stamp);
            let answer = line.ask(&self.target, &question, fresh).await?;
            return Ok(Found::Answered { answer, nonce });
        }
        // They need far more room than the usual one, which is moved about with whatever it has room for.
        Box::pin(self.look_otherwise(stamp, fresh)).await
    }

    async fn look_otherwise(&mut self, stamp: Stamp, fresh: bool) -> Result<Found, Trouble> {
        match (&mut self.means, &self.spec.check) {
            (Means::Agent(_), _) => Ok(Found::Said(agent::line(self.target.connect_plain().await?).await?)),
            (Means::Grpc(line), Check::Grpc(check)) => {
                let request = grpc::request(&check.service, &self.target, self.spec.timing.timeout, stamp.headers()?)?;
                let answered = line.ask(&self.target, request, fresh).await?;
                Ok(Found::Judged(match answered {
                    grpc::Answered::Served(served) => check.judge(&served),
                    grpc::Answered::Other(result) => result,
                }))
            }
            (Means::File(file), Check::File(check)) => Ok(Found::Judged(file.look(check).await)),
            // The means are made from the check, so what is left is a connection.
            _ => {
                drop(self.target.connect_http().await?);
                Ok(Found::Judged(ProbeResult::Pass))
            }
        }
    }

    fn judge(&mut self, answer: Answer, nonce: Nonce, outcome: impl FnOnce(ProbeResult) -> Outcome) -> Outcome {
        let Check::Http(check) = &self.spec.check else { return outcome(ProbeResult::Pass) };
        let stamps = answer.stamps();
        // What somebody else answered is no report of this endpoint's either.
        if let Some(result) = check.acknowledge.judge(nonce.as_str(), answer.nonce()) {
            return Outcome { answer: Some(answer), stamps, ..outcome(result) };
        }
        let counters = &mut self.counters;
        let report = self.reads.as_ref().map(|spec| reading::of(spec, &answer, counters.get_or_insert_default()));
        let word = (report.is_none() && self.words).then(|| reading::of(&Spec::default(), &answer, &mut Counters::default()));
        let result = judge(check, &answer, report.as_ref().or(word.as_ref()));
        let reading = report.map(reading::told);
        Outcome { answer: Some(answer), reading, stamps, ..outcome(result) }
    }

    fn hear(&mut self, line: Vec<u8>, outcome: impl FnOnce(ProbeResult) -> Outcome) -> Outcome {
        let Means::Agent(agent) = &mut self.means else { return outcome(ProbeResult::Pass) };
        let shown = answer::excerpt(&line).into();
        let (result, asks) = agent.hear(&line);
        Outcome { heard: Some((asks, shown)), ..outcome(result) }
    }

    fn failed(&self, trouble: Trouble) -> ProbeResult {
        match (&self.means, trouble.result()) {
            (Means::Agent(_), ProbeResult::Fail(failure)) => agent::silent(&failure.to_string()),
            (_, result) => result,
        }
    }

    fn overdue(&self, timeout: Duration) -> ProbeResult {
        match &self.means {
            Means::Agent(_) => agent::silent(&Failure::Timeout(timeout).to_string()),
            Means::File(_) => beat::hangs(timeout),
            Means::Http(_) | Means::Tcp | Means::Grpc(_) => ProbeResult::Fail(Failure::Timeout(timeout)),
        }
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

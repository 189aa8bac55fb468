//! The report in an answer: whether this answer can hold one, and what came of reading it.

use crate::health::signal::ReportReading;
use crate::probe::answer::Answer;
use crate::report::spec::Spec;
use crate::report::{self, Counters, Unreadable};
use crate::runtime::clock;

/// What came of reading, before it is told: a probe's judgement wants the report itself.
pub(super) type Report = Result<Option<report::Report>, Unreadable>;

/// Reads the report in an answer. Successes hold one, and so do 503s: that is how frameworks say `DOWN`. The body of any
/// other answer describes an error of the server, not its state.
pub(super) fn of(spec: &Spec, answer: &Answer, counters: &mut Counters) -> Report {
    let status = answer.status;
    if !status.is_success() && status.as_u16() != 503 {
        return Err(Unreadable {
            why: format!("the answer has status {}", status.as_u16()),
            hint: "a report is read from 2xx and 503".to_owned(),
        });
    }
    report::read_on(spec, &answer.said(), counters, clock::now())
}

/// The reading as health wants it.
pub(super) fn told(report: Report) -> ReportReading {
    match report {
        Ok(Some(report)) => ReportReading::Read(report),
        Ok(None) => ReportReading::None,
        Err(unreadable) => ReportReading::Void(unreadable.to_string()),
    }
}

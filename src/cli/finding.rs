//! Owns how the findings of one probe look: results, the report that was read, and what each rule would say to it.

use std::fmt::Write;
use std::sync::Arc;

use http::StatusCode;

use crate::base::units::format_duration;
use crate::cli::output::plain;
use crate::cli::{age, table};
use crate::health::figure;
use crate::health::policy::{For, Level, Rule, When};
use crate::health::signal::{ProbeResult, ProbeRun, ReportReading};
use crate::probe::Answer;
use crate::report::spec::{Format, Spec};
use crate::report::{self, Found, StatusWord};

/// How many numbers that nobody asked for are shown.
const OTHERS: usize = 20;

/// What was found at one endpoint.
#[derive(Debug)]
pub(super) struct Probed {
    /// The name of each probe, its run, and the status if an answer came.
    pub(super) runs: Vec<(Arc<str>, ProbeRun, Option<StatusCode>)>,
    /// The report, if one is read.
    pub(super) report: Option<Report>,
    /// The rules on it.
    pub(super) rules: Vec<Rule>,
}

/// What was read of a report.
#[derive(Debug)]
pub(super) struct Report {
    reading: ReportReading,
    format: Option<Format>,
    others: Vec<Found>,
}

impl Probed {
    /// Whether every probe passed.
    pub(super) fn passed(&self) -> bool {
        self.runs.iter().all(|(_, run, _)| run.result == ProbeResult::Pass)
    }

    fn value(&self, metric: &str) -> Option<f64> {
        match &self.report.as_ref()?.reading {
            ReportReading::Read(report) | ReportReading::Load(report) => report.metric(metric),
            ReportReading::Void(_) | ReportReading::None => None,
        }
    }
}

impl Report {
    /// What was read, and what else stands in the answer.
    pub(super) fn new(spec: &Spec, reading: ReportReading, answer: Option<&Answer>) -> Self {
        let Some(answer) = answer else { return Self { reading, format: None, others: Vec::new() } };
        let said = answer.said();
        let format = report::format_of(spec, &said).ok().flatten();
        let others = report::found_metrics(spec, &said).unwrap_or_default();
        Self { reading, format, others }
    }
}

/// All findings as text, under a heading.
pub(super) fn render(heading: &str, probed: &Probed) -> String {
    let runs: Vec<_> = probed.runs.iter().map(|(name, run, status)| run_row(name, run, *status)).collect();
    let mut text = format!("{}\n{}", plain(heading), table::columns(2, &runs));
    if probed.runs.is_empty() {
        text.push_str("  no probe: only traffic judges it\n");
    }
    if let Some(report) = &probed.report {
        text.push_str(&report_text(report));
    }
    let rules: Vec<_> = probed.rules.iter().flat_map(|rule| rule_rows(rule, probed.value(&rule.metric))).collect();
    if !rules.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "  rules\n{}", table::columns(4, &rules));
    }
    text.push('\n');
    text
}

fn run_row(name: &str, run: &ProbeRun, status: Option<StatusCode>) -> Vec<String> {
    let (result, why) = match &run.result {
        ProbeResult::Pass => ("pass", None),
        ProbeResult::Fail(failure) => ("fail", Some(format!("{}: {failure}", failure.code()))),
        ProbeResult::Void(why) => ("void", Some(why.clone())),
    };
    let answer = Some(&run.excerpt).filter(|excerpt| !excerpt.is_empty()).map(|excerpt| format!("answer: {excerpt}"));
    let detail = why.into_iter().chain(answer).collect::<Vec<_>>().join("; ");
    let status = status.map(|status| status.as_str().to_owned()).unwrap_or_default();
    let latency = age::latency(run.latency.as_secs_f64());
    [format!("probe {name}"), result.to_owned(), status, latency, detail].map(|cell| plain(&cell).into_owned()).to_vec()
}

fn report_text(report: &Report) -> String {
    let format = report.format.map(|format| format!(": {}", format.as_str())).unwrap_or_default();
    let read = match &report.reading {
        ReportReading::None => return "  report: none in the answer\n".to_owned(),
        ReportReading::Void(why) => return format!("  report{format}: could not be read: {}\n", plain(why)),
        ReportReading::Read(read) | ReportReading::Load(read) => read,
    };
    let word = read.word.as_deref().map(|word| format!(", status {}{}", plain(word), meaning(read.status))).unwrap_or_default();
    let role =
        read.claim.as_ref().map(|claim| format!(", role {}{}", plain(&claim.role), epoch(claim.epoch))).unwrap_or_default();
    let metrics = read.metrics.iter().map(|(metric, value)| vec![plain(metric).into_owned(), figure(metric, *value)]);
    let voids = read
        .voids
        .iter()
        .map(|void| vec![plain(&void.metric).into_owned(), plain(&format!("could not be read: {}", void.hint)).into_owned()]);
    let rows: Vec<_> = metrics.chain(voids).collect();
    format!("  report{format}{word}{role}\n{}{}", table::columns(4, &rows), others(&report.others))
}

fn epoch(epoch: Option<u64>) -> String {
    epoch.map(|epoch| format!(" (epoch {epoch})")).unwrap_or_default()
}

fn meaning(status: Option<StatusWord>) -> &'static str {
    match status {
        Some(StatusWord::Healthy) => " (healthy)",
        Some(StatusWord::Degraded) => " (degraded)",
        Some(StatusWord::Failing) => " (failing)",
        None => " (says nothing)",
    }
}

/// The numbers of the answer as they are written there, for whoever writes a `map`.
fn others(found: &[Found]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let rows: Vec<_> =
        found.iter().take(OTHERS).map(|found| vec![plain(&found.path).into_owned(), found.value.to_string()]).collect();
    let more = found.len().saturating_sub(OTHERS);
    let more = if more > 0 { format!("    and {more} more\n") } else { String::new() };
    format!("  numbers in it, each with its place for report.map\n{}{more}", table::columns(4, &rows))
}

/// What a rule would say to this value, a row for each of its levels.
fn rule_rows(rule: &Rule, value: Option<f64>) -> Vec<Vec<String>> {
    let levels = [("eject", rule.eject), ("degrade", rule.degrade)];
    let row = |(verb, level): (&str, Level)| {
        let side = if rule.when == When::Above { "from" } else { "down from" };
        let said = match value {
            None => "no value, so nothing changes".to_owned(),
            Some(value) if rule.when.past(value, level.level) => would(rule, verb),
            Some(_) => "fine".to_owned(),
        };
        let value = value.map_or_else(|| "?".to_owned(), |value| figure(&rule.metric, value));
        vec![plain(&rule.metric).into_owned(), value, format!("{verb} {side} {}", figure(&rule.metric, level.level)), said]
    };
    levels.into_iter().filter_map(|(verb, level)| Some((verb, level?))).map(row).collect()
}

fn would(rule: &Rule, verb: &str) -> String {
    let lasts = match rule.hold {
        For::Reports(n) if n.get() == 1 => "at once".to_owned(),
        For::Reports(n) => format!("after {n} such reports in a row"),
        For::Span(span) => format!("after {} of such reports", format_duration(span)),
    };
    let enforce = if rule.enforce { "" } else { ", but enforce is false" };
    format!("would {verb} {lasts}{enforce}")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::base::time::Timestamp;
    use crate::health::signal::{Failure, Stamps};

    fn run(result: ProbeResult, excerpt: &str) -> ProbeRun {
        let latency = Duration::from_micros(840);
        ProbeRun { probe: 0, started: Timestamp::ZERO, latency, result, excerpt: excerpt.into(), stamps: Stamps::default() }
    }

    fn rule(metric: &str, degrade: f64, eject: f64, enforce: bool) -> Rule {
        let level = |level| Some(Level { level, recover: level * 0.9 });
        let hold = For::Reports(NonZeroU32::new(3).unwrap());
        Rule { metric: metric.into(), when: When::Above, degrade: level(degrade), eject: level(eject), hold, enforce }
    }

    #[test]
    fn findings_tell_result_report_and_what_each_rule_would_say() {
        let body = br#"{"status":"UP","cpu":0.97,"host":{"cpu":0.2}}"#;
        let spec = Spec { needed: vec!["cpu".into(), "queue".into()], ..Spec::default() };
        let said = report::Said::new(Some("application/json"), body);
        let read = report::read(&spec, &said).unwrap().unwrap();
        let probed = Probed {
            runs: vec![
                ("ready".into(), run(ProbeResult::Pass, "{\"status\":\"UP\"}"), Some(StatusCode::OK)),
                ("port".into(), run(ProbeResult::Fail(Failure::Refused), ""), None),
            ],
            report: Some(Report {
                reading: ReportReading::Read(read),
                format: report::format_of(&spec, &said).unwrap(),
                others: report::found_metrics(&spec, &said).unwrap(),
            }),
            rules: vec![rule("cpu", 0.8, 0.98, true), rule("queue", 100.0, 500.0, false)],
        };
        assert!(!probed.passed());
        insta::assert_snapshot!(render("app 127.0.0.1:9001", &probed), @r#"
        app 127.0.0.1:9001
          probe ready  pass  200  0.8ms  answer: {"status":"UP"}
          probe port   fail       0.8ms  probe_refused: connection refused
          report: json, status UP (healthy)
            cpu    97 %
            queue  could not be read: no number at `queue`; numbers found: `cpu`, `host.cpu`
          numbers in it, each with its place for report.map
            cpu       0.97
            host.cpu  0.2
          rules
            cpu    97 %  eject from 98 %    fine
            cpu    97 %  degrade from 80 %  would degrade after 3 such reports in a row
            queue  ?     eject from 500     no value, so nothing changes
            queue  ?     degrade from 100   no value, so nothing changes
        "#);
    }

    #[test]
    fn a_role_stands_beside_the_status() {
        let claim = report::Claim { role: "primary".into(), epoch: Some(7) };
        let read = report::Report { claim: Some(claim), ..report::Report::default() };
        let text = report_text(&Report { reading: ReportReading::Read(read), format: Some(Format::Json), others: Vec::new() });
        assert_eq!(text, "  report: json, role primary (epoch 7)\n");
    }

    #[test]
    fn a_report_that_cannot_be_read_says_why() {
        let text = |reading| report_text(&Report { reading, format: None, others: Vec::new() });
        assert_eq!(text(ReportReading::None), "  report: none in the answer\n");
        assert_eq!(text(ReportReading::Void("not JSON".to_owned())), "  report: could not be read: not JSON\n");
    }

    #[test]
    fn a_rule_that_is_not_enforced_says_so() {
        let quiet = rule("queue", 100.0, 500.0, false);
        assert_eq!(would(&quiet, "eject"), "would eject after 3 such reports in a row, but enforce is false");
        let long = Rule { hold: For::Span(Duration::from_secs(6)), ..rule("queue", 1.0, 2.0, true) };
        assert_eq!(would(&long, "degrade"), "would degrade after 6s of such reports");
    }
}

//! `explain CLUSTER ENDPOINT`: the verdict on one endpoint, why, what led to it, and when it would next change.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use crate::admin::shape::{Endpoint, Entry, Explanation, Probe, Reason, Role, Void};
use crate::base::time::WallTime;
use crate::cli::client::{Target, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};
use crate::cli::{age, pushed, reason, table};
use crate::health::figure;
use crate::runtime::clock;

/// Which endpoint.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The cluster's name
    cluster: String,
    /// The endpoint's address, as configured
    endpoint: String,
    /// Print the JSON of the admin interface
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Explains one endpoint.
    ///
    /// # Errors
    /// If the process cannot be asked, or knows no such endpoint.
    pub(super) fn run(&self, target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
        let path = format!("/api/v1/clusters/{}/endpoints/{}", segment(&self.cluster), segment(&self.endpoint));
        let answer = target.client()?.get(&path)?;
        let explanation: Explanation = answer.json()?;
        if self.json {
            out.line(String::from_utf8_lossy(&answer.body).trim_end())?;
        } else {
            out.print(&render(&explanation, clock::wall()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The whole explanation as text.
fn render(explanation: &Explanation, now: WallTime) -> String {
    let endpoint = &explanation.endpoint;
    let mut text = verdict(&explanation.cluster, endpoint, now);
    section(&mut text, "Why", &reasons(&endpoint.reasons, now), "nothing is held against it");
    section(&mut text, "What led to it, newest first", &history(&explanation.history, now), "nothing yet");
    let judges = if endpoint.heartbeat.is_some() { "heartbeats, traffic" } else { "only traffic" };
    section(&mut text, "Probes", &probes(&endpoint.probes, now), &format!("none: {judges} and the operator judge it"));
    if let Some(role) = &endpoint.role {
        section(&mut text, "Role", &said(role, now), "");
    }
    if let Some(heartbeat) = &endpoint.heartbeat {
        section(&mut text, "Heartbeats", &pushed::rows(heartbeat, now), "none has come");
    }
    section(&mut text, &report_title(explanation, now), &report(endpoint, &explanation.voids), "nothing");
    let next = explanation.next_change.as_deref().map_or("not by time alone".to_owned(), |at| ahead(at, now));
    section(&mut text, "Next change, if nothing else happens", "", &next);
    text
}

fn section(text: &mut String, title: &str, rows: &str, otherwise: &str) {
    // Writing to a string cannot fail.
    let _ = if rows.is_empty() { write!(text, "\n{title}\n  {otherwise}\n") } else { write!(text, "\n{title}\n{rows}") };
}

fn verdict(cluster: &str, endpoint: &Endpoint, now: WallTime) -> String {
    let traffic = match (endpoint.available, endpoint.admitted) {
        (true, true) => "available",
        (true, false) => "available, but gets no traffic",
        (false, true) => "not available, but let in",
        (false, false) => "not available",
    };
    format!(
        "{} {} is {}, {traffic}\n  since {} ({} ago), weight {:.2}, {} in flight\n",
        plain(cluster),
        plain(&endpoint.address),
        plain(&endpoint.state),
        plain(&endpoint.since),
        age::ago(&endpoint.since, now),
        endpoint.weight,
        endpoint.in_flight,
    )
}

fn reasons(reasons: &[Reason], now: WallTime) -> String {
    let row = |held: &Reason| {
        let until = held.until.as_deref().map(|at| format!("; ends {}", ahead(at, now))).unwrap_or_default();
        vec![reason::title(held), format!("for {}", age::ago(&held.since, now)), format!("{}{until}", plain(&held.detail))]
    };
    table::columns(2, &reasons.iter().map(row).collect::<Vec<_>>())
}

/// The moment, and how long until then.
fn ahead(at: &str, now: WallTime) -> String {
    age::moment(at).map_or_else(|| plain(at).into_owned(), |moment| format!("in {} ({at})", age::span(age::between(now, moment))))
}

fn history(entries: &[Entry], now: WallTime) -> String {
    let row = |entry: &Entry| {
        let what = match (&entry.from, &entry.to) {
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            _ => [entry.probe.as_deref(), entry.result.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" "),
        };
        [format!("{} ago", age::ago(&entry.at, now)), entry.kind.clone(), what, entry.detail.clone()]
            .map(|cell| plain(&cell).into_owned())
            .to_vec()
    };
    table::columns(2, &entries.iter().rev().map(row).collect::<Vec<_>>())
}

fn probes(probes: &[Probe], now: WallTime) -> String {
    let row = |probe: &Probe| {
        let result = probe.result.as_deref().unwrap_or("not run yet");
        let latency = probe.latency_seconds.map(age::latency).unwrap_or_default();
        let when = probe.at.as_deref().map(|at| format!("{} ago", age::ago(at, now))).unwrap_or_default();
        [probe.name.clone(), result.to_owned(), latency, when, standing(probe), answer(probe), why(probe)]
            .map(|cell| plain(&cell).into_owned())
            .to_vec()
    };
    table::columns(2, &probes.iter().map(row).collect::<Vec<_>>())
}

fn said(role: &Role, now: WallTime) -> String {
    let epoch = role.epoch.map(|epoch| format!(" in epoch {epoch}")).unwrap_or_default();
    let part = match role.part.as_str() {
        "leader" => "it leads",
        "out" => "it leads, and is not well enough for requests",
        "conflict" => "so does another: nobody leads",
        "stale" => "that epoch is over: it does not lead",
        _ => "it does not lead",
    };
    let said = format!("says that it is {:?}{epoch}", role.says);
    let row = [said, format!("{} ago", age::ago(&role.at, now)), part.to_owned()];
    table::columns(2, &[row.map(|cell| plain(&cell).into_owned()).to_vec()])
}

fn why(probe: &Probe) -> String {
    probe.reason.as_ref().map(|reason| format!("{}: {}", reason.code, reason.detail)).unwrap_or_default()
}

fn standing(probe: &Probe) -> String {
    let (standing, against) = if probe.passing { ("passing", "failed") } else { ("failing", "passed") };
    match probe.streak {
        0 => format!("counts as {standing}"),
        streak => format!("counts as {standing}, {streak} {against} in a row"),
    }
}

fn answer(probe: &Probe) -> String {
    match probe.excerpt.as_deref() {
        None | Some("") => String::new(),
        Some(excerpt) => format!("last answer: {excerpt}"),
    }
}

fn report_title(explanation: &Explanation, now: WallTime) -> String {
    let age = explanation.report_at.as_deref().map(|at| format!(", {} ago", age::ago(at, now))).unwrap_or_default();
    format!("Report{age}")
}

fn report(endpoint: &Endpoint, voids: &[Void]) -> String {
    let value = |(metric, value): (&String, &f64)| [metric.clone(), figure(metric, *value)];
    let void = |void: &Void| {
        let metric = if void.metric.is_empty() { "(all of it)" } else { &void.metric };
        [metric.to_owned(), format!("could not be read: {}", void.hint)]
    };
    let rows = endpoint.report.iter().map(value).chain(voids.iter().map(void));
    let rows: Vec<_> = rows.map(|cells| cells.map(|cell| plain(&cell).into_owned()).to_vec()).collect();
    table::columns(2, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        render(&serde_json::from_str(json).unwrap(), age::moment("2026-11-24T00:02:10.000Z").unwrap())
    }

    #[test]
    fn an_explanation_tells_verdict_reasons_signals_and_what_comes_next() {
        insta::assert_snapshot!(shown(
            r#"{"cluster":"app","address":"127.0.0.1:9002","state":"unhealthy","available":false,"admitted":false,
            "weight":0,"in_flight":1,"since":"2026-11-24T00:02:00.000Z","reasons":[
              {"code":"probe_status","probe":"ready","detail":"503, wanted 200-299","since":"2026-11-24T00:02:00.000Z"},
              {"code":"maintenance","detail":"new disk","since":"2026-11-24T00:01:00.000Z","until":"2026-11-24T00:12:10.000Z"}],
            "report":{"cpu":0.31},"probes":[{"name":"ready","result":"fail","latency_seconds":0.0008,"passing":false,
              "streak":1,"at":"2026-11-24T00:02:09.500Z","excerpt":"HTTP/1.1 503\r\n"},{"name":"port","result":null,
              "latency_seconds":null,"passing":false,"streak":0,"at":null}],
            "next_change":"2026-11-24T00:12:10.000Z","report_at":"2026-11-24T00:02:09.500Z",
            "voids":[{"metric":"queue","hint":"nothing at jobs.waiting; there is jobs.queued"}],"history":[
              {"at":"2026-11-24T00:01:59.000Z","kind":"probe","probe":"ready","result":"fail","detail":"503, wanted 200-299"},
              {"at":"2026-11-24T00:02:00.000Z","kind":"transition","from":"healthy","to":"unhealthy","detail":"probe_status"}]}"#
        ), @r"
        app 127.0.0.1:9002 is unhealthy, not available
          since 2026-11-24T00:02:00.000Z (10s ago), weight 0.00, 1 in flight

        Why
          probe_status (ready)  for 10s     503, wanted 200-299
          maintenance           for 1m 10s  new disk; ends in 10m 0s (2026-11-24T00:12:10.000Z)

        What led to it, newest first
          10s ago  transition  healthy -> unhealthy  probe_status
          11s ago  probe       ready fail            503, wanted 200-299

        Probes
          ready  fail         0.8ms  0.5s ago  counts as failing, 1 passed in a row  last answer: HTTP/1.1 503\r\n
          port   not run yet                   counts as failing

        Report, 0.5s ago
          cpu    31 %
          queue  could not be read: nothing at jobs.waiting; there is jobs.queued

        Next change, if nothing else happens
          in 10m 0s (2026-11-24T00:12:10.000Z)
        ");
    }

    #[test]
    fn heartbeats_have_a_section_of_their_own() {
        let text = shown(
            r#"{"cluster":"app","address":"a:1","state":"healthy","available":true,"admitted":true,"weight":1,"in_flight":0,
            "since":"2026-11-24T00:02:00.000Z","reasons":[],"report":{},"probes":[],"next_change":null,"report_at":null,
            "voids":[],"history":[],"heartbeat":{"at":"2026-11-24T00:02:09.600Z","deadline":"2026-11-24T00:02:11.350Z",
            "result":"ok","state":"ready","seq":17,"boot_id":"6f1c","delay_seconds":0.0021,"clock_offset_seconds":-0.25,
            "clock_drift_ppm":3,"phi":0.24,"loss_ratio":0.0123,"paths":[
              {"address":"10.0.0.1:9901","at":"2026-11-24T00:02:09.600Z"},
              {"address":"10.1.0.1:9901","at":"2026-11-24T00:01:58.000Z","reason":{"code":"heartbeat_expired",
               "detail":"none by this way for 1750ms, while others bring them","since":"2026-11-24T00:02:00.000Z"}}]}}"#,
        );
        let section = text.split("\n\n").find(|section| section.starts_with("Heartbeats")).unwrap();
        insta::assert_snapshot!(section, @r"
        Heartbeats
          last              0.4s ago, number 17, taken for ok, says ready
          deadline          in 1.3s
          boot id           6f1c
          delay             2.1ms, its clock is -0.250s behind ours, 3 ppm slow
          lost              1.23 %
          suspicion         phi 0.2
          by 10.0.0.1:9901  0.4s ago
          by 10.1.0.1:9901  12s ago; heartbeat_expired: none by this way for 1750ms, while others bring them
        ");
    }

    #[test]
    fn what_it_says_that_it_is_has_one_too() {
        let text = shown(
            r#"{"cluster":"app","address":"a:1","state":"healthy","available":true,"admitted":true,"weight":1,"in_flight":0,
            "since":"2026-11-24T00:02:00.000Z","reasons":[],"report":{},"probes":[],"next_change":null,"report_at":null,
            "voids":[],"history":[],"role":{"says":"primary","epoch":6,"at":"2026-11-24T00:02:09.600Z","part":"stale"}}"#,
        );
        let section = text.split("\n\n").find(|section| section.starts_with("Role")).unwrap();
        insta::assert_snapshot!(section, @r#"
        Role
          says that it is "primary" in epoch 6  0.4s ago  that epoch is over: it does not lead
        "#);
    }

    #[test]
    fn a_well_endpoint_has_nothing_to_explain() {
        insta::assert_snapshot!(shown(
            r#"{"cluster":"app","address":"a:1","state":"healthy","available":true,"admitted":true,"weight":1,"in_flight":0,
            "since":"2026-11-24T00:02:00.000Z","reasons":[],"report":{},"probes":[],"next_change":null,"report_at":null,
            "voids":[],"history":[]}"#
        ), @r"
        app a:1 is healthy, available
          since 2026-11-24T00:02:00.000Z (10s ago), weight 1.00, 0 in flight

        Why
          nothing is held against it

        What led to it, newest first
          nothing yet

        Probes
          none: only traffic and the operator judge it

        Report
          nothing

        Next change, if nothing else happens
          not by time alone
        ");
    }
}

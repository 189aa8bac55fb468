//! `status`: every cluster with its endpoints, their states and why, once or again each second.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::admin::shape::{self, Cluster, Endpoint};
use crate::base::time::WallTime;
use crate::cli::client::{Client, Target};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};
use crate::cli::{age, reason, table};
use crate::runtime::clock;

const PATH: &str = "/api/v1/status";
/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Show it again every second, until interrupted
    #[arg(long)]
    watch: bool,
    /// Print the JSON of the admin interface
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Shows the state of a running process.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub(super) fn run(&self, target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
        let client = target.client()?;
        if !self.watch {
            out.print(&self.look(&client)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        // A process that restarts is no reason to stop watching; one that never was there is.
        let mut text = self.look(&client)?;
        out.clear()?;
        loop {
            out.redraw(&text)?;
            std::thread::sleep(EVERY);
            text = self.look(&client).unwrap_or_else(|failure| format!("{failure}\n"));
        }
    }

    fn look(&self, client: &Client<'_>) -> Result<String, Failure> {
        let answer = client.get(PATH)?;
        let status: shape::Status = answer.json()?;
        if self.json {
            return Ok(format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end()));
        }
        Ok(render(&status, clock::wall()))
    }
}

/// The whole status as text.
fn render(status: &shape::Status, now: WallTime) -> String {
    let mut text = format!("pulsegate {}, {}\n", plain(&status.version), plain(&status.phase));
    for cluster in &status.clusters {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}\n{}", heading(cluster), endpoints(cluster, now));
    }
    text
}

fn heading(cluster: &Cluster) -> String {
    let mut text = format!("{}: {} of {} available", plain(&cluster.name), cluster.available, cluster.endpoints.len());
    if let Some(leader) = &cluster.leader {
        let endpoint =
            leader.endpoint.as_deref().map(|endpoint| format!(", leader {} in epoch {}", plain(endpoint), leader.epoch));
        let reason = leader.reason.as_ref().map(|reason| format!(", {}", reason::line(reason)));
        text.extend([endpoint, reason].into_iter().flatten());
    }
    if cluster.panic {
        text.push_str(", panic: sicker endpoints are let in");
    }
    if cluster.frozen {
        text.push_str(", frozen: no verdict changes");
    }
    text
}

fn endpoints(cluster: &Cluster, now: WallTime) -> String {
    let titles = ["ENDPOINT", "STATE", "AVAILABLE", "WEIGHT", "IN FLIGHT", "SINCE", "REASONS"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(cluster.endpoints.iter().map(|endpoint| row(endpoint, now)));
    table::columns(2, &rows)
}

fn row(endpoint: &Endpoint, now: WallTime) -> Vec<String> {
    vec![
        plain(&endpoint.address).into_owned(),
        plain(&endpoint.state).into_owned(),
        if endpoint.available { "yes" } else { "no" }.to_owned(),
        format!("{:.2}", endpoint.weight),
        endpoint.in_flight.to_string(),
        age::ago(&endpoint.since, now),
        reason::lines(&endpoint.reasons),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_table_per_cluster() {
        let status = serde_json::from_str(
            r#"{"version":"1.2.3","phase":"ready","clusters":[{"name":"app","panic":false,"frozen":false,"available":1,"endpoints":[
            {"address":"127.0.0.1:9001","state":"healthy","available":true,"admitted":true,"weight":1.0,"in_flight":3,
             "since":"2026-11-24T00:00:00.000Z","reasons":[],"report":{"cpu":0.31},"probes":[]},
            {"address":"127.0.0.1:9002","state":"unhealthy","available":false,"admitted":false,"weight":0,"in_flight":0,
             "since":"2026-11-24T00:02:00.000Z","report":{},"probes":[],"reasons":[
               {"code":"probe_status","probe":"ready","detail":"503\u001b[2J","since":"2026-11-24T00:02:00.000Z"},
               {"code":"refused","detail":"","since":"2026-11-24T00:02:00.000Z"}]}]},
            {"name":"b","panic":true,"frozen":true,"available":0,"endpoints":[]},
            {"name":"led","panic":false,"frozen":false,"available":0,"leader":{"endpoint":"a:1","epoch":7},"endpoints":[]},
            {"name":"torn","panic":false,"frozen":false,"available":0,"endpoints":[],"leader":{"epoch":7,"reason":
             {"code":"leader_conflict","detail":"a:1, b:1","since":"2026-11-24T00:02:00.000Z"}}}]}"#,
        );
        let now = age::moment("2026-11-24T00:02:10.000Z").unwrap();
        insta::assert_snapshot!(render(&status.unwrap(), now), @r"
        pulsegate 1.2.3, ready

        app: 1 of 2 available
          ENDPOINT        STATE      AVAILABLE  WEIGHT  IN FLIGHT  SINCE   REASONS
          127.0.0.1:9001  healthy    yes        1.00    3          2m 10s
          127.0.0.1:9002  unhealthy  no         0.00    0          10s     probe_status (ready): 503\u{1b}[2J; refused

        b: 0 of 0 available, panic: sicker endpoints are let in, frozen: no verdict changes
          ENDPOINT  STATE  AVAILABLE  WEIGHT  IN FLIGHT  SINCE  REASONS

        led: 0 of 0 available, leader a:1 in epoch 7
          ENDPOINT  STATE  AVAILABLE  WEIGHT  IN FLIGHT  SINCE  REASONS

        torn: 0 of 0 available, leader_conflict: a:1, b:1
          ENDPOINT  STATE  AVAILABLE  WEIGHT  IN FLIGHT  SINCE  REASONS
        ");
    }
}

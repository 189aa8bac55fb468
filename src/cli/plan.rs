//! `plan -c F`: what a configuration promises, cluster by cluster, before anything has failed.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::base::units::{Ratio, format_duration, parse_duration};
use crate::cli::failure::Failure;
use crate::cli::figure::{bytes, figure, span};
use crate::cli::output::{Output, plain};
use crate::cli::run::load;
use crate::cli::validate::{counted, or_tell};
use crate::cli::{ConfigFile, table};
use crate::config::Config;
use crate::config::model::Cluster;
use crate::sim::plan::{self, Assumptions, Detection, FalseEjections, Found, Plan, Source, Span, Survival};

/// Most requests a second that a plan is made for.
const MOST_REQUESTS: f64 = 1e9;

/// What to plan with.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: ConfigFile,
    /// Packets lost, each way: one line of false ejections for each share
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',', value_parser = ratio, default_value = "0.1%,1%,5%")]
    loss: Vec<Ratio>,
    /// 99 of 100 probes of a well endpoint are answered within this
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1ms")]
    rtt: Duration,
    /// 99 of 100 answers to live requests come within this
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "25ms")]
    latency: Duration,
    /// Requests a second to each cluster; with 0, probes alone find a fault
    #[arg(long, value_name = "NUMBER", value_parser = requests, default_value = "0")]
    rate: f64,
    /// Proxies that run this configuration
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000), default_value = "1")]
    proxies: u32,
    /// How full the endpoints are while all of them are well
    #[arg(long, value_name = "SHARE", value_parser = ratio)]
    load: Option<Ratio>,
    /// Print JSON; times in seconds, shares from 0 to 1
    #[arg(long)]
    json: bool,
}

fn ratio(text: &str) -> Result<Ratio, String> {
    Ratio::parse(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn requests(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=MOST_REQUESTS).contains(rate));
    rate.ok_or_else(|| format!("a number of requests a second, 0 to {MOST_REQUESTS}"))
}

impl Command {
    /// Plans; the exit code is 1 if the configuration is not valid.
    ///
    /// # Errors
    /// If the plan cannot be printed.
    pub(super) fn run(&self, out: &mut Output) -> Result<ExitCode, Failure> {
        let Some(config) = or_tell(load(&self.file.config)) else { return Ok(ExitCode::FAILURE) };
        let assumed = Assumptions {
            losses: self.loss.clone(),
            round_trip: self.rtt,
            latency: self.latency,
            rate: self.rate,
            proxies: self.proxies,
            load: self.load,
        };
        let plans = plan::plan(&config, &assumed);
        out.print(&if self.json { json(&plans, &assumed) } else { text(&config, &plans, &assumed) })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(config: &Config, plans: &[Plan], assumed: &Assumptions) -> String {
    let mut text = assumptions(assumed);
    for (cluster, plan) in config.clusters.iter().zip(plans) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}\n{}", heading(cluster), table::columns(2, &rows(cluster, plan)));
    }
    text
}

fn assumptions(assumed: &Assumptions) -> String {
    let rate = if assumed.rate > 0.0 { format!("{} requests/s to each cluster", assumed.rate) } else { "no traffic".to_owned() };
    let load = assumed.load.map(|load| format!(", endpoints {load} full")).unwrap_or_default();
    format!(
        "assumed: {rate}, p99 {}, probes answered in {}, {}{load}\n",
        format_duration(assumed.latency),
        format_duration(assumed.round_trip),
        if assumed.proxies == 1 { "1 proxy".to_owned() } else { format!("{} proxies", assumed.proxies) },
    )
}

fn heading(cluster: &Cluster) -> String {
    let endpoints = counted(cluster.endpoints.len(), "endpoint");
    let health = &cluster.health;
    let Some(first) = cluster.probes.first() else { return format!("{}: {endpoints}, no probes", plain(&cluster.name)) };
    format!(
        "{}: {endpoints}, {}, interval {}, timeout {}, fall {}, rise {}",
        plain(&cluster.name),
        counted(cluster.probes.len(), "probe"),
        format_duration(first.timing.interval),
        format_duration(first.timing.timeout),
        health.thresholds.fall,
        health.thresholds.rise,
    )
}

fn rows(cluster: &Cluster, plan: &Plan) -> Vec<Vec<String>> {
    let Detection { refused, hung, wrong } = plan.detection;
    let mut rows = vec![row(["found", "on average", "at the worst", "by"])];
    for (what, found) in [("refused", refused), ("hung", hung), ("wrong answers", wrong)] {
        rows.push(match found {
            Some(Found { time, by }) => row([what, &span(time.mean), &span(time.worst), source(by)]),
            None => row([what, "never", "never", "no probe sees it"]),
        });
    }
    if let Some(Span { mean, worst }) = plan.recovery {
        let by = if cluster.probes.is_empty() { Source::Heartbeats } else { Source::Probes };
        rows.push(row(["back again", &span(mean), &span(worst), source(by)]));
    }
    rows.push(Vec::new());
    rows.push(row(["false ejections", "per endpoint-day", "probes failed", ""]));
    for FalseEjections { loss, probes_failed, per_endpoint_day } in &plan.false_ejections {
        let percent = format!("{}%", figure(probes_failed * 100.0));
        rows.push(row([&format!("{loss} loss"), &figure(*per_endpoint_day), &percent, ""]));
    }
    rows.push(Vec::new());
    let cost = plan.cost;
    let probes = format!("{}/s", figure(cost.probes));
    rows.push(row(["probes", &probes, &format!("{}/s", bytes(cost.bytes)), &format!("{}/s to each", figure(cost.per_endpoint))]));
    rows.extend(survival(&plan.survival));
    rows
}

fn survival(survival: &Survival) -> Vec<Vec<String>> {
    let all = survival.endpoints;
    let may = |count: usize| format!("{count} of {all}");
    let mut rows = vec![Vec::new(), row(["may fail", &may(survival.failures), "", "with one left to answer"])];
    let mut some =
        |what: &str, count: Option<usize>, why: &str| rows.extend(count.map(|count| row([what, &may(count), "", why])));
    some("", survival.before_panic, "before sicker ones are let in");
    some("", survival.retries_cover, "at once, covered by retries until they are out");
    some("", survival.capacity, "before the others are overloaded");
    some("may be ejected", Some(survival.ejected), "for reports or answers; a further one is degraded");
    rows
}

fn row(cells: [&str; 4]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

const fn source(by: Source) -> &'static str {
    match by {
        Source::Probes => "probes",
        Source::Traffic => "traffic",
        Source::Heartbeats => "heartbeats",
    }
}

fn json(plans: &[Plan], assumed: &Assumptions) -> String {
    let clusters: Vec<Value> = plans.iter().map(cluster_json).collect();
    let all = json!({
        "assumed": {
            "rtt": assumed.round_trip.as_secs_f64(),
            "latency": assumed.latency.as_secs_f64(),
            "rate": assumed.rate,
            "proxies": assumed.proxies,
            "load": assumed.load.map(Ratio::get),
        },
        "clusters": clusters,
    });
    format!("{all:#}\n")
}

fn cluster_json(plan: &Plan) -> Value {
    let found = |found: Option<Found>| {
        found.map(
            |Found { time, by }| json!({ "mean": time.mean.as_secs_f64(), "worst": time.worst.as_secs_f64(), "by": source(by) }),
        )
    };
    let ejections = plan.false_ejections.iter().map(
        |one| json!({ "loss": one.loss.get(), "per_endpoint_day": one.per_endpoint_day, "probes_failed": one.probes_failed }),
    );
    let survival = plan.survival;
    json!({
        "name": &*plan.cluster,
        "detection": {
            "refused": found(plan.detection.refused),
            "hung": found(plan.detection.hung),
            "wrong": found(plan.detection.wrong),
        },
        "recovery": plan.recovery.map(|time| json!({ "mean": time.mean.as_secs_f64(), "worst": time.worst.as_secs_f64() })),
        "false_ejections": ejections.collect::<Vec<_>>(),
        "cost": {
            "probes_per_second": plan.cost.probes,
            "probes_per_second_to_each": plan.cost.per_endpoint,
            "bytes_per_second": plan.cost.bytes,
        },
        "survives": {
            "endpoints": survival.endpoints,
            "failures": survival.failures,
            "before_panic": survival.before_panic,
            "ejected": survival.ejected,
            "retries_cover": survival.retries_cover,
            "capacity": survival.capacity,
        },
    })
}

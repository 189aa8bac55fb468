//! `simulate -c F`: the same configuration in seeded worlds, fault by fault: how soon each is found and what clients notice.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::base::units::{format_duration, parse_duration};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};
use crate::cli::run::load;
use crate::cli::validate::or_tell;
use crate::cli::{ConfigFile, figure, table};
use crate::sim::{Fault, Outcome, Plot, Weather, simulate};

/// Most lives of one fault.
const MOST_SEEDS: u64 = 100_000;
/// Most requests a second; a life is lived request by request.
const MOST_REQUESTS: f64 = 100_000.0;

/// What to simulate.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: ConfigFile,
    /// Where the cluster stands
    #[arg(long, value_enum, default_value_t = World::Lan)]
    world: World,
    /// Faults to play, by name; all of them if none is named
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = fault)]
    fault: Vec<Fault>,
    /// Lives of each fault
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=MOST_SEEDS), default_value = "8")]
    seeds: u64,
    /// Requests a second to each cluster
    #[arg(long, value_name = "NUMBER", value_parser = requests, default_value = "200")]
    rate: f64,
    /// What an answer takes on average
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5ms")]
    service: Duration,
    /// How long each fault lasts
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "20s")]
    lasts: Duration,
    /// An answer that takes longer is slow
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "100ms")]
    slow: Duration,
    /// Print JSON; times in seconds, shares from 0 to 1
    #[arg(long)]
    json: bool,
}

/// The worlds, by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum World {
    /// One data centre: hardly any loss, rare pauses
    Lan,
    /// Another continent: 300 ms away, losses in bursts
    Wan,
    /// Shared machines: pauses up to 8 s, half of which hit all endpoints
    Cloud,
    /// Personal devices on consumers' lines: 80 ms, and several times that for a while
    Homes,
    /// A mobile network: every few seconds nothing moves for up to 1.7 s
    Mobile,
}

fn fault(name: &str) -> Result<Fault, String> {
    let named = Fault::ALL.into_iter().find(|fault| fault.name() == name);
    named.ok_or_else(|| format!("one of {}", Fault::ALL.map(Fault::name).join(", ")))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string()).and_then(|span| {
        let bounded = !span.is_zero() && span <= Duration::from_secs(86_400);
        if bounded { Ok(span) } else { Err("a duration above zero, at most a day".to_owned()) }
    })
}

fn requests(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= MOST_REQUESTS);
    rate.ok_or_else(|| format!("a number of requests a second above 0, at most {MOST_REQUESTS}"))
}

impl Command {
    /// Simulates; the exit code is 1 if the configuration is not valid.
    ///
    /// # Errors
    /// If the table cannot be printed.
    pub(super) fn run(&self, out: &mut Output) -> Result<ExitCode, Failure> {
        let Some(config) = or_tell(load(&self.file.config)) else { return Ok(ExitCode::FAILURE) };
        let weather = match self.world {
            World::Lan => Weather::Lan,
            World::Wan => Weather::Wan,
            World::Cloud => Weather::Cloud,
            World::Homes => Weather::Homes,
            World::Mobile => Weather::Mobile,
        };
        let plot = Plot {
            weather,
            seeds: self.seeds,
            rate: self.rate,
            service: self.service,
            lasts: self.lasts,
            slow: self.slow,
            ..Plot::default()
        };
        let faults = if self.fault.is_empty() { Fault::ALL.to_vec() } else { self.fault.clone() };
        let outcomes = simulate(&config, &faults, &plot);
        out.print(&if self.json { json(&outcomes) } else { text(&outcomes, &plot) })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(outcomes: &[Outcome], plot: &Plot) -> String {
    let mut text = format!(
        "{} of each fault in the {}, {} requests/s answered in {} on average, faults of {}, slow is over {}\n",
        if plot.seeds == 1 { "1 life".to_owned() } else { format!("{} lives", plot.seeds) },
        plot.weather.name(),
        plot.rate,
        format_duration(plot.service),
        format_duration(plot.lasts),
        format_duration(plot.slow),
    );
    if outcomes.is_empty() {
        text.push_str("\nno cluster has endpoints of its own: those that are found while the proxy runs cannot be simulated\n");
    }
    for of_one in outcomes.chunk_by(|a, b| a.cluster == b.cluster) {
        let heading =
            ["fault", "found", "on average", "at the worst", "false ejections", "failed", "slow", "its share", "changes"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(of_one.iter().map(|outcome| row(outcome, plot)));
        let name = of_one.first().map(|outcome| plain(&outcome.cluster).into_owned()).unwrap_or_default();
        text.push_str(&format!("\n{name}\n{}", table::columns(2, &rows)));
    }
    text
}

fn row(outcome: &Outcome, plot: &Plot) -> Vec<String> {
    let (found, lives) = outcome.found;
    let sick = |text: String| if lives == 0 { "–".to_owned() } else { text };
    let missed = || sick(format!("not in {}", format_duration(plot.lasts)));
    let time = |time: Duration| if found == 0 { missed() } else { figure::span(time) };
    vec![
        outcome.fault.words().to_owned(),
        sick(format!("{found} of {lives}")),
        time(outcome.mean),
        time(outcome.worst),
        outcome.false_ejections.to_string(),
        format!("{} of {}", outcome.failed, outcome.requests),
        outcome.slow.to_string(),
        sick(format!("{}%", figure::figure(outcome.share * 100.0))),
        sick(figure::figure(outcome.transitions)),
    ]
}

fn json(outcomes: &[Outcome]) -> String {
    let one = |outcome: &Outcome| {
        let found = outcome.found.0 > 0;
        json!({
            "cluster": &*outcome.cluster,
            "fault": outcome.fault.name(),
            "lives": outcome.found.1,
            "found": outcome.found.0,
            "mean": found.then_some(outcome.mean.as_secs_f64()),
            "worst": found.then_some(outcome.worst.as_secs_f64()),
            "false_ejections": outcome.false_ejections,
            "endpoint_days": outcome.endpoint_days,
            "requests": outcome.requests,
            "failed": outcome.failed,
            "slow": outcome.slow,
            "share": outcome.share,
            "transitions": outcome.transitions,
        })
    };
    format!("{:#}\n", json!({ "outcomes": outcomes.iter().map(one).collect::<Vec<_>>() }))
}

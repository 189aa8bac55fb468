//! The command line: one file per subcommand, and the only place that prints.
//!
//! What a subcommand finds goes to standard output, why it could not do its work to standard error in one line. A usage
//! error exits with 2, everything else that went wrong with 1. Nothing is decided here about requests or health.
//!
//! | file | does |
//! |---|---|
//! | `run`, `demo` | serves; the others end by themselves |
//! | `probe` | asks endpoints themselves |
//! | `beat` | speaks for one |
//! | `validate`, `plan`, `simulate`, `schema`, `completions` | need neither a process nor a network |
//! | `status`, `explain`, `events`, `operate`, `reload`, `health` | ask a running process, through `client` |
//! | `age`, `finding`, `reason`, `table`, `figure`, `pushed`, `output`, `failure` | how it all looks |
//! | `origin`, `sse` | where a process is; the reading of server-sent events |

mod age;
mod beat;
mod client;
mod completions;
mod demo;
mod events;
mod explain;
mod failure;
mod figure;
mod finding;
mod health;
mod operate;
mod origin;
mod output;
mod plan;
mod probe;
mod pushed;
mod reason;
mod reload;
mod run;
mod schema;
mod simulate;
mod sse;
mod status;
mod table;
mod validate;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cli::client::Target;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// The configuration file where none is named.
const DEFAULT_FILE: &str = "pulsegate.yaml";

#[derive(Debug, Parser)]
#[command(name = "pulsegate", version, about, disable_help_subcommand = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

/// The configuration file.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve
    Run(run::Run),
    /// Show what it does: sample endpoints, a proxy and load in one process, and one endpoint sick at a time
    Demo(demo::Demo),
    /// Check a configuration: every problem with file, line and column
    Validate(ConfigFile),
    /// Tell what a configuration promises: times to detect, false ejections, cost of probes, failures that are borne
    Plan(plan::Command),
    /// Play faults on a configuration in seeded worlds: times to detect, false ejections, failed and slow requests
    Simulate(simulate::Command),
    /// Show clusters, endpoints, their states and why
    Status(status::Status),
    /// Explain the verdict on one endpoint
    Explain(explain::Explain),
    /// Probe once, now: what is answered, what is read in it, what each rule would say
    Probe(probe::Probe),
    /// Let an endpoint, or all of a cluster, finish what it has and give it nothing new
    Drain(operate::Operate),
    /// Give an endpoint, or all of a cluster, no traffic
    Maintenance(operate::Operate),
    /// Give an endpoint, or all of a cluster, traffic again, as far as it is well
    Ready(operate::Operate),
    /// Let no verdict of a cluster change
    Freeze(operate::Freeze),
    /// Let the verdicts of a cluster change again
    Thaw(operate::Freeze),
    /// Apply the changed configuration file
    Reload(reload::Reload),
    /// Follow every change of state as it happens
    Events(events::Events),
    /// Send heartbeats for a program that cannot, and end when too few proxies acknowledge them
    Beat(beat::Beat),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Exit with 0 if the process serves, with 1 if not: the exec probe of a container
    Health,
}

impl Command {
    fn run(&self, target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(command) => command.run(),
            Self::Demo(command) => command.run(out),
            Self::Validate(file) => validate::run(&file.config, out),
            Self::Plan(command) => command.run(out),
            Self::Simulate(command) => command.run(out),
            Self::Status(command) => command.run(target, out),
            Self::Explain(command) => command.run(target, out),
            Self::Probe(command) => command.run(out),
            Self::Drain(command) => command.run("drain", target, out),
            Self::Maintenance(command) => command.run("maintenance", target, out),
            Self::Ready(command) => command.run("ready", target, out),
            Self::Freeze(command) => command.run("freeze", target, out),
            Self::Thaw(command) => command.run("thaw", target, out),
            Self::Reload(command) => command.run(target, out),
            Self::Events(command) => command.run(target, out),
            Self::Beat(command) => command.run(target),
            Self::Schema => schema::run(out),
            Self::Completions(command) => command.run(out),
            Self::Health => health::run(target, out),
        }
    }
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    with_arguments(std::env::args_os())
}

fn with_arguments(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    cli.command.run(&cli.target, &mut Output::stdout()).unwrap_or_else(|failure| failure.report())
}

/// Prints help, version or a usage error.
fn usage(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
        Err(printing) => Failure::from(printing).report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

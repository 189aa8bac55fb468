//! `validate -c F`: every problem of a configuration, each on a line of its own with its place.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};
use crate::config::{self, Config, Problems};

/// Checks a configuration file by the same function that start-up and reload use.
///
/// # Errors
/// If the findings cannot be printed.
pub(super) fn run(file: &Path, out: &mut Output) -> Result<ExitCode, Failure> {
    let name = file.display();
    match config::load(file) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                out.line(&plain(&format!("{warning} (warning)")))?;
            }
            out.line(&format!("{name}: valid: {}", contents(&loaded.config)))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            // Whether anybody reads them or not, the file is invalid.
            match out.print(&told(&problems)) {
                Ok(()) | Err(Failure::OutputClosed) => Ok(ExitCode::FAILURE),
                Err(failure) => Err(failure),
            }
        }
    }
}

/// What was loaded; its problems are told on standard error if it is no good.
pub(super) fn or_tell<T>(loaded: Result<T, Problems>) -> Option<T> {
    loaded.inspect_err(|problems| eprint!("{}", told(problems))).ok()
}

/// All problems, one a line, and their count.
fn told(problems: &Problems) -> String {
    let lines: String = problems.to_string().lines().map(|line| format!("{}\n", plain(line))).collect();
    format!("{lines}{}\n", counted(problems.count(), "problem"))
}

fn contents(config: &Config) -> String {
    let endpoints = config.clusters.iter().map(|cluster| cluster.endpoints.len()).sum();
    format!(
        "{}, {}, {}",
        counted(config.listeners.len(), "listener"),
        counted(config.clusters.len(), "cluster"),
        counted(endpoints, "endpoint")
    )
}

/// A number and what it counts.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

//! `reload [--dry-run]`: has the running process read its file again, and prints what changes.

use std::process::ExitCode;

use clap::Args;
use http::StatusCode;
use serde::Deserialize;

use crate::cli::client::Target;
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};

/// Whether to apply it.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

/// What changed.
#[derive(Debug, Deserialize)]
struct Applied {
    changes: Vec<String>,
}

/// Why nothing changed.
#[derive(Debug, Deserialize)]
struct Refused {
    problems: Vec<String>,
}

impl Reload {
    /// Asks for the reload and waits until it is applied or refused.
    ///
    /// # Errors
    /// If the process cannot be asked, or refuses.
    pub(super) fn run(&self, target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
        let path = if self.dry_run { "/api/v1/reload?dry_run=true" } else { "/api/v1/reload" };
        let answer = target.client()?.post(path, bytes::Bytes::new())?;
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
            return refused(&answer.shape()?, out);
        }
        let applied: Applied = answer.json()?;
        out.print(&self.told(&applied))?;
        Ok(ExitCode::SUCCESS)
    }

    fn told(&self, applied: &Applied) -> String {
        let lines: String = applied.changes.iter().map(|change| format!("{}\n", plain(change))).collect();
        match (applied.changes.is_empty(), self.dry_run) {
            (true, _) => "nothing changes\n".to_owned(),
            (false, true) => format!("{lines}not applied: --dry-run\n"),
            (false, false) => format!("{lines}applied\n"),
        }
    }
}

fn refused(refused: &Refused, out: &mut Output) -> Result<ExitCode, Failure> {
    let lines: String = refused.problems.iter().map(|problem| format!("{}\n", plain(problem))).collect();
    match out.print(&format!("{lines}nothing was changed\n")) {
        Ok(()) | Err(Failure::OutputClosed) => Ok(ExitCode::FAILURE),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_one_a_line() {
        let told = |dry_run, changes: &[&str]| {
            Reload { dry_run }.told(&Applied { changes: changes.iter().map(|&change| change.to_owned()).collect() })
        };
        assert_eq!(told(false, &["a", "b"]), "a\nb\napplied\n");
        assert_eq!(told(true, &["a"]), "a\nnot applied: --dry-run\n");
        assert_eq!(told(false, &[]), "nothing changes\n");
    }
}

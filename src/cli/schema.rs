//! `schema`: the JSON Schema of the configuration, for editors.

use std::process::ExitCode;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config;

/// Prints the schema.
///
/// # Errors
/// If it cannot be printed.
pub(super) fn run(out: &mut Output) -> Result<ExitCode, Failure> {
    out.line(&format!("{:#}", config::schema()))?;
    Ok(ExitCode::SUCCESS)
}

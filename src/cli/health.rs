//! `health`: the probe that a container runs inside itself; its exit code says whether the process serves.
//!
//! Images without a shell have nothing else to ask with. It needs no file and no token.

use std::process::ExitCode;

use http::StatusCode;

use crate::cli::client::Target;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Asks whether the process is ready.
///
/// # Errors
/// If it cannot be asked, or says no.
pub(super) fn run(target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
    let answer = target.client()?.get("/readyz")?;
    if answer.status != StatusCode::OK {
        return Err(answer.refusal());
    }
    out.line("ready")?;
    Ok(ExitCode::SUCCESS)
}

//! Owns how a subcommand that could not do its work ends: one line to standard error and an exit code.
//!
//! A line says where, what was said, what is wanted and what to do, since whoever reads it may be a script's log. That
//! the reader of our output went away, as `head` does, is no failure worth a line.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why a subcommand could not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// A sentence for the user.
    Said(String),
    /// Nobody reads our output any more.
    OutputClosed,
}

impl Failure {
    /// A failure with a sentence for the user.
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self::Said(sentence.into())
    }

    /// Tells the user, and how the process should end.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Self::Said(_) => {
                eprintln!("pulsegate: {self}");
                ExitCode::FAILURE
            }
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(sentence) => f.write_str(sentence),
            Self::OutputClosed => f.write_str("the output was closed"),
        }
    }
}

impl From<io::Error> for Failure {
    /// A failure to write to standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Said(format!("standard output: {error}")),
        }
    }
}

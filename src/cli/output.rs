//! Owns standard output: the one writer that every subcommand prints through.
//!
//! Printing macros panic when the reader has gone; here that is an error like any other. Text that came from elsewhere
//! passes [`plain`] first, so that an endpoint's answer cannot steer the terminal of whoever asks about it.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::cli::failure::Failure;

/// Standard output.
#[derive(Debug)]
pub(super) struct Output {
    stdout: io::Stdout,
}

impl Output {
    /// The standard output of this process.
    pub(super) fn stdout() -> Self {
        Self { stdout: io::stdout() }
    }

    /// Prints text as it is and sees that it gets out.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes())?;
        Ok(self.stdout.flush()?)
    }

    /// Prints text and ends the line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{text}\n"))
    }
}

/// The text with every control character escaped, newlines too.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("HTTP/1.1 200 é"), "HTTP/1.1 200 é");
        assert_eq!(plain("a\x1b[2J\r\nb\u{9b}"), "a\\u{1b}[2J\\r\\nb\\u{9b}");
    }
}

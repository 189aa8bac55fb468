//! Owns standard output: the one writer that every subcommand prints through.
//!
//! Printing macros panic when the reader has gone; here that is an error like any other. Text that came from elsewhere
//! passes [`plain`] first, so that an endpoint's answer cannot steer the terminal of whoever asks about it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use crate::cli::failure::Failure;
use crate::report::shows;

/// Standard output.
#[derive(Debug)]
pub(super) struct Output {
    stdout: io::Stdout,
    terminal: bool,
}

impl Output {
    /// The standard output of this process.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { stdout, terminal }
    }

    /// Whether a person looks at it.
    pub(super) const fn is_terminal(&self) -> bool {
        self.terminal
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

    /// Empties the terminal, if there is one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        if self.terminal { self.print("\x1b[H\x1b[2J") } else { Ok(()) }
    }

    /// Replaces what is on the terminal by this text; appends it where there is no terminal.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn redraw(&mut self, text: &str) -> Result<(), Failure> {
        if !self.terminal {
            return self.print(text);
        }
        // Each line is cleared to its end and the rest below it last, so that nothing flickers.
        let lines = text.replace('\n', "\x1b[K\n");
        self.print(&format!("\x1b[H{lines}\x1b[J"))
    }
}

/// The text with every character escaped that does not show as itself, newlines too.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().all(shows) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if shows(c) { c.to_string() } else { c.escape_default().to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("HTTP/1.1 200 é"), "HTTP/1.1 200 é");
        assert_eq!(plain("a\x1b[2J\r\nb\u{9b}"), "a\\u{1b}[2J\\r\\nb\\u{9b}");
        assert_eq!(plain("a\u{202e}b"), "a\\u{202e}b");
    }
}

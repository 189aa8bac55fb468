//! Owns the reading of files that hold secrets: what is wrong with one is told without a word of what stands in it.

use crate::config::file::reason;
use crate::config::lower::At;

/// The text of the file that is named at `at`; puts down a problem if it cannot be read.
pub(super) fn secret_file(at: &At<'_>, file: &str) -> Option<String> {
    let page = at.page();
    match (page.read)(&page.folder.join(file)) {
        Ok(text) => Some(text),
        Err(error) => {
            at.wrong("a file that can be read", reason(&error));
            None
        }
    }
}

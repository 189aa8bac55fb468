//! Owns the one place where the configuration touches files and the environment.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::config::model::Endpoint;
use crate::config::parse::MAX_TEXT;
use crate::config::problem::{Problem, Problems};
use crate::config::read::{Loaded, Source, read_endpoints, read_text};

/// Loads a configuration file, with the variables of this process's environment.
///
/// # Errors
/// All problems of the file, or the one that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let text = read(path).map_err(|error| unreadable(&name, &error))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let source = Source { file: &name, folder, env: &|name| std::env::var(name).ok(), read: &read };
    read_text(&text, &source)
}

/// Loads a file with a list of endpoints in YAML or JSON, as a cluster has it.
///
/// # Errors
/// All problems of the file, or the one that it cannot be read.
pub fn load_endpoints(path: &Path) -> Result<Vec<Endpoint>, Problems> {
    let name = path.display().to_string();
    let text = read(path).map_err(|error| unreadable(&name, &error))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    read_endpoints(&text, &Source { file: &name, folder, env: &|_| None, read: &nothing })
}

/// Reads a file whole, but not more than a configuration may have.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more, so that what is too long is seen to be so.
    File::open(path)?.take(MAX_TEXT as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Why a file could not be read, in words.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "the permission to read it is missing".to_owned(),
        io::ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        kind => kind.to_string(),
    }
}

fn unreadable(name: &str, error: &io::Error) -> Problems {
    Problems::new(vec![Problem {
        file: name.into(),
        line: 0,
        column: 0,
        path: "(top)".to_owned(),
        said: "a file that cannot be read".to_owned(),
        wanted: "a configuration in YAML".to_owned(),
        hint: Some(reason(error)),
    }])
}

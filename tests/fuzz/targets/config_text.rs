//! What must hold of every configuration file: it is read, or refused with problems that say where they are.

use std::io;
use std::path::Path;

use pulsegate::config::from_text;

/// How messages of serde begin. One among the problems means that the walk let through what the raw shapes do not take.
const FROM_SERDE: [&str; 6] =
    ["missing field", "invalid type", "invalid value", "unknown field", "unknown variant", "data did not match"];

/// Reads `data` as a configuration.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let env = |name: &str| match name {
        "SET" => Some("1s".to_owned()),
        "TREE" => Some("{a: [b]}".to_owned()),
        _ => None,
    };
    let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let once = || from_text(&text, "fuzz.yaml", Path::new("/nowhere"), &env, &read);
    let first = once();
    if let Err(problems) = &first {
        assert!(problems.count() > 0, "what is refused is refused for a reason");
        // A carriage return alone breaks a line too, and YAML thinks of a break after the last line, where it finds the end.
        let lines = text.chars().filter(|c| matches!(c, '\n' | '\r')).count() + 2;
        for problem in problems {
            assert!(problem.line <= lines, "{problem} is after the end, {lines} lines");
            assert_eq!(problem.line == 0, problem.column == 0, "{problem}");
            assert!(!problem.wanted.is_empty(), "{problem}");
            assert!(!FROM_SERDE.iter().any(|start| problem.wanted.starts_with(start)), "{problem}");
        }
    }
    assert_eq!(first, once(), "the same text says the same");
}

//! The chapters in `docs/` against the code: every state, reason and error has its row, and every answer shown has the shape that
//! the program gives it.

use std::collections::BTreeSet;
use std::process::Command;

use pulsegate::admin::shape::{Explanation, Status, Succession, Transition};
use pulsegate::cluster::Token;
use pulsegate::health::verdict::State;
use regex_lite::Regex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::tree::{File, code_of, documents, files};

/// The words that open a row of a table, in backquotes, within the section under this heading.
fn first_words(file: &File, heading: &str) -> BTreeSet<String> {
    let (_, section) = file.text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{}: {heading}", file.path));
    let section = section.split("\n## ").next().unwrap_or_default();
    let word = Regex::new("`([^`]+)`").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap_or_default();
        word.captures_iter(cell).map(|found| found[1].to_owned()).collect::<Vec<_>>()
    })
    .collect()
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_state_is_explained() {
    let states = set(State::ALL.map(State::as_str));
    assert_eq!(first_words(&File::read("docs/health.md"), "## States"), states);
}

#[test]
fn every_reason_is_explained() {
    let source = File::read("src/health/verdict.rs").text;
    let (_, shown) = source.split_once("impl std::fmt::Display for Code").expect("codes have a spelling");
    let shown = shown.split("\n}\n").next().unwrap_or_default();
    let mut codes: BTreeSet<String> =
        Regex::new("=> \"([a-z_]+)\"").unwrap().captures_iter(shown).map(|found| found[1].to_owned()).collect();
    codes.insert("report_…".to_owned());
    assert_eq!(first_words(&File::read("docs/health.md"), "## Reasons"), codes);
}

/// Only errors that the program gives have a row: a reader would look for the others in vain.
#[test]
fn every_error_of_our_own_is_explained() {
    let sources: String = files("src/proxy", &[".rs"]).iter().map(|file| code_of(&file.text)).collect();
    let used = |variant: &str| Regex::new(&format!(r"Token::{variant}\b")).unwrap().is_match(&sources);
    let given = set(Token::ALL.iter().filter(|(token, _)| used(&format!("{token:?}"))).map(|(_, name)| *name));
    assert_eq!(first_words(&File::read("docs/operations.md"), "## Answers of our own"), given);
}

/// The shapes are those that our own command line reads, and scripts are written by what stands here.
#[test]
fn the_answers_shown_have_the_shapes_of_the_admin_interface() {
    check_shape::<Status>("Status");
    check_shape::<Explanation>("Explanation");
    check_shape::<Transition>("Transition");
    check_shape::<Succession>("Succession");
}

fn check_shape<T: DeserializeOwned + Serialize>(name: &str) {
    let chapter = File::read("docs/admin-api.md").text;
    let (_, rest) = chapter.split_once(&format!("<!-- json: {name} -->\n```json\n")).unwrap_or_else(|| panic!("no {name}"));
    let shown: Value =
        serde_json::from_str(rest.split("```").next().unwrap_or_default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let read: T = serde_json::from_value(shown.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(read).unwrap(), shown, "{name} as the program writes it");
}

#[test]
fn commands_in_documents_exist_and_all_are_listed() {
    let help = Command::new(env!("CARGO_BIN_EXE_pulsegate")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").expect("help lists commands");
    let listed = commands.lines().take_while(|line| line.starts_with("  "));
    let named = listed.filter_map(|line| line.strip_prefix("  ")?.split_once(' ')).map(|(name, _)| name);
    let known: BTreeSet<&str> = named.filter(|name| !name.is_empty()).collect();
    let chapter = File::read("docs/operations.md").text;
    for command in &known {
        let row = [format!("`pulsegate {command}"), format!("`{command}`")];
        assert!(row.iter().any(|words| chapter.contains(words)), "docs/operations.md lacks {command}");
    }
    let called = Regex::new(r"(?m)(?:`|^|: |; )pulsegate ([a-z]+)").unwrap();
    for file in documents().into_iter().chain(files("deploy", &[".yaml"])).chain(files("examples", &[".yaml", ".rs"])) {
        for found in called.captures_iter(&file.text) {
            assert!(known.contains(&found[1]), "{}: there is no `pulsegate {}`; known are {known:?}", file.path, &found[1]);
        }
    }
}

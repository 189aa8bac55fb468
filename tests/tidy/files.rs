//! The shape of files: each says what it owns, none grows without bound, none has a name that means nothing, and documents
//! point at tests and files that exist.

use std::os::unix::fs::PermissionsExt;

use regex_lite::Regex;

use crate::layers::before_tests;
use crate::tree::{File, documents, files, root};

/// Lines of a source without its tests. A file that is longer has more than one thing to say.
const LONGEST: usize = 600;

#[test]
fn every_source_says_first_what_it_owns() {
    for folder in ["src", "tests", "examples"] {
        for file in files(folder, &[".rs"]) {
            let first = file.text.lines().next().unwrap_or_default();
            assert!(
                first.starts_with("//! ") && first.split_whitespace().count() > 2,
                "{}: line 1 is no purpose: {first:?}",
                file.path
            );
        }
    }
}

#[test]
fn no_source_outgrows_its_noun() {
    for file in files("src", &[".rs"]).iter().filter(|file| !file.is_test()) {
        let lines = before_tests(&file.text).lines().count();
        assert!(lines <= LONGEST, "{}: {lines} lines without tests, at most {LONGEST}", file.path);
    }
}

#[test]
fn no_name_means_nothing() {
    let empty = Regex::new(r"(?:^|[/_])(?:utils?|common|helpers?|managers?|misc|stuff)(?:[/_.]|$)").unwrap();
    for file in files("src", &[".rs"]).into_iter().chain(files("tests", &[".rs"])) {
        assert!(!empty.is_match(&file.path), "{}: name it after what it owns", file.path);
    }
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let later = Regex::new(r"\b(?:TODO|FIXME|XXX)\b").unwrap();
    for file in files("src", &[".rs"]) {
        assert!(!later.is_match(&file.text), "{}: do it, or write it under Known in CHANGELOG.md", file.path);
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)(#[^)]*)?\)").unwrap();
    for file in documents() {
        let folder = root().join(&file.path).parent().unwrap().to_path_buf();
        for found in link.captures_iter(&file.text) {
            let target = &found[1];
            if !target.contains("://") {
                assert!(folder.join(target).exists(), "{}: {target} does not exist", file.path);
            }
        }
    }
}

#[test]
fn tests_named_in_documents_exist() {
    let named = Regex::new(r"`([\w/]+\.rs)::(\w+)`").unwrap();
    let mut seen = 0;
    for file in documents() {
        for found in named.captures_iter(&file.text) {
            let (path, test) = (&found[1], &found[2]);
            let source = std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {path}: {e}", file.path));
            assert!(source.contains(&format!("fn {test}(")), "{}: {path} has no {test}", file.path);
            seen += 1;
        }
    }
    assert!(seen >= 10, "ARCHITECTURE.md names the test behind each invariant, found {seen}");
}

#[test]
fn what_a_change_must_pass_is_the_test_command_of_the_readme() {
    let readme = File::read("README.md").text;
    assert!(readme.contains("\ncargo run --release -- demo --for 20s "), "the run command");
    assert!(readme.contains("\ntests/run "), "the test command");
    let check = File::read(".ci/run").text;
    let commands: Vec<&str> = check.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(commands, ["exec \"$(dirname \"$0\")/../tests/run\""]);
    for script in [".ci/run", "tests/run"] {
        let mode = std::fs::metadata(root().join(script)).unwrap().permissions().mode();
        assert!(mode & 0o111 != 0, "{script} cannot be executed");
    }
}

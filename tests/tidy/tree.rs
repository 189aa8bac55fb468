//! The files of the repository as text, and Rust sources without their comments and strings.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

impl File {
    /// Reads one file; the path counts from the root.
    pub(crate) fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }
}

/// Every file below `folder` whose name ends in one of `endings`, sorted by path; fails if there is none.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    collect(&root().join(folder), endings, &mut found);
    found.sort_by(|a: &File, b: &File| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no {endings:?} in {folder}");
    found
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name == "target") {
            continue;
        }
        if path.is_dir() {
            collect(&path, endings, found);
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push(File::read(&relative));
        }
    }
}

impl File {
    /// Whether it is compiled for tests alone, as the door of its room says.
    pub(crate) fn is_test(&self) -> bool {
        let path = root().join(&self.path);
        let (Some(name), Some(folder)) = (path.file_stem(), path.parent()) else { return false };
        let door = std::fs::read_to_string(folder.join("mod.rs")).unwrap_or_default();
        door.contains(&format!("#[cfg(test)]\nmod {};", name.to_string_lossy()))
    }
}

/// The documents that users and contributors read.
pub(crate) fn documents() -> Vec<File> {
    let mut found = files("docs", &[".md"]);
    found.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(File::read));
    found
}

/// A Rust source with every comment, string and character literal blanked; lines stay where they are.
pub(crate) fn code_of(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    while let Some(first) = rest.chars().next() {
        let skipped = length_of_no_code(rest, code.chars().next_back());
        let (taken, left) = rest.split_at(if skipped > 0 { skipped } else { first.len_utf8() });
        if skipped > 0 {
            code.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(taken);
        }
        rest = left;
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal.
fn length_of_no_code(rest: &str, before: Option<char>) -> usize {
    let up_to = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return up_to("*/", 2);
    }
    if rest.starts_with('"') {
        return length_of_string(rest);
    }
    if rest.starts_with('r') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        if rest[1 + hashes..].starts_with('"') {
            return up_to(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
        }
    }
    length_of_char(rest)
}

fn length_of_string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, told from a lifetime by its closing quote.
fn length_of_char(rest: &str) -> usize {
    let Some(inner) = rest.strip_prefix('\'') else { return 0 };
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map_or(0, |at| at + 4);
    }
    let Some(c) = inner.chars().next() else { return 0 };
    if inner[c.len_utf8()..].starts_with('\'') { c.len_utf8() + 2 } else { 0 }
}

#[test]
fn comments_and_literals_are_not_code() {
    let check = |source: &str, code: &str| assert_eq!(code_of(source).split_whitespace().collect::<Vec<_>>().join(" "), code);
    check("a // tokio\nb", "a b");
    check("a /* tokio */ b", "a b");
    check(r#"a "tok\"io" b"#, "a b");
    check("a r#\"to\"kio\"# b", "a b");
    check("a '\"' b \"tokio\" c", "a b c");
    check(r"a '\'' b", "a b");
    check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
    check("for r in x {}", "for r in x {}");
    assert_eq!(code_of("\"a\nb\"\nc").lines().count(), 3);
}

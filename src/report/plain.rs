//! Answers that are a word and not a document: `OK`, `Unhealthy`, `true`, and the verbose text of Kubernetes.
//!
//! The whole text must be the word. A sentence in which one occurs says nothing, or a page about `errors` would be a failure.

use super::page::{Fold, Lookup, Number, Page};
use super::spec::Format;
use super::words;

/// Longest text that is taken for a word, in bytes.
const MAX_TEXT: usize = 64;

/// A page that holds a status word and no number.
#[derive(Debug)]
pub(super) struct PlainPage<'a> {
    word: &'a str,
}

impl<'a> PlainPage<'a> {
    /// The page of a text and its format, if it says a word that means something.
    pub(super) fn of(text: &'a str) -> Option<(Format, Self)> {
        let text = text.trim();
        if let Some(word) = kubernetes(text) {
            return Some((Format::Kubernetes, Self { word }));
        }
        let word = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let means = text.len() <= MAX_TEXT && words::meaning(word).is_some();
        means.then_some((Format::Plain, Self { word }))
    }
}

/// `passed` or `failed`, as the last line of `[+]ping ok` and its like says.
fn kubernetes(text: &str) -> Option<&str> {
    if !text.starts_with("[+]") && !text.starts_with("[-]") {
        return None;
    }
    let (head, word) = text.lines().last()?.trim_end().rsplit_once(' ')?;
    (head.ends_with(" check") && matches!(word, "passed" | "failed")).then_some(word)
}

impl Page for PlainPage<'_> {
    fn word(&self) -> Option<&str> {
        Some(self.word)
    }

    fn lookup(&self, _: &str, _: Fold) -> Lookup {
        Lookup::Missing
    }

    fn visit(&self, _: &mut dyn FnMut(Number<'_>) -> bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text: &str, wanted: Option<(Format, &str)>| {
            let found = PlainPage::of(text);
            assert_eq!(found.as_ref().map(|(format, page)| (*format, page.word)), wanted, "{text:?}");
        };
        for word in ["OK", "pong", "Healthy", "Degraded", "Unhealthy", "true", "false", "passing", "critical"] {
            check(word, Some((Format::Plain, word)));
        }
        check(" ok\r\n", Some((Format::Plain, "ok")));
        check("\"UP\"", Some((Format::Plain, "UP")));
        check("[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n", Some((Format::Kubernetes, "failed")));
        check("[+]ping ok\n[+]log excluded: ok\r\nlivez check passed", Some((Format::Kubernetes, "passed")));
        for none in [
            "",
            "up and running",
            "no error",
            "UNKNOWN",
            "1",
            "OK OK",
            "ready check passed",
            "[+]ping ok",
            "[+]ping ok\nreadyz check skipped",
            "\"",
            &"up ".repeat(100),
        ] {
            check(none, None);
        }
    }
}

//! The status words of the frameworks, each once, and what it means.
//!
//! Every framework has words of its own for the same three things. A word that is not here means nothing: the HTTP status
//! decides then, because taking an unknown word for a failure would eject well endpoints.

use super::hint::shows;
use super::value::StatusWord;

/// Most bytes of a status word that are kept for people to read.
const MAX_WORD: usize = 64;

const HEALTHY: &[&str] = &[
    "up",
    "ok",
    "pass",
    "passed",
    "passing",
    "healthy",
    "ready",
    "live",
    "alive",
    "serving",
    "running",
    "available",
    "green",
    "true",
    "pong",
];

const DEGRADED: &[&str] = &["warn", "warning", "degraded", "partial", "partially_available", "yellow"];

/// `starting` and `shutting_down` are here because requests sent to either are lost.
const FAILING: &[&str] = &[
    "down",
    "fail",
    "failed",
    "failing",
    "error",
    "critical",
    "unhealthy",
    "unavailable",
    "out_of_service",
    "not_ready",
    "not_serving",
    "starting",
    "stopping",
    "stopped",
    "shutting_down",
    "dead",
    "red",
    "false",
];

/// What a status word means, whatever its case and whether its parts are joined by spaces, hyphens or underscores; `None`
/// for a word that is unknown, among them `UNKNOWN` itself.
#[must_use]
pub fn meaning(word: &str) -> Option<StatusWord> {
    if word.len() > MAX_WORD {
        return None;
    }
    let word: String = word.trim().chars().map(|c| if matches!(c, ' ' | '-') { '_' } else { c.to_ascii_lowercase() }).collect();
    let among = |words: &[&str]| words.contains(&word.as_str());
    if among(HEALTHY) {
        Some(StatusWord::Healthy)
    } else if among(DEGRADED) {
        Some(StatusWord::Degraded)
    } else if among(FAILING) {
        Some(StatusWord::Failing)
    } else {
        None
    }
}

/// The word as people may read it, with what is said about it: at most 64 bytes, and nothing in it but what shows.
pub(super) fn shown(word: &str, comment: Option<&str>) -> String {
    let mut shown = word.to_owned();
    if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
        shown.push_str(" #");
        shown.push_str(comment);
    }
    shown.truncate(shown.floor_char_boundary(MAX_WORD));
    shown.retain(shows);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_frameworks() {
        let check = |words: &[&str], wanted: Option<StatusWord>| {
            for word in words {
                assert_eq!(meaning(word), wanted, "{word}");
            }
        };
        check(&["UP", "up", "pass", "OK", "ok", "Healthy", "passing", "SERVING", " up "], Some(StatusWord::Healthy));
        check(&["warn", "WARNING", "Degraded", "Partially Available"], Some(StatusWord::Degraded));
        check(
            &[
                "DOWN",
                "fail",
                "error",
                "OUT_OF_SERVICE",
                "out-of-service",
                "Unhealthy",
                "Unavailable",
                "critical",
                "shutting_down",
            ],
            Some(StatusWord::Failing),
        );
        check(&["UNKNOWN", "", "upp", "u p", "yes", "ÜP", &"up".repeat(100)], None);
    }

    #[test]
    fn no_word_means_two_things() {
        let all: Vec<_> = HEALTHY.iter().chain(DEGRADED).chain(FAILING).collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
    }

    #[test]
    fn a_shown_word_is_short_and_printable() {
        assert_eq!(shown("a\u{1b}[31mb\n", None), "a[31mb");
        assert_eq!(shown("a\u{202e}b\u{200b}", None), "ab");
        assert_eq!(shown("down", Some("db gone")), "down #db gone");
        assert!(shown(&"é".repeat(100), Some("x")).len() <= 64);
    }
}

//! What `explain` says when a metric is not where it was looked for: what is there instead.
//!
//! Names in an answer are somebody else's text: they are cut and cleaned before they are shown, and only so many are
//! compared, since a broken report is read again at every interval.

use std::collections::BTreeSet;

use super::page::Page;

/// Most names that a hint tells.
const TOLD: usize = 5;
/// Most names that are compared.
const COMPARED: usize = 256;
/// Most characters of a foreign text that are shown.
const SHOWN: usize = 80;

/// A foreign text as it may be shown: short, on one line, printable.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() || c == '`' { '\u{fffd}' } else { c });
    let mut out: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// The numbers on the page whose names are nearest to `wanted`, as a clause.
pub(super) fn nearest(page: &dyn Page, wanted: &str) -> String {
    let mut names = BTreeSet::new();
    page.visit(&mut |number| {
        if number.name.len() <= SHOWN {
            names.insert(number.name.to_owned());
        }
        names.len() < COMPARED
    });
    if names.is_empty() {
        return "the answer holds no number".to_owned();
    }
    let wanted = wanted.to_lowercase();
    let mut ranked: Vec<(f64, String)> =
        names.into_iter().map(|name| (strsim::sorensen_dice(&wanted, &name.to_lowercase()), name)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let more = if ranked.len() > TOLD { ", …" } else { "" };
    let told: Vec<String> = ranked.iter().take(TOLD).map(|(_, name)| format!("`{}`", shown(name))).collect();
    format!("numbers found: {}{more}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::json::JsonPage;
    use super::super::tree::Node;
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_at_most_five() {
        let page = JsonPage::new(Node::parse(br#"{"a":1,"b":2,"c":3,"d":4,"jobs":{"wating":5,"done":6},"text":"x"}"#).unwrap());
        let hint = nearest(&page, "jobs.waiting");
        assert!(hint.starts_with("numbers found: `jobs.wating`, `jobs.done`, `a`"), "{hint}");
        assert_eq!(hint.matches('`').count(), 10, "{hint}");
        assert!(hint.ends_with('…'));
        assert_eq!(nearest(&JsonPage::new(Node::parse(b"{}").unwrap()), "x"), "the answer holds no number");
    }

    #[test]
    fn foreign_text_is_cut_and_cleaned() {
        assert_eq!(shown("a\n\u{1b}[2J`b"), "a\u{fffd}\u{fffd}[2J\u{fffd}b");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 81);
    }
}

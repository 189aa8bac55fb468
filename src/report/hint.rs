//! What `explain` says when a metric is not where it was looked for: what is there instead.
//!
//! Names in an answer are somebody else's text: they are cut and cleaned before they are shown, and only so many are
//! compared, since a broken report is read again at every interval.

use std::collections::BTreeSet;

use super::page::Page;

/// Most names that a hint tells.
const TOLD: usize = 5;
/// Most numbers that are looked at, for many may have one name.
const LOOKED_AT: usize = 4096;
/// Most names that are compared.
const COMPARED: usize = 256;
/// Most characters of a foreign text that are shown.
const SHOWN: usize = 80;

/// Whether a character shows as itself: it is no control, ends no line, and neither hides nor turns round what stands beside it
/// (Unicode's format characters, which a terminal obeys).
#[must_use]
pub fn shows(c: char) -> bool {
    let obeyed = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !obeyed
}

/// A foreign text as it may be shown: short, on one line, printable.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if !shows(c) || c == '`' { '\u{fffd}' } else { c });
    let mut out: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// The numbers on the page whose names are nearest to `wanted`, as a clause.
pub(super) fn nearest(page: &dyn Page, wanted: &str) -> String {
    let (mut names, mut looked_at) = (BTreeSet::new(), 0);
    page.visit(&mut |number| {
        looked_at += 1;
        if number.name.len() <= SHOWN {
            names.insert(number.name.to_owned());
        }
        names.len() < COMPARED && looked_at < LOOKED_AT
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
        assert_eq!(shown("cpu\u{200b}\u{202e}x\u{2028}\u{e0041}é字"), "cpu\u{fffd}\u{fffd}x\u{fffd}\u{fffd}é字");
    }

    /// A page of one name, a hundred thousand times, that counts how often it is looked at.
    struct Endless(std::cell::Cell<usize>);

    impl Page for Endless {
        fn word(&self) -> Option<&str> {
            None
        }

        fn lookup(&self, _: &str, _: super::super::page::Fold) -> super::super::page::Lookup {
            super::super::page::Lookup::Missing
        }

        fn visit(&self, see: &mut dyn FnMut(super::super::page::Number<'_>) -> bool) {
            while self.0.get() < 100_000 && see(super::super::page::Number { path: "a", name: "a", value: 1.0 }) {
                self.0.set(self.0.get() + 1);
            }
        }
    }

    #[test]
    fn only_so_many_numbers_are_looked_at() {
        let page = Endless(std::cell::Cell::new(0));
        assert_eq!(nearest(&page, "b"), "numbers found: `a`");
        assert!(page.0.get() <= LOOKED_AT, "{}", page.0.get());
    }
}

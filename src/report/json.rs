//! Any JSON object: numbers by dotted path, the status word at the top.
//!
//! This also reads MicroProfile Health and the health pages of most frameworks, whose details differ and whose top does
//! not. A number in quotes is text, and text is no number: whether `"0,5"` or `"37%"` is meant as one would be a guess.

use super::page::{Fold, Lookup, Number, Page};
use super::path;
use super::tree::Node;

/// The keys that a status word stands under, at the top of an answer.
const STATUS_KEYS: &[&str] = &["status", "state", "outcome", "health"];

/// A page of plain JSON.
#[derive(Debug)]
pub(super) struct JsonPage {
    root: Node,
}

impl JsonPage {
    pub(super) const fn new(root: Node) -> Self {
        Self { root }
    }

    pub(super) const fn root(&self) -> &Node {
        &self.root
    }
}

impl Page for JsonPage {
    fn word(&self) -> Option<&str> {
        let Node::Object(members) = &self.root else { return None };
        STATUS_KEYS.iter().find_map(|wanted| {
            members.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).and_then(|(_, value)| value.text())
        })
    }

    fn lookup(&self, place: &str, _: Fold) -> Lookup {
        let Some(target) = path::find(&self.root, place) else { return Lookup::Missing };
        let Node::Number(value) = *target.node else { return Lookup::Other(target.node.kind()) };
        let unit = if target.key == "observedValue" { target.parent.get("observedUnit").and_then(Node::text) } else { None };
        Lookup::Number { value, key: target.key.to_owned(), unit: unit.map(str::to_owned) }
    }

    fn visit(&self, see: &mut dyn FnMut(Number<'_>) -> bool) {
        path::visit(&self.root, &mut String::new(), &mut |path, value| see(Number { path, name: path, value }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> JsonPage {
        JsonPage::new(Node::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn the_status_word_stands_at_the_top() {
        let check = |body: &str, wanted: Option<&str>| assert_eq!(page(body).word(), wanted, "{body}");
        check(r#"{"status":"UP"}"#, Some("UP"));
        check(r#"{"Status":"Degraded"}"#, Some("Degraded"));
        check(r#"{"outcome":"DOWN","checks":[]}"#, Some("DOWN"));
        check(r#"{"status":200,"state":"ok"}"#, Some("ok"));
        check(r#"{"status":"UP","status":"DOWN"}"#, None);
        check(r#"{"db":{"status":"DOWN"}}"#, None);
        check("[]", None);
    }

    #[test]
    fn a_number_in_quotes_is_text() {
        let page = page(r#"{"cpu":"0.3","on":true,"none":null,"list":[1]}"#);
        for place in ["cpu", "on", "none", "list"] {
            assert!(matches!(page.lookup(place, Fold::Max), Lookup::Other(_)), "{place}");
        }
    }
}

//! Any JSON object: numbers by dotted path, the status word where a framework puts it.
//!
//! This also reads MicroProfile Health and the health pages of most frameworks, whose details differ and whose top does
//! not. A number in quotes is text, and text is no number: whether `"0,5"` or `"37%"` is meant as one would be a guess.

use super::dialect;
use super::page::{Fold, Lookup, Number, Page};
use super::path;
use super::tree::Node;

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
        dialect::word(&self.root)
    }

    fn lookup(&self, place: &str, _: Fold) -> Lookup {
        let Some(target) = path::find(&self.root, place) else { return Lookup::Missing };
        let Node::Number(value) = *target.node else { return Lookup::Other(target.node.kind()) };
        let unit = if target.key == "observedValue" { target.parent.get("observedUnit").and_then(Node::text) } else { None };
        Lookup::Number { value, key: target.key.to_owned(), unit: unit.map(str::to_owned) }
    }

    fn node<'a>(&'a self, place: &'a str) -> Option<&'a Node> {
        path::find(&self.root, place).map(|target| target.node)
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
    fn a_number_in_quotes_is_text() {
        let page = page(r#"{"cpu":"0.3","on":true,"none":null,"list":[1]}"#);
        for place in ["cpu", "on", "none", "list"] {
            assert!(matches!(page.lookup(place, Fold::Max), Lookup::Other(_)), "{place}");
        }
    }
}

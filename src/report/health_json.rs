//! `application/health+json` (draft-inadarei-api-health-check-06): observations by `component:measurement`.
//!
//! A check's value is a list, one item per component. In `map`, `cpu:utilization` means all of its items, folded, and
//! `checks.cpu:utilization.0.observedValue` one of them. Only items in one unit are folded.

use super::json::JsonPage;
use super::page::{Fold, Lookup, Number, Page};
use super::path;
use super::tree::Node;

/// Whether an answer has the shape of this format: `checks` is an object of lists of objects.
pub(super) fn looks_like(root: &Node) -> bool {
    let Some(Node::Object(checks)) = root.get("checks") else { return false };
    checks.values().any(|check| matches!(check, Node::List(items) if matches!(items.first(), Some(Node::Object(_)))))
}

/// A page of health+json.
#[derive(Debug)]
pub(super) struct HealthPage {
    json: JsonPage,
}

impl HealthPage {
    pub(super) const fn new(root: Node) -> Self {
        Self { json: JsonPage::new(root) }
    }

    fn items(&self, check: &str) -> Option<&[Node]> {
        match self.json.root().get("checks")?.get(check)? {
            Node::List(items) => Some(items),
            _ => None,
        }
    }
}

impl Page for HealthPage {
    fn word(&self) -> Option<&str> {
        self.json.word()
    }

    fn lookup(&self, place: &str, fold: Fold) -> Lookup {
        match (self.json.lookup(place, fold), self.items(place)) {
            (Lookup::Missing, Some(items)) => observed(place, items, fold),
            (found, _) => found,
        }
    }

    fn node<'a>(&'a self, place: &'a str) -> Option<&'a Node> {
        self.json.node(place)
    }

    fn visit(&self, see: &mut dyn FnMut(Number<'_>) -> bool) {
        let Node::Object(members) = self.json.root() else { return };
        for (key, member) in members {
            let on = match member {
                Node::Object(checks) if key == "checks" => checks.iter().all(|(check, value)| visit_check(check, value, see)),
                _ => path::visit(member, &mut key.clone(), &mut |path, value| see(Number { path, name: path, value })),
            };
            if !on {
                return;
            }
        }
    }
}

fn visit_check(check: &str, value: &Node, see: &mut dyn FnMut(Number<'_>) -> bool) -> bool {
    let Node::List(items) = value else { return true };
    if check.len() > path::MAX_PATH {
        return true;
    }
    items.iter().enumerate().all(|(index, item)| {
        let Some(value) = item.get("observedValue").and_then(Node::number) else { return true };
        let path = if items.len() == 1 { check.to_owned() } else { format!("checks.{check}.{index}.observedValue") };
        see(Number { path: &path, name: check, value })
    })
}

fn observed(check: &str, items: &[Node], fold: Fold) -> Lookup {
    let numbers = || items.iter().filter(|item| item.get("observedValue").is_some_and(|value| value.number().is_some()));
    let unit = |item: &Node| item.get("observedUnit").and_then(Node::text).map(str::to_owned);
    let values: Vec<f64> = numbers().filter_map(|item| item.get("observedValue")?.number()).collect();
    let Some(value) = fold.of(&values) else { return Lookup::Other("without an observedValue that is a number") };
    let first = numbers().next().and_then(unit);
    if numbers().any(|item| unit(item) != first) {
        return Lookup::Other("observed in several units; name one item, such as `checks.NAME.0.observedValue`");
    }
    Lookup::Number { value, key: check.to_owned(), unit: first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> HealthPage {
        HealthPage::new(Node::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn checks_are_folded_over_their_items() {
        let page = page(
            r#"{"checks":{"cpu:utilization":[{"observedValue":85,"observedUnit":"percent"},{"observedValue":20,"observedUnit":"percent"}],
                "mixed":[{"observedValue":1,"observedUnit":"s"},{"observedValue":2,"observedUnit":"ms"}],
                "text":[{"observedValue":"high"}],"none":[]}}"#,
        );
        let number =
            |value, key: &str, unit: Option<&str>| Lookup::Number { value, key: key.to_owned(), unit: unit.map(str::to_owned) };
        assert_eq!(page.lookup("cpu:utilization", Fold::Max), number(85.0, "cpu:utilization", Some("percent")));
        assert_eq!(page.lookup("cpu:utilization", Fold::Sum), number(105.0, "cpu:utilization", Some("percent")));
        let second = "checks.cpu:utilization.1.observedValue";
        assert_eq!(page.lookup(second, Fold::Max), number(20.0, "observedValue", Some("percent")));
        for other in ["mixed", "text", "none"] {
            assert!(matches!(page.lookup(other, Fold::Max), Lookup::Other(_)), "{other}");
        }
        assert_eq!(page.lookup("nope", Fold::Max), Lookup::Missing);
    }

    #[test]
    fn shapes() {
        let check = |body: &str, wanted: bool| assert_eq!(looks_like(&Node::parse(body.as_bytes()).unwrap()), wanted, "{body}");
        check(r#"{"status":"pass","checks":{"uptime":[{"observedValue":1}]}}"#, true);
        check(r#"{"status":"UP","checks":[]}"#, false);
        check(r#"{"status":"UP","checks":{"db":"ok"}}"#, false);
        check(r#"{"checks":{"a":[]}}"#, false);
        check("{}", false);
    }
}

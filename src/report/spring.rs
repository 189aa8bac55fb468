//! Spring Boot's actuator: `/actuator/health`, and one meter of `/actuator/metrics/NAME`.
//!
//! A path such as `components.db.details.total` also finds what Boot 2.0 and 2.1 call `details.db.details.total`, so that
//! one configuration serves a fleet in the middle of an upgrade. A meter's value is found under the meter's name.

use super::json::JsonPage;
use super::page::{Fold, Lookup, Number, Page};
use super::tree::Node;

/// Whether an answer has the shape of this format.
pub(super) fn looks_like(root: &Node) -> bool {
    let has_parts = |key: &str| match root.get(key) {
        Some(Node::Object(parts)) => parts.values().any(|part| part.get("status").and_then(Node::text).is_some()),
        _ => false,
    };
    let health = root.get("status").and_then(Node::text).is_some()
        && (has_parts("components") || has_parts("details") || matches!(root.get("groups"), Some(Node::List(_))));
    health || meter(root).is_some()
}

/// A page of the actuator.
#[derive(Debug)]
pub(super) struct SpringPage {
    json: JsonPage,
}

impl SpringPage {
    pub(super) const fn new(root: Node) -> Self {
        Self { json: JsonPage::new(root) }
    }
}

impl Page for SpringPage {
    fn word(&self) -> Option<&str> {
        self.json.word()
    }

    fn lookup(&self, place: &str, fold: Fold) -> Lookup {
        let found = self.json.lookup(place, fold);
        if found != Lookup::Missing {
            return found;
        }
        if let Some((name, value)) = meter(self.json.root()).filter(|(name, _)| *name == place) {
            return Lookup::Number { value, key: name.to_owned(), unit: None };
        }
        match place.strip_prefix("components.") {
            Some(rest) => self.json.lookup(&format!("details.{rest}"), fold),
            None => Lookup::Missing,
        }
    }

    fn node<'a>(&'a self, place: &'a str) -> Option<&'a Node> {
        self.json.node(place)
    }

    fn visit(&self, see: &mut dyn FnMut(Number<'_>) -> bool) {
        match meter(self.json.root()) {
            Some((name, value)) => {
                see(Number { path: name, name, value });
            }
            None => self.json.visit(see),
        }
    }
}

/// The name and value of a meter: its `VALUE`, or the first measurement if it has none.
fn meter(root: &Node) -> Option<(&str, f64)> {
    let name = root.get("name")?.text()?;
    let Node::List(measurements) = root.get("measurements")? else { return None };
    let is_value = |item: &&Node| item.get("statistic").and_then(Node::text) == Some("VALUE");
    let chosen = measurements.iter().find(is_value).or_else(|| measurements.first())?;
    Some((name, chosen.get("value")?.number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(body: &str) -> Node {
        Node::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn shapes() {
        let check = |body: &str, wanted: bool| assert_eq!(looks_like(&root(body)), wanted, "{body}");
        check(r#"{"status":"UP","components":{"db":{"status":"UP"}}}"#, true);
        check(r#"{"status":"UP","details":{"db":{"status":"UP"}}}"#, true);
        check(r#"{"status":"UP","groups":["liveness"]}"#, true);
        check(r#"{"name":"system.cpu.usage","measurements":[{"statistic":"VALUE","value":0.37}],"availableTags":[]}"#, true);
        check(r#"{"status":"UP"}"#, false);
        check(r#"{"name":"x","measurements":[]}"#, false);
        check(r#"{"components":{"db":{"status":"UP"}}}"#, false);
    }

    #[test]
    fn a_meter_is_found_by_its_name() {
        let page = SpringPage::new(root(
            r#"{"name":"http.server.requests","measurements":[{"statistic":"COUNT","value":3},{"statistic":"VALUE","value":7}]}"#,
        ));
        let wanted = Lookup::Number { value: 7.0, key: "http.server.requests".to_owned(), unit: None };
        assert_eq!(page.lookup("http.server.requests", Fold::Max), wanted);
        assert!(matches!(page.lookup("measurements.0.value", Fold::Max), Lookup::Number { value: 3.0, .. }));
    }

    #[test]
    fn components_are_also_found_where_older_versions_have_them() {
        let page = SpringPage::new(root(r#"{"status":"UP","details":{"db":{"status":"UP","details":{"total":9}}}}"#));
        assert!(matches!(page.lookup("components.db.details.total", Fold::Max), Lookup::Number { value: 9.0, .. }));
        assert_eq!(page.lookup("components.db.details.free", Fold::Max), Lookup::Missing);
    }
}

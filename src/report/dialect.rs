//! Where the frameworks put their status word in JSON: one table, so that a framework is a row and not a file.
//!
//! What the words mean stands in `words`. A place whose word means nothing (`UNKNOWN`, a version, a code of the house) is passed
//! over as long as another place has a word that means something.

use super::tree::Node;
use super::value::StatusWord;
use super::words;

/// Every member of an object: each must have what follows, and the worst of them counts.
const EVERY_MEMBER: &str = "{}";
/// Every item of a list: each must have what follows, and the worst of them counts.
const EVERY_ITEM: &str = "[]";

/// Where a status word may stand, the first place that means something first. Keys are compared without regard to case.
const PLACES: &[&[&str]] = &[
    // health+json, Spring Boot, MicroProfile, ASP.NET Core, Terminus, Micronaut, both Go libraries, and most that is home-made.
    &["status"],
    // MicroProfile before 2.0.
    &["outcome"],
    &["state"],
    &["health"],
    // Eureka: an operator's override wins, and `UNKNOWN` in its place means that there is none.
    &["instance", "overriddenStatus"],
    &["instance", "status"],
    // Home-made, as a flag.
    &["healthy"],
    &["ok"],
    &["alive"],
    &["ready"],
    // Dropwizard: a check a member.
    &[EVERY_MEMBER, "healthy"],
    // Consul: of the agent, and of the catalogue.
    &[EVERY_ITEM, "AggregatedStatus"],
    &[EVERY_ITEM, "Status"],
];

/// The status word of an answer as it is written there: the first that means something, else the first that is there.
pub(super) fn word(root: &Node) -> Option<&str> {
    let mut unknown = None;
    for place in PLACES {
        let mut words = Vec::new();
        if !gather(root, place, &mut words) {
            continue;
        }
        match worst(&words) {
            Some(word) if words::meaning(word).is_some() => return Some(word),
            word => unknown = unknown.or(word),
        }
    }
    unknown
}

/// Takes the words at a place; false if it is not there, or not everywhere where it must be.
fn gather<'a>(node: &'a Node, place: &[&str], words: &mut Vec<&'a str>) -> bool {
    let Some((step, rest)) = place.split_first() else { return take(node, words) };
    match (node, *step) {
        (Node::Object(members), EVERY_MEMBER) => {
            !members.is_empty() && members.values().all(|member| gather(member, rest, words))
        }
        (Node::List(items), EVERY_ITEM) => !items.is_empty() && items.iter().all(|item| gather(item, rest, words)),
        (Node::Object(members), key) => {
            let mut named = members.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
            named.next().is_some_and(|(_, member)| gather(member, rest, words))
        }
        _ => false,
    }
}

fn take<'a>(node: &'a Node, words: &mut Vec<&'a str>) -> bool {
    let word = match node {
        Node::Text(text) => text,
        Node::Bool(true) => "true",
        Node::Bool(false) => "false",
        Node::Null | Node::Number(_) | Node::List(_) | Node::Object(_) | Node::Twice => return false,
    };
    words.push(word);
    true
}

fn worst<'a>(words: &[&'a str]) -> Option<&'a str> {
    let gravity = |word: &&str| match words::meaning(word) {
        Some(StatusWord::Failing) => 3,
        Some(StatusWord::Degraded) => 2,
        Some(StatusWord::Healthy) => 1,
        None => 0,
    };
    words.iter().copied().max_by_key(gravity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, wanted: Option<&str>) {
        assert_eq!(word(&Node::parse(body.as_bytes()).unwrap()), wanted, "{body}");
    }

    #[test]
    fn the_word_of_each_framework() {
        check(r#"{"status":"UP"}"#, Some("UP"));
        check(r#"{"Status":"Degraded"}"#, Some("Degraded"));
        check(r#"{"outcome":"DOWN","checks":[]}"#, Some("DOWN"));
        check(r#"{"state":"UP","checks":[]}"#, Some("UP"));
        check(r#"{"status":"error","info":{},"error":{"redis":{"status":"down"}}}"#, Some("error"));
        check(r#"{"status":"Partially Available","failures":{"rabbitmq":"refused"}}"#, Some("Partially Available"));
        check(r#"{"name":"svc","status":"UP","details":{}}"#, Some("UP"));
        check(r#"{"instance":{"status":"UP","overriddenStatus":"UNKNOWN"}}"#, Some("UP"));
        check(r#"{"instance":{"status":"UP","overriddenstatus":"OUT_OF_SERVICE"}}"#, Some("OUT_OF_SERVICE"));
        check(r#"{"instance":{"status":"STARTING","port":{"$":8082,"@enabled":"true"}}}"#, Some("STARTING"));
        check(r#"{"db":{"healthy":true},"deadlocks":{"healthy":false,"message":"two"}}"#, Some("false"));
        check(r#"{"db":{"healthy":true},"deadlocks":{"healthy":true}}"#, Some("true"));
        check(r#"[{"Status":"passing"},{"Status":"warning"}]"#, Some("warning"));
        check(r#"[{"AggregatedStatus":"critical","Service":{"Status":"x"}}]"#, Some("critical"));
        check(r#"{"healthy":false}"#, Some("false"));
        check(r#"{"ok":true,"cpu":0.3}"#, Some("true"));
    }

    #[test]
    fn a_word_that_means_nothing_leaves_it_to_the_next_place() {
        check(r#"{"status":200,"state":"ok"}"#, Some("ok"));
        check(r#"{"status":"blue","state":"ok"}"#, Some("ok"));
        check(r#"{"status":"blue"}"#, Some("blue"));
        check(r#"{"status":"UNKNOWN"}"#, Some("UNKNOWN"));
    }

    #[test]
    fn what_is_not_a_status_word() {
        for none in [
            r#"{"status":"UP","status":"DOWN"}"#,
            r#"{"db":{"status":"DOWN"}}"#,
            r#"{"db":{"healthy":false},"version":"1"}"#,
            r#"{"instance":"UP"}"#,
            r#"{"status":null}"#,
            r#"{"status":{"code":"UP"}}"#,
            r#"[{"Status":"passing"},1]"#,
            "[]",
            "{}",
            "3",
        ] {
            check(none, None);
        }
    }
}

//! Dotted paths into JSON: `jobs.waiting`, `components.db.details.pool`, `checks.0.data.pool`.
//!
//! Keys may contain dots themselves (`system.cpu.usage`), so at every object the longest key that fits is tried first. In a
//! list a part of the path is an index from 0, or the `name`, `id` or `componentId` of an item. Every step uses up a part of
//! the path, which comes from the configuration, so no body can make a walk long.

use super::tree::Node;

/// Longest path, in bytes, that is told of; below it the walk goes no deeper. It keeps one long key from being repeated for
/// every number below it.
pub(super) const MAX_PATH: usize = 200;

/// A node that a path leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Target<'a> {
    /// The last key, or the last part of the path in a list.
    pub(super) key: &'a str,
    /// The object or list that it stands in.
    pub(super) parent: &'a Node,
    /// The node.
    pub(super) node: &'a Node,
}

/// The node that `path` leads to from `root`.
pub(super) fn find<'a>(root: &'a Node, path: &'a str) -> Option<Target<'a>> {
    let ends = std::iter::once(path.len()).chain(path.rmatch_indices('.').map(|(at, _)| at));
    for end in ends {
        let key = &path[..end];
        let Some(node) = step(root, key) else { continue };
        let found = match path.get(end + 1..) {
            Some(rest) => find(node, rest),
            None => Some(Target { key, parent: root, node }),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn step<'a>(node: &'a Node, part: &str) -> Option<&'a Node> {
    match node {
        Node::Object(members) => members.get(part),
        Node::List(items) => match part.parse::<usize>() {
            Ok(index) => items.get(index),
            Err(_) => items.iter().find(|item| is_called(item, part)),
        },
        _ => None,
    }
}

fn is_called(item: &Node, name: &str) -> bool {
    ["name", "id", "componentId"].iter().any(|key| item.get(key).and_then(Node::text) == Some(name))
}

/// Shows every number below `node` with its path, in order of path; until `see` returns false, which is then returned.
pub(super) fn visit(node: &Node, path: &mut String, see: &mut dyn FnMut(&str, f64) -> bool) -> bool {
    match node {
        Node::Number(value) => see(path, *value),
        Node::Object(members) => members.iter().all(|(key, member)| visit_below(key, member, path, see)),
        Node::List(items) => items.iter().enumerate().all(|(index, item)| visit_below(&index.to_string(), item, path, see)),
        Node::Null | Node::Bool(_) | Node::Text(_) | Node::Twice => true,
    }
}

fn visit_below(part: &str, node: &Node, path: &mut String, see: &mut dyn FnMut(&str, f64) -> bool) -> bool {
    let before = path.len();
    if before + 1 + part.len() > MAX_PATH {
        return true;
    }
    if before > 0 {
        path.push('.');
    }
    path.push_str(part);
    let on = visit(node, path, see);
    path.truncate(before);
    on
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{
        "jobs": {"waiting": 7, "": 8},
        "system.cpu.usage": 0.37,
        "system": {"cpu.usage": 0.4, "cpu": {"count": 4}},
        "checks": [{"name": "db", "data": {"pool": 5}}, {"name": "mq", "data": {"pool": 6}}],
        "a.b": {"x": 1}, "a": {"b": {"y": 2}}
    }"#;

    #[test]
    fn paths() {
        let root = Node::parse(BODY).unwrap();
        let check = |path: &str, wanted: Option<f64>| {
            assert_eq!(find(&root, path).and_then(|target| target.node.number()), wanted, "{path}");
        };
        check("jobs.waiting", Some(7.0));
        check("jobs.", Some(8.0));
        check("system.cpu.usage", Some(0.37));
        check("system.cpu.count", Some(4.0));
        check("checks.0.data.pool", Some(5.0));
        check("checks.mq.data.pool", Some(6.0));
        check("a.b.x", Some(1.0));
        check("a.b.y", Some(2.0));
        for bad in ["", ".", "jobs", "jobs.waiting.x", "checks.2.data.pool", "checks.-1", "checks.x.data", "nope", "..", "a..b"] {
            check(bad, None);
        }
    }

    #[test]
    fn every_number_is_seen_with_a_path_that_finds_it() {
        let root = Node::parse(BODY).unwrap();
        let mut seen = Vec::new();
        visit(&root, &mut String::new(), &mut |path, _| {
            seen.push(path.to_owned());
            true
        });
        assert_eq!(seen.len(), 9, "{seen:?}");
        for path in seen {
            assert!(find(&root, &path).is_some_and(|target| target.node.number().is_some()), "{path}");
        }
    }

    #[test]
    fn a_long_key_is_not_repeated_for_every_number_below_it() {
        let body = format!(r#"{{"{}":{{"a":1,"z":2}},"short":3}}"#, "k".repeat(10_000));
        let mut seen = Vec::new();
        visit(&Node::parse(body.as_bytes()).unwrap(), &mut String::new(), &mut |path, _| {
            seen.push(path.to_owned());
            true
        });
        assert_eq!(seen, ["short"]);
    }
}

//! Owns the way from text to the spanned tree: YAML's events, one after another, into nodes.
//!
//! Equal keys, variables that are not set, aliases that would grow without bound and all that YAML itself refuses are
//! found here, each with its position. Depth and size are bounded before anything is built, so no later stage can be
//! made to overflow its stack or its memory by a document.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use crate::config::expand;
use crate::config::path::{Path, Step};
use crate::config::tree::{Entry, Node, Position, Value, quote, resolve};

/// Longest text of a configuration, in bytes.
pub(super) const MAX_TEXT: usize = 4 << 20;
/// Deepest nesting; the settings need ten levels.
const MAX_DEPTH: usize = 64;
/// Most memory that the document may take once aliases and variables are expanded, in bytes of text and nodes.
const MAX_WEIGHT: usize = 32 << 20;
/// What one node weighs beside its text.
const NODE_WEIGHT: usize = 32;

/// Something that is wrong with the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where.
    pub(super) at: Position,
    /// In which setting.
    pub(super) path: Path,
    /// What stands there.
    pub(super) said: String,
    /// What would be right.
    pub(super) wanted: String,
    /// What would help.
    pub(super) hint: Option<String>,
}

/// What could be read of a text.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The document; `None` if it does not end well, so that nothing can be said about what is in it.
    pub(super) tree: Option<Node>,
    /// What is wrong with it.
    pub(super) faults: Vec<Fault>,
}

/// Reads a text into a tree, with the values of its variables in their places.
pub(super) fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Parsed {
    let mut builder = Builder::new(env);
    if text.len() > MAX_TEXT {
        builder.fault(Position { line: 1, column: 1 }, "a text of over 4 MiB".to_owned(), "at most 4 MiB", None);
        return Parsed { tree: None, faults: builder.faults };
    }
    let shielded = expand::shield(text.strip_prefix('\u{FEFF}').unwrap_or(text));
    let mut parser = Parser::new_from_str(&shielded);
    let mut whole = true;
    while let Some(event) = parser.next_event() {
        let went_on = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => {
                let said = format!("YAML that cannot be read: {}", error.info());
                builder.fault(position(*error.marker()), said, "well-formed YAML", None);
                false
            }
        };
        if !went_on {
            whole = false;
            break;
        }
    }
    let root = builder.root.unwrap_or_else(|| Node::new(Position { line: 1, column: 1 }, Value::Null));
    Parsed { tree: whole.then_some(root), faults: builder.faults }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// A list or mapping that is not closed yet.
#[derive(Debug)]
struct Open {
    at: Position,
    anchor: usize,
    inside: Inside,
    /// Levels of what is inside so far.
    depth: usize,
    /// What it weighs so far.
    weight: usize,
}

#[derive(Debug)]
enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, Position>, key: Option<Key> },
}

/// A key that waits for its value.
#[derive(Debug)]
struct Key {
    name: String,
    at: Position,
    /// It has been told as a problem, and its value is left out.
    refused: bool,
}

/// A value behind an anchor.
#[derive(Debug)]
struct Anchored {
    node: Node,
    depth: usize,
    weight: usize,
}

struct Builder<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    /// Anchors whose values are not closed yet.
    unfinished: HashSet<usize>,
    weight: usize,
    root: Option<Node>,
    faults: Vec<Fault>,
}

impl<'a> Builder<'a> {
    fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            env,
            open: Vec::new(),
            anchors: HashMap::new(),
            unfinished: HashSet::new(),
            weight: 0,
            root: None,
            faults: Vec::new(),
        }
    }

    /// Takes one event; false ends the reading.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        let at = position(span.start);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                self.fault(at, "a second document".to_owned(), "one document", Some("take out the line ---"));
                false
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), at),
            Event::SequenceStart(anchor, tag) => self.start(Inside::List(Vec::new()), anchor, tag.as_deref(), at),
            Event::MappingStart(anchor, tag) => {
                let inside = Inside::Map { entries: Vec::new(), seen: HashMap::new(), key: None };
                self.start(inside, anchor, tag.as_deref(), at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => true,
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, tag: Option<&Tag>, at: Position) -> bool {
        if self.wants_key() {
            return self.key(&expand::unshield(text), at);
        }
        let quoted = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !quoted && tag.is_some() {
            self.refuse_tag(at);
        }
        let node = self.scalar_node(text, quoted, at);
        let text = match &node.value {
            Value::Text(text) => text.len(),
            _ => 0,
        };
        self.add(Anchored { node, depth: 1, weight: NODE_WEIGHT + text }, anchor)
    }

    fn scalar_node(&mut self, text: &str, quoted: bool, at: Position) -> Node {
        let read = |text: String| if quoted { Value::Text(text) } else { resolve(&text) };
        match expand::expand(text, self.env) {
            Ok(None) => Node::new(at, read(expand::unshield(text))),
            Ok(Some(value)) => Node { at, value: read(value), written: Some(expand::unshield(text).into()) },
            Err(problems) => {
                for problem in problems {
                    self.fault(at, problem.said, problem.wanted, Some(&problem.hint));
                }
                Node::new(at, Value::Broken)
            }
        }
    }

    fn start(&mut self, inside: Inside, anchor: usize, tag: Option<&Tag>, at: Position) -> bool {
        if self.wants_key() {
            self.fault(at, "a list or mapping as a key".to_owned(), "a word as a key", None);
            return false;
        }
        if tag.is_some() {
            self.refuse_tag(at);
        }
        if self.open.len() >= MAX_DEPTH {
            return self.too_deep(at);
        }
        self.unfinished.insert(anchor);
        self.open.push(Open { at, anchor, inside, depth: 0, weight: NODE_WEIGHT });
        true
    }

    fn end(&mut self) -> bool {
        let Some(open) = self.open.pop() else { return true };
        self.unfinished.remove(&open.anchor);
        let value = match open.inside {
            Inside::List(items) => Value::List(items),
            Inside::Map { entries, .. } => Value::Map(entries),
        };
        // Its parts have been weighed when they were added.
        self.weight -= open.weight - NODE_WEIGHT;
        self.add(Anchored { node: Node::new(open.at, value), depth: open.depth + 1, weight: open.weight }, open.anchor)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> bool {
        if self.wants_key() {
            self.fault(at, "an alias as a key".to_owned(), "a word as a key", None);
            return false;
        }
        if self.unfinished.contains(&anchor) {
            self.fault(at, "an alias inside its own anchor".to_owned(), "a value that ends", None);
            return false;
        }
        let Some(anchored) = self.anchors.get(&anchor) else { return true };
        let (depth, weight) = (anchored.depth, anchored.weight);
        if self.open.len() + depth > MAX_DEPTH {
            return self.too_deep(at);
        }
        if self.weight + weight > MAX_WEIGHT {
            return self.too_heavy(at);
        }
        let node = anchored.node.clone();
        self.add(Anchored { node, depth, weight }, 0)
    }

    /// Puts a finished value where it belongs, and keeps a copy where it has an anchor (0 is none).
    fn add(&mut self, value: Anchored, anchor: usize) -> bool {
        let copies = if anchor == 0 { 1 } else { 2 };
        self.weight = self.weight.saturating_add(value.weight.saturating_mul(copies));
        if self.weight > MAX_WEIGHT {
            return self.too_heavy(value.node.at);
        }
        if anchor != 0 {
            let node = value.node.clone();
            self.anchors.insert(anchor, Anchored { node, ..value });
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value.node);
            return true;
        };
        open.depth = open.depth.max(value.depth);
        open.weight += value.weight;
        match &mut open.inside {
            Inside::List(items) => items.push(value.node),
            Inside::Map { entries, key, .. } => {
                if let Some(key) = key.take().filter(|key| !key.refused) {
                    entries.push(Entry { key: key.name, at: key.at, node: value.node });
                }
            }
        }
        true
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { inside: Inside::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, name: &str, at: Position) -> bool {
        self.weight = self.weight.saturating_add(name.len());
        let Some(Open { inside: Inside::Map { seen, key, .. }, weight, .. }) = self.open.last_mut() else { return true };
        *weight += name.len();
        let first = seen.get(name).copied();
        seen.entry(name.to_owned()).or_insert(at);
        *key = Some(Key { name: name.to_owned(), at, refused: first.is_some() || name == "<<" });
        if let Some(first) = first {
            let hint = format!("the first one is at {}:{}", first.line, first.column);
            self.fault(at, format!("the key {} again", quote(name)), "every key once", Some(&hint));
        } else if name == "<<" {
            let hint = "write the keys out, or use an alias for a whole value";
            self.fault(at, "the merge key <<".to_owned(), "keys of their own", Some(hint));
        }
        true
    }

    fn refuse_tag(&mut self, at: Position) {
        self.fault(at, "a YAML tag".to_owned(), "a value without one", Some("take out the word that begins with !"));
    }

    fn too_deep(&mut self, at: Position) -> bool {
        self.fault(at, format!("more than {MAX_DEPTH} levels"), "lists and mappings that are less deep", None);
        false
    }

    fn too_heavy(&mut self, at: Position) -> bool {
        self.fault(at, "more than 32 MiB after aliases and variables".to_owned(), "a smaller document", None);
        false
    }

    fn fault(&mut self, at: Position, said: String, wanted: &str, hint: Option<&str>) {
        let path = self.path();
        self.faults.push(Fault { at, path, said, wanted: wanted.to_owned(), hint: hint.map(str::to_owned) });
    }

    /// The path of what is read now.
    fn path(&self) -> Path {
        let mut path = Path::default();
        for open in &self.open {
            match &open.inside {
                Inside::List(items) => path.push(Step::Item(items.len())),
                Inside::Map { key: Some(key), .. } => path.push(Step::Key(key.name.clone())),
                Inside::Map { key: None, .. } => {}
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed {
        parse(text, &|name| (name == "PORT").then(|| "9000".to_owned()))
    }

    fn faults(text: &str) -> Vec<String> {
        read(text).faults.iter().map(|f| format!("{}:{} {}: {}", f.at.line, f.at.column, f.path, f.said)).collect()
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let parsed = read("a:\n  - b: é\n    c: 5\n");
        let tree = parsed.tree.unwrap();
        let at = |path: Path, at_key| {
            let position = tree.position(&path, at_key);
            (position.line, position.column)
        };
        let item = Path::default().key("a").item(0);
        assert_eq!(at(item.clone(), false), (2, 5));
        assert_eq!(at(item.key("c"), true), (3, 5));
        assert_eq!(at(item.key("c"), false), (3, 8));
        assert!(parsed.faults.is_empty());
    }

    #[test]
    fn variables_stand_in_block_and_flow_style_and_never_become_structure() {
        let tree = read("a: ${PORT}\nb: { c: ${PORT}, d: [x:${PORT}] }\ne: \"${PORT}\"\nf: ${NO:-off}\n").tree.unwrap();
        let value = |path: Path| tree.find(&path).unwrap().value.clone();
        let top = Path::default();
        assert_eq!(value(top.key("a")), Value::Int(9000));
        assert_eq!(value(top.key("b").key("c")), Value::Int(9000));
        assert_eq!(value(top.key("b").key("d").item(0)), Value::Text("x:9000".to_owned()));
        assert_eq!(value(top.key("e")), Value::Text("9000".to_owned()));
        assert_eq!(value(top.key("f")), Value::Text("off".to_owned()));
        let hostile = parse("a: ${X}\n", &|_| Some("1\nb: 2".to_owned())).tree.unwrap();
        assert_eq!(hostile.find(&top.key("a")).unwrap().value, Value::Text("1\nb: 2".to_owned()));
    }

    #[test]
    fn faults_of_the_text_have_positions() {
        for (text, wanted) in [
            ("a: 1\nb: 2\na: 3\n", "3:1 a: the key \"a\" again"),
            ("x:\n  - {a: 1, a: 2}\n", "2:12 x[0].a: the key \"a\" again"),
            ("a:\n  b: ${NOPE}\n", "2:6 a.b: ${NOPE}"),
            ("a: ${PORT\n", "1:4 a: \"${PORT\""),
            ("a: &x [*x]\n", "1:8 a[0]: an alias inside its own anchor"),
            ("a: &x {b: 1}\nc:\n  <<: *x\n", "3:3 c[\"<<\"]: the merge key <<"),
            ("a: !x 5\n", "1:4 a: a YAML tag"),
            ("a: 1\n---\nb: 2\n", "2:1 (top): a second document"),
            ("{[a]: 1}", "1:2 (top): a list or mapping as a key"),
        ] {
            assert_eq!(faults(text), [wanted], "{text}");
        }
        for text in ["a: [1", "a: 'x", "a:\n\tb: 1", "a: *x", "a: b: c", "}"] {
            let parsed = read(text);
            assert!(parsed.tree.is_none() && parsed.faults.len() == 1, "{text}");
            assert!(parsed.faults[0].said.starts_with("YAML that cannot be read"), "{text}");
        }
    }

    #[test]
    fn an_alias_is_a_copy() {
        let tree = read("a: &x {b: 1}\nc: *x\n").tree.unwrap();
        assert_eq!(tree.entry("a").unwrap().node, tree.entry("c").unwrap().node);
    }

    #[test]
    fn depth_and_growth_are_bounded() {
        assert!(faults(&"[".repeat(100))[0].contains("more than 64 levels"));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        assert!(faults(&bomb)[0].contains("more than 32 MiB"));
        let mut well = "a0: &a0 []\n".to_owned();
        for level in 1..10 {
            well.push_str(&format!("a{level}: &a{level} {}*a{}{}\n", "[".repeat(20), level - 1, "]".repeat(20)));
        }
        assert!(faults(&well)[0].contains("more than 64 levels"));
        let long = (0..40).map(|n| format!("x{n}: ${{A}}\n")).collect::<String>();
        let long = parse(&long, &|_| Some("y".repeat(1 << 20)));
        assert!(long.faults[0].said.contains("more than 32 MiB"));
        assert!(faults(&" ".repeat(MAX_TEXT + 1))[0].contains("over 4 MiB"));
    }

    #[test]
    fn no_document_is_nothing() {
        for text in ["", "# only a comment\n", "---\n", "\u{FEFF}"] {
            assert_eq!(read(text).tree.map(|node| node.value), Some(Value::Null), "{text:?}");
        }
    }
}

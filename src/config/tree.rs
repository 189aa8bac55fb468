//! Owns the spanned tree: the document with the position of every key and value.
//!
//! serde keeps no positions and lets the last of two equal keys win in silence; here both are kept in view. It knows
//! YAML's scalars (core schema of YAML 1.2: `off` and `no` are words) and nothing of what the settings mean.

use serde_yaml::Value as Yaml;

use crate::config::path::{Path, Step};

/// A place in the text: line and column in characters, both from 1; 0 where there is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// The line.
    pub(super) line: usize,
    /// The column.
    pub(super) column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: Position,
    /// What it is.
    pub(super) value: Value,
    /// The spelling of a scalar that had variables in it: shown instead of the value, which may be a secret.
    pub(super) written: Option<Box<str>>,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Has been told as a problem already; nothing more is said about it.
    Broken,
    /// Nothing, as behind `key:`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other finite number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the text; keys are unique.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key begins.
    pub(super) at: Position,
    /// Its value.
    pub(super) node: Node,
}

impl Node {
    /// A node that stands nowhere.
    pub(super) const fn new(at: Position, value: Value) -> Self {
        Self { at, value, written: None }
    }

    /// The entry of a key, if this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The node at `path`.
    pub(super) fn find(&self, path: &Path) -> Option<&Self> {
        path.steps().iter().try_fold(self, |node, step| node.child(step))
    }

    /// The position of the value at `path`, or of its key; of the nearest node above it where nothing stands there.
    pub(super) fn position(&self, path: &Path, at_key: bool) -> Position {
        let mut node = self;
        let mut position = self.at;
        let last = path.steps().len();
        for (depth, step) in path.steps().iter().enumerate() {
            let Some(child) = node.child(step) else { return position };
            position = child.at;
            if let (Step::Key(key), true, true) = (step, at_key, depth + 1 == last) {
                position = node.entry(key).map_or(position, |entry| entry.at);
            }
            node = child;
        }
        position
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), _) => self.entry(key).map(|entry| &entry.node),
            (Step::Item(index), Value::List(items)) => items.get(*index),
            (Step::Item(_), _) => None,
        }
    }

    /// What stands here, in the words of a problem.
    pub(super) fn said(&self) -> String {
        if let Some(written) = &self.written {
            return quote(written);
        }
        match &self.value {
            Value::Broken | Value::Null => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(text) => quote(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The value in the terms of the YAML library, all of it. What is broken counts as nothing.
    pub(super) fn to_yaml(&self) -> Yaml {
        match &self.value {
            Value::Broken | Value::Null => Yaml::Null,
            Value::Bool(value) => Yaml::Bool(*value),
            Value::Int(value) => Yaml::Number((*value).into()),
            Value::Float(value) => Yaml::Number((*value).into()),
            Value::Text(text) => Yaml::String(text.clone()),
            Value::List(items) => Yaml::Sequence(items.iter().map(Self::to_yaml).collect()),
            Value::Map(entries) => {
                Yaml::Mapping(entries.iter().map(|entry| (entry.key.clone().into(), entry.node.to_yaml())).collect())
            }
        }
    }
}

/// A text in quotes, cut where it gets long.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// What a plain scalar is, by the core schema of YAML 1.2. Numbers without a fraction are whole ones however they are
/// written; what is not finite is text, since no setting wants it.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| digits.bytes().all(|b| b.is_ascii_alphanumeric())) {
            return i64::from_str_radix(digits, radix).ok().map(Value::Int);
        }
    }
    let shape = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !shape || !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Value::Int(value));
    }
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    Some(whole(value).map_or(Value::Float(value), Value::Int))
}

/// The whole number that a float is, where floats are still exact.
#[expect(clippy::cast_possible_truncation, reason = "the fraction is exactly zero and 53 bits fit")]
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (written, wanted) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("true", Value::Bool(true)),
            ("False", Value::Bool(false)),
            ("off", text("off")),
            ("no", text("no")),
            ("5", Value::Int(5)),
            ("-5", Value::Int(-5)),
            ("+5", Value::Int(5)),
            ("010", Value::Int(10)),
            ("0x1F", Value::Int(31)),
            ("0o17", Value::Int(15)),
            ("0x+5", text("0x+5")),
            ("1.0", Value::Int(1)),
            ("1e3", Value::Int(1000)),
            ("0.5", Value::Float(0.5)),
            (".5", Value::Float(0.5)),
            ("1e999", text("1e999")),
            (".nan", text(".nan")),
            (".inf", text(".inf")),
            ("-", text("-")),
            ("e", text("e")),
            ("1-2", text("1-2")),
            ("200-299", text("200-299")),
            ("500ms", text("500ms")),
            ("127.0.0.1", text("127.0.0.1")),
        ] {
            assert_eq!(resolve(written), wanted, "{written}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_has_the_position_of_the_last_node_on_it() {
        let at = |line| Position { line, column: 1 };
        let inner = Node::new(at(2), Value::Map(Vec::new()));
        let tree = Node::new(at(1), Value::Map(vec![Entry { key: "a".to_owned(), at: at(9), node: inner }]));
        assert_eq!(tree.position(&Path::default().key("a").key("b"), false), at(2));
        assert_eq!(tree.position(&Path::default().key("a"), false), at(2));
        assert_eq!(tree.position(&Path::default().key("a"), true), at(9));
        assert_eq!(tree.position(&Path::default().item(3), false), at(1));
    }
}

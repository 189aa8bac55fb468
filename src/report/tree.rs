//! JSON as a tree that keeps what a report may not hide: keys that stand twice, and how deep it goes.
//!
//! The usual tree type lets the last of two equal keys win, so that two readers can read one answer differently; here such
//! a key is neither. Objects are ordered by key: what is read does not depend on the order it was written in. Parsing itself
//! is `serde_json`'s.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::value::Unreadable;

/// How many objects and lists may stand inside one another.
pub(super) const MAX_DEPTH: usize = 32;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
    /// The value of a key that stands more than once in its object.
    Twice,
}

impl Node {
    /// Reads a whole body.
    ///
    /// # Errors
    /// If it is not JSON, not all of it, or nested too deep.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Unreadable> {
        let mut source = serde_json::Deserializer::from_slice(body);
        let node = Depth(0).deserialize(&mut source).and_then(|node| source.end().map(|()| node));
        node.map_err(|error| unreadable(&error, body))
    }

    /// What it is, as `is …` would be continued.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false, not a number",
            Self::Number(_) => "a number",
            Self::Text(_) => "text, not a number (write it without quotes)",
            Self::List(_) => "a list, not a number",
            Self::Object(_) => "an object, not a number",
            Self::Twice => "there twice, so neither counts",
        }
    }

    /// The value of a key, if this is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub(super) const fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }
}

fn unreadable(error: &serde_json::Error, body: &[u8]) -> Unreadable {
    let holds = |name: &str| body.windows(name.len()).any(|window| window == name.as_bytes());
    let hint = if error.is_eof() {
        "the answer ends in the middle; is it cut short?"
    } else if error.is_syntax() && (holds("NaN") || holds("Infinity")) {
        "JSON knows no NaN and no Infinity; leave the field out instead"
    } else {
        "set `report.format` to what the endpoint answers with, or to none"
    };
    Unreadable { why: format!("the answer is not readable JSON: {error}"), hint: hint.to_owned() }
}

/// How many objects and lists stand around the value that is read next.
#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.0 < MAX_DEPTH { Ok(Self(self.0 + 1)) } else { Err(E::custom(format_args!("nested more than {MAX_DEPTH} deep"))) }
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Node, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Node, A::Error> {
        let deeper = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = source.next_element_seed(deeper)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Node, A::Error> {
        let deeper = self.deeper()?;
        let mut members = BTreeMap::new();
        while let Some(key) = source.next_key::<String>()? {
            let value = source.next_value_seed(deeper)?;
            match members.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(value);
                }
                Entry::Occupied(mut taken) => {
                    taken.insert(Node::Twice);
                }
            }
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(body: &[u8]) -> String {
        Node::parse(body).unwrap_err().to_string()
    }

    #[test]
    fn a_key_that_stands_twice_is_neither() {
        let node = Node::parse(br#"{"a":1,"a":2,"b":3}"#).unwrap();
        assert_eq!(node.get("a"), Some(&Node::Twice));
        assert_eq!(node.get("b"), Some(&Node::Number(3.0)));
    }

    #[test]
    fn depth_is_capped() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Node::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(why(nested(MAX_DEPTH + 1).as_bytes()).contains("nested more than 32 deep"));
        assert!(why("[".repeat(60_000).as_bytes()).contains("nested more than 32 deep"));
        assert!(why(r#"{"a":"#.repeat(10_000).as_bytes()).contains("nested more than 32 deep"));
    }

    #[test]
    fn what_is_not_json_says_why() {
        assert!(why(br#"{"cpu": 0.3"#).contains("cut short"));
        assert!(why(br#"{"cpu": NaN}"#).contains("no NaN"));
        assert!(why(br#"{"cpu": 1e999}"#).contains("out of range"));
        assert!(why(br#"{"cpu": 1} x"#).contains("trailing"));
        assert!(why(b"{\"cpu\": \"\xff\"}").contains("not readable JSON"));
        assert!(why(b"").contains("cut short"));
    }

    #[test]
    fn great_whole_numbers_become_their_nearest_float() {
        assert_eq!(Node::parse(b"123456789012345678901234567890").unwrap(), Node::Number(1.234_567_890_123_456_8e29));
        assert_eq!(Node::parse(b"-9223372036854775808").unwrap(), Node::Number(-9_223_372_036_854_775_808.0));
    }
}

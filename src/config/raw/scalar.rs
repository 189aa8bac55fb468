//! Owns the small shapes that many settings share: quantities as text, one or a list, a block or `off`.
//!
//! A quantity stays text here. serde would end at the first one that is wrong; the walk and lowering tell them all.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_yaml::Value as Yaml;

use crate::base::units::{DURATION_PATTERN, RATIO_PATTERN, SIZE_PATTERN};
use crate::config::raw::List;

/// A duration with its unit.
#[derive(Debug, Deserialize)]
pub(in crate::config) struct Span(pub(in crate::config) String);

/// A duration with its unit, or `none`.
#[derive(Debug, Deserialize)]
pub(in crate::config) struct SpanOrNone(pub(in crate::config) String);

/// A share in percent.
#[derive(Debug, Deserialize)]
pub(in crate::config) struct Percent(pub(in crate::config) String);

/// A size with its unit.
#[derive(Debug, Deserialize)]
pub(in crate::config) struct Size(pub(in crate::config) String);

/// Gives a text with a pattern its place in the schema; `errorMessage` is what editors show, and what the walk says is
/// wanted.
macro_rules! patterned {
    ($shape:ty, $name:literal, $pattern:expr, $wanted:literal) => {
        impl JsonSchema for $shape {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "errorMessage": $wanted })
            }
        }
    };
}

patterned!(Span, "Duration", DURATION_PATTERN, "a duration with a unit, such as 500ms, 2s, 1m or 1h");
patterned!(
    SpanOrNone,
    "DurationOrNone",
    format!("^none$|{DURATION_PATTERN}"),
    "none, or a duration with a unit, such as 500ms or 2s"
);
patterned!(Percent, "Percent", RATIO_PATTERN, "a share in percent, such as 50%");
patterned!(Size, "Size", SIZE_PATTERN, "a size with a unit, such as 512B, 64KiB or 1MiB");

/// A status or a range of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Status {
    /// One.
    One(u16),
    /// One, or a range with both its ends.
    Range(String),
}

impl JsonSchema for Status {
    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "a status such as 204, or a range such as 200-299, between 100 and 599",
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$" },
            ],
        })
    }
}

/// A whole number above 0, or `none`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum CountOrNone {
    /// So many.
    Count(u32),
    /// No limit.
    Word(NoneWord),
}

/// The word `none`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum NoneWord {
    /// Itself.
    None,
}

impl CountOrNone {
    /// How many, if it is limited.
    pub(in crate::config) const fn limit(&self) -> Option<u32> {
        match self {
            Self::Count(count) => Some(*count),
            Self::Word(NoneWord::None) => None,
        }
    }
}

impl JsonSchema for CountOrNone {
    fn schema_name() -> Cow<'static, str> {
        "CountOrNone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "errorMessage": "none, or a whole number from 1 to 1000000",
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 1_000_000 }, { "type": "string", "enum": ["none"] }],
        })
    }
}

/// One of something, or a list of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum OneOrMany<T> {
    /// One.
    One(T),
    /// A list.
    Many(#[schemars(length(min = 1))] List<T>),
}

impl<T> OneOrMany<T> {
    /// All of them; with its index if it stands in a list.
    pub(in crate::config) fn iter(&self) -> impl Iterator<Item = (Option<usize>, &T)> {
        let (one, many) = match self {
            Self::One(one) => (Some(one), [].as_slice()),
            Self::Many(many) => (None, many.as_slice()),
        };
        let many = many.iter().enumerate().filter_map(|(index, item)| item.as_ref().map(|item| (Some(index), item)));
        one.map(|one| (None, one)).into_iter().chain(many)
    }
}

/// A block that is there by default, and can be taken away by `off` or `false`.
#[derive(Debug)]
pub(in crate::config) enum OrOff<T> {
    /// Taken away.
    Off,
    /// Its settings.
    Block(T),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Looked at before the block, since a block may be any text.
        match Yaml::deserialize(deserializer)? {
            Yaml::Bool(false) => Ok(Self::Off),
            Yaml::String(word) if word == "off" => Ok(Self::Off),
            block => T::deserialize(block).map(Self::Block).map_err(Error::custom),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OrOff<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrOff", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let off = json!({ "enum": ["off", false], "errorMessage": "off" });
        json_schema!({ "anyOf": [off, generator.subschema_for::<T>()] })
    }
}

/// Keys that are names of the user's own, in the order they were written.
#[derive(Debug)]
pub(in crate::config) struct Pairs<T>(pub(in crate::config) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
    type Value = Pairs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

impl<T: JsonSchema> JsonSchema for Pairs<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Map_of_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

/// The pattern of names of listeners, routes, clusters and probes: they are labels and parts of paths.
pub(super) const NAME: &str = r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,99}$";
/// The same in words.
pub(super) const NAME_WANTED: &str = "a name of at most 100 letters, digits and the characters _ . : / -";
/// The pattern of names of metrics.
pub(in crate::config) const METRIC: &str = r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,99}$";
/// The same in words.
pub(in crate::config) const METRIC_WANTED: &str = "a metric's name: letters, digits and the characters _ . : / -, at most 100";

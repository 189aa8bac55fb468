//! Owns the published JSON Schema, generated from the raw shapes; the walk reads the same one.
//!
//! What an editor accepts and what the program accepts can so not drift apart. Relations between settings are not in it:
//! they are lowering's.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_lite::Regex;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::config::raw::Root;

static SCHEMA: LazyLock<Value> = LazyLock::new(generate);
static PATTERNS: LazyLock<HashMap<&'static str, Regex>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    collect_patterns(get(), &mut all);
    all
});

/// The schema, generated once in the life of the process.
pub(super) fn get() -> &'static Value {
    &SCHEMA
}

/// Whether a text matches one of the schema's patterns. Each is compiled once in the life of the process.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    PATTERNS.get(pattern).is_some_and(|regex| regex.is_match(text))
}

fn collect_patterns(schema: &'static Value, all: &mut HashMap<&'static str, Regex>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| collect_patterns(item, all)),
        Value::Object(object) => {
            if let Some(pattern) = object.get("pattern").and_then(Value::as_str) {
                all.entry(pattern).or_insert_with(|| Regex::new(pattern).expect("patterns are constants of the raw shapes"));
            }
            object.values().for_each(|inner| collect_patterns(inner, all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn generate() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Root>().to_value();
    tidy(&mut schema);
    schema
}

/// Takes out what schemars says of Rust and not of the document: that a setting which may be left out may also be null,
/// and the width of numbers. A key with nothing behind it is more often forgotten than meant.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(object) => {
            // Below `properties` are names of settings, and not keywords.
            if object.get("format").is_some_and(Value::is_string) {
                object.remove("format");
            }
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_mut_slice() {
                    let only = only.take();
                    object.insert("type".to_owned(), only);
                }
            }
            unwrap_optional(object);
            object.values_mut().for_each(tidy);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Puts the one other branch of a choice with null in the place of the choice.
fn unwrap_optional(object: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
    branches.retain(|branch| branch["type"] != "null");
    let [Value::Object(only)] = branches.as_mut_slice() else { return };
    let only = std::mem::take(only);
    object.remove("anyOf");
    for (keyword, value) in only {
        object.entry(keyword).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `look` for every schema within this one.
    fn each(schema: &Value, look: &mut dyn FnMut(&Value)) {
        look(schema);
        for keyword in ["properties", "$defs"] {
            schema[keyword].as_object().into_iter().flat_map(|map| map.values()).for_each(|inner| each(inner, look));
        }
        for keyword in ["anyOf", "oneOf"] {
            schema[keyword].as_array().into_iter().flatten().for_each(|inner| each(inner, look));
        }
        for keyword in ["items", "additionalProperties"] {
            schema.get(keyword).filter(|inner| inner.is_object()).into_iter().for_each(|inner| each(inner, look));
        }
    }

    #[test]
    fn the_walk_knows_every_keyword_of_the_schema() {
        let validating = [
            "$ref",
            "type",
            "properties",
            "additionalProperties",
            "required",
            "items",
            "minItems",
            "enum",
            "const",
            "anyOf",
            "oneOf",
            "pattern",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
        ];
        let telling = ["$schema", "$defs", "title", "description", "default", "errorMessage"];
        each(get(), &mut |schema| {
            for keyword in schema.as_object().unwrap().keys() {
                let known = validating.contains(&keyword.as_str()) || telling.contains(&keyword.as_str());
                assert!(known, "{keyword} in {schema}");
            }
            // The walk looks at these alone, so nothing that decides may stand beside them.
            for alone in ["$ref", "anyOf", "oneOf", "enum", "const"] {
                let others =
                    validating.iter().filter(|other| schema.get(alone).is_some() && **other != alone && **other != "type");
                assert!(others.clone().all(|other| schema.get(other).is_none()), "{alone} is not alone in {schema}");
            }
        });
    }

    #[test]
    fn numbers_are_bounded_keys_are_closed_and_nothing_may_be_null() {
        each(get(), &mut |schema| {
            if schema["type"] == "integer" {
                assert!(schema["minimum"].is_number() && schema["maximum"].is_number(), "{schema}");
            }
            if schema["type"] == "object" {
                assert!(schema.get("additionalProperties").is_some(), "{schema}");
            }
            assert!(!schema["type"].is_array() && schema["type"] != "null", "{schema}");
        });
    }

    #[test]
    fn an_editor_has_something_to_show_for_every_setting() {
        assert_eq!(get()["title"], "Pulsegate configuration");
        each(get(), &mut |schema| {
            for (name, setting) in schema["properties"].as_object().into_iter().flatten() {
                assert!(setting["description"].is_string(), "{name}: {setting}");
            }
        });
    }
}

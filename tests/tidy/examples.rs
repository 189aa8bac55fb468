//! Every setting there is stands in one of the examples, so that nobody has to guess how it is written. That they load,
//! `configs` says.

use std::collections::BTreeSet;

use pulsegate::config;
use serde_json::Value;

use crate::tree::files;

/// A block's name and one of its keys.
type Key = (String, String);

#[test]
fn every_setting_stands_in_an_example() {
    let schema = Schema(config::schema());
    let (mut all, mut shown) = (BTreeSet::new(), BTreeSet::new());
    schema.collect(&schema.0, "Root", &mut all);
    for file in files("examples", &[".yaml"]) {
        let document: Value = serde_yaml::from_str(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
        schema.find(&schema.0, "Root", &document, &mut shown);
    }
    assert!(all.len() > 150 && shown.is_subset(&all), "{:?}", shown.difference(&all));
    let missing: Vec<String> = all.difference(&shown).map(|(block, key)| format!("{block}.{key}")).collect();
    assert!(missing.is_empty(), "in no file of examples/: {}", missing.join(", "));
}

struct Schema(Value);

impl Schema {
    /// What may stand in a place: shapes without references and choices, each with the name of its block.
    fn shapes<'a>(&'a self, place: &'a Value, name: &'a str) -> Vec<(&'a str, &'a Value)> {
        if let Some(definition) = place["$ref"].as_str() {
            let name = definition.trim_start_matches("#/$defs/");
            return self.shapes(&self.0["$defs"][name], name);
        }
        match place["anyOf"].as_array().or(place["oneOf"].as_array()) {
            Some(choices) => choices.iter().flat_map(|choice| self.shapes(choice, name)).collect(),
            None => vec![(name, place)],
        }
    }

    /// Every key that can be written below a place. Blocks that contain themselves would be gone through once.
    fn collect(&self, place: &Value, name: &str, all: &mut BTreeSet<Key>) {
        for (name, shape) in self.shapes(place, name) {
            for (key, inner) in shape["properties"].as_object().into_iter().flatten() {
                if all.insert((name.to_owned(), key.clone())) {
                    self.collect(inner, name, all);
                }
            }
            for inner in ["items", "additionalProperties"].map(|keyword| &shape[keyword]).into_iter().filter(|s| s.is_object()) {
                self.collect(inner, name, all);
            }
        }
    }

    /// The keys that are written in a document.
    fn find(&self, place: &Value, name: &str, written: &Value, shown: &mut BTreeSet<Key>) {
        for (name, shape) in self.shapes(place, name) {
            for item in written.as_array().into_iter().flatten() {
                self.find(&shape["items"], name, item, shown);
            }
            let (keys, members) = (shape["properties"].as_object(), written.as_object());
            // Of several shapes it is the one that knows all of its keys.
            let fits = keys.is_none_or(|keys| members.into_iter().flatten().all(|(key, _)| keys.contains_key(key)));
            for (key, inner) in members.into_iter().flatten().filter(|_| fits) {
                let setting = keys.and_then(|keys| keys.get(key));
                shown.extend(setting.map(|_| (name.to_owned(), key.clone())));
                self.find(setting.unwrap_or(&shape["additionalProperties"]), name, inner, shown);
            }
        }
    }
}

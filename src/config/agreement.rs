//! Holds the walk and the published schema to the same verdict, over the fixtures and thousands of changes to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::config::parse::parse;
use crate::config::raw::Root;
use crate::config::schema;
use crate::config::tree::{Entry, Node, Position, Value, resolve};
use crate::config::walk::walk;

/// Every fixture, and many with one thing changed in them.
fn corpus() -> BTreeMap<String, Json> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let mut all = BTreeMap::new();
    for file in ["good", "bad"].iter().flat_map(|kind| fs::read_dir(fixtures.join(kind)).unwrap()) {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let tree =
            if path.extension().is_some_and(|end| end == "yaml") { parse(&text, &|_| Some("x".to_owned())).tree } else { None };
        let Some(tree) = tree else { continue };
        let value = serde_json::to_value(tree.to_yaml()).unwrap();
        // What is bad already stays so, whatever else is changed in it.
        if path.parent().is_some_and(|folder| folder.ends_with("bad")) {
            all.insert(path.display().to_string(), value);
            continue;
        }
        mutate(&value, &mut |mutant, what| {
            all.insert(format!("{} {what}", path.display()), mutant);
        });
    }
    all
}

/// The tree of a JSON value.
fn tree(value: &Json) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => resolve(&number.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(tree).collect()),
        Json::Object(entries) => {
            let entry = |(key, value): (&String, &Json)| Entry { key: key.clone(), at: Position::default(), node: tree(value) };
            Value::Map(entries.iter().map(entry).collect())
        }
    };
    Node::new(Position::default(), value)
}

/// Gives a value, and it with each of its parts replaced, taken away, or joined by an unknown key.
fn mutate(value: &Json, give: &mut dyn FnMut(Json, &str)) {
    give(value.clone(), "as it is");
    let strangers = json!([
        null, true, false, -1, 0, 1, 1.5, 450, 70_000, 1e300, "", "off", "none", "all", "5s", "5%", "503", "200-299", "a\n", [],
        ["x"], [null], {}, { "x": "y" }, { "path": "/x" }
    ]);
    let mut pointers = Vec::new();
    collect(value, &mut String::new(), &mut pointers);
    for pointer in pointers {
        for stranger in strangers.as_array().unwrap() {
            let mut mutant = value.clone();
            *mutant.pointer_mut(&pointer).unwrap() = stranger.clone();
            give(mutant, &format!("{pointer} = {stranger}"));
        }
        let mut mutant = value.clone();
        if let Some(object) = mutant.pointer_mut(&pointer).unwrap().as_object_mut() {
            object.insert("stranger".to_owned(), json!(1));
            give(mutant, &format!("{pointer} + stranger"));
        }
        let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", ""));
        let mut mutant = value.clone();
        let parent = mutant.pointer_mut(parent).and_then(|parent| parent.as_object_mut());
        if parent.is_some_and(|object| object.remove(key).is_some()) {
            give(mutant, &format!("without {pointer}"));
        }
    }
}

/// The pointers to all parts of a value.
fn collect(value: &Json, pointer: &mut String, out: &mut Vec<String>) {
    out.push(pointer.clone());
    let children: Vec<(String, &Json)> = match value {
        Json::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        Json::Object(entries) => entries.iter().map(|(key, item)| (key.replace('~', "~0").replace('/', "~1"), item)).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Vec::new(),
    };
    for (key, child) in children {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&key);
        collect(child, pointer, out);
        pointer.truncate(length);
    }
}

#[test]
fn the_published_schema_accepts_exactly_what_the_walk_accepts_and_serde_reads_what_it_leaves() {
    let validator = jsonschema::validator_for(schema::get()).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for (what, value) in corpus() {
        let by_schema = validator.is_valid(&value);
        let walked = walk(&tree(&value));
        let by_walk = walked.findings.is_empty();
        assert_eq!(by_walk, by_schema, "{what}\n{value}");
        if by_walk {
            accepted += 1
        } else {
            refused += 1
        }
        // serde behind the walk would tell one problem at a time, and without a place.
        let read = walked.value.map(serde_path_to_error::deserialize::<_, Root>);
        assert!(read.is_none_or(|read| read.is_ok()), "{what}\n{value}");
    }
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused: no corpus to speak of");
}

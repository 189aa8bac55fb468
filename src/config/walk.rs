//! Owns the walk of the document against the schema: unknown keys, wrong types, values out of range, keys that are missing.
//!
//! It gives back what is left when all of that is taken out, so that one mistake never hides the next. It knows the
//! keywords that the generated schema has, and nothing of what the settings mean.

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value as Yaml};

use crate::config::nearest;
use crate::config::path::{Path, Step};
use crate::config::problem::Finding;
use crate::config::schema;
use crate::config::tree::{Entry, Node, Value, quote, resolve};

/// What the walk came back with.
#[derive(Debug)]
pub(super) struct Walked {
    /// What is right in the document; wrong items of lists are null, so that the others keep their places.
    pub(super) value: Option<Yaml>,
    /// What is wrong in it.
    pub(super) findings: Vec<Finding>,
}

/// Walks a document against the published schema.
pub(super) fn walk(tree: &Node) -> Walked {
    let schema = schema::get();
    let mut walk = Walk { root: schema, path: Path::default(), findings: Vec::new() };
    let value = walk.check(schema, tree);
    Walked { value, findings: walk.findings }
}

struct Walk<'a> {
    root: &'a Json,
    path: Path,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    /// Checks a node; `None` if nothing of it is left.
    fn check(&mut self, schema: &'a Json, node: &Node) -> Option<Yaml> {
        let schema = self.follow(schema);
        if node.value == Value::Broken {
            return None;
        }
        if let Some(branches) = branches(schema) {
            return self.choose(schema, branches, node);
        }
        if schema.get("const").is_some() || schema.get("enum").is_some() {
            return self.constant(schema, node);
        }
        match (schema["type"].as_str(), &node.value) {
            (Some("object"), Value::Map(entries)) => Some(self.mapping(schema, entries)),
            (Some("array"), Value::List(items)) => self.list(schema, items, node),
            (Some("string"), Value::Text(text)) => self.text(schema, text, node),
            (Some("integer"), Value::Int(value)) => self.integer(schema, *value, node),
            (Some("number"), Value::Int(_) | Value::Float(_)) | (Some("boolean"), Value::Bool(_)) => Some(node.to_yaml()),
            _ => self.wrong(schema, hint_of_kind(schema, node)),
        }
    }

    /// The schema that a reference leads to.
    fn follow(&self, schema: &'a Json) -> &'a Json {
        let target = schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/"));
        target.map_or(schema, |name| self.follow(&self.root["$defs"][name]))
    }

    fn mapping(&mut self, schema: &'a Json, entries: &[Entry]) -> Yaml {
        let mut kept = Mapping::new();
        for entry in entries {
            self.path.push(Step::Key(entry.key.clone()));
            match schema["properties"]
                .get(&entry.key)
                .or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()))
            {
                Some(inner) => {
                    if let Some(value) = self.check(inner, &entry.node) {
                        kept.insert(entry.key.clone().into(), value);
                    }
                }
                None => self.unknown(schema, &entry.key),
            }
            self.path.pop();
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !entries.iter().any(|entry| entry.key == key) {
                let wanted = self.wanted(&schema["properties"][key]);
                self.findings.push(Finding::new(self.path.key(key), wanted).said("nothing"));
            }
        }
        Yaml::Mapping(kept)
    }

    fn unknown(&mut self, schema: &'a Json, key: &str) {
        let known = || schema["properties"].as_object().into_iter().flat_map(|keys| keys.keys().map(String::as_str));
        let wanted = match known().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "no keys here".to_owned(),
            known => format!("one of the keys {known}"),
        };
        let said = format!("the unknown key {}", quote(key));
        let finding = Finding::new(self.path.clone(), wanted).said(said).hint(nearest::hint(key, known()));
        self.findings.push(Finding { at_key: true, ..finding });
    }

    fn list(&mut self, schema: &'a Json, items: &[Node], node: &Node) -> Option<Yaml> {
        if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
            self.path_finding(schema, node, None);
            return None;
        }
        let mut kept = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.push(Step::Item(index));
            kept.push(self.check(&schema["items"], item).unwrap_or(Yaml::Null));
            self.path.pop();
        }
        Some(Yaml::Sequence(kept))
    }

    fn text(&mut self, schema: &'a Json, text: &str, node: &Node) -> Option<Yaml> {
        let length = text.chars().count() as u64;
        let short = schema["minLength"].as_u64().is_some_and(|least| length < least);
        let long = schema["maxLength"].as_u64().is_some_and(|most| length > most);
        let odd = schema["pattern"].as_str().is_some_and(|pattern| !schema::matches(pattern, text));
        if short || long || odd {
            return self.wrong(schema, None);
        }
        Some(node.to_yaml())
    }

    fn integer(&mut self, schema: &'a Json, value: i64, node: &Node) -> Option<Yaml> {
        let low = schema["minimum"].as_i64().is_some_and(|least| value < least);
        let high = schema["maximum"].as_i64().is_some_and(|most| value > most);
        if low || high { self.wrong(schema, None) } else { Some(node.to_yaml()) }
    }

    fn constant(&mut self, schema: &'a Json, node: &Node) -> Option<Yaml> {
        let found = constants(schema).any(|constant| match (&node.value, constant) {
            (Value::Text(text), Json::String(word)) => text == word,
            (Value::Bool(value), Json::Bool(constant)) => value == constant,
            _ => false,
        });
        if found { Some(node.to_yaml()) } else { self.wrong(schema, self.nearest_constant(schema, node)) }
    }

    /// Takes the first branch that accepts the node. If none does, a list or mapping is told what is wrong in the one branch
    /// for its kind, and anything else is told all that would be right.
    fn choose(&mut self, schema: &'a Json, branches: &'a [Json], node: &Node) -> Option<Yaml> {
        let mut fitting = None;
        for branch in branches {
            let before = self.findings.len();
            let value = self.check(branch, node);
            if self.findings.len() == before {
                return value;
            }
            let findings = self.findings.split_off(before);
            let kind = self.follow(branch)["type"].as_str();
            if matches!((kind, &node.value), (Some("object"), Value::Map(_)) | (Some("array"), Value::List(_))) {
                fitting = Some((value, findings));
            }
        }
        match fitting {
            Some((value, findings)) => {
                self.findings.extend(findings);
                value
            }
            None => self.wrong(schema, self.nearest_constant(schema, node).or_else(|| hint_of_kind(schema, node))),
        }
    }

    fn nearest_constant(&self, schema: &'a Json, node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else { return None };
        let mut words = Vec::new();
        self.words(schema, &mut words);
        nearest::hint(text, words)
    }

    /// The words that a schema accepts, in all its branches.
    fn words(&self, schema: &'a Json, words: &mut Vec<&'a str>) {
        let schema = self.follow(schema);
        words.extend(constants(schema).filter_map(Json::as_str));
        for branch in branches(schema).into_iter().flatten() {
            self.words(branch, words);
        }
    }

    fn wrong(&mut self, schema: &'a Json, hint: Option<String>) -> Option<Yaml> {
        let wanted = self.wanted(schema);
        self.findings.push(Finding::new(self.path.clone(), wanted).hint(hint));
        None
    }

    fn path_finding(&mut self, schema: &'a Json, node: &Node, hint: Option<String>) {
        let wanted = self.wanted(schema);
        let said =
            if matches!(&node.value, Value::List(items) if items.is_empty()) { "an empty list".to_owned() } else { node.said() };
        self.findings.push(Finding::new(self.path.clone(), wanted).said(said).hint(hint));
    }

    /// What a schema wants, in words.
    fn wanted(&self, schema: &'a Json) -> String {
        let schema = match schema["errorMessage"].as_str() {
            Some(_) => schema,
            None => self.follow(schema),
        };
        if let Some(message) = schema["errorMessage"].as_str() {
            return message.to_owned();
        }
        let constants = constants(schema).filter_map(Json::as_str).collect::<Vec<_>>();
        if !constants.is_empty() {
            return either(&constants);
        }
        if let Some(branches) = branches(schema) {
            if let [one, many] = branches
                && many["type"] == "array"
            {
                return format!("{}, or a list of them", self.wanted(one));
            }
            return either(&branches.iter().map(|branch| self.wanted(branch)).collect::<Vec<_>>());
        }
        match schema["type"].as_str() {
            Some("object") => "a mapping".to_owned(),
            Some("array") if schema["minItems"].is_number() => "a list of at least one".to_owned(),
            Some("array") => "a list".to_owned(),
            Some("string") if schema["maxLength"].is_number() => format!("text of 1 to {} characters", schema["maxLength"]),
            Some("string") if schema["minLength"].is_number() => "text that is not empty".to_owned(),
            Some("string") => "text".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("integer") => format!("a whole number from {} to {}", schema["minimum"], schema["maximum"]),
            _ => "a number".to_owned(),
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
fn either<S: AsRef<str>>(words: &[S]) -> String {
    let (last, others) = words.split_last().map_or(("", [].as_slice()), |(last, others)| (last.as_ref(), others));
    match others {
        [] => last.to_owned(),
        others => format!("{} or {last}", others.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")),
    }
}

/// The branches of a choice.
fn branches(schema: &Json) -> Option<&[Json]> {
    schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()).map(Vec::as_slice)
}

/// The constants that a schema names itself.
fn constants(schema: &Json) -> impl Iterator<Item = &Json> {
    schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"))
}

/// What would help where YAML has read something else than its writer meant.
fn hint_of_kind(schema: &Json, node: &Node) -> Option<String> {
    match (schema["type"].as_str(), &node.value) {
        (_, Value::Null) => Some("leave the key out for its default".to_owned()),
        (Some("string"), Value::Int(_) | Value::Float(_) | Value::Bool(_)) if schema.get("pattern").is_none() => {
            Some("put it in quotes".to_owned())
        }
        (Some("integer" | "number"), Value::Text(text)) => {
            matches!(resolve(text), Value::Int(_) | Value::Float(_)).then(|| "take the quotes off".to_owned())
        }
        (Some("boolean"), Value::Text(text)) => matches!(resolve(text), Value::Bool(_)).then(|| "take the quotes off".to_owned()),
        (Some("array"), _) => Some("a list is written [a, b], or with a dash before each item".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn told(text: &str) -> Vec<String> {
        let tree = parse::parse(text, &|_| None).tree.unwrap();
        let line = |f: Finding| {
            let said = f.said.unwrap_or_else(|| tree.find(&f.path).unwrap().said());
            format!("{}: {said} / {}{}", f.path, f.wanted, f.hint.map(|hint| format!("; {hint}")).unwrap_or_default())
        };
        walk(&tree).findings.into_iter().map(line).collect()
    }

    #[test]
    fn each_kind_of_mistake_is_told_in_its_own_words() {
        let duration = "a duration with a unit, such as 500ms, 2s, 1m or 1h";
        for (text, wanted) in [
            ("workers: 0", "workers: 0 / a whole number from 1 to 1024".to_owned()),
            ("workers: two", "workers: \"two\" / a whole number from 1 to 1024".to_owned()),
            ("workers: '2'", "workers: \"2\" / a whole number from 1 to 1024; take the quotes off".to_owned()),
            ("workers:", "workers: nothing / a whole number from 1 to 1024; leave the key out for its default".to_owned()),
            ("drain_delay: 5", format!("drain_delay: 5 / {duration}")),
            ("drain_delay: 5sec", format!("drain_delay: \"5sec\" / {duration}")),
            ("metrics: {}", "metrics.address: nothing / text".to_owned()),
            ("log: {level: inof}", "log.level: \"inof\" / error, warn, info, debug or trace; did you mean \"info\"?".to_owned()),
            ("log: [info]", "log: a list / a mapping".to_owned()),
            ("clusters: [{name: a, endpoints: []}]", "clusters[0].endpoints: an empty list / a list of at least one".to_owned()),
            ("lisseners: []", "lisseners: the unknown key \"lisseners\" / one of the keys access_log, admin, clusters, drain_delay, drain_timeout, fleet, heartbeats, listeners, log, metrics, state_file, watch, workers; did you mean \"listeners\"?".to_owned()),
            ("clusters: [{name: a, endpoints: [a:1], health: on}]", "clusters[0].health: \"on\" / off or a mapping".to_owned()),
            ("clusters: [{name: a, endpoints: [a:1], health: {fall: 0}}]", "clusters[0].health.fall: 0 / a whole number from 1 to 1000".to_owned()),
            ("clusters: [{name: a, endpoints: [a:1], health: {probes: [{tcp: {port: 1}}]}}]", "clusters[0].health.probes[0].tcp.port: the unknown key \"port\" / no keys here".to_owned()),
        ] {
            assert_eq!(told(text), [wanted], "{text}");
        }
    }

    #[test]
    fn what_is_right_is_left() {
        let text = "workers: x\nlog: {level: debug, colour: red}\nclusters: [5, {name: a, endpoints: [a:1, 7]}]\n";
        let tree = parse::parse(text, &|_| None).tree.unwrap();
        let walked = walk(&tree);
        let wanted = "log: {level: debug}\nclusters: [null, {name: a, endpoints: ['a:1', null]}]";
        assert_eq!(walked.value, Some(serde_yaml::from_str(wanted).unwrap()));
        assert_eq!(walked.findings.len(), 4);
    }

    #[test]
    fn off_is_a_word_or_false() {
        for off in ["off", "false", "{path: /x}"] {
            let text = format!("clusters: [{{name: a, endpoints: [a:1], health: {off}}}]");
            assert_eq!(told(&text), [""; 0], "{off}");
        }
    }
}

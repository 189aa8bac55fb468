//! Owns the order of the stages, and puts what they found to its positions.

use std::cell::RefCell;
use std::io;
use std::path::Path as FilePath;

use crate::config::lower::{Page, lower};
use crate::config::model::{Config, Endpoint};
use crate::config::parse::{Fault, parse};
use crate::config::path::{Path, Step};
use crate::config::problem::{Finding, Problem, Problems};
use crate::config::raw::Root;
use crate::config::tree::{Entry, Node, Position, Value};
use crate::config::walk::walk;

/// A configuration without problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed and probably not meant, in order of position.
    pub warnings: Vec<Problem>,
}

/// Where a text comes from, and what it may ask for.
pub(super) struct Source<'a> {
    /// The file's name, as problems show it.
    pub(super) file: &'a str,
    /// The folder that relative paths count from.
    pub(super) folder: &'a FilePath,
    /// The environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file whole.
    pub(super) read: &'a dyn Fn(&FilePath) -> io::Result<String>,
}

/// Reads a configuration from a text. `file_name` is what problems show; relative paths count from `folder`; `env` gives the
/// value of a variable, and `read` a file's text.
///
/// # Errors
/// All problems of the text.
pub fn from_text(
    text: &str,
    file_name: &str,
    folder: &FilePath,
    env: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&FilePath) -> io::Result<String>,
) -> Result<Config, Problems> {
    read_text(text, &Source { file: file_name, folder, env, read }).map(|loaded| loaded.config)
}

/// Reads a configuration from a text, with warnings.
pub(super) fn read_text(text: &str, source: &Source<'_>) -> Result<Loaded, Problems> {
    let parsed = parse(text, source.env);
    let faults = parsed.faults.into_iter().map(|fault| from_fault(source.file, fault)).collect();
    match parsed.tree {
        Some(tree) => read_tree(&tree, faults, source),
        None => Err(Problems::new(faults)),
    }
}

/// Reads a list of endpoints, as a cluster has it, from a text. Every problem has its place in the text.
///
/// # Errors
/// All problems of the text.
pub(super) fn read_endpoints(text: &str, source: &Source<'_>) -> Result<Vec<Endpoint>, Problems> {
    let parsed = parse(text, source.env);
    let faults: Vec<Problem> = parsed.faults.into_iter().map(|fault| from_fault(source.file, fault)).collect();
    let Some(list) = parsed.tree else { return Err(Problems::new(faults)) };
    // The same words as for a list in a configuration, since it is read as one.
    let at = list.at;
    let entry = |key: &str, node: Node| Entry { key: key.to_owned(), at, node };
    let name = Node::new(at, Value::Text("discovered".to_owned()));
    let cluster = Node::new(at, Value::Map(vec![entry("name", name), entry("endpoints", list)]));
    let whole = Node::new(at, Value::Map(vec![entry("clusters", Node::new(at, Value::List(vec![cluster])))]));
    let loaded = read_tree(&whole, faults, source)?;
    Ok(loaded.config.clusters.iter().flat_map(|cluster| cluster.endpoints.iter().cloned()).collect())
}

fn read_tree(tree: &Node, mut problems: Vec<Problem>, source: &Source<'_>) -> Result<Loaded, Problems> {
    // An empty document has no settings, which is told in one way only.
    let empty = Node::new(tree.at, Value::Map(Vec::new()));
    let tree = if tree.value == Value::Null { &empty } else { tree };
    let walked = walk(tree);
    let mut findings = walked.findings;
    let page =
        Page { tree, folder: source.folder, read: source.read, findings: RefCell::default(), warnings: RefCell::default() };
    let config = match walked.value.map(serde_path_to_error::deserialize::<_, Root>) {
        Some(Ok(root)) => Some(lower(&page, &root)),
        Some(Err(error)) => {
            // The walk knows all that serde does, so this says that the two have drifted apart.
            findings.push(Finding::new(serde_path(error.path()), error.inner().to_string()));
            None
        }
        None => None,
    };
    findings.extend(page.findings.take());
    problems.extend(findings.into_iter().map(|finding| from_finding(source.file, tree, finding)));
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings: warnings(source.file, tree, page.warnings.take()) }),
        _ => Err(Problems::new(problems)),
    }
}

fn warnings(file: &str, tree: &Node, findings: Vec<Finding>) -> Vec<Problem> {
    let mut all: Vec<Problem> = findings.into_iter().map(|finding| from_finding(file, tree, finding)).collect();
    all.sort_by_key(|problem| (problem.line, problem.column));
    all
}

fn serde_path(path: &serde_path_to_error::Path) -> Path {
    let mut own = Path::default();
    for segment in path {
        match segment {
            serde_path_to_error::Segment::Seq { index } => own.push(Step::Item(*index)),
            serde_path_to_error::Segment::Map { key } => own.push(Step::Key(key.clone())),
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => {}
        }
    }
    own
}

fn from_fault(file: &str, fault: Fault) -> Problem {
    let Fault { at, path, said, wanted, hint } = fault;
    Problem { file: file.into(), line: at.line, column: at.column, path: path.to_string(), said, wanted, hint }
}

fn from_finding(file: &str, tree: &Node, finding: Finding) -> Problem {
    let position = tree.position(&finding.path, finding.at_key);
    let said = finding.said.unwrap_or_else(|| tree.find(&finding.path).map_or_else(|| "nothing".to_owned(), Node::said));
    Problem {
        file: file.into(),
        line: position.line,
        column: position.column,
        path: finding.path.to_string(),
        said,
        wanted: finding.wanted,
        hint: finding.hint,
    }
}

/// The configuration of `run --listen --to --health`: one listener, one cluster named `app`, and an http probe if there is a
/// path. Everything else is as in a file that says nothing of it.
///
/// # Errors
/// All problems of the arguments; their paths are the names of the arguments.
pub fn quick(listen: &str, endpoints: &[String], health_path: Option<&str>) -> Result<Config, Problems> {
    let source = Source {
        file: "command line",
        folder: FilePath::new(""),
        env: &|_| None,
        read: &|_| Err(io::ErrorKind::NotFound.into()),
    };
    let loaded = read_tree(&quick_tree(listen, endpoints, health_path), Vec::new(), &source);
    loaded.map(|loaded| loaded.config).map_err(|problems| Problems::new(problems.iter().map(as_argument).collect()))
}

fn quick_tree(listen: &str, endpoints: &[String], health_path: Option<&str>) -> Node {
    let node = |value| Node::new(Position::default(), value);
    let text = |text: &str| node(Value::Text(text.to_owned()));
    let entry = |key: &str, node| Entry { key: key.to_owned(), at: Position::default(), node };
    let one = |entries| node(Value::List(vec![node(Value::Map(entries))]));
    let endpoints = node(Value::List(endpoints.iter().map(|endpoint| text(endpoint)).collect()));
    let mut cluster = vec![entry("name", text("app")), entry("endpoints", endpoints)];
    cluster.extend(health_path.map(|path| entry("health", node(Value::Map(vec![entry("path", text(path))])))));
    let listener = vec![entry("address", text(listen)), entry("cluster", text("app"))];
    node(Value::Map(vec![entry("listeners", one(listener)), entry("clusters", one(cluster))]))
}

/// The problem with the name of the argument that it comes from.
fn as_argument(problem: &Problem) -> Problem {
    let arguments =
        [("listeners[0].address", "--listen"), ("clusters[0].endpoints", "--to"), ("clusters[0].health.path", "--health")];
    let argument = arguments.iter().find(|(path, _)| problem.path.starts_with(path)).map(|(_, argument)| (*argument).to_owned());
    Problem { path: argument.unwrap_or_else(|| problem.path.clone()), ..problem.clone() }
}

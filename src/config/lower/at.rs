//! Owns the place where lowering is: a path in the document, and the page that problems are put down on.

use std::cell::RefCell;
use std::fmt::Display;
use std::io;
use std::path::Path as FilePath;

use crate::config::path::Path;
use crate::config::problem::Finding;
use crate::config::tree::{Node, Value};

/// The document being lowered, and what has been found in it.
pub(in crate::config) struct Page<'a> {
    /// The document.
    pub(in crate::config) tree: &'a Node,
    /// The folder that relative paths count from.
    pub(in crate::config) folder: &'a FilePath,
    /// Reads a file whole.
    pub(in crate::config) read: &'a dyn Fn(&FilePath) -> io::Result<String>,
    /// What is wrong.
    pub(in crate::config) findings: RefCell<Vec<Finding>>,
    /// What is allowed and probably not meant.
    pub(in crate::config) warnings: RefCell<Vec<Finding>>,
}

/// A place in the document.
#[derive(Clone)]
pub(in crate::config) struct At<'a> {
    page: &'a Page<'a>,
    path: Path,
}

impl<'a> At<'a> {
    /// The top of the document.
    pub(super) fn top(page: &'a Page<'a>) -> Self {
        Self { page, path: Path::default() }
    }

    /// The value of a key below this place.
    pub(super) fn key(&self, key: &str) -> Self {
        Self { page: self.page, path: self.path.key(key) }
    }

    /// An item below this place.
    pub(super) fn item(&self, index: usize) -> Self {
        Self { page: self.page, path: self.path.item(index) }
    }

    /// This place, or an item below it.
    pub(super) fn maybe_item(&self, index: Option<usize>) -> Self {
        index.map_or_else(|| self.clone(), |index| self.item(index))
    }

    /// The page.
    pub(super) const fn page(&self) -> &'a Page<'a> {
        self.page
    }

    /// Whether the document has this key here, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node().is_some_and(|node| node.entry(key).is_some())
    }

    /// Whether the value of a key is what it seems: right, or left out and so its default.
    pub(super) fn knows<T>(&self, key: &str, value: Option<&T>) -> bool {
        value.is_some() || !self.has(key)
    }

    /// Whether an empty list stands here.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(self.node().map(|node| &node.value), Some(Value::List(items)) if items.is_empty())
    }

    /// Whether the mapping here has no more than so many entries, so that none of them was wrong.
    pub(super) fn knows_every(&self, entries: usize) -> bool {
        matches!(self.node().map(|node| &node.value), Some(Value::Map(all)) if all.len() <= entries)
    }

    /// How many items the list here has, right or wrong.
    pub(super) fn items(&self) -> usize {
        match self.node().map(|node| &node.value) {
            Some(Value::List(items)) => items.len(),
            _ => 0,
        }
    }

    fn node(&self) -> Option<&'a Node> {
        self.page.tree.find(&self.path)
    }

    /// Puts down that something else is wanted here.
    pub(super) fn wrong(&self, wanted: impl Into<String>, hint: impl Into<Option<String>>) {
        self.put(Finding::new(self.path.clone(), wanted).hint(hint));
    }

    /// The same, with other words for what stands here.
    pub(super) fn wrong_as(&self, said: impl Into<String>, wanted: impl Into<String>, hint: impl Into<Option<String>>) {
        self.put(Finding::new(self.path.clone(), wanted).said(said).hint(hint));
    }

    /// The same, and it is the key that is meant and not its value.
    pub(super) fn wrong_key(&self, said: impl Into<String>, wanted: impl Into<String>, hint: impl Into<Option<String>>) {
        let finding = Finding::new(self.path.clone(), wanted).said(said).hint(hint);
        self.put(Finding { at_key: true, ..finding });
    }

    /// The value of what was read here; an error, which must say what is wanted, is put down.
    pub(super) fn parsed<T, E: Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.wrong(error.to_string(), None)).ok()
    }

    /// Puts down that this is allowed and probably not meant.
    pub(super) fn warn(&self, wanted: impl Into<String>, hint: impl Into<Option<String>>) {
        self.page.warnings.borrow_mut().push(Finding::new(self.path.clone(), wanted).hint(hint));
    }

    fn put(&self, finding: Finding) {
        self.page.findings.borrow_mut().push(finding);
    }
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

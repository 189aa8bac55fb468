//! Owns names: that each is given once, and that the clusters which routes name are there.

use std::collections::HashMap;
use std::hash::Hash;

use crate::config::lower::At;
use crate::config::nearest;
use crate::config::raw::Root;
use crate::config::tree::quote;

/// What has been given so far, and where.
pub(super) struct Given<K>(HashMap<K, String>);

impl<K: Eq + Hash> Given<K> {
    /// Nothing given yet.
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Gives `value` to what stands at `at`; puts down a problem if something else has it.
    pub(super) fn give(&mut self, at: &At<'_>, value: K, wanted: &str) {
        if let Some(owner) = self.0.get(&value) {
            at.wrong(wanted, Some(format!("{owner} has it")));
        } else {
            self.0.insert(value, at.to_string());
        }
    }

    /// Gives `value` to what stands at `at`, unless something has it.
    pub(super) fn note(&mut self, at: &At<'_>, value: K) {
        self.0.entry(value).or_insert_with(|| at.to_string());
    }
}

/// The names of all clusters.
pub(super) struct ClusterNames<'a> {
    names: Vec<&'a str>,
    /// False if the name of some cluster could not be read, so that a name which is missing says nothing.
    complete: bool,
}

impl<'a> ClusterNames<'a> {
    /// Collects them from the document.
    pub(super) fn collect(top: &At<'_>, root: &'a Root) -> Self {
        let clusters = root.clusters.as_deref().unwrap_or_default();
        let names: Vec<&str> = clusters.iter().flatten().filter_map(|cluster| cluster.name.as_deref()).collect();
        let complete = top.knows("clusters", root.clusters.as_ref()) && names.len() == clusters.len();
        Self { names, complete }
    }

    /// Puts down a problem if no cluster has the name that stands at `at`.
    pub(super) fn check(&self, at: &At<'_>, name: &str) {
        if let Some(hint) = self.lacks(name) {
            at.wrong("the name of a cluster", hint);
        }
    }

    /// Puts down a problem if no cluster has the name that is the key of what stands at `at`.
    pub(super) fn check_key(&self, at: &At<'_>, name: &str) {
        if let Some(hint) = self.lacks(name) {
            at.wrong_key(quote(name), "the name of a cluster", hint);
        }
    }

    /// What may help, if there is no such cluster.
    fn lacks(&self, name: &str) -> Option<Option<String>> {
        let known = !self.complete || self.names.contains(&name);
        (!known).then(|| nearest::hint(name, self.names.iter().copied()).or_else(|| self.list()))
    }

    fn list(&self) -> Option<String> {
        match self.names.as_slice() {
            [] => Some("there are no clusters".to_owned()),
            few if few.len() <= 10 => Some(format!("there are {}", few.join(", "))),
            _ => None,
        }
    }
}

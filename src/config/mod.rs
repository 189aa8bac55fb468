//! Owns the way from YAML text to a [`Config`], with all problems at once.
//!
//! Text -> variables and spanned tree (`parse`) -> walk against the published schema (`walk`) -> serde into raw shapes (`raw`)
//! -> lowering into the policies of the rooms below (`lower`). Every stage goes on after a mistake, and the tree gives
//! each its line and column. `validate`, start-up and reload all come in by this door, so they never disagree.

#[cfg(test)]
mod agreement;
mod defaults;
pub mod diff;
mod expand;
mod file;
mod lower;
pub mod model;
mod nearest;
mod parse;
mod path;
mod problem;
mod raw;
mod read;
mod render;
mod schema;
mod tree;
mod walk;

pub use file::{load, load_endpoints};
pub use model::Config;
pub use problem::{MAX_PROBLEMS, Problem, Problems};
pub use read::{Loaded, from_text, quick};
pub use render::to_json;

/// The JSON Schema that editors complete and check a configuration with. It accepts exactly what the program accepts of a
/// single setting; relations between settings are checked by `validate` alone.
#[must_use]
pub fn schema() -> serde_json::Value {
    schema::get().clone()
}

//! Text -> [`Config`], with all problems at once.

pub mod model;

pub use model::Config;

//! Bytes an endpoint answered with, read into a [`Report`]: one file per format.
//!
//! A report is what an endpoint says about itself, so it is believed only as far as it is well-formed: what is missing,
//! out of range or of the wrong type is a void with a hint, and changes nothing. The way of a body: `detect` opens it as a
//! page of its format (`json`, `health_json`, `spring`, `prometheus`), `reading` takes the wanted metrics off that page by
//! their places (`path`, `selector`) or usual names (`usual`), `units` says what the numbers mean and `words` what the
//! status word does. Nothing in here fetches, remembers or judges.

mod detect;
mod exposition;
mod health_json;
mod hint;
mod json;
mod page;
mod path;
mod prometheus;
mod reading;
mod selector;
pub mod spec;
mod spring;
mod tree;
mod units;
mod usual;
mod value;
mod words;

#[cfg(test)]
mod tests;

pub use detect::MAX_BODY;
pub use reading::{MAX_FOUND, format_of, found_metrics, read};
pub use value::{Found, Report, StatusWord, Unreadable, Void};
pub use words::meaning;

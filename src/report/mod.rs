//! Bytes an endpoint answered with, read into a [`Report`]: one file per grammar, one table for the frameworks that share one.
//!
//! A report is what an endpoint says about itself, so it is believed only as far as it is well-formed: what is missing,
//! out of range or of the wrong type is a void with a hint, and changes nothing. The way of a body: `detect` opens it as a
//! page of its format (`json`, `health_json`, `spring`, `prometheus`, `orca`, `agent`, `plain`), `reading` takes the wanted
//! metrics off that page by their places (`path`, `selector`) or usual names (`usual`), `units` says what the numbers mean,
//! `dialect` where the status word stands and `words` what it means. `counters` what became of a counter
//! since the answer before, and `role` what the endpoint says that it is among its siblings. Nothing in here fetches or judges.

mod agent;
mod counters;
mod detect;
mod dialect;
mod exposition;
mod health_json;
mod hint;
mod json;
mod orca;
mod page;
mod path;
mod plain;
mod prometheus;
mod reading;
mod role;
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

pub use agent::MAX_LINE;
pub use counters::Counters;
pub use detect::{MAX_BODY, MAX_PAGE, max_body};
pub use hint::shows;
pub use reading::{MAX_FOUND, format_of, found_metrics, read, read_on};
pub use value::{Asks, Claim, Found, MAX_ROLE, Report, Said, Share, StatusWord, Unreadable, Void, Wish};
pub use words::meaning;

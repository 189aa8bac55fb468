//! Bytes an endpoint answered with, read into a [`Report`]: one file per format.
//!
//! A report is what an endpoint says about itself, so it is believed only as far as it is well-formed: what is missing,
//! out of range or of the wrong type is a void with a hint, and changes nothing.

pub mod spec;
mod value;

pub use value::{Report, StatusWord, Void};

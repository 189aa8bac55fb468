//! Vocabulary that every room shares: time as a value, ids, units and addresses, each parsed once and valid for ever.
//!
//! It decides nothing and reads nothing; a wrong unit or address is an error at the border, never deep inside.

pub mod address;
pub mod hex;
pub mod ids;
pub mod sketch;
pub mod time;
pub mod units;

//! Holds what other programs make of us: promtool of our rules and metrics, a real Prometheus of the README's queries, systemd of
//! our unit.
//!
//! The programs are installed by `tests/run`. A test whose program is missing fails and says so; systemd alone may be missing,
//! since it cannot be had everywhere.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod process;
mod queries;
mod rules;

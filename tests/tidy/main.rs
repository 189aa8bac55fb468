//! Holds what no compiler checks: the layers of the house, the purity of its lower rooms, the shape of its files, and that
//! documents, examples and deployment files speak of settings, metrics, tests and files that exist.
//!
//! What needs another program than cargo (promtool, Prometheus) is in `packaging`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod chapters;
mod configs;
mod examples;
mod files;
mod layers;
mod metrics;
mod reference;
mod tree;

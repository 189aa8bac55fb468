//! Pulsegate: a reverse proxy that sends requests only to healthy endpoints, and can say why.
//!
//! Rooms, from the bottom up; a room names only rooms above it in this list, and those that share a line never each other:
//!
//! | room | owns |
//! |---|---|
//! | `base` | time, ids, addresses, units |
//! | `report` | bytes an endpoint answered with, read into a report |
//! | `health` | what is believed about an endpoint, and why |
//! | `balance` | one of these candidates |
//! | `traffic` | decisions about one request |
//! | `tls` | certificates, keys and trust |
//! | `config` | text to configuration, with all problems at once |
//! | `sim` | a seeded world in which the rooms so far run |
//! | `telemetry` | metric names, and cells to count in |
//! | `runtime` | the clock, threads, tasks, deadlines |
//! | `cluster` | the live objects that both planes share |
//! | `net` | how we listen and dial |
//! | `http1` | HTTP/1.1 towards endpoints: one request and its answer |
//! | `discovery`, `probe`, `heartbeat`, `fleet`, `proxy` | endpoints that are found; active probes; heartbeats that endpoints push; votes between proxies; the data plane |
//! | `control` | the single writer of health; reload |
//! | `admin` | API, metrics page, events |
//! | `sample` | endpoints of our own, for the demo |
//! | `server` | wiring, phases, drain |
//! | `cli` | one file per subcommand |
//!
//! *Life of a request:* a worker accepts, hyper parses, `proxy`'s exchange admits it, finds its route, loads the snapshot, and then
//! picks, checks out a connection, attempts and classifies until there is an answer to relay; at last it settles its cells.
//!
//! *Life of a signal:* a probe, a heartbeat, an exchange or the operator says something to `control`, which applies it to
//! `health::Cluster`, tells the transitions, and publishes a snapshot that the next pick sees.

pub mod admin;
pub mod balance;
pub mod base;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod discovery;
pub mod fleet;
pub mod health;
pub mod heartbeat;
pub mod http1;
pub mod net;
pub mod probe;
pub mod proxy;
pub mod report;
pub mod runtime;
pub mod sample;
pub mod server;
pub mod sim;
pub mod telemetry;
pub mod tls;
pub mod traffic;

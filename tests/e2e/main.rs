//! The program in front of real services, from outside: what its clients, its operator and its endpoints see of it.
//!
//! Everything here is a process of its own on free ports of 127.0.0.1: the program under test, and services written with
//! Python's standard library, for Node, Debian's nginx and HAProxy, and packages from PyPI. They are killed, stopped and told to be sick; what nobody can
//! make a real service do is done by endpoints of our own (`support::misbehaving`). Bounds on times are generous, since
//! a test machine may be busy; what was measured is printed and shown with `--nocapture`.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod access_log;
mod affinity;
mod balancing;
mod changes;
mod chapters;
mod dialects;
mod discovery;
mod drains;
mod fleet;
mod floods;
mod hangs;
mod heartbeats;
mod http2_only;
mod leaders;
mod limits;
mod misbehaving;
mod operator;
mod outages;
mod proxy_protocol;
mod refused;
mod reloads;
mod reports;
mod resting;
mod secured_heartbeats;
mod senders;
mod support;
mod trust;
mod unix_sockets;
mod upgrades;
mod websockets;
mod wire;

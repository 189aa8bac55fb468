//! Pulsegate: a reverse proxy that sends requests only to healthy endpoints, and can say why.
pub mod admin;
pub mod balance;
pub mod base;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod health;
pub mod net;
pub mod proxy;
pub mod report;
pub mod runtime;
pub mod sample;
pub mod sim;
pub mod telemetry;
pub mod traffic;

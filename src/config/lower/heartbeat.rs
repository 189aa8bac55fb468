//! Owns the lowering of heartbeats: where they are received, what a cluster expects of them, and who may send them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::units::format_duration;
use crate::config::defaults;
use crate::config::lower::At;
use crate::config::lower::host::listen_address;
use crate::config::lower::process::MAX_TOKEN;
use crate::config::lower::scalar::{PACE, WAIT, span, span_or};
use crate::config::lower::secret::secret_file;
use crate::config::lower::tls::listener_tls;
use crate::config::model::{HeartbeatToken, HeartbeatTokens, Heartbeats, Secret};
use crate::config::raw::{self, OneOrMany, OrOff};
use crate::config::tree::quote;
use crate::health::policy::{Detector, HeartbeatPolicy};

/// Most tokens of one cluster.
const MAX_TOKENS: usize = 100_000;

/// The sockets that heartbeats come in by.
pub(super) fn listeners(at: &At<'_>, raw: Option<&OneOrMany<raw::Heartbeats>>) -> Vec<Heartbeats> {
    let mut all = Vec::new();
    for (index, raw) in raw.into_iter().flat_map(OneOrMany::iter) {
        let item = at.maybe_item(index);
        let address = raw.address.as_deref().and_then(|text| listen_address(&item.key("address"), text));
        let tls = raw.tls.as_ref().and_then(|tls| listener_tls(&item.key("tls"), tls));
        all.extend(address.map(|address| Heartbeats { address, tls }));
    }
    all
}

/// What a cluster expects of heartbeats, and who may send them.
pub(super) fn heartbeat(at: &At<'_>, raw: &raw::Heartbeat) -> (HeartbeatPolicy, Option<HeartbeatTokens>) {
    let period = span_or(&at.key("period"), raw.period.as_ref(), PACE, defaults::HEARTBEAT_PERIOD);
    let ttl = raw.ttl.as_ref().and_then(|raw| span(&at.key("ttl"), &raw.0, WAIT));
    if let Some(ttl) = ttl.filter(|_| at.knows("period", raw.period.as_ref())) {
        check_ttl(&at.key("ttl"), ttl, period);
    }
    let detector = match raw.detector {
        None | Some(raw::Detector::Ttl) => Detector::Ttl,
        Some(raw::Detector::Accrual) => Detector::Accrual { phi: phi(&at.key("phi"), raw.phi) },
    };
    if raw.phi.is_some() && matches!(detector, Detector::Ttl) {
        at.key("phi").warn("detector: accrual beside it", "phi means nothing to the detector ttl".to_owned());
    }
    let tokens = raw.token_file.as_deref().and_then(|file| tokens(&at.key("token_file"), file));
    (HeartbeatPolicy { period, ttl: ttl.unwrap_or_else(|| defaults::heartbeat_ttl(period)), detector }, tokens)
}

fn check_ttl(at: &At<'_>, ttl: Duration, period: Duration) {
    if ttl <= period {
        let hint = "an endpoint would be out between any two of its heartbeats".to_owned();
        at.wrong(format!("more than the period, which is {}", format_duration(period)), hint);
    } else if ttl < period * 2 {
        at.warn("at least two periods", "one lost packet takes an endpoint out".to_owned());
    }
}

fn phi(at: &At<'_>, raw: Option<f64>) -> f64 {
    let phi = raw.unwrap_or(f64::from(defaults::PHI));
    if !(1.0..=16.0).contains(&phi) {
        at.wrong("a number from 1 to 16", None);
    }
    phi
}

fn tokens(at: &At<'_>, file: &str) -> Option<HeartbeatTokens> {
    let text = secret_file(at, file)?;
    let mut all = Vec::new();
    let mut lines = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let Some(token) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        // What stands in the file is never shown: its line says where to look.
        if token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
            let said = format!("{}, line {}: no token", quote(file), number + 1);
            at.wrong_as(said, "a token of 1 to 4096 visible ASCII characters, and the endpoints that it speaks for", None);
            continue;
        }
        // It could not be told which of the lines is meant.
        if let Some(first) = lines.insert(token, number + 1) {
            let said = format!("{}, line {}: the token of line {first} once more", quote(file), number + 1);
            at.wrong_as(said, "every token on one line, with all endpoints that it speaks for", None);
            continue;
        }
        let endpoints = words.map(Arc::from).collect();
        all.push(HeartbeatToken { token: Secret(token.into()), endpoints });
    }
    if all.is_empty() || all.len() > MAX_TOKENS {
        let said = if all.is_empty() { "no token in it" } else { "more tokens than there may be" };
        at.wrong_as(format!("{}, {said}", quote(file)), "a file with 1 to 100000 lines of a token each", None);
    }
    Some(HeartbeatTokens(all.into()))
}

/// Puts down what heartbeats of a cluster lack outside of it: a socket to come in by, and a token where others reach it.
pub(super) fn needs(top: &At<'_>, raw: &raw::Root, listeners: &[Heartbeats]) {
    let complete = top.knows("heartbeats", raw.heartbeats.as_ref());
    let reachable = listeners.iter().find(|listener| !listener.address.is_loopback());
    for (index, cluster) in raw.clusters.iter().flatten().enumerate() {
        let Some(OrOff::Block(health)) = cluster.as_ref().and_then(|cluster| cluster.health.as_ref()) else { continue };
        let Some(OrOff::Block(heartbeat)) = &health.heartbeat else { continue };
        let at = top.key("clusters").item(index).key("health").key("heartbeat");
        if complete && listeners.is_empty() && !top.has("heartbeats") {
            let hint = "write heartbeats: { address: 127.0.0.1:9901 } at the top".to_owned();
            at.wrong_key("heartbeat without a socket to come in by", "an address for heartbeats", hint);
        }
        if let Some(listener) = reachable.filter(|_| heartbeat.token_file.is_none() && !at.has("token_file")) {
            let wanted = format!("a token_file in it, since {} can be reached from elsewhere", listener.address);
            at.wrong_key("heartbeat without token_file", wanted, "or receive them on loopback".to_owned());
        }
    }
}

//! Owns the lowering of the fleet and its keys.

use std::sync::Arc;

use crate::config::lower::At;
use crate::config::lower::host::{listen_address, network_address};
use crate::config::lower::secret::secret_file;
use crate::config::lower::unique::Given;
use crate::config::model::{Fleet, Secret};
use crate::config::raw::{self, OrOff};
use crate::config::tree::quote;

/// Shortest key, in bytes: what is shorter can be guessed.
const MIN_KEY: usize = 16;
/// Longest key, in bytes.
const MAX_KEY: usize = 1024;
/// Most keys: two are enough for a change, a few more do no harm.
const MAX_KEYS: usize = 16;

/// The fleet.
pub(super) fn fleet(at: &At<'_>, raw: &raw::Fleet) -> Option<Fleet> {
    let address = raw.address.as_deref().and_then(|text| listen_address(&at.key("address"), text));
    let mut given = Given::new();
    let mut peers = Vec::new();
    for (index, text) in raw.peers.iter().flatten().enumerate() {
        let at = at.key("peers").item(index);
        if let Some(peer) = text.as_deref().and_then(|text| network_address(&at, text)) {
            given.give(&at, (peer.host().clone(), peer.port()), "every peer once");
            peers.push(peer);
        }
    }
    let known = at.key("peers").items() + 1;
    let size = raw.size.map_or(known, |size| usize::try_from(size).unwrap_or(usize::MAX));
    if size < known {
        at.key("size").wrong(format!("at least {known}: this proxy and its peers"), None);
    }
    let keys = raw.key_file.as_deref().and_then(|file| keys(&at.key("key_file"), file));
    Some(Fleet {
        name: raw.name.as_deref()?.into(),
        own: raw.own.as_deref()?.into(),
        address: address?,
        peers,
        size,
        keys: keys?,
    })
}

/// A cluster that waits for a fleet which is not there would never eject for a time-out.
pub(super) fn needed(top: &At<'_>, root: &raw::Root) {
    if root.fleet.is_some() || top.has("fleet") {
        return;
    }
    for (index, cluster) in root.clusters.iter().flatten().enumerate() {
        let health = cluster.as_ref().and_then(|cluster| cluster.health.as_ref());
        if matches!(health, Some(OrOff::Block(health)) if health.quorum == Some(true)) {
            let at = top.key("clusters").item(index).key("health").key("quorum");
            at.wrong("a fleet to agree with", "add the section fleet, or leave quorum out".to_owned());
        }
    }
}

fn keys(at: &At<'_>, file: &str) -> Option<Arc<[Secret]>> {
    let text = secret_file(at, file)?;
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    // What stands in the file is never shown.
    let wanted = "a file with 1 to 16 keys of 16 to 1024 characters, a line each";
    let said = if lines().next().is_none() {
        "without a key"
    } else if lines().count() > MAX_KEYS {
        "with too many keys"
    } else if lines().any(|line| line.len() < MIN_KEY) {
        "with a key that is too short"
    } else if lines().any(|line| line.len() > MAX_KEY) {
        "with a key that is too long"
    } else {
        return Some(lines().map(|line| Secret(line.into())).collect());
    };
    at.wrong_as(format!("{}, {said}", quote(file)), wanted, None);
    None
}

//! Owns the way from raw shapes to the [`Config`]: what settings mean together, one file per section.
//!
//! Every problem is put down with its path and lowering goes on with the default, so that one run finds them all. What the
//! walk has taken out is missing here without being told again; a check that would need it is left out.

mod advice;
mod affinity;
mod at;
mod cluster;
mod discovery;
mod fleet;
mod header;
mod health;
mod heartbeat;
mod host;
mod leader;
mod listener;
mod live;
mod probe;
mod process;
mod report;
mod route;
mod rule;
mod scalar;
mod secret;
mod tls;
mod unique;

use crate::config::model::Config;
use crate::config::raw::Root;

pub(super) use at::{At, Page};
use scalar::{ANY, span_or};
use unique::ClusterNames;

/// Lowers a whole document; what is wrong with it is on the page.
pub(super) fn lower(page: &Page<'_>, root: &Root) -> Config {
    let top = At::top(page);
    let clusters = ClusterNames::collect(&top, root);
    let admin = process::admin(&top.key("admin"), root.admin.as_ref());
    let metrics = root.metrics.as_ref().and_then(|metrics| process::metrics(&top.key("metrics"), metrics));
    let heartbeats = heartbeat::listeners(&top.key("heartbeats"), root.heartbeats.as_ref());
    heartbeat::needs(&top, root, &heartbeats);
    let config = Config {
        admin,
        metrics,
        workers: root.workers.and_then(|workers| usize::try_from(workers).ok()),
        drain_delay: span_or(&top.key("drain_delay"), root.drain_delay.as_ref(), ANY, crate::config::defaults::DRAIN_DELAY),
        drain_timeout: span_or(
            &top.key("drain_timeout"),
            root.drain_timeout.as_ref(),
            ANY,
            crate::config::defaults::DRAIN_TIMEOUT,
        ),
        watch: root.watch.unwrap_or(crate::config::defaults::WATCH),
        state_file: root.state_file.as_ref().map(|file| page.folder.join(file)),
        access_log: process::access_log(page, root.access_log.as_ref()),
        log: process::log(root.log.as_ref()),
        heartbeats,
        listeners: listener::listeners(&top.key("listeners"), root.listeners.as_deref().unwrap_or_default(), &clusters),
        clusters: cluster::clusters(&top.key("clusters"), root.clusters.as_deref().unwrap_or_default()),
        fleet: root.fleet.as_ref().and_then(|raw| fleet::fleet(&top.key("fleet"), raw)),
    };
    listener::clashes(&top, root);
    fleet::needed(&top, root);
    leader::routes(&top, root);
    let nothing = |key: &str| !top.has(key) || top.key(key).is_empty_list();
    if nothing("listeners") && nothing("clusters") {
        top.wrong_as("neither listeners nor clusters", "a listener and a cluster", None);
    }
    config
}

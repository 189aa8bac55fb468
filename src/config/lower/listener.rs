//! Owns the lowering of listeners: their names, limits and routes, and that no two want the same address.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::base::address::Site;
use crate::base::units::parse_size;
use crate::config::defaults;
use crate::config::lower::At;
use crate::config::lower::host::{listen_site, match_path};
use crate::config::lower::route::{catch_all, routes};
use crate::config::lower::scalar::{WAIT, span_or};
use crate::config::lower::tls::listener_tls;
use crate::config::lower::unique::{ClusterNames, Given};
use crate::config::model::{Listener, ListenerLimits, Protocol, UNIX};
use crate::config::raw::{self, List, OneOrMany, Root, Size};
use crate::traffic::policy::{Action, RoutePolicy};

/// The port that https has by default.
const HTTPS: u16 = 443;

/// The size of a head: below, requests of ordinary browsers fail; above, it is memory for those who attack.
const HEAD_BYTES: std::ops::RangeInclusive<u64> = 8 << 10..=1 << 20;

/// All listeners.
pub(super) fn listeners(at: &At<'_>, raw: &[Option<raw::Listener>], clusters: &ClusterNames<'_>) -> Vec<Listener> {
    let mut names = Given::new();
    let mut all = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let Some(raw) = raw else { continue };
        let at = at.item(index);
        let lowered = listener(&at, raw, clusters);
        give_name(&mut names, &at, raw);
        if lowered.as_ref().is_some_and(|lowered| lowered.tls.is_some()) {
            warn_of_redirects(&at, raw);
        }
        all.extend(lowered);
    }
    let https = https_port(&all);
    for route in all.iter_mut().flat_map(|listener| &mut listener.routes) {
        if let Action::RedirectToHttps { port } = &mut route.action {
            *port = https;
        }
    }
    all
}

/// The port of the first listener with TLS, if there is one and it is not the usual one.
fn https_port(listeners: &[Listener]) -> Option<u16> {
    let secured = listeners.iter().filter(|listener| listener.tls.is_some());
    let port = secured.filter_map(|listener| listener.address.ip()).map(|address| address.port()).next()?;
    (port != HTTPS && port != 0).then_some(port)
}

/// What comes by TLS is where a redirect leads already.
fn warn_of_redirects(at: &At<'_>, raw: &raw::Listener) {
    for (index, route) in raw.routes.iter().flatten().enumerate() {
        if route.as_ref().is_some_and(|route| route.redirect.is_some()) {
            let hint = "what comes by TLS is https already, so this route takes no request".to_owned();
            at.key("routes").item(index).key("redirect").warn("a listener without tls", hint);
        }
    }
}

/// Gives a listener its name. Of two with the same address and no names only the clash is told, but those that let the
/// system choose their ports do not clash.
fn give_name(names: &mut Given<String>, at: &At<'_>, raw: &raw::Listener) {
    let wanted = "a name that no other listener has";
    match (&raw.name, &raw.address) {
        (Some(name), _) => names.give(&at.key("name"), name.clone(), wanted),
        (None, Some(address)) if address.ends_with(":0") => names.give(&at.key("name"), address.clone(), wanted),
        (None, Some(address)) => names.note(&at.key("address"), address.clone()),
        (None, None) => {}
    }
}

fn listener(at: &At<'_>, raw: &raw::Listener, clusters: &ClusterNames<'_>) -> Option<Listener> {
    let text = raw.address.as_deref();
    let address = text.and_then(|text| listen_site(&at.key("address"), text));
    let socket_mode = socket_mode(&at.key("socket_mode"), raw.socket_mode.as_deref(), address.as_ref());
    let name: Arc<str> = raw.name.as_deref().or(text).unwrap_or_default().into();
    let (trusted_proxies, trusts_unix) = trusted(&at.key("trusted_proxies"), raw.trusted_proxies.as_deref().unwrap_or_default());
    let health_path = raw.health_path.as_deref().and_then(|path| match_path(&at.key("health_path"), path));
    let proxy_protocol = raw.proxy_protocol.unwrap_or(defaults::PROXY_PROTOCOL);
    if proxy_protocol && !at.has("trusted_proxies") {
        let hint = "such as 10.0.0.0/8: the header is believed from nobody else".to_owned();
        at.key("proxy_protocol").wrong("trusted_proxies beside it", hint);
    }
    let limits = limits(&at.key("limits"), raw.limits.as_ref());
    let tls = raw.tls.as_ref().and_then(|tls| listener_tls(&at.key("tls"), tls));
    let protocol = raw.protocol.map_or_else(Protocol::default, protocol);
    let routes = cluster_or_routes(at, raw, &name, clusters);
    Some(Listener {
        name,
        address: address?,
        socket_mode,
        protocol,
        tls,
        proxy_protocol,
        trusted_proxies,
        trusts_unix,
        health_path,
        limits,
        routes,
    })
}

/// The mode of the socket's file.
fn socket_mode(at: &At<'_>, raw: Option<&str>, address: Option<&Site>) -> u32 {
    if raw.is_some() && matches!(address, Some(Site::Ip(_))) {
        at.wrong_key("socket_mode beside an address on the network", "unix:/path as the address, or no socket_mode", None);
    }
    u32::from_str_radix(raw.unwrap_or(defaults::SOCKET_MODE), 8).unwrap_or_default()
}

/// What is spoken on a connection.
pub(super) const fn protocol(raw: raw::Protocol) -> Protocol {
    match raw {
        raw::Protocol::Auto => Protocol::Auto,
        raw::Protocol::Http1 => Protocol::Http1,
        raw::Protocol::Http2 => Protocol::Http2,
    }
}

fn cluster_or_routes(at: &At<'_>, raw: &raw::Listener, name: &str, clusters: &ClusterNames<'_>) -> Vec<RoutePolicy> {
    match (at.has("cluster"), at.has("routes")) {
        (true, true) => at.key("routes").wrong_key("both cluster and routes", "one of them", None),
        (false, false) => at.wrong_as("neither cluster nor routes", "one of them", None),
        _ => {}
    }
    let mut all = Vec::new();
    if let Some(cluster) = &raw.cluster {
        clusters.check(&at.key("cluster"), cluster);
        all.push(catch_all(name, cluster));
    }
    if let Some(raw) = &raw.routes {
        all.extend(routes(&at.key("routes"), raw, name, clusters));
    }
    all
}

/// The networks that are trusted, and whether whoever comes in by a socket in the file system is.
fn trusted(at: &At<'_>, raw: &[Option<String>]) -> (Vec<IpNet>, bool) {
    let network = |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let (mut all, mut unix) = (Vec::new(), false);
    for (index, text) in raw.iter().enumerate().filter_map(|(index, text)| Some((index, text.as_deref()?))) {
        match network(text) {
            _ if text == UNIX => unix = true,
            Some(network) => all.push(network.trunc()),
            None => at.item(index).wrong("an address such as 10.0.0.7, a network such as 10.0.0.0/8, or unix:", None),
        }
    }
    (all, unix)
}

fn limits(at: &At<'_>, raw: Option<&raw::Limits>) -> ListenerLimits {
    let count = |value: Option<u32>, default: u32| usize::try_from(value.unwrap_or(default)).unwrap_or(usize::MAX);
    let head_timeout = raw.and_then(|raw| raw.head_timeout.as_ref());
    let keepalive_timeout = raw.and_then(|raw| raw.keepalive_timeout.as_ref());
    ListenerLimits {
        connections: count(raw.and_then(|raw| raw.connections), defaults::CONNECTIONS),
        handshakes: count(raw.and_then(|raw| raw.handshakes), defaults::HANDSHAKES),
        streams: raw.and_then(|raw| raw.streams).unwrap_or(defaults::STREAMS),
        head_bytes: head_bytes(&at.key("head_bytes"), raw.and_then(|raw| raw.head_bytes.as_ref())),
        head_count: count(raw.and_then(|raw| raw.head_count), defaults::HEAD_COUNT),
        head_timeout: span_or(&at.key("head_timeout"), head_timeout, WAIT, defaults::HEAD_TIMEOUT),
        keepalive_timeout: span_or(&at.key("keepalive_timeout"), keepalive_timeout, WAIT, defaults::KEEPALIVE_TIMEOUT),
    }
}

fn head_bytes(at: &At<'_>, raw: Option<&Size>) -> usize {
    let bytes = raw.and_then(|raw| at.parsed(parse_size(&raw.0))).filter(|bytes| {
        let good = HEAD_BYTES.contains(bytes);
        if !good {
            at.wrong("a size from 8KiB to 1MiB", None);
        }
        good
    });
    let default = || parse_size(defaults::HEAD_BYTES).expect("the default is a size");
    usize::try_from(bytes.unwrap_or_else(default)).unwrap_or(usize::MAX)
}

/// Puts down a problem for every socket of ours that wants an address which another one has.
pub(super) fn clashes(top: &At<'_>, root: &Root) {
    let admin = root.admin.as_ref().and_then(|admin| admin.address.as_deref());
    let default = admin.is_none() && !top.key("admin").has("address");
    let mut taken: Vec<(String, Site)> = Vec::new();
    let mut take = |at: At<'_>, text: Option<&str>, owner: String| {
        let Some(address) = text.and_then(|text| Site::parse_listen(text).ok()) else { return };
        match taken.iter().find(|(_, other)| other.clashes_with(&address)) {
            Some((owner, other)) => at.wrong("an address that is still free", Some(format!("{owner} has {other}"))),
            None => taken.push((owner, address)),
        }
    };
    let owner = if default { "admin (by default)" } else { "admin" };
    take(top.key("admin").key("address"), if default { Some(defaults::ADMIN_ADDRESS) } else { admin }, owner.to_owned());
    let metrics = root.metrics.as_ref().and_then(|metrics| metrics.address.as_deref());
    take(top.key("metrics").key("address"), metrics, "metrics".to_owned());
    for (index, heartbeats) in root.heartbeats.iter().flat_map(OneOrMany::iter) {
        let at = top.key("heartbeats").maybe_item(index);
        let owner = at.to_string();
        take(at.key("address"), heartbeats.address.as_deref(), owner);
    }
    let fleet = root.fleet.as_ref().and_then(|fleet| fleet.address.as_deref());
    take(top.key("fleet").key("address"), fleet, "fleet".to_owned());
    for (index, text) in addresses(root.listeners.as_ref()) {
        let at = top.key("listeners").item(index);
        let owner = at.to_string();
        take(at.key("address"), Some(text), owner);
    }
}

fn addresses(listeners: Option<&List<raw::Listener>>) -> impl Iterator<Item = (usize, &str)> {
    let each = listeners.into_iter().flatten().enumerate();
    each.filter_map(|(index, listener)| Some((index, listener.as_ref()?.address.as_deref()?)))
}

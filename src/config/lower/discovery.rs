//! Owns the lowering of where endpoints are found.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::address::{EndpointAddress, Host};
use crate::config::lower::At;
use crate::config::model::{Discovery, DnsName};
use crate::config::raw;

/// What a name to look up looks like.
const WANTED: &str = "a name with a port, such as app.internal:9000, or one with SRV records, such as _http._tcp.app.internal";

/// Where endpoints are found; `None` if something of it is wrong.
pub(super) fn discovery(at: &At<'_>, raw: &raw::Discovery) -> Option<Discovery> {
    match ["dns", "file", "heartbeat"].into_iter().filter(|key| at.has(key)).collect::<Vec<_>>()[..] {
        [] => at.wrong_as("none of dns, file and heartbeat", "one of them", None),
        [first, second, ..] => at.key(second).wrong_key(format!("both {first} and {second}"), "one of them", None),
        [_] => {}
    }
    if raw.heartbeat == Some(false) {
        at.key("heartbeat").wrong("true, or another source in place of it", None);
    }
    let nameserver = raw.nameserver.as_deref().and_then(|text| nameserver(&at.key("nameserver"), text));
    if raw.nameserver.is_some() && !at.has("dns") {
        at.key("nameserver").wrong_key("nameserver without dns", "dns, which is what it is asked for", None);
    }
    if let Some(text) = &raw.dns {
        let (name, port) = name(&at.key("dns"), text)?;
        return Some(Discovery::Dns(DnsName { name, port, nameserver }));
    }
    if raw.heartbeat == Some(true) {
        return Some(Discovery::Heartbeat);
    }
    let file = raw.file.as_deref()?;
    Some(Discovery::File(at.page().folder.join(file).into()))
}

fn name(at: &At<'_>, text: &str) -> Option<(Arc<str>, Option<u16>)> {
    // A name without a port is one that any port would make into an address.
    let (whole, has_port) = if text.contains(':') { (text.to_owned(), true) } else { (format!("{text}:1"), false) };
    match EndpointAddress::parse_network(&whole).map(|address| (address.host().clone(), address.port())) {
        Ok((Host::Name(name), port)) => Some((name, has_port.then_some(port))),
        Ok((Host::Ip(_), _)) => {
            at.wrong(WANTED, "an address needs no lookup: put it into endpoints".to_owned());
            None
        }
        Ok((Host::Unix(_), _)) | Err(_) => {
            at.wrong(WANTED, None);
            None
        }
    }
}

fn nameserver(at: &At<'_>, text: &str) -> Option<SocketAddr> {
    let parsed = EndpointAddress::parse_network(text).ok().and_then(|address| address.socket());
    if parsed.is_none() {
        at.wrong("the address of a name server with its port, such as 10.0.0.2:53", None);
    }
    parsed
}

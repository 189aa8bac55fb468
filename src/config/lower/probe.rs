//! Owns the lowering of probes: what each asks, where, and its name.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use http::uri::Authority;

use crate::base::units::parse_duration;
use crate::config::defaults;
use crate::config::lower::header::{method, probe_headers};
use crate::config::lower::health::Pace;
use crate::config::lower::host::{endpoint_address, path_and_query};
use crate::config::lower::scalar::{PACE, WAIT, span_or};
use crate::config::lower::unique::Given;
use crate::config::lower::{At, advice};
use crate::config::raw::{self, OneOrMany, OrOff, Status};
use crate::health::check::{Acknowledge, Check, FileCheck, HttpCheck, ProbeSpec, StatusRange};
use crate::health::serving::GrpcCheck;

/// The name of the probe that `health.path` is short for.
const SHORT_NAME: &str = "health";

/// The probes of a health block: those it lists, or the one that its path is short for.
pub(super) fn probes(at: &At<'_>, raw: &raw::Health, pace: &Pace) -> Vec<ProbeSpec> {
    let listed = at.has("probes");
    if listed && at.has("path") {
        at.key("path").wrong_key("path beside probes", "one of them", "path is short for one http probe".to_owned());
    } else if at.has("port") && !at.has("path") {
        let hint = if listed { "give the port to a probe" } else { "give the path too" };
        at.key("port").wrong_key("port without path", "a path beside it, which it is the port of", hint.to_owned());
    }
    if at.has("tls") && !at.has("path") {
        let hint = if listed { "give tls to a probe" } else { "give the path too" };
        at.key("tls").wrong_key("tls without path", "a path beside it, whose probe it is of", hint.to_owned());
    }
    // Who wants heartbeats and names no probe wants no probe.
    let pushed = matches!(raw.heartbeat, Some(OrOff::Block(_))) && !listed && !at.has("path") && !at.has("port");
    if pushed {
        return Vec::new();
    }
    if listed {
        list(&at.key("probes"), raw.probes.as_deref().unwrap_or_default(), pace, acknowledge(raw.acknowledge))
    } else {
        vec![short(at, raw, pace)]
    }
}

fn short(at: &At<'_>, raw: &raw::Health, pace: &Pace) -> ProbeSpec {
    let path = raw.path.as_deref().and_then(|path| path_and_query(&at.key("path"), path));
    ProbeSpec {
        name: SHORT_NAME.into(),
        check: Check::Http(HttpCheck { acknowledge: acknowledge(raw.acknowledge), ..plain_check(path) }),
        address: None,
        port: raw.port,
        tls: inherits(raw.tls),
        source: None,
        timing: pace.timing(pace.interval, pace.timeout),
    }
}

/// A GET that wants success.
fn plain_check(path: Option<Arc<str>>) -> HttpCheck {
    HttpCheck {
        path: path.unwrap_or_else(|| defaults::HEALTH_PATH.into()),
        method: Method::GET,
        host: None,
        headers: http::HeaderMap::new(),
        status: defaults::PROBE_STATUS.iter().filter_map(|text| range(text)).collect(),
        body_contains: None,
        acknowledge: Acknowledge::default(),
    }
}

const fn acknowledge(raw: Option<raw::Acknowledge>) -> Acknowledge {
    match raw {
        Some(raw::Acknowledge::Off) => Acknowledge::Off,
        None | Some(raw::Acknowledge::Optional) => Acknowledge::Optional,
        Some(raw::Acknowledge::Required) => Acknowledge::Required,
    }
}

fn list(at: &At<'_>, raw: &[Option<raw::Probe>], pace: &Pace, acknowledge: Acknowledge) -> Vec<ProbeSpec> {
    let mut names = Given::new();
    let mut taken: HashSet<String> = raw.iter().flatten().filter_map(|probe| probe.name.clone()).collect();
    let mut all = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let Some(raw) = raw else { continue };
        let at = at.item(index);
        let Some(mut check) = check(&at, raw, pace) else { continue };
        if let Check::Http(http) = &mut check {
            http.acknowledge = acknowledge;
        }
        let name = raw.name.clone().unwrap_or_else(|| free_name(&check, &mut taken));
        if raw.name.is_some() {
            names.give(&at.key("name"), name.clone(), "a name that no other probe of this cluster has");
        }
        all.push(probe(&at, raw, name.into(), check, pace));
    }
    all
}

/// The kind of a check, with a number behind it from the second one on.
fn free_name(check: &Check, taken: &mut HashSet<String>) -> String {
    let kind = check.kind();
    let numbered = (2..).map(|number| format!("{kind}-{number}"));
    let name = std::iter::once(kind.to_owned()).chain(numbered).find(|name| !taken.contains(name));
    let name = name.expect("numbers do not end before names do");
    taken.insert(name.clone());
    name
}

/// The kinds of probes, as keys.
const KINDS: [&str; 5] = ["http", "tcp", "agent", "grpc", "file"];

fn check(at: &At<'_>, raw: &raw::Probe, pace: &Pace) -> Option<Check> {
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| at.has(kind)).collect();
    match given.as_slice() {
        [] => at.wrong_as("none of http, tcp, agent, grpc and file", "one of them", None),
        [_] => {}
        [first, second, ..] => {
            at.wrong_as(format!("both {first} and {second}"), "one of them", "write two probes".to_owned());
        }
    }
    let raw::Probe { http, tcp, agent, grpc, file, .. } = raw;
    let http = || http.as_ref().map(|http| Check::Http(http_check(&at.key("http"), http)));
    let tcp = || tcp.as_ref().map(|_| Check::Tcp);
    let agent = || agent.as_ref().map(|_| Check::Agent);
    let grpc = || grpc.as_ref().map(|grpc| Check::Grpc(grpc_check(grpc)));
    let file = || Some(Check::File(file_check(&at.key("file"), file.as_ref()?, raw, pace)?));
    http().or_else(tcp).or_else(agent).or_else(grpc).or_else(file)
}

fn grpc_check(raw: &raw::GrpcProbe) -> GrpcCheck {
    GrpcCheck {
        service: raw.service.as_deref().unwrap_or_default().into(),
        unimplemented_passes: raw.unimplemented == Some(raw::Unimplemented::Healthy),
    }
}

fn file_check(at: &At<'_>, raw: &raw::FileProbe, probe: &raw::Probe, pace: &Pace) -> Option<FileCheck> {
    let interval = probe.interval.as_ref().and_then(|raw| parse_duration(&raw.0).ok()).unwrap_or(pace.interval);
    let max_age = span_or(&at.key("max_age"), raw.max_age.as_ref(), WAIT, defaults::max_age(interval));
    let path = raw.path.as_deref()?;
    let known = ["{host}", "{port}", "{address}"].into_iter().fold(path.to_owned(), |path, name| path.replace(name, ""));
    if known.contains(['{', '}']) {
        at.key("path").wrong("a path in which only {host}, {port} and {address} are in braces", None);
    }
    let path = at.page().folder.join(path);
    Some(FileCheck { path: path.to_string_lossy().into(), max_age })
}

fn probe(at: &At<'_>, raw: &raw::Probe, name: Arc<str>, check: Check, pace: &Pace) -> ProbeSpec {
    let interval = span_or(&at.key("interval"), raw.interval.as_ref(), PACE, pace.interval);
    let timeout = span_or(&at.key("timeout"), raw.timeout.as_ref(), WAIT, pace.timeout);
    if raw.interval.is_some() {
        pace.check_own(&at.key("interval"), interval);
        if timeout > interval {
            at.key("interval")
                .warn("an interval of at least the timeout", "probes of one endpoint wait for each other".to_owned());
        }
    }
    advice::probe(at, raw, timeout);
    if at.has("address") && at.has("port") {
        at.key("port").wrong_key("both address and port", "one of them", "an address has its port".to_owned());
    }
    if matches!(check, Check::File(_)) {
        for key in ["address", "port", "source"] {
            if at.has(key) {
                at.key(key).wrong_key(format!("{key} beside file"), "a probe that connects, or no such key", None);
            }
        }
    }
    let address = raw.address.as_deref().and_then(|text| endpoint_address(&at.key("address"), text));
    let port = raw.port.filter(|_| address.is_none());
    let source = raw.source.as_deref().and_then(|text| source(&at.key("source"), text));
    ProbeSpec { name, check, address, port, source, tls: inherits(raw.tls), timing: pace.timing(interval, timeout) }
}

/// An address of ours.
fn source(at: &At<'_>, text: &str) -> Option<IpAddr> {
    let source = text.parse().ok();
    if source.is_none() {
        at.wrong("an IP address of this machine, such as 10.0.1.5", None);
    }
    source
}

/// Whether a probe uses the cluster's TLS, if there is any.
const fn inherits(raw: Option<raw::ProbeTls>) -> bool {
    !matches!(raw, Some(raw::ProbeTls::Off))
}

fn http_check(at: &At<'_>, raw: &raw::HttpProbe) -> HttpCheck {
    let plain = plain_check(raw.path.as_deref().and_then(|path| path_and_query(&at.key("path"), path)));
    let status = raw.status.as_ref().map(|raw| statuses(&at.key("status"), raw));
    HttpCheck {
        method: raw.method.as_deref().and_then(|text| method(&at.key("method"), text)).unwrap_or(plain.method),
        host: raw.host.as_deref().and_then(|text| host(&at.key("host"), text)),
        headers: probe_headers(&at.key("headers"), raw.headers.as_ref()),
        status: status.unwrap_or(plain.status),
        body_contains: raw.body_contains.as_deref().map(Arc::from),
        acknowledge: plain.acknowledge,
        path: plain.path,
    }
}

/// What a Host header can be: a host, and a port if there is one.
fn host(at: &At<'_>, text: &str) -> Option<Arc<str>> {
    if text.parse::<Authority>().is_ok() && !text.contains('@') {
        return Some(text.into());
    }
    at.wrong("a host such as shop or shop.example.com:8080", None);
    None
}

fn statuses(at: &At<'_>, raw: &OneOrMany<Status>) -> Vec<StatusRange> {
    let one = |(index, status): (Option<usize>, &Status)| match status {
        Status::One(status) => Some(StatusRange { low: *status, high: *status }),
        Status::Range(text) => {
            let range = range(text);
            if range.is_none() {
                at.maybe_item(index).wrong("a range from the lower to the higher status, such as 200-299", None);
            }
            range
        }
    };
    raw.iter().filter_map(one).collect()
}

/// `204` or `200-299`.
fn range(text: &str) -> Option<StatusRange> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let range = StatusRange { low: low.parse().ok()?, high: high.parse().ok()? };
    (range.low <= range.high).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_single_or_ranges_with_both_ends() {
        let check = |text: &str, wanted: Option<(u16, u16)>| {
            assert_eq!(range(text).map(|range| (range.low, range.high)), wanted, "{text}");
        };
        check("204", Some((204, 204)));
        check("200-299", Some((200, 299)));
        check("200-200", Some((200, 200)));
        for bad in ["299-200", "", "-", "2xx", "200-", "200-299-300", "99999"] {
            check(bad, None);
        }
    }

    #[test]
    fn probes_without_a_name_are_called_by_their_kind_and_never_alike() {
        let mut taken = HashSet::from(["tcp-2".to_owned()]);
        let names: Vec<String> = (0..3).map(|_| free_name(&Check::Tcp, &mut taken)).collect();
        assert_eq!(names, ["tcp", "tcp-3", "tcp-4"]);
    }
}

//! What becomes of headers on their way through: hop-by-hop ones go, ours are added, rules apply.
//!
//! A header that only concerned the client's connection must not reach the endpoint's, and nobody but a trusted proxy
//! may tell the endpoint where a request came from.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT,
    FORWARDED, HOST, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::traffic::added::{Added, CLIENT_CERT, Client, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, Ids};
use crate::traffic::added::{PSEUDONYM, REQUEST_ID, TRACEPARENT, pseudonym};
use crate::traffic::policy::HeaderRules;

/// How often a request may have passed a proxy of our name before it counts as a loop.
pub const MAX_HOPS: usize = 16;

/// How many headers are added to an ordinary request.
const ADDED: usize = 6;

/// Which of the headers that matter here a message has. Most have hardly any, and one look at the names that are there costs
/// less than looking each of these up.
#[derive(Debug, Clone, Copy, Default)]
struct Present {
    /// One of [`HOP_BY_HOP`].
    hop_by_hop: bool,
    connection: bool,
    te: bool,
    via: bool,
    /// Something that says where a request came from.
    forwarded: bool,
    certificate: bool,
    /// A request id, or part of a trace context.
    identity: bool,
    /// A load report.
    load: bool,
}

impl Present {
    fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            let name = name.as_str();
            match name.len() {
                2 => present.te |= name == "te",
                3 => present.via |= name == "via",
                7 => present.hop_by_hop |= name == "upgrade",
                9 => present.forwarded |= name == "forwarded",
                10 => {
                    present.connection |= name == "connection";
                    present.hop_by_hop |= name == "keep-alive";
                    present.identity |= name == "tracestate";
                }
                11 => present.identity |= name == "traceparent",
                12 => {
                    present.identity |= name == "x-request-id";
                    present.forwarded |= name == "x-forwarded-";
                }
                _ => present.note_long(name),
            }
        }
        present.hop_by_hop |= present.te;
        present
    }

    fn note_long(&mut self, name: &str) {
        self.forwarded |= name.starts_with("x-forwarded-");
        self.certificate |= name == CLIENT_CERT.as_str();
        self.hop_by_hop |= HOP_BY_HOP.contains(&name);
        self.load |= name.starts_with(LOAD.as_str());
    }

    /// Whether nothing is there of what is added.
    const fn is_free(self) -> bool {
        !(self.via || self.forwarded || self.certificate || self.identity)
    }
}

/// What always concerns one connection only, Connection itself aside.
const HOP_BY_HOP: [&str; 7] =
    ["keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "proxy-authorization", "proxy-authenticate"];

/// Load reports, as text and in gRPC's older way.
static LOAD: HeaderName = HeaderName::from_static("endpoint-load-metrics");
static LOAD_BINARY: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whether this request has passed so many proxies of our name that it must be going round.
#[must_use]
pub fn is_loop(headers: &HeaderMap) -> bool {
    let hops = |value: &HeaderValue| value.to_str().map_or(0, |text| text.matches(PSEUDONYM).count());
    headers.get_all(VIA).iter().map(hops).sum::<usize>() >= MAX_HOPS
}

/// Makes a client's headers into the endpoint's, but for Host and the body's framing. What is to be added to them is given
/// back, unless some of it was there already, so that all of it had to be put among them.
#[must_use]
pub fn request(
    headers: &mut HeaderMap,
    client: &Client,
    host: Option<&HeaderValue>,
    version: Version,
    rng: &mut fastrand::Rng,
) -> Option<Added> {
    let present = Present::of(headers);
    let trailers = present.te && wants_trailers(headers);
    remove_hop_by_hop(headers, present);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let ids = Ids::new(rng);
    if present.is_free() {
        return Some(Added { host: host.cloned(), version, ids });
    }
    // Room for what follows, made once.
    headers.reserve(ADDED);
    forwarded(headers, client, host, present);
    via(headers, version, present);
    identify(headers, ids, present);
    None
}

/// Makes an endpoint's headers into the client's, but for the body's framing. Gives the load report that was among them: it is
/// for us, and says more of the house than a client should know.
pub fn response(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let present = Present::of(headers);
    remove_hop_by_hop(headers, present);
    if !present.load {
        return None;
    }
    headers.remove(&LOAD_BINARY);
    headers.remove(&LOAD)
}

/// What may not be a trailer: it says how to frame, route or authorize a message, and comes too late to be heeded and early
/// enough to fool somebody (RFC 9110, section 6.5.1).
const NO_TRAILERS: [HeaderName; 16] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    MAX_FORWARDS,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a field may stand among trailers.
#[must_use]
pub fn may_trail(name: &HeaderName) -> bool {
    !NO_TRAILERS.contains(name)
}

/// Takes out of an answer's trailers what may not stand there, and load reports.
pub fn trailers(headers: &mut HeaderMap) {
    drop(response(headers));
    for name in NO_TRAILERS {
        headers.remove(name);
    }
}

/// Takes out of a request's trailers what may not stand there, and what says where it came from: whoever adds trailers to
/// headers would believe it.
pub fn request_trailers(headers: &mut HeaderMap) {
    trailers(headers);
    remove_forwarded(headers);
    headers.remove(&CLIENT_CERT);
}

/// Applies a route's changes.
pub fn apply(rules: &HeaderRules, headers: &mut HeaderMap) {
    for name in &rules.remove {
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        headers.insert(name.clone(), value.clone());
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let lists = |value: &HeaderValue| {
        let names = |text: &str| text.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
        value.to_str().is_ok_and(names)
    };
    headers.get_all(TE).iter().any(lists)
}

/// RFC 9110, section 7.6.1: the fields that Connection names, and those that always concern one connection only.
fn remove_hop_by_hop(headers: &mut HeaderMap, present: Present) {
    if present.connection
        && let Some(value) = headers.get(CONNECTION)
    {
        let plain = [b"keep-alive".as_slice(), b"close"].iter().any(|word| value.as_bytes().eq_ignore_ascii_case(word));
        if plain && headers.get_all(CONNECTION).iter().nth(1).is_none() {
            headers.remove(CONNECTION);
        } else {
            remove_named(headers);
        }
    }
    if present.hop_by_hop {
        for name in HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> =
        headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(nominated).collect();
    headers.remove(CONNECTION);
    for name in named {
        headers.remove(name);
    }
}

/// Names in a Connection value, without those that no sender may take from us.
fn nominated(value: &str) -> impl Iterator<Item = HeaderName> + '_ {
    let names = value.split(',').filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
    names.filter(|name| *name != HOST && *name != CONTENT_LENGTH)
}

fn forwarded(headers: &mut HeaderMap, client: &Client, host: Option<&HeaderValue>, present: Present) {
    if present.certificate {
        headers.remove(&CLIENT_CERT);
    }
    if present.forwarded && !client.trusted {
        remove_forwarded(headers);
    }
    let kept = present.forwarded && client.trusted;
    if let Some(address) = &client.address {
        let before = if kept { joined(headers, &FORWARDED_FOR, address) } else { None };
        headers.insert(&FORWARDED_FOR, before.unwrap_or_else(|| address.clone()));
    }
    if let Some(subject) = &client.certificate {
        headers.insert(&CLIENT_CERT, subject.clone());
    }
    if !(kept && headers.contains_key(&FORWARDED_PROTO)) {
        headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(if client.secure { "https" } else { "http" }));
    }
    if let Some(host) = host.filter(|_| !(kept && headers.contains_key(&FORWARDED_HOST))) {
        headers.insert(&FORWARDED_HOST, host.clone());
    }
}

/// Everything that claims to say where the request came from.
fn remove_forwarded(headers: &mut HeaderMap) {
    headers.remove(FORWARDED);
    let claims = |name: &&HeaderName| name.as_str().starts_with("x-forwarded-");
    if headers.keys().any(|name| claims(&name)) {
        let names: Vec<HeaderName> = headers.keys().filter(claims).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// All lines of a field and one more element as a single value.
fn joined(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> Option<HeaderValue> {
    if !headers.contains_key(name) {
        return None;
    }
    let mut text = Vec::new();
    for value in headers.get_all(name) {
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(last.as_bytes());
    HeaderValue::from_bytes(&text).ok()
}

fn via(headers: &mut HeaderMap, version: Version, present: Present) {
    let ours = HeaderValue::from_static(pseudonym(version));
    let before = if present.via { joined(headers, &VIA, &ours) } else { None };
    headers.insert(VIA, before.unwrap_or(ours));
}

/// A request id and a trace context: kept if well-formed, made otherwise.
fn identify(headers: &mut HeaderMap, ids: Ids, present: Present) {
    let known = |name: &HeaderName, is_well_formed: fn(&[u8]) -> bool| {
        present.identity && single(headers, name).is_some_and(is_well_formed)
    };
    let (id, trace) = (known(&REQUEST_ID, is_request_id), known(&TRACEPARENT, is_traceparent));
    if !id {
        headers.insert(&REQUEST_ID, ids.request_id());
    }
    if !trace {
        if present.identity {
            headers.remove(&TRACESTATE);
        }
        headers.insert(&TRACEPARENT, ids.traceparent());
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

/// 1 to 128 characters that are safe in a log line and a URL.
fn is_request_id(value: &[u8]) -> bool {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~:+/=@".contains(byte);
    (1..=128).contains(&value.len()) && value.iter().all(safe)
}

/// W3C Trace Context, version 00: `00-` 32 hex `-` 16 hex `-` 2 hex in lower case, ids not all zero.
fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8], length: usize| part.len() == length && part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &[u8], length: usize| hex(part, length) && part.iter().any(|b| *b != b'0');
    let mut parts = value.split(|b| *b == b'-');
    let (Some(version), Some(trace), Some(span), Some(flags)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let whole = version != b"00" || parts.next().is_none();
    hex(version, 2) && version != b"ff" && id(trace, 32) && id(span, 16) && hex(flags, 2) && whole
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn forward(lines: &[(&'static str, &str)], trusted: bool) -> HeaderMap {
        let mut headers = headers(lines);
        let client = Client::new(Some(Ipv4Addr::new(192, 0, 2, 1).into()), trusted, false, None);
        let host = HeaderValue::from_static("shop:80");
        let added = request(&mut headers, &client, Some(&host), Version::HTTP_11, &mut fastrand::Rng::with_seed(1));
        if let Some(added) = added {
            added.insert(&client, &mut headers);
        }
        headers
    }

    fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn what_is_added_is_put_among_headers_only_where_it_meets_its_like() {
        let client = Client::new(Some(Ipv4Addr::LOCALHOST.into()), false, false, None);
        let added = |name: &'static str| {
            let rng = &mut fastrand::Rng::with_seed(1);
            request(&mut headers(&[(name, "1")]), &client, None, Version::HTTP_11, rng).is_some()
        };
        assert!(["accept", "host", "x-team", "connection", "te"].into_iter().all(added));
        for own in ["via", "forwarded", "x-forwarded-port", "x-client-cert-subject", "x-request-id", "tracestate"] {
            assert!(!added(own), "{own}");
        }
    }

    #[test]
    fn hop_by_hop_headers_go_and_those_that_connection_names() {
        let sent = forward(
            &[
                ("connection", "close, X-Secret, host"),
                ("x-secret", "1"),
                ("keep-alive", "5"),
                ("upgrade", "h2c"),
                ("te", "gzip"),
                ("x-kept", "1"),
            ],
            false,
        );
        for gone in ["connection", "x-secret", "keep-alive", "upgrade", "te"] {
            assert!(!sent.contains_key(gone), "{gone}");
        }
        assert_eq!(values(&sent, "x-kept"), ["1"]);
    }

    #[test]
    fn the_wish_for_trailers_is_passed_on() {
        assert_eq!(values(&forward(&[("te", "trailers, gzip")], false), "te"), ["trailers"]);
    }

    #[test]
    fn an_untrusted_client_cannot_say_where_it_comes_from() {
        let sent = forward(
            &[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-port", "1"),
                ("forwarded", "for=1"),
                ("x-client-cert-subject", "CN=root"),
            ],
            false,
        );
        assert_eq!(values(&sent, "x-forwarded-for"), ["192.0.2.1"]);
        assert_eq!(values(&sent, "x-forwarded-host"), ["shop:80"]);
        assert_eq!(values(&sent, "x-forwarded-proto"), ["http"]);
        for gone in ["x-forwarded-port", "forwarded", "x-client-cert-subject"] {
            assert!(!sent.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_extended() {
        let sent = forward(
            &[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-for", "10.0.0.2"),
                ("x-forwarded-proto", "https"),
                ("x-client-cert-subject", "CN=x"),
            ],
            true,
        );
        assert_eq!(values(&sent, "x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 192.0.2.1"]);
        assert_eq!(values(&sent, "x-forwarded-proto"), ["https"]);
        assert!(!sent.contains_key("x-client-cert-subject"));
    }

    #[test]
    fn via_is_appended_and_a_loop_is_seen() {
        assert_eq!(values(&forward(&[("via", "1.0 other")], false), "via"), ["1.0 other, 1.1 pulsegate"]);
        assert!(!is_loop(&headers(&[("via", "1.1 pulsegate")])));
        assert!(is_loop(&headers(&[("via", &["1.1 pulsegate"; MAX_HOPS].join(", "))])));
    }

    #[test]
    fn ids_are_kept_only_if_well_formed() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let sent = forward(&[("x-request-id", "abc-1"), ("traceparent", trace), ("tracestate", "a=1")], false);
        assert_eq!(values(&sent, "x-request-id"), ["abc-1"]);
        assert_eq!(values(&sent, "traceparent"), [trace]);
        assert_eq!(values(&sent, "tracestate"), ["a=1"]);
        let made = forward(&[("x-request-id", "a b"), ("traceparent", "00-0-0-0"), ("tracestate", "a=1")], false);
        assert_eq!(values(&made, "x-request-id")[0].len(), 32);
        assert!(is_traceparent(values(&made, "traceparent")[0].as_bytes()));
        assert!(!made.contains_key("tracestate"));
    }

    #[test]
    fn trailers_say_nothing_that_would_change_how_a_message_is_read() {
        let all = [
            ("x-sum", "1"),
            ("grpc-status", "0"),
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("host", "b"),
            ("authorization", "x"),
            ("set-cookie", "a=1"),
            ("trailer", "x"),
            ("connection", "x-named"),
            ("x-named", "1"),
            ("endpoint-load-metrics", "TEXT eps=1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=1"),
            ("x-client-cert-subject", "CN=root"),
        ];
        let left = |take_out: fn(&mut HeaderMap)| {
            let mut headers = headers(&all);
            take_out(&mut headers);
            let mut names: Vec<String> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(left(request_trailers), ["grpc-status", "x-sum"]);
        assert_eq!(left(trailers), ["forwarded", "grpc-status", "x-client-cert-subject", "x-forwarded-for", "x-sum"]);
    }

    #[test]
    fn load_reports_do_not_reach_clients() {
        let mut headers = HeaderMap::new();
        headers.append("endpoint-load-metrics", HeaderValue::from_static("TEXT eps=1"));
        headers.append("endpoint-load-metrics", HeaderValue::from_static("TEXT eps=2"));
        headers.insert("endpoint-load-metrics-bin", HeaderValue::from_static("CZqZ"));
        headers.insert("x-other", HeaderValue::from_static("1"));
        let mut behind = headers.clone();
        assert_eq!(response(&mut headers).unwrap(), "TEXT eps=1");
        trailers(&mut behind);
        for headers in [headers, behind] {
            assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
        }
    }

    #[test]
    fn rules_remove_first_and_then_set() {
        let name = HeaderName::from_static("x-team");
        let rules = HeaderRules { set: vec![(name.clone(), HeaderValue::from_static("a"))], remove: vec![name] };
        let mut map = headers(&[("x-team", "b"), ("x-team", "c")]);
        apply(&rules, &mut map);
        assert_eq!(values(&map, "x-team"), ["a"]);
    }
}

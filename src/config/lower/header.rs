//! Owns header names, values and methods: well-formed, and not those that only the proxy itself may write.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::lower::At;
use crate::config::lower::unique::Given;
use crate::config::raw::{HeaderChanges, Pairs};
use crate::traffic::policy::HeaderRules;

/// Headers of one hop, which never pass, and those that frame a message: who sets them breaks connections.
const OWN: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Changes to one direction's headers.
pub(super) fn header_rules(at: &At<'_>, raw: Option<&HeaderChanges>) -> HeaderRules {
    let Some(raw) = raw else { return HeaderRules::default() };
    let set = raw.set.as_ref().map(|pairs| own_pairs(&at.key("set"), pairs)).unwrap_or_default();
    let remove = raw.remove.as_deref().map(|names| removals(&at.key("remove"), names)).unwrap_or_default();
    HeaderRules { set, remove }
}

fn removals(at: &At<'_>, names: &[Option<String>]) -> Vec<HeaderName> {
    let each = names.iter().enumerate().filter_map(|(index, name)| Some((index, name.as_ref()?)));
    each.filter_map(|(index, name)| {
        let at = at.item(index);
        let parsed = header_name(&at, name, false)?;
        refuse_own(&at, &parsed, false).then_some(parsed)
    })
    .collect()
}

/// The headers of a probe: what the probe writes itself is not theirs.
pub(super) fn probe_headers(at: &At<'_>, raw: Option<&Pairs<String>>) -> HeaderMap {
    let pairs = raw.map(|pairs| own_pairs(at, pairs)).unwrap_or_default();
    pairs.into_iter().collect()
}

/// Pairs of names and values that may be set.
fn own_pairs(at: &At<'_>, pairs: &Pairs<String>) -> Vec<(HeaderName, HeaderValue)> {
    let pairs = header_pairs(at, pairs);
    pairs.into_iter().filter_map(|(at, name, value)| refuse_own(&at, &name, true).then_some((name, value))).collect()
}

/// Pairs of names and values to compare with.
pub(super) fn match_pairs(at: &At<'_>, pairs: &Pairs<String>) -> Vec<(HeaderName, HeaderValue)> {
    header_pairs(at, pairs).into_iter().map(|(_, name, value)| (name, value)).collect()
}

/// Well-formed pairs, each name once however it is written.
fn header_pairs<'a>(at: &At<'a>, pairs: &Pairs<String>) -> Vec<(At<'a>, HeaderName, HeaderValue)> {
    let mut given = Given::new();
    let mut good = Vec::new();
    for (name, value) in &pairs.0 {
        let at = at.key(name);
        let parsed = header_name(&at, name, true);
        if let Some(name) = &parsed {
            given.give(&at, name.clone(), "every header once");
        }
        // A value may be a secret, so it is not shown.
        let value = HeaderValue::from_str(value)
            .map_err(|_| at.wrong_as("a value that no header can have", "visible ASCII characters and spaces on one line", None))
            .ok();
        if let (Some(name), Some(value)) = (parsed, value) {
            good.push((at, name, value));
        }
    }
    good
}

/// A header's name, that stands as a key or as a value.
pub(super) fn header_name(at: &At<'_>, text: &str, is_key: bool) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(text.as_bytes()).ok();
    if parsed.is_none() {
        let wanted = "a header's name, such as x-team";
        if is_key { at.wrong_key(format!("the key {text:?}"), wanted, None) } else { at.wrong(wanted, None) }
    }
    parsed
}

/// Puts down a problem if only the proxy may write this header; true if all is well.
fn refuse_own(at: &At<'_>, name: &HeaderName, is_key: bool) -> bool {
    if !OWN.contains(&name.as_str()) {
        return true;
    }
    let wanted = "a header that is not the connection's own";
    let hint = match name.as_str() {
        "host" => "the host passes unchanged; a probe has its key host".to_owned(),
        _ => format!("{name} belongs to one connection and is written by the proxy itself"),
    };
    if is_key {
        at.wrong_key(format!("the header {name}"), wanted, hint)
    } else {
        at.wrong(wanted, hint)
    }
    false
}

/// A method, in capitals as standards write them.
pub(super) fn method(at: &At<'_>, text: &str) -> Option<Method> {
    let parsed = Method::from_bytes(text.as_bytes()).ok().filter(|_| !text.bytes().any(|b| b.is_ascii_lowercase()));
    match parsed {
        Some(Method::CONNECT) => at.wrong("a method other than CONNECT", "the proxy opens no tunnels".to_owned()),
        Some(method) => return Some(method),
        None => {
            let upper = text.to_ascii_uppercase();
            let hint =
                (upper != text && Method::from_bytes(upper.as_bytes()).is_ok()).then(|| format!("did you mean {upper:?}?"));
            at.wrong("a method in capitals, such as GET", hint);
        }
    }
    None
}

//! What ties a request to an endpoint: the key that a ring looks up, or a signed cookie that stands for one endpoint.
//!
//! A cookie holds no address, which would be nobody's business, but a mark that only we can make of it: a MAC over cluster
//! and address. Nothing is looked into but a table of the marks that there are, so a mark that was made up, changed, or
//! belongs to an endpoint that left is simply not found, and the client gets another.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use xxhash_rust::xxh3::xxh3_64;

use crate::balance::Algorithm;
use crate::base::hex::hex;
use crate::traffic::added::FORWARDED_FOR;

/// Bytes of the MAC that a cookie carries, written as twice as many characters.
const MARK_BYTES: usize = 16;

/// How a cluster chooses the endpoint of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Any will do.
    Any(Algorithm),
    /// Always the same one for the same key.
    Hash(HashOn),
}

impl Default for Balance {
    fn default() -> Self {
        Self::Any(Algorithm::default())
    }
}

/// What of a request is its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Source,
    /// The path as received, without the query.
    Path,
    /// The first line of this header.
    Header(HeaderName),
    /// This cookie.
    Cookie(Arc<str>),
}

/// What a key can be made of.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a, S> {
    /// The headers as received.
    pub headers: &'a HeaderMap,
    /// The path as received.
    pub path: &'a str,
    /// Tells the client's address, in text; empty if it has none. Hardly anybody wants to know it, so it is looked up for who does.
    pub source: S,
}

impl HashOn {
    /// The key of a request; `None` if it has not what the key is made of.
    #[must_use]
    pub fn key<'a>(&self, asked: Asked<'a, impl FnOnce() -> &'a str>) -> Option<u64> {
        let bytes = match self {
            Self::Source => Some((asked.source)().as_bytes()).filter(|source| !source.is_empty())?,
            Self::Path => asked.path.as_bytes(),
            Self::Header(name) => asked.headers.get(name)?.as_bytes(),
            Self::Cookie(name) => cookie(asked.headers, name)?.as_bytes(),
        };
        Some(xxh3_64(bytes))
    }
}

/// The client's address where proxies that we trust stand before us: the last one of X-Forwarded-For that is none of them.
/// `peer` if there is none.
#[must_use]
pub fn source<'a>(headers: &'a HeaderMap, trusted: &[IpNet], peer: &'a str) -> &'a str {
    let lines = headers.get_all(&FORWARDED_FOR).iter().rev().filter_map(|line| line.to_str().ok());
    for address in lines.flat_map(|line| line.rsplit(',')).map(str::trim) {
        match address.parse::<std::net::IpAddr>() {
            Ok(ip) if trusted.iter().any(|net| net.contains(&ip)) => {}
            Ok(_) => return address,
            // What stands before something unreadable may be anybody's invention.
            Err(_) => return peer,
        }
    }
    peer
}

/// The first cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"'))
}

/// A key that cookies are signed with; no `Debug` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<str>);

impl Key {
    /// The fewest characters: less can be guessed.
    pub const MIN: usize = 16;

    /// A key; `None` if it is too short.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.len() >= Self::MIN).then(|| Self(text.into()))
    }

    fn mark(&self, cluster: &str, address: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in [cluster.as_bytes(), b"\0", address.as_bytes()] {
            context.update(part);
        }
        hex(&context.sign().as_ref()[..MARK_BYTES])
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A cookie that keeps a client with its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// Its name.
    pub cookie: Arc<str>,
    /// The first signs; all are accepted, so that keys can be changed.
    pub keys: Vec<Key>,
}

/// The marks of a cluster's endpoints, known by their numbers.
#[derive(Debug)]
pub struct Marks {
    cookie: Arc<str>,
    numbers: HashMap<Box<str>, usize>,
    /// Name and value by number.
    pairs: Box<[Box<str>]>,
}

impl Marks {
    /// The marks of endpoints with these addresses.
    #[must_use]
    pub fn new<'a>(sticky: &Sticky, cluster: &str, addresses: impl Iterator<Item = &'a str>) -> Self {
        let mut numbers = HashMap::new();
        let mut pairs = Vec::new();
        for (number, address) in addresses.enumerate() {
            for (place, key) in sticky.keys.iter().enumerate() {
                let mark = key.mark(cluster, address);
                if place == 0 {
                    pairs.push(format!("{}={mark}", sticky.cookie).into());
                }
                numbers.insert(mark.into(), number);
            }
        }
        Self { cookie: Arc::clone(&sticky.cookie), numbers, pairs: pairs.into() }
    }

    /// The number of the endpoint that the request's cookie stands for, if it stands for one that is here.
    #[must_use]
    pub fn find(&self, headers: &HeaderMap) -> Option<usize> {
        self.numbers.get(cookie(headers, &self.cookie)?).copied()
    }

    /// The `Set-Cookie` that stands for an endpoint; `secure` if it is to be sent over TLS only.
    #[must_use]
    pub fn set_cookie(&self, number: usize, secure: bool) -> Option<HeaderValue> {
        let pair = self.pairs.get(number)?;
        let secure = if secure { "; Secure" } else { "" };
        HeaderValue::from_str(&format!("{pair}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_key_is_made_of_what_it_is_said_to_be() {
        let headers = headers(&[("x-user", "bob"), ("cookie", "a=1; user=bob"), ("cookie", "b=2;user=eve")]);
        let asked = Asked { headers: &headers, path: "bob", source: || "bob" };
        let bob = Some(xxh3_64(b"bob"));
        for on in [HashOn::Source, HashOn::Path, HashOn::Header(HeaderName::from_static("x-user")), HashOn::Cookie("user".into())]
        {
            assert_eq!(on.key(asked), bob, "{on:?}");
        }
        assert_eq!(HashOn::Header(HeaderName::from_static("x-none")).key(asked), None);
        assert_eq!(HashOn::Cookie("use".into()).key(asked), None);
    }

    #[test]
    fn cookies_are_read_as_browsers_and_others_write_them() {
        let check = |line: &'static str, wanted: Option<&str>| {
            assert_eq!(cookie(&headers(&[("cookie", line)]), "c"), wanted, "{line}");
        };
        check("c=1", Some("1"));
        check("b=2;c=1", Some("1"));
        check("c=\"1\"; d", Some("1"));
        check("cc=2; c=", Some(""));
        check("c", None);
        check("C=1", None);
        check("", None);
        check(";;=;", None);
    }

    #[test]
    fn the_source_is_who_stands_before_the_proxies_that_are_trusted() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let check = |lines: &[&'static str], wanted: &str| {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(source(&headers(&lines), &trusted, "10.0.0.1"), wanted, "{lines:?}");
        };
        check(&[], "10.0.0.1");
        check(&["192.0.2.1"], "192.0.2.1");
        check(&["192.0.2.9, 192.0.2.1, 10.1.1.1"], "192.0.2.1");
        check(&["192.0.2.1", "10.1.1.1, 10.1.1.2"], "192.0.2.1");
        check(&["192.0.2.1, unknown"], "10.0.0.1");
        check(&["10.1.1.1"], "10.0.0.1");
        check(&["fd00::1"], "fd00::1");
    }

    const KEYS: [&str; 2] = ["0123456789abcdef", "another key of some length"];

    fn sticky(keys: &[&str]) -> Sticky {
        Sticky { cookie: "route".into(), keys: keys.iter().map(|key| Key::new(key).unwrap()).collect() }
    }

    fn marks(keys: &[&str]) -> Marks {
        Marks::new(&sticky(keys), "app", ["10.0.0.1:80", "10.0.0.2:80"].into_iter())
    }

    fn sent_back(marks: &Marks, number: usize) -> HeaderMap {
        let set = marks.set_cookie(number, false).unwrap();
        let set = set.to_str().unwrap();
        assert_eq!(marks.set_cookie(number, true).unwrap(), format!("{set}; Secure"));
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        assert!(!pair.contains("10.0.0"), "{pair}");
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(pair).unwrap())])
    }

    #[test]
    fn a_cookie_stands_for_its_endpoint_and_one_that_was_changed_for_none() {
        let marks = marks(&KEYS[..1]);
        for number in [0, 1] {
            let headers = sent_back(&marks, number);
            assert_eq!(marks.find(&headers), Some(number));
            let good = headers[COOKIE].to_str().unwrap();
            for place in "route=".len()..good.len() {
                let mut bad = good.to_owned().into_bytes();
                bad[place] = if bad[place] == b'0' { b'1' } else { b'0' };
                let changed = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(&bad).unwrap())]);
                assert_eq!(marks.find(&changed), None);
            }
        }
        assert_eq!(marks.find(&HeaderMap::new()), None);
    }

    #[test]
    fn an_older_key_is_still_accepted_and_no_longer_used() {
        let (old, both, new) = (marks(&KEYS[1..]), marks(&KEYS), marks(&KEYS[..1]));
        assert_eq!(both.find(&sent_back(&old, 1)), Some(1));
        assert_eq!(new.find(&sent_back(&old, 1)), None);
        assert_eq!(sent_back(&both, 1), sent_back(&new, 1));
        let elsewhere = Marks::new(&sticky(&KEYS), "other", ["10.0.0.2:80"].into_iter());
        assert_eq!(elsewhere.find(&sent_back(&both, 1)), None, "another cluster's cookie says nothing here");
    }

    #[test]
    fn a_key_is_long_enough_and_not_shown() {
        assert!(Key::new("short").is_none());
        assert_eq!(format!("{:?}", sticky(&KEYS[..1]).keys), "[Key(…)]");
    }
}

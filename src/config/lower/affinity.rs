//! Owns the lowering of what ties requests to endpoints: the key of a hash, and the sticky cookie with its keys.

use http::HeaderName;

use crate::balance::Algorithm;
use crate::config::lower::At;
use crate::config::lower::header::header_name;
use crate::config::lower::secret::secret_file;
use crate::config::raw::{self, BalanceWord, HashWord};
use crate::config::tree::quote;
use crate::traffic::affinity::{Balance, HashOn, Key, Sticky};

/// Keys in one file: the one in use, and those of the last few changes.
const MAX_KEYS: usize = 8;

/// How requests are spread.
pub(super) fn balance(at: &At<'_>, raw: &raw::Balance) -> Option<Balance> {
    Some(match raw {
        raw::Balance::Word(BalanceWord::RoundRobin) => Balance::Any(Algorithm::RoundRobin),
        raw::Balance::Word(BalanceWord::LeastRequest) => Balance::Any(Algorithm::LeastRequest),
        raw::Balance::Word(BalanceWord::PeakEwma) => Balance::Any(Algorithm::PeakEwma),
        raw::Balance::Hash(block) => Balance::Hash(hash_on(&at.key("hash"), block.hash.as_ref()?)?),
    })
}

fn hash_on(at: &At<'_>, raw: &raw::HashOn) -> Option<HashOn> {
    let named = match raw {
        raw::HashOn::Word(HashWord::Source) => return Some(HashOn::Source),
        raw::HashOn::Word(HashWord::Path) => return Some(HashOn::Path),
        raw::HashOn::Named(named) => named,
    };
    match (at.has("header"), at.has("cookie")) {
        (true, true) => at.wrong_as("both header and cookie", "one of them", None),
        (false, false) => at.wrong_as("neither header nor cookie", "one of them", None),
        _ => {}
    }
    if let Some(name) = &named.header {
        return header(&at.key("header"), name).map(HashOn::Header);
    }
    cookie_name(&at.key("cookie"), named.cookie.as_deref()?).map(|name| HashOn::Cookie(name.into()))
}

fn header(at: &At<'_>, name: &str) -> Option<HeaderName> {
    header_name(at, name, false)
}

/// A cookie's name: a token (RFC 6265, section 4.1.1), and those are spelt like the names of headers.
fn cookie_name<'a>(at: &At<'_>, name: &'a str) -> Option<&'a str> {
    let good = HeaderName::from_bytes(name.as_bytes()).is_ok();
    if !good {
        at.wrong("the name of a cookie: letters, digits and characters such as _ - .", None);
    }
    good.then_some(name)
}

/// The sticky cookie; `None` if something of it is wrong.
pub(super) fn sticky(at: &At<'_>, raw: &raw::Sticky) -> Option<Sticky> {
    let cookie = raw.cookie.as_deref().and_then(|name| cookie_name(&at.key("cookie"), name));
    let keys = raw.key_file.as_deref().and_then(|file| keys(&at.key("key_file"), file));
    Some(Sticky { cookie: cookie?.into(), keys: keys? })
}

/// The keys in a file, one a line.
fn keys(at: &At<'_>, file: &str) -> Option<Vec<Key>> {
    let text = secret_file(at, file)?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let keys: Option<Vec<Key>> = lines.iter().map(|line| Key::new(line)).collect();
    let keys = keys.filter(|keys| (1..=MAX_KEYS).contains(&keys.len()));
    if keys.is_none() {
        let said = match lines.len() {
            0 => "an empty file",
            n if n > MAX_KEYS => "more than 8 keys",
            _ => "a key that is too short",
        };
        let wanted = format!("a file with 1 to {MAX_KEYS} keys, one a line, of at least {} characters each", Key::MIN);
        at.wrong_as(format!("{}, {said}", quote(file)), wanted, "make one with: openssl rand -hex 32".to_owned());
    }
    keys
}

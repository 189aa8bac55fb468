//! The keys of a fleet: the first signs, all of them verify, so that a key can be changed without a moment of disagreement.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};

use crate::base::hex::{hex, unhex};
use crate::config::model::Secret;

/// How many bytes of a key's digest name it in a message.
const ID_BYTES: usize = 8;

/// Keys, as `key_file` lists them.
#[derive(Clone)]
pub struct Keys(Arc<[Key]>);

struct Key {
    id: String,
    key: hmac::Key,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// What a message is signed with, as it stands in its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    /// Which key it was.
    pub(super) key: String,
    /// HMAC-SHA-256 over the body, in hexadecimal digits.
    pub(super) mac: String,
}

impl Keys {
    /// Keys from their texts; the first one signs. Without any, nothing that is signed can be verified.
    #[must_use]
    pub fn new(texts: &[Secret]) -> Self {
        Self(texts.iter().map(|text| Key::new(text.0.as_bytes())).collect())
    }

    /// Signs a body. `kind` keeps an answer from being taken for a question.
    pub(super) fn sign(&self, kind: &[u8], body: &[u8]) -> Option<Seal> {
        let key = self.0.first()?;
        let mut context = hmac::Context::with_key(&key.key);
        context.update(kind);
        context.update(body);
        Some(Seal { key: key.id.clone(), mac: hex(context.sign().as_ref()) })
    }

    /// Whether one of our keys signed this body. Takes as long for every wrong seal.
    pub(super) fn verify(&self, kind: &[u8], seal: &Seal, body: &[u8]) -> bool {
        let Some(key) = self.0.iter().find(|key| key.id == seal.key) else { return false };
        let Some(mac) = unhex(&seal.mac) else { return false };
        hmac::verify(&key.key, &[kind, body].concat(), &mac).is_ok()
    }
}

impl Key {
    fn new(text: &[u8]) -> Self {
        let id = hex(&digest::digest(&digest::SHA256, text).as_ref()[..ID_BYTES]);
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Keys {
        Keys::new(&texts.iter().map(|text| Secret((*text).into())).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let (old, both, new) = (keys(&["old-key"]), keys(&["new-key", "old-key"]), keys(&["new-key"]));
        let seal = old.sign(b"votes", b"hello").unwrap();
        assert!(both.verify(b"votes", &seal, b"hello"));
        assert!(!new.verify(b"votes", &seal, b"hello"));
        assert!(new.verify(b"votes", &both.sign(b"votes", b"hello").unwrap(), b"hello"));
        assert!(keys(&[]).sign(b"votes", b"hello").is_none());
        assert!(!format!("{both:?}").contains("old-key"));
    }

    #[test]
    fn whatever_was_touched_is_not_verified() {
        let keys = keys(&["key"]);
        let seal = keys.sign(b"votes", b"hello").unwrap();
        assert!(!keys.verify(b"votes", &seal, b"hellO"));
        assert!(!keys.verify(b"answer", &seal, b"hello"));
        for mac in ["", "00", &"0".repeat(64), &"g".repeat(64), &"é".repeat(32), &seal.mac.to_uppercase()[1..]] {
            assert!(!keys.verify(b"votes", &Seal { mac: mac.to_owned(), ..seal.clone() }, b"hello"), "{mac}");
        }
    }
}

//! Owns the choice of an identity by the name that a client asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::Identity;

/// The identities of one listener by name. The first one answers whoever asks for no name, or for one that nobody has.
#[derive(Debug)]
pub(super) struct ByName {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the asterisk, its dot included.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    /// A table of identities; none if there are none.
    pub(super) fn new(identities: &[Identity]) -> Option<Self> {
        let first = Arc::clone(identities.first()?.certified());
        let mut table = Self { first, exact: HashMap::new(), wildcard: HashMap::new() };
        for identity in identities {
            for name in identity.names() {
                let (map, key) = match name.strip_prefix('*') {
                    Some(rest) if rest.starts_with('.') => (&mut table.wildcard, rest),
                    _ => (&mut table.exact, name.as_str()),
                };
                map.entry(key.to_owned()).or_default().push(Arc::clone(identity.certified()));
            }
        }
        Some(table)
    }

    /// Those that have a name, the most particular ones; of several with one name the client's algorithms decide.
    fn find(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if let Some(found) = self.exact.get(&name) {
            return found;
        }
        // An asterisk stands for one whole label (RFC 9525, section 6.3).
        let rest = name.find('.').map(|dot| &name[dot..]);
        rest.and_then(|rest| self.wildcard.get(rest)).map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().map_or(&[][..], |name| self.find(name));
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = found.iter().find(fits).or_else(|| found.first()).unwrap_or(&self.first);
        Some(Arc::clone(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::identity;

    #[test]
    fn exact_names_before_wildcards_before_the_first() {
        let all = [identity(&["default.test"]), identity(&["*.shop.test"]), identity(&["api.shop.test", "Shop.test"])];
        let table = ByName::new(&all).unwrap();
        let check = |name: &str, wanted: Option<usize>| {
            let found = table.find(name).first();
            let position = found.and_then(|one| all.iter().position(|identity| Arc::ptr_eq(identity.certified(), one)));
            assert_eq!(position, wanted, "{name}");
        };
        check("default.test", Some(0));
        check("a.shop.test", Some(1));
        check("A.SHOP.test", Some(1));
        check("api.shop.test", Some(2));
        check("api.shop.test.", Some(2));
        check("shop.test", Some(2));
        for nobody in ["a.b.shop.test", "other.test", "", ".shop.test.x", "test"] {
            check(nobody, None);
        }
        assert!(ByName::new(&[]).is_none());
    }
}

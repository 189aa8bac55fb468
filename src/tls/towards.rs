//! Owns TLS towards endpoints: whom we believe, under which name, and who we say we are.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::tls::listed::Servers;
use crate::tls::terms::Application;
use crate::tls::{Identity, VERSIONS, provider};

/// What we ask of endpoints, and offer them.
#[derive(Debug, Clone, PartialEq)]
pub struct TowardsTerms {
    /// The authorities that are believed; `None`: those of the system.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Our own certificate, if we show one.
    pub identity: Option<Identity>,
    /// The name that an endpoint's certificate must have; `None`: the host of its address.
    pub server_name: Option<ServerName<'static>>,
}

/// Terms towards the endpoints of a cluster, made into what rustls needs when they are first used, which can be renewed under
/// everybody who holds them.
pub struct Towards {
    current: ArcSwap<Current>,
}

/// Terms, and what is made of them.
struct Current {
    terms: TowardsTerms,
    made: OnceLock<Made>,
}

type Made = Result<[Arc<ClientConfig>; 3], String>;

impl Towards {
    /// These terms.
    #[must_use]
    pub fn new(terms: TowardsTerms) -> Self {
        Self { current: ArcSwap::from_pointee(Current { terms, made: OnceLock::new() }) }
    }

    /// The terms in force.
    #[must_use]
    pub fn terms(&self) -> TowardsTerms {
        self.current.load().terms.clone()
    }

    /// Other terms from now on, unless somebody else has changed those in force since they were looked at; whether they are in
    /// force. Connections that are there stay as they are.
    ///
    /// # Errors
    /// If nothing can be made of them, in a sentence; those in force stay.
    pub fn renew_if(
        &self,
        seen: &TowardsTerms,
        terms: TowardsTerms,
        system: impl FnOnce() -> Arc<RootCertStore>,
    ) -> Result<bool, String> {
        let current = self.current.load();
        if current.terms != *seen {
            return Ok(false);
        }
        let made = configurations(&terms, system)?;
        let next = Arc::new(Current { terms, made: OnceLock::from(Ok(made)) });
        Ok(Arc::ptr_eq(&current, &self.current.compare_and_swap(&current, next)))
    }

    /// What a connection on which `application` is to be spoken is made with. `system` gives the system's authorities; it is
    /// asked at most once, and only where the terms name no others.
    ///
    /// # Errors
    /// If there is nobody to believe, or our own certificate cannot be shown; in a sentence.
    pub fn config(
        &self,
        application: Application,
        system: impl FnOnce() -> Arc<RootCertStore>,
    ) -> Result<Arc<ClientConfig>, String> {
        let current = self.current.load();
        let made = current.made.get_or_init(|| configurations(&current.terms, system));
        made.as_ref().map(|all| Arc::clone(&all[application as usize])).map_err(Clone::clone)
    }

    /// The name under which an endpoint of this host is verified; none if that is no name.
    #[must_use]
    pub fn name(&self, host: &str) -> Option<ServerName<'static>> {
        match &self.current.load().terms.server_name {
            Some(name) => Some(name.clone()),
            None => ServerName::try_from(host.to_owned()).ok(),
        }
    }
}

impl PartialEq for Towards {
    fn eq(&self, other: &Self) -> bool {
        self.current.load().terms == other.current.load().terms
    }
}

impl fmt::Debug for Towards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Towards").field("terms", &self.current.load().terms).finish_non_exhaustive()
    }
}

/// One for each application, in the order of their numbers; they share their sessions.
fn configurations(terms: &TowardsTerms, system: impl FnOnce() -> Arc<RootCertStore>) -> Made {
    let roots = match &terms.authorities {
        None => system(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities.iter().cloned());
            Arc::new(roots)
        }
    };
    let text = |error: rustls::Error| error.to_string();
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&VERSIONS).map_err(text)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(|error| error.to_string())?;
    let listed = terms.authorities.as_deref().unwrap_or_default();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Servers::new(verifier, listed)));
    let base = match &terms.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            rustls::sign::CertifiedKey::clone(identity.certified()),
        ))),
    };
    Ok([Application::Any, Application::Http1, Application::Http2].map(|application| {
        let mut config = base.clone();
        config.alpn_protocols = application.protocols();
        Arc::new(config)
    }))
}

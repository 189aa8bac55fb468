//! Owns how a listener terminates TLS, and what of it outlives a renewal.
//!
//! Certificates change every few weeks and must do so without a client noticing: tickets that were given out before go on
//! being taken. But a ticket stands for a client whose certificate was verified when it was given out, so other trust
//! means other tickets.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::tls::listed::Clients;
use crate::tls::names::ByName;
use crate::tls::{Identity, VERSIONS, provider};

/// Sessions remembered for clients of TLS 1.2 that take no tickets.
const SESSIONS: usize = 1024;

/// How many tickets a client of TLS 1.3 gets with its first answer. A client that comes again has another with each visit; rustls gives
/// two, and each is sealed anew.
const TICKETS: usize = 1;

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The certificates of authorities.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

/// What is spoken inside, offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// HTTP/2 before HTTP/1.1.
    Any,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

impl Application {
    pub(super) fn protocols(self) -> Vec<Vec<u8>> {
        let (h2, h1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Any => vec![h2, h1],
            Self::Http1 => vec![h1],
            Self::Http2 => vec![h2],
        }
    }
}

/// What a listener offers and asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Its identities, at least one; the first is the default.
    pub identities: Vec<Identity>,
    /// Whose client certificates it believes, if it asks for any.
    pub clients: Option<Trust>,
    /// What it speaks.
    pub application: Application,
}

/// Why terms cannot be kept: what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// No identity.
    #[error("at least one certificate")]
    NoIdentity,
    /// No authority that can be believed.
    #[error("a file with certificates of authorities")]
    Authorities,
    /// The cryptography fails.
    #[error("a working source of random numbers: {0}")]
    Cryptography(String),
}

/// Terms in force, which can be renewed under everybody who holds them.
pub struct Renewable {
    current: ArcSwap<Current>,
}

/// Terms as rustls wants them, and what outlives them.
struct Current {
    terms: Terms,
    config: Arc<ServerConfig>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Renewable {
    /// The first terms.
    ///
    /// # Errors
    /// If they cannot be kept.
    pub fn new(terms: Terms) -> Result<Self, TermsError> {
        Ok(Self { current: ArcSwap::from_pointee(Current::new(terms)?) })
    }

    /// Other terms from now on. Connections that are there stay as they are.
    ///
    /// # Errors
    /// If they cannot be kept; those in force stay.
    pub fn renew(&self, terms: Terms) -> Result<(), TermsError> {
        let current = self.current.load();
        if current.terms != terms {
            self.current.store(Arc::new(current.next(terms)?));
        }
        Ok(())
    }

    /// Other terms, unless somebody else has changed those in force since they were looked at; whether they are in force.
    ///
    /// # Errors
    /// If they cannot be kept; those in force stay.
    pub fn renew_if(&self, seen: &Terms, terms: Terms) -> Result<bool, TermsError> {
        let current = self.current.load();
        if current.terms != *seen {
            return Ok(false);
        }
        let next = Arc::new(current.next(terms)?);
        Ok(Arc::ptr_eq(&current, &self.current.compare_and_swap(&current, next)))
    }

    /// What a new connection is accepted with.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The terms in force.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.current.load().terms.clone()
    }
}

impl fmt::Debug for Renewable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewable").field("terms", &self.current.load().terms).finish_non_exhaustive()
    }
}

impl Current {
    fn new(terms: Terms) -> Result<Self, TermsError> {
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new();
        let tickets = tickets.map_err(|error| TermsError::Cryptography(error.to_string()))?;
        Self::with(terms, tickets, ServerSessionMemoryCache::new(SESSIONS))
    }

    fn next(&self, terms: Terms) -> Result<Self, TermsError> {
        if terms.clients == self.terms.clients {
            Self::with(terms, Arc::clone(&self.tickets), Arc::clone(&self.sessions))
        } else {
            Self::new(terms)
        }
    }

    fn with(
        terms: Terms,
        tickets: Arc<dyn ProducesTickets>,
        sessions: Arc<dyn StoresServerSessions>,
    ) -> Result<Self, TermsError> {
        let mut config = configuration(&terms)?;
        config.ticketer = Arc::clone(&tickets);
        config.send_tls13_tickets = TICKETS;
        config.session_storage = Arc::clone(&sessions);
        Ok(Self { terms, config: Arc::new(config), tickets, sessions })
    }
}

fn configuration(terms: &Terms) -> Result<ServerConfig, TermsError> {
    let table = ByName::new(&terms.identities).ok_or(TermsError::NoIdentity)?;
    let cryptography = |error: rustls::Error| TermsError::Cryptography(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&VERSIONS).map_err(cryptography)?;
    let builder = match &terms.clients {
        None => builder.with_no_client_auth(),
        Some(trust) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(trust.authorities.iter().cloned());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            let verifier = if trust.required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|_| TermsError::Authorities)?;
            builder.with_client_cert_verifier(Arc::new(Clients::new(verifier, &trust.authorities)))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(table));
    config.alpn_protocols = terms.application.protocols();
    // All that we offer is strong, so that Mozilla's profiles leave the order to either side; testssl.sh wants to see the server choose.
    config.ignore_client_order = true;
    Ok(config)
}

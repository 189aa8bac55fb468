//! Owns an identity: a certificate chain with the key that belongs to it, and what the certificate says of itself.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::tls::pem::{self, PemError};
use crate::tls::provider;

/// A certificate chain with its key. Two are equal if their chains are: a key that fits has no choice.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    not_after: u64,
}

impl Identity {
    /// Reads a chain, the certificate itself first, and its key from two PEM texts.
    ///
    /// # Errors
    /// What is wrong, and with which of the two: a key that does not fit is the key's error.
    pub fn parse(cert: &str, key: &str) -> Result<Self, (Part, PemError)> {
        let chain = pem::certificates(cert).map_err(|error| (Part::Cert, error))?;
        let leaf = chain.first().ok_or((Part::Cert, PemError::NoCertificate))?;
        let read = Certificate::from_der(leaf).map_err(|_| (Part::Cert, PemError::Malformed))?;
        let names = names(&read);
        let not_after = read.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        let key = pem::key(key).map_err(|error| (Part::Key, error))?;
        let signing = provider().key_provider.load_private_key(key).map_err(|_| (Part::Key, PemError::UnusableKey))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err((Part::Key, PemError::OtherKey)),
            Err(_) => return Err((Part::Cert, PemError::Malformed)),
        }
        Ok(Self { certified: Arc::new(certified), names, not_after })
    }

    /// The names that it answers for, in lower case; `*.` stands for one label.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When its certificate ends, in seconds of the calendar since 1970.
    #[must_use]
    pub const fn not_after(&self) -> u64 {
        self.not_after
    }

    /// As rustls wants it.
    #[must_use]
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

/// Which of the two files of an identity is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The certificate chain.
    Cert,
    /// The private key.
    Key,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain() == other.chain()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Its alternative names; those of the subject count only where there are none, as in certificates made by hand.
fn names(certificate: &Certificate) -> Vec<String> {
    let tbs = &certificate.tbs_certificate;
    let alternative = tbs.get::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
    let dns = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    };
    let names: Vec<String> = alternative.iter().filter_map(dns).collect();
    if !alternative.is_empty() {
        return names;
    }
    let parts = tbs.subject.0.iter().flat_map(|rdn| rdn.0.iter()).map(ToString::to_string);
    parts.filter_map(|part| part.strip_prefix("CN=").map(str::to_ascii_lowercase)).collect()
}

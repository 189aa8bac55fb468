//! Certificates and keys in a PEM text.

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Longest chain, and most certificates of one CA file. The system's roots are about 150.
pub(super) const MAX_CERTIFICATES: usize = 1000;

/// What is wrong with a PEM text, or with what stands in it: what is wanted instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Nothing of the kind, or nothing well-formed.
    #[error("a file with certificates in PEM")]
    NoCertificate,
    /// More than anybody needs.
    #[error("a file with at most {MAX_CERTIFICATES} certificates")]
    TooMany,
    /// A certificate that cannot be read.
    #[error("a file whose certificates are X.509, version 3")]
    Malformed,
    /// No private key.
    #[error("a file with an unencrypted private key in PEM")]
    NoKey,
    /// A kind of key that nobody can sign with here.
    #[error("an RSA, ECDSA or Ed25519 private key")]
    UnusableKey,
    /// It is the key of another certificate.
    #[error("the private key of that certificate")]
    OtherKey,
}

/// All certificates of a text, at least one.
///
/// # Errors
/// If there is none, or one is no certificate.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text.as_bytes()).take(MAX_CERTIFICATES + 1).collect();
    let all = all.map_err(|_| PemError::NoCertificate)?;
    match all.len() {
        0 => Err(PemError::NoCertificate),
        1..=MAX_CERTIFICATES => Ok(all),
        _ => Err(PemError::TooMany),
    }
}

/// All certificates of a text that can vouch for others, at least one.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all = certificates(text)?;
    let mut roots = RootCertStore::empty();
    for certificate in &all {
        roots.add(certificate.clone()).map_err(|_| PemError::Malformed)?;
    }
    Ok(all)
}

/// The first private key of a text.
pub(super) fn key(text: &str) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| PemError::NoKey)
}

//! Certificates that are themselves in the file of those that are believed.
//!
//! Whoever makes a certificate by hand gets one that calls itself an authority, and lists it as the one to believe. A strict
//! verifier refuses it, since authorities do not serve; but nobody could be believed more plainly. Such a certificate is
//! taken, and only it: what it would vouch for as an authority is judged as ever. Its name and its dates count as ever, too.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Certificates that are believed as they are.
#[derive(Debug, Clone, Default)]
struct Listed(Vec<CertificateDer<'static>>);

impl Listed {
    /// Whether what another verifier refused is one of these, in its time; only the one error that they are likely to meet is
    /// looked into.
    fn excuses(&self, error: &Error, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        let as_authority = match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
            }
            _ => false,
        };
        if !as_authority || !self.0.iter().any(|listed| listed == certificate) {
            return Ok(false);
        }
        let read = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let validity = read.tbs_certificate.validity;
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired.into());
        }
        Ok(true)
    }
}

/// Verifies endpoints.
#[derive(Debug)]
pub(super) struct Servers {
    inner: Arc<WebPkiServerVerifier>,
    listed: Listed,
}

impl Servers {
    pub(super) fn new(inner: Arc<WebPkiServerVerifier>, listed: &[CertificateDer<'static>]) -> Self {
        Self { inner, listed: Listed(listed.to_vec()) }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if !self.listed.excuses(&refused, end_entity, now)? {
            return Err(refused);
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Verifies clients.
#[derive(Debug)]
pub(super) struct Clients {
    inner: Arc<dyn ClientCertVerifier>,
    listed: Listed,
}

impl Clients {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>, listed: &[CertificateDer<'static>]) -> Self {
        Self { inner, listed: Listed(listed.to_vec()) }
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.inner.verify_client_cert(end_entity, intermediates, now) {
            Err(refused) if !self.listed.excuses(&refused, end_entity, now)? => Err(refused),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }
}

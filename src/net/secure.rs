//! TLS over a connection to an endpoint, and the system's authorities.

use std::error::Error;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::net::dial::DialError;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::tls::{Application, Towards, TowardsTerms};

/// Shakes hands with an endpoint of this host, to speak `application`, or one of its choice. The caller has a time-out.
///
/// # Errors
/// [`DialError::Certificate`] if the endpoint is not who it should be, [`DialError::Tls`] otherwise.
pub async fn secure(
    stream: Socket,
    towards: &Towards,
    application: Application,
    host: &str,
) -> Result<TlsStream<Socket>, DialError> {
    let config = towards.config(application, system).map_err(DialError::Tls)?;
    let name =
        towards.name(host).ok_or_else(|| DialError::Certificate(format!("{host} is no name that a certificate could have")))?;
    let secured = TlsConnector::from(config).connect(name, stream).await.map_err(|error| classify(&error))?;
    Ok(TlsStream::from(secured))
}

/// Makes what connections are made with, so that nobody waits for it on the request path.
pub fn prepare(towards: &Towards) {
    if let Err(error) = towards.config(Application::Any, system) {
        tracing::error!("TLS towards endpoints cannot be used: {error}");
    }
}

/// Takes on other terms, unless somebody else has changed those in force since they were looked at; whether they are in force.
///
/// # Errors
/// If nothing can be made of them, in a sentence; those in force stay.
pub fn renew(towards: &Towards, seen: &TowardsTerms, terms: TowardsTerms) -> Result<bool, String> {
    towards.renew_if(seen, terms, system)
}

/// What was agreed on, if it is HTTP/2.
#[must_use]
pub fn speaks_http2(stream: &Stream) -> bool {
    match stream {
        Stream::Plain(_) => false,
        Stream::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
    }
}

fn classify(error: &io::Error) -> DialError {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => DialError::Certificate(certificate(why)),
        Some(rustls::Error::NoCertificatesPresented) => DialError::Certificate("it shows none".to_owned()),
        Some(error) => DialError::Tls(error.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            DialError::Tls("closed in the middle of the handshake".to_owned())
        }
        None => DialError::Tls(error.to_string()),
    }
}

fn certificate(error: &rustls::CertificateError) -> String {
    match error {
        rustls::CertificateError::UnknownIssuer => "its authority is not among those that are believed".to_owned(),
        rustls::CertificateError::Other(other) => other.0.source().map_or_else(|| other.to_string(), ToString::to_string),
        error => error.to_string(),
    }
}

/// The system's authorities, read once.
fn system() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("some of the system's authorities cannot be read: {error}");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!("the system has no authorities: no endpoint's certificate can be believed without ca");
        }
        Arc::new(roots)
    });
    Arc::clone(roots)
}

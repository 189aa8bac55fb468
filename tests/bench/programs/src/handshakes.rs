//! Makes a new TLS connection for every request and never resumes a session, so that each costs a whole handshake.
//!
//! Load generators that offer their last session again compare who takes it, and not what a handshake costs.
//!
//! `handshakes ADDRESS PATH SECONDS CONNECTIONS` prints `done failed`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Longest that one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

struct Load {
    address: String,
    request: Vec<u8>,
    connector: TlsConnector,
    end: Instant,
    done: Cell<u32>,
    failed: Cell<u32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, address, path, seconds, connections] = words.as_slice() else {
        return Err("usage: handshakes ADDRESS PATH SECONDS CONNECTIONS".into());
    };
    let (seconds, connections): (f64, usize) = (seconds.parse()?, connections.parse()?);
    let load = Rc::new(Load {
        address: address.clone(),
        request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").into_bytes(),
        connector: TlsConnector::from(Arc::new(configuration()?)),
        end: Instant::now() + Duration::from_secs_f64(seconds),
        done: Cell::new(0),
        failed: Cell::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let senders: Vec<_> = (0..connections).map(|_| tokio::task::spawn_local(send(Rc::clone(&load)))).collect();
        for sender in senders {
            drop(sender.await);
        }
    });
    println!("{} {}", load.done.get(), load.failed.get());
    Ok(())
}

fn configuration() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let anybody = Arc::new(Anybody(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn send(load: Rc<Load>) {
    while Instant::now() < load.end {
        match tokio::time::timeout(PATIENCE, exchange(&load)).await {
            Ok(Ok(())) => load.done.set(load.done.get() + 1),
            Ok(Err(_)) | Err(_) => load.failed.set(load.failed.get() + 1),
        }
    }
}

async fn exchange(load: &Load) -> std::io::Result<()> {
    let stream = TcpStream::connect(&load.address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    let mut stream = load.connector.connect(name, stream).await?;
    stream.write_all(&load.request).await?;
    let mut answer = Vec::with_capacity(4096);
    // Not everybody says good-bye before the connection is closed.
    let ended = stream.read_to_end(&mut answer).await;
    match ended {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error),
        _ if answer.starts_with(b"HTTP/1.1 200") => Ok(()),
        _ => Err(std::io::Error::other("not 200")),
    }
}

/// Believes everybody who can sign: what the client thinks of a certificate is not measured.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

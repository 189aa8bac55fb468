//! How a connection to an endpoint begins, before anything is asked on it: a header that says for whom we come, then TLS.
//!
//! Requests and probes begin alike, or a probe would find an endpoint well that no request can talk to.

use crate::config::model::ProxyVersion;
use crate::net::dial::DialError;
use crate::net::proxy_header::{self, Speaker};
use crate::net::secure::secure;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::tls::{Application, Towards};

/// What comes before everything else.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// The header of the PROXY protocol, and for whom it speaks.
    pub header: Option<(ProxyVersion, Speaker)>,
    /// TLS, and the host whose name a certificate must have.
    pub tls: Option<(&'a Towards, &'a str)>,
}

impl Beginning<'_> {
    /// Begins, for what is spoken afterwards. It has no time-out of its own.
    ///
    /// # Errors
    /// If the header cannot be written, or TLS cannot be agreed on.
    pub async fn on(&self, mut socket: Socket, application: Application) -> Result<Stream, DialError> {
        if let Some((version, speaker)) = self.header {
            proxy_header::send(&mut socket, version, speaker).await?;
        }
        Ok(match self.tls {
            None => Stream::from(socket),
            // Its state is large, and a plain stream should not carry room for it.
            Some((towards, host)) => Stream::from(Box::pin(secure(socket, towards, application, host)).await?),
        })
    }
}

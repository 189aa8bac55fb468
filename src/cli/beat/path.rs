//! The connection to one proxy, and the beats on it: one at a time, over a connection that is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::cli::origin::Origin;
use crate::net::beginning::Beginning;
use crate::net::dial;
use crate::net::socket::Socket;
use crate::runtime::task;
use crate::tls::{Application, Towards};

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// The way to one proxy.
#[derive(Debug)]
pub(super) struct Path {
    url: Origin,
    /// TLS, if it is spoken.
    towards: Option<Arc<Towards>>,
    token: Option<HeaderValue>,
    open: Option<(SendRequest<Full<Bytes>>, task::Owned)>,
    /// What was last told about it.
    told: String,
}

/// How a proxy sees the endpoint.
#[derive(Debug)]
pub(super) struct Ack {
    pub(super) state: String,
    pub(super) available: bool,
    pub(super) ttl: Duration,
    pub(super) next_in: Duration,
}

#[derive(Debug, Deserialize)]
struct Answered {
    state: String,
    available: bool,
    ttl_ms: u64,
    next_in_ms: u64,
}

impl Path {
    pub(super) const fn new(url: Origin, towards: Option<Arc<Towards>>, token: Option<HeaderValue>) -> Self {
        Self { url, towards, token, open: None, told: String::new() }
    }

    pub(super) const fn url(&self) -> &Origin {
        &self.url
    }

    /// Whether this is news about it.
    pub(super) fn learns(&mut self, what: &str) -> bool {
        let news = self.told != what;
        if news {
            what.clone_into(&mut self.told);
        }
        news
    }

    /// Sends a beat and waits for its ack.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub(super) async fn beat(&mut self, body: &str, timeout: Duration) -> Result<Ack, String> {
        let kept = self.open.take();
        let sending = async {
            if let Some(kept) = kept
                && let Ok(answered) = self.exchange(kept, body).await
            {
                return answered;
            }
            // What was kept may have been closed meanwhile: then a fresh connection has the say.
            let fresh = self.connect().await?;
            self.exchange(fresh, body).await?
        };
        tokio::time::timeout(timeout, sending).await.unwrap_or_else(|_| Err(format!("no ack within {timeout:?}")))
    }

    async fn connect(&self) -> Result<(SendRequest<Full<Bytes>>, task::Owned), String> {
        let found = tokio::net::lookup_host((self.url.host(), self.url.port())).await;
        let addresses: Vec<_> = found.map_err(|error| format!("the name does not resolve: {error}"))?.collect();
        let socket = Socket::Tcp(dial::connect_any(&addresses).await.map_err(|error| error.to_string())?);
        let tls = self.towards.as_deref().map(|towards| (towards, self.url.host()));
        let stream = Beginning { header: None, tls }.on(socket, Application::Http1).await.map_err(|error| error.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| error.to_string())?;
        Ok((sender, task::Owned::spawn(async move { drop(connection.await) })))
    }

    /// The outer error is one of the connection, the inner one is what the proxy said.
    async fn exchange(
        &mut self,
        (mut sender, connection): (SendRequest<Full<Bytes>>, task::Owned),
        body: &str,
    ) -> Result<Result<Ack, String>, String> {
        let mut request = Request::builder().method(Method::POST).uri("/v1/heartbeats");
        request = request.header(HOST, self.url.authority()).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::from(body.to_owned())).map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        self.open = Some((sender, connection));
        Ok(read(status, &answer.to_bytes()))
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Ack, String> {
    if status != StatusCode::OK {
        let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or_default();
        return Err(format!("{status}: {detail}"));
    }
    let answered: Answered = serde_json::from_slice(body).map_err(|error| format!("no ack: {error}"))?;
    let span = |millis: u64| Duration::from_millis(millis.clamp(10, 86_400_000));
    let (ttl, next_in) = (span(answered.ttl_ms), span(answered.next_in_ms));
    Ok(Ack { state: answered.state, available: answered.available, ttl, next_in })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ack_is_one() {
        let good = br#"{"seq":1,"state":"healthy","available":true,"ttl_ms":1750,"next_in_ms":0,"reasons":[]}"#;
        let ack = read(StatusCode::OK, good).unwrap();
        assert_eq!((ack.ttl, ack.next_in), (Duration::from_millis(1750), Duration::from_millis(10)));
        assert!(read(StatusCode::OK, b"ok").is_err());
        assert_eq!(read(StatusCode::FORBIDDEN, br#"{"detail":"not yours"}"#).unwrap_err(), "403 Forbidden: not yours");
        assert_eq!(read(StatusCode::BAD_GATEWAY, b"<html>").unwrap_err(), "502 Bad Gateway: ");
    }
}

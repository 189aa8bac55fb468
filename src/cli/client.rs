//! Owns how client commands talk to a running process: one HTTP request each, over the admin interface.
//!
//! Each failure is told by what would end it: nobody listens, no token, an answer of another program. It understands
//! nothing of what is answered; `answer` does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::cli::failure::Failure;
use crate::cli::origin::Origin;
use crate::cli::output::plain;
use crate::net::dial::{self, DialError};
use crate::runtime::{task, thread};

/// For a connection, name lookup included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole answer. A reload answers only when new clusters have had their first verdicts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is read: more than three thousand endpoints with their reasons.
const MAX_ANSWER: usize = 64 << 20;

/// Which process client commands talk to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the running process is")]
pub(super) struct Target {
    /// The admin interface of the running process
    #[arg(
        long,
        global = true,
        env = "PULSEGATE_ADMIN",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:9900"
    )]
    pub(super) admin: AdminUrl,
    /// A file with the bearer token of the admin interface
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// The address of an admin interface: `http://host:port`.
#[derive(Debug, Clone)]
pub(super) struct AdminUrl(Origin);

impl FromStr for AdminUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        Origin::parse(text, &[("http", 80)]).map(Self).ok_or("wanted is http://host:port")
    }
}

impl std::fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Talks to one running process.
#[derive(Debug)]
pub(super) struct Client<'a> {
    url: &'a AdminUrl,
    token: Option<HeaderValue>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its body.
    pub(super) body: Bytes,
    asked: String,
}

/// An answer that is still coming.
#[derive(Debug)]
pub(super) struct Stream {
    /// The body.
    pub(super) body: Incoming,
    _connection: task::Owned,
}

impl Target {
    /// A client for it.
    ///
    /// # Errors
    /// If the token file cannot be read or holds no token.
    pub(super) fn client(&self) -> Result<Client<'_>, Failure> {
        Ok(Client { url: &self.admin, token: self.token()? })
    }

    fn token(&self) -> Result<Option<HeaderValue>, Failure> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let said = |what: String| Failure::new(format!("--token-file {}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| said(error.to_string()))?;
        let token = text.trim();
        let wanted = "wanted is a file with one token of visible ASCII characters";
        if token.is_empty() {
            return Err(said(format!("empty; {wanted}")));
        }
        // Not that it could not be sent: no admin interface has such a token.
        bearer(token).map(Some).ok_or_else(|| said(format!("no single token; {wanted}")))
    }
}

/// What goes with each request to whoever wants this token; nothing if no header can carry it.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let good = token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| good)?;
    value.set_sensitive(true);
    Some(value)
}

impl Client<'_> {
    /// Asks for something.
    ///
    /// # Errors
    /// If no answer comes. An answer that says no is none of these.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(Method::GET, path, Bytes::new())
    }

    /// Changes something; the body is JSON, or empty.
    ///
    /// # Errors
    /// If no answer comes. An answer that says no is none of these.
    pub(super) fn post(&self, path: &str, body: Bytes) -> Result<Answer, Failure> {
        self.ask(Method::POST, path, body)
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Failure> {
        let asked = format!("{}: {method} {path}", self.url);
        let request = self.request(method, path).body(Full::new(body)).map_err(|error| self.said(&error.to_string()))?;
        online(async {
            let whole = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request, asked)).await;
            whole.unwrap_or_else(|_| Err(self.said(&format!("no answer within {}s", ANSWER_TIMEOUT.as_secs()))))
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, asked: String) -> Result<Answer, Failure> {
        let (response, _connection) = self.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.said(&format!("the answer broke off: {error}")))?.to_bytes();
        Ok(Answer { status, body, asked })
    }

    /// Opens a stream of server-sent events, from after `last` on.
    ///
    /// # Errors
    /// If nobody listens, or the answer is no stream.
    pub(super) async fn events(&self, path: &str, last: Option<&str>) -> Result<Stream, Failure> {
        let asked = format!("{}: GET {path}", self.url);
        let mut request = self.request(Method::GET, path).header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Full::default()).map_err(|error| self.said(&error.to_string()))?;
        let opening = tokio::time::timeout(ANSWER_TIMEOUT, self.send(request)).await;
        let (response, connection) =
            opening.map_err(|_| self.said(&format!("no answer within {}s", ANSWER_TIMEOUT.as_secs())))??;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Stream { body: response.into_body(), _connection: connection });
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map(|body| body.to_bytes());
        Err(Answer { status, body: body.unwrap_or_default(), asked }.refusal())
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let post = method == Method::POST;
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.url.0.authority());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if post { request.header(CONTENT_TYPE, "application/json") } else { request }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, task::Owned), Failure> {
        let addresses = self.addresses().await?;
        let stream = dial::connect(&addresses, CONNECT_TIMEOUT).await.map_err(|error| self.unreachable(&error))?;
        let broken = |error: hyper::Error| self.said(&format!("no HTTP answer: {error}; is this a Pulsegate admin interface?"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its error reaches whoever waits for the answer.
        let connection = task::Owned::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((response, connection))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let looking = tokio::net::lookup_host((self.url.0.host(), self.url.0.port()));
        match tokio::time::timeout(CONNECT_TIMEOUT, looking).await {
            Ok(Ok(found)) => Ok(found.collect()),
            Ok(Err(error)) => Err(self.said(&format!("{} does not resolve: {error}", self.url.0.host()))),
            Err(_) => Err(self.said(&format!("{} does not resolve within 5s", self.url.0.host()))),
        }
    }

    fn unreachable(&self, error: &DialError) -> Failure {
        match error {
            DialError::Refused => self.said(
                "nobody listens there; wanted is the admin interface of a running pulsegate: start one, or name another \
                 with --admin URL",
            ),
            error => self.said(&format!("{error}; name another admin interface with --admin URL")),
        }
    }

    fn said(&self, what: &str) -> Failure {
        Failure::new(format!("{}: {what}", self.url))
    }
}

impl Answer {
    /// Reads the answer's JSON, if the answer is 200.
    ///
    /// # Errors
    /// If it says no, or is not of this shape.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if !self.status.is_success() {
            return Err(self.refusal());
        }
        self.shape()
    }

    /// Reads the answer's JSON, whatever its status.
    ///
    /// # Errors
    /// If it is not of this shape.
    pub(super) fn shape<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::new(format!("{}: not the answer of a Pulsegate of this version: {error}", self.asked)))
    }

    /// The failure that an answer other than 2xx is.
    pub(super) fn refusal(&self) -> Failure {
        let problem = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
        let detail = detail.map(|detail| format!(": {}", plain(detail))).unwrap_or_default();
        let hint = match self.status {
            StatusCode::UNAUTHORIZED => "; give its token with --token-file FILE",
            _ => "",
        };
        Failure::new(format!("{}: {}{detail}{hint}", self.asked, self.status))
    }
}

/// Runs what waits for the network.
///
/// # Errors
/// Those of the future, or if the system gives no event queue.
pub(super) fn online<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    thread::block_on(future).unwrap_or_else(|error| Err(Failure::new(format!("cannot wait for the network: {error}"))))
}

/// What stands as it is in one segment of a path; a slash or a bracket in a name does not.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// One segment of a path, percent-encoded.
pub(super) fn segment(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_urls() {
        assert!("http://127.0.0.1:9900".parse::<AdminUrl>().is_ok());
        for bad in ["127.0.0.1:9900", "https://a:1", "http://a:1/api"] {
            assert!(bad.parse::<AdminUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_one_segment_of_a_path() {
        assert_eq!(segment("127.0.0.1:80").to_string(), "127.0.0.1:80");
        assert_eq!(segment("[::1]:80").to_string(), "%5B::1%5D:80");
        assert_eq!(segment("a/b c").to_string(), "a%2Fb%20c");
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_what_would_help() {
        let answer = |status: StatusCode, body: &'static str| Answer {
            status,
            body: Bytes::from_static(body.as_bytes()),
            asked: "http://a: GET /b".to_owned(),
        };
        let check = |status, body, wanted: &str| assert_eq!(answer(status, body).refusal().to_string(), wanted);
        check(
            StatusCode::UNAUTHORIZED,
            r#"{"detail":"no token"}"#,
            "http://a: GET /b: 401 Unauthorized: no token; give its token with --token-file FILE",
        );
        check(StatusCode::NOT_FOUND, "<html>", "http://a: GET /b: 404 Not Found");
        let shape = answer(StatusCode::OK, "[1").json::<Vec<u8>>().unwrap_err().to_string();
        assert!(shape.starts_with("http://a: GET /b: not the answer of a Pulsegate"), "{shape}");
    }
}

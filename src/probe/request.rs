//! What a probe asks: the user's request, and what the endpoint is told about the proxy that asks.
//!
//! The whole is kept short, since it is sent for ever: request and answer of a usual probe are under 700 bytes of HTTP. Over
//! HTTP/1.1 it is written straight from the check, for thousands of probes a second share one core.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use http_body_util::Empty;

use crate::base::hex::digits;
use crate::base::time::WallTime;
use crate::health::check::{Acknowledge, Check, HttpCheck, ProbeSpec};
use crate::http1::{RequestHead, decimal};

const AGENT: &str = concat!("pulsegate/", env!("CARGO_PKG_VERSION"));
const ANYTHING: &str = "*/*";
/// The lines of both.
const USUAL: [&str; 2] = [concat!("User-Agent: pulsegate/", env!("CARGO_PKG_VERSION"), "\r\n"), "Accept: */*\r\n"];

pub(super) const NONCE: HeaderName = HeaderName::from_static("pulsegate-nonce");
const SEQ: HeaderName = HeaderName::from_static("pulsegate-seq");
pub(super) const TIME: HeaderName = HeaderName::from_static("pulsegate-time");
const STATE: HeaderName = HeaderName::from_static("pulsegate-state");

/// 96 random bits as they are sent; an endpoint that sends them back has understood whom it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce([u8; 24]);

impl Nonce {
    pub(super) fn new(rng: &mut fastrand::Rng) -> Self {
        Self::of(rng.u128(..) >> 32)
    }

    fn of(bits: u128) -> Self {
        let mut last = [0; 24];
        last.copy_from_slice(&digits(bits)[8..]);
        Self(last)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What tells one run from every other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Of this run alone.
    pub(super) nonce: Nonce,
    /// Runs of this probe before this one.
    pub(super) seq: u64,
    /// When it is sent.
    pub(super) time: WallTime,
    /// How we see the endpoint.
    pub(super) state: &'static str,
}

impl Stamp {
    /// What an endpoint is told.
    pub(super) fn headers(self) -> http::Result<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(NONCE, HeaderValue::from_str(self.nonce.as_str())?);
        headers.insert(SEQ, HeaderValue::from(self.seq));
        headers.insert(TIME, HeaderValue::from(self.time.unix_millis()));
        headers.insert(STATE, HeaderValue::from_static(self.state));
        Ok(headers)
    }
}

/// What one run asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) check: &'a HttpCheck,
    /// The endpoint's own, for checks that have none.
    host: &'a str,
    stamp: Stamp,
}

impl<'a> Question<'a> {
    /// What `check` asks in this run. `host` is the Host header unless the check has one.
    pub(super) const fn new(check: &'a HttpCheck, host: &'a str, stamp: Stamp) -> Self {
        Self { check, host, stamp }
    }

    /// The Host header, unless the user's headers have one.
    pub(super) fn host(&self) -> &'a str {
        self.check.host.as_deref().unwrap_or(self.host)
    }

    /// Looks whether it can be written at all.
    ///
    /// # Errors
    /// If the path or the host cannot be written in a request.
    pub(super) fn check(&self) -> http::Result<()> {
        HeaderValue::from_str(self.host())?;
        // It is sent as it is written.
        Ok(self.check.path.parse::<PathAndQuery>().map(drop)?)
    }

    /// Appends the whole as HTTP/1.1 has it. What [`Self::check`] finds sound can be read only so.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.head().write_alone(|out| self.write_lines(out), out);
    }

    /// What stands at the beginning: all but the lines of ours.
    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.check.method,
            target: &self.check.path,
            headers: &self.check.headers,
            more: b"",
            host: Some(self.host()),
            // The contract writes them so, and the simplest of servers compare letter by letter.
            title_case: true,
        }
    }

    /// The header lines besides Host and the user's own.
    pub(super) fn write_lines(&self, lines: &mut Vec<u8>) {
        let [agent, accept] = USUAL;
        // What the user set replaces them.
        for (name, line) in [(USER_AGENT, agent), (ACCEPT, accept)] {
            if !self.check.headers.contains_key(name) {
                lines.extend_from_slice(line.as_bytes());
            }
        }
        let Stamp { nonce, seq, time, state } = &self.stamp;
        if self.check.acknowledge != Acknowledge::Off {
            put(lines, "Pulsegate-Nonce: ", &nonce.0);
        }
        put(lines, "Pulsegate-Seq: ", decimal(*seq, &mut [0; 20]));
        put(lines, "Pulsegate-Time: ", decimal(time.unix_millis(), &mut [0; 20]));
        put(lines, "Pulsegate-State: ", state.as_bytes());
    }

    /// The whole as a request, as HTTP/2 wants it.
    ///
    /// # Errors
    /// If the path or the host cannot be written in a request.
    pub(super) fn request(&self) -> http::Result<Request<Empty<Bytes>>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.check.method.clone();
        *request.uri_mut() = self.check.path.parse::<Uri>()?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(self.host())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(ANYTHING));
        for (name, value) in &self.check.headers {
            headers.insert(name, value.clone());
        }
        headers.extend(self.stamp.headers()?);
        if self.check.acknowledge == Acknowledge::Off {
            headers.remove(NONCE);
        }
        Ok(request)
    }
}

fn put(lines: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value, b"\r\n"] {
        lines.extend_from_slice(part);
    }
}

/// The same probe, whose own headers leave to us what only we can say.
pub(super) fn unsigned(mut spec: Arc<ProbeSpec>) -> Arc<ProbeSpec> {
    const OURS: [HeaderName; 4] = [NONCE, SEQ, TIME, STATE];
    let Check::Http(check) = &spec.check else { return spec };
    if OURS.iter().any(|name| check.headers.contains_key(name))
        && let Check::Http(check) = &mut Arc::make_mut(&mut spec).check
    {
        OURS.iter().for_each(|name| drop(check.headers.remove(name)));
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Ratio;
    use crate::health::policy::Timing;
    use http::Method;

    fn check(path: &str, headers: &[(&'static str, &'static str)]) -> HttpCheck {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        HttpCheck {
            path: path.into(),
            method: Method::GET,
            host: None,
            headers: headers.collect(),
            status: Vec::new(),
            body_contains: None,
            acknowledge: Acknowledge::default(),
        }
    }

    fn stamp() -> Stamp {
        Stamp { nonce: Nonce::of(0xabc), seq: 7, time: WallTime::from_unix_millis(1_795_478_400_007), state: "healthy" }
    }

    fn asked(check: &HttpCheck) -> String {
        let mut lines = Vec::new();
        Question::new(check, "a:80", stamp()).write_lines(&mut lines);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn the_users_headers_replace_ours_but_for_what_only_we_can_say() {
        let check = check("/health?deep=1", &[("user-agent", "mine"), ("x-probe", "1"), ("pulsegate-seq", "99")]);
        let request = Question::new(&check, "a:80", stamp()).request().unwrap();
        let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(
            (request.uri().to_string().as_str(), header("host"), header("user-agent")),
            ("/health?deep=1", "a:80", "mine")
        );
        assert_eq!((header("x-probe"), header("pulsegate-seq"), header("pulsegate-state")), ("1", "7", "healthy"));
        assert_eq!((header("pulsegate-nonce"), header("pulsegate-time")), ("000000000000000000000abc", "1795478400007"));
    }

    #[test]
    fn lines_say_what_the_request_says() {
        let ours = "Pulsegate-Nonce: 000000000000000000000abc\r\nPulsegate-Seq: 7\r\nPulsegate-Time: 1795478400007\r\nPulsegate-State: healthy\r\n";
        let agent = format!("User-Agent: {AGENT}\r\n");
        assert_eq!(asked(&check("/", &[])), format!("{agent}Accept: */*\r\n{ours}"));
        assert_eq!(asked(&check("/", &[("accept", "text/plain"), ("user-agent", "mine")])), ours);
        let silent = HttpCheck { acknowledge: Acknowledge::Off, ..check("/", &[("accept", "text/plain")]) };
        assert_eq!(asked(&silent), format!("{agent}{}", ours.split_once("\r\n").unwrap().1));
    }

    #[test]
    fn the_users_headers_leave_our_names_to_us() {
        let second = std::time::Duration::from_secs(1);
        let timing =
            Timing { interval: second, timeout: second, fast_interval: second, down_interval: second, jitter: Ratio::ZERO };
        let spec = |headers| {
            let check = Check::Http(check("/", headers));
            ProbeSpec { name: "ready".into(), check, address: None, port: None, source: None, tls: true, timing }
        };
        let check = |spec: ProbeSpec| match &unsigned(Arc::new(spec)).check {
            Check::Http(check) => check.headers.keys().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(check(spec(&[("x-probe", "1"), ("pulsegate-nonce", "0"), ("pulsegate-state", "fine")])), ["x-probe"]);
        assert_eq!(check(spec(&[("x-probe", "1")])), ["x-probe"]);
    }

    #[test]
    fn the_host_of_the_check_goes_before_that_of_the_endpoint() {
        let check = HttpCheck { host: Some("shop".into()), ..check("/", &[]) };
        let question = Question::new(&check, "a:80", stamp());
        assert_eq!((question.host(), &question.request().unwrap().headers()[HOST]), ("shop", &HeaderValue::from_static("shop")));
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        for (path, host) in [("/a b", "a:80"), ("/", "a\r\nb")] {
            let check = check(path, &[]);
            let question = Question::new(&check, host, stamp());
            assert!(question.request().is_err() && question.check().is_err(), "{path} of {host}");
        }
    }

    #[test]
    fn a_nonce_has_96_bits() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let number = |nonce: Nonce| u128::from_str_radix(nonce.as_str(), 16).unwrap();
        let seen: Vec<u128> = (0..64).map(|_| number(Nonce::new(rng))).collect();
        assert_eq!(seen.iter().fold(0, |all, one| all | one), (1 << 96) - 1);
    }
}

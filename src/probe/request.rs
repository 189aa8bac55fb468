//! What a probe asks: the user's request, and what the endpoint is told about the proxy that asks.
//!
//! The whole is kept short, since it is sent for ever: request and answer of a usual probe are under 700 bytes of HTTP.

use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Uri};
use http_body_util::Empty;

use crate::base::time::WallTime;
use crate::health::check::{Acknowledge, HttpCheck};

const AGENT: &str = concat!("pulsegate/", env!("CARGO_PKG_VERSION"));

pub(super) const NONCE: HeaderName = HeaderName::from_static("pulsegate-nonce");
const SEQ: HeaderName = HeaderName::from_static("pulsegate-seq");
pub(super) const TIME: HeaderName = HeaderName::from_static("pulsegate-time");
const STATE: HeaderName = HeaderName::from_static("pulsegate-state");
/// In an answer alone: which start of the endpoint gave it.
pub(super) const BOOT_ID: HeaderName = HeaderName::from_static("pulsegate-boot-id");

/// What tells one run from every other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// 96 random bits; an endpoint that sends them back has understood whom it answers.
    pub(super) nonce: u128,
    /// Runs of this probe before this one.
    pub(super) seq: u64,
    /// When it is sent.
    pub(super) time: WallTime,
    /// How we see the endpoint.
    pub(super) state: &'static str,
}

/// A nonce as it is sent.
pub(super) fn written(nonce: u128) -> String {
    format!("{nonce:024x}")
}

impl Stamp {
    /// What an endpoint is told.
    pub(super) fn headers(self) -> http::Result<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(NONCE, HeaderValue::from_str(&written(self.nonce))?);
        headers.insert(SEQ, HeaderValue::from(self.seq));
        headers.insert(TIME, HeaderValue::from(self.time.unix_millis()));
        headers.insert(STATE, HeaderValue::from_static(self.state));
        Ok(headers)
    }
}

/// 96 random bits.
pub(super) fn nonce(rng: &mut fastrand::Rng) -> u128 {
    rng.u128(..) >> 32
}

/// The request of one run. `host` is its Host header unless the check has one.
///
/// # Errors
/// If the path or the host cannot be written in a request.
pub(super) fn request(check: &HttpCheck, host: &str, stamp: Stamp) -> http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = check.method.clone();
    *request.uri_mut() = check.path.parse::<Uri>()?;
    *request.headers_mut() = headers(check, host, stamp)?;
    Ok(request)
}

fn headers(check: &HttpCheck, host: &str, stamp: Stamp) -> http::Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8 + check.headers.len());
    headers.insert(HOST, HeaderValue::from_str(check.host.as_deref().unwrap_or(host))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    // What the user set replaces the defaults above, and is replaced by what only we can say.
    for (name, value) in &check.headers {
        headers.insert(name, value.clone());
    }
    headers.extend(stamp.headers()?);
    if check.acknowledge == Acknowledge::Off {
        headers.remove(NONCE);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        Stamp { nonce: 0xabc, seq: 7, time: WallTime::from_unix_millis(1_795_478_400_007), state: "healthy" }
    }

    #[test]
    fn the_users_headers_replace_ours_but_for_what_only_we_can_say() {
        let check = check("/health?deep=1", &[("user-agent", "mine"), ("x-probe", "1"), ("pulsegate-seq", "99")]);
        let request = request(&check, "a:80", stamp()).unwrap();
        let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(
            (request.uri().to_string().as_str(), header("host"), header("user-agent")),
            ("/health?deep=1", "a:80", "mine")
        );
        assert_eq!((header("x-probe"), header("pulsegate-seq"), header("pulsegate-state")), ("1", "7", "healthy"));
        assert_eq!((header("pulsegate-nonce"), header("pulsegate-time")), ("000000000000000000000abc", "1795478400007"));
    }

    #[test]
    fn the_host_of_the_check_goes_before_that_of_the_endpoint() {
        let check = HttpCheck { host: Some("shop".into()), ..check("/", &[]) };
        assert_eq!(request(&check, "a:80", stamp()).unwrap().headers()[HOST], "shop");
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        assert!(request(&check("/a b", &[]), "a:80", stamp()).is_err());
        assert!(request(&check("/", &[]), "a\r\nb", stamp()).is_err());
    }

    #[test]
    fn a_nonce_has_96_bits() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let seen: Vec<u128> = (0..64).map(|_| nonce(rng)).collect();
        assert_eq!(seen.iter().fold(0, |all, one| all | one), (1 << 96) - 1);
    }
}
